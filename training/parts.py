"""Parts of a model that come from other runs, each whole, such as the language model and the eyes of a Flamingo."""

from collections.abc import Callable, Mapping
from typing import Any

from core.errors import UserError, cut, shown
from core.parameters import Parameters


def read_parts(
    parts: Mapping[str, str], ours: Mapping[str, Any], read: Callable[[str, bool], Parameters]
) -> Parameters:  # fmt: skip
    """Returns the parameters of the parts of our model that are in other runs, by their paths in our model.

    Args:
      parts: the field `init_parts` of a config, see `training.fields`.
      ours: what has the shape of each parameter of our model, by path.
      read: returns all parameters of a workdir. It is also told whether all of that model is taken, or only a part.

    Raises:
      UserError: our model has no such part, the other one lacks one of its parameters, or as `read`.
    """
    all_of_them = {}
    for part, source in parts.items():
        workdir, _, inside = source.partition("#")
        start, prefix = f"{inside}." if inside else "", f"{part}."
        if not any(path.startswith(prefix) for path in ours):
            names = ", ".join(dict.fromkeys(path.split(".")[0] for path in ours))
            raise UserError(f"init_parts.{cut(part)}: the model has no such part. Its parts are {names}")
        theirs = read(workdir, not inside)
        theirs = {prefix + path.removeprefix(start): x for path, x in theirs.items() if path.startswith(start)}
        of_part = {path: x.shape for path, x in ours.items() if path.startswith(prefix)}
        for path in sorted(of_part, key=lambda path: path in theirs):  # what is missing altogether says most
            if path not in theirs or theirs[path].shape != of_part[path]:
                shape = f"the shape {theirs[path].shape}" if path in theirs else "nothing"
                raise UserError(f"init_parts.{part} = {shown(source)} has {shape} for {path}: expected {of_part[path]}")
            all_of_them[path] = theirs[path]
    return all_of_them
