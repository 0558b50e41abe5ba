"""The files of a published model: `config.json`, and tensors in safetensors files, whole or in parts with an index."""

from contextlib import ExitStack
import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")


def read_config(folder: Path) -> dict:
    """What `config.json` says. Raises FileNotFoundError without one, ValueError where it is no JSON object."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} has no {CONFIG}: expected the folder of a published model.")
    return _json(folder / CONFIG)


class Tensors:
    """The tensors of a folder, by names that `rename` makes of those in the files; None leaves a tensor out.

    `shapes` is known at once; `self[name]` reads a tensor, half precision as float32. To be used in a `with`.

    Raises:
      FileNotFoundError: the folder has no safetensors files, or its index names one that is not there.
      ValueError: a file is cut short or damaged, or the folder holds a pickle instead.
    """

    def __init__(self, folder: Path, rename):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._found, self._stack = {}, ExitStack()
        for path in _weight_files(folder):
            file = self._stack.enter_context(_open(path))
            for stored in file.keys():
                if (name := rename(stored)) is not None:
                    self._found[name] = path, file, stored
                    self.shapes[name] = tuple(file.get_slice(stored).get_shape())

    def __getitem__(self, name: str) -> np.ndarray:
        path, file, stored = self._found[name]
        array = file.get_tensor(stored)
        # bfloat16 is a NumPy extension type, whose kind is "V"
        if array.dtype.kind not in "fV":
            raise ValueError(f"{path}: {stored} holds {array.dtype}, expected real numbers")
        return array.astype(np.float32)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()


def write(folder: Path, config: dict, tensors: dict[str, np.ndarray]) -> None:
    """Writes both files, each at once or not at all. Raises FileExistsError where the folder holds another model."""
    folder.mkdir(parents=True, exist_ok=True)
    if present := [name for name in (CONFIG, WEIGHTS, INDEX) if (folder / name).exists()]:
        raise FileExistsError(f"{folder} holds {', '.join(present)} already: expected an empty or a new folder.")
    # The reference reads no file without this note.
    save_file(tensors, folder / f"{WEIGHTS}.part", metadata={"format": "pt"})
    (folder / f"{CONFIG}.part").write_text(json.dumps(config, indent=2) + "\n")
    for name in (WEIGHTS, CONFIG):
        os.replace(folder / f"{name}.part", folder / name)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        parts = _json(folder / INDEX).get("weight_map")
        if not isinstance(parts, dict):
            raise ValueError(f"{folder / INDEX} has no weight_map, which says what is in which file")
        paths = [folder / name for name in sorted(set(parts.values()))]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which {INDEX} names")
        return paths
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES):
        raise ValueError(
            f"{folder} has no {WEIGHTS}, and {', '.join(pickles)} is not read: to read a pickle is to run the code in "
            "it. Expected safetensors; the reference writes them with model.save_pretrained(folder)"
        )
    raise FileNotFoundError(f"{folder} has neither {WEIGHTS} nor {INDEX}")


def _open(path: Path):
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        with path.open("rb") as file:
            if file.read(30).startswith(b"version https://git-lfs"):
                raise ValueError(
                    f"{path} only says where Git LFS keeps the weights: get them with 'git lfs pull'"
                ) from error
        size = path.stat().st_size
        raise ValueError(
            f"{path} is cut short or damaged at {size:,} bytes ({error}): copy or download it again"
        ) from error


def _json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON object")
    return found
