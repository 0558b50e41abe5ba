"""The files of a published model: `config.json`, and tensors in one safetensors file, or in several with an index."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from core.errors import UserError, reason
from core.files import parse_json, replacing, write_json
from core.reading import read_text

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")


def read_config(folder: Path) -> dict:
    """Returns the contents of `config.json`. Raises UserError if there is none, or if it is not a JSON object."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} has no {CONFIG}: expected the folder of a published model")
    return read_object(folder / CONFIG)


def read_object(path: Path) -> dict:
    """Returns the contents of a JSON file. Raises UserError if it is damaged or holds something else than an object."""
    try:
        contents = parse_json(read_text(path))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({reason(error)}): copy or download it again") from error
    if not isinstance(contents, dict):
        raise UserError(f"{path} is not a JSON object: expected {{...}}")
    return contents


class Tensors:
    """The tensors of a folder, by names that `rename` makes of those in the files; None leaves a tensor out.

    A context manager. `shapes` are read first; `self[name]` then reads a tensor, half precision as float32.

    Args:
      rename: from all names in the files to those of the table.

    Raises UserError if the folder has no safetensors files, if its index names a file that does not exist or is not in
    the folder, if a file is damaged, if two tensors have one name, or if the folder holds a pickle instead; and when a
    tensor is read that is not of real and finite numbers.
    """

    def __init__(self, folder: Path, rename: Callable[[list[str]], dict[str, str | None]]):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places, self._stack = {}, ExitStack()
        files = [(path, self._stack.enter_context(_open(path))) for path in _weight_files(folder)]
        names = rename([stored_name for _, file in files for stored_name in file.keys()])
        for path, file in files:
            for stored_name in file.keys():
                if (name := names[stored_name]) is None:
                    continue
                if name in self._places:
                    other = self._places[name]
                    raise UserError(f"{path}: {stored_name} is the same tensor as {other[2]} in {other[0].name}")
                self._places[name] = path, file, stored_name
                self.shapes[name] = tuple(file.get_slice(stored_name).get_shape())

    def alias(self, name: str, present: str) -> None:
        """Gives the tensor `present` another name too."""
        self._places[name], self.shapes[name] = self._places[present], self.shapes[present]

    def __getitem__(self, name: str) -> np.ndarray:
        path, file, stored_name = self._places[name]
        array = file.get_tensor(stored_name)
        # bfloat16 is a NumPy extension type, whose kind is "V"
        if array.dtype.kind not in "fV":
            raise UserError(f"{path}: {stored_name} holds {array.dtype}, expected real numbers")
        array = array.astype(np.float32)
        if count := array.size - np.count_nonzero(np.isfinite(array)):
            raise UserError(f"{path}: {stored_name} holds NaN or infinity in {count:,} of {array.size:,} places")
        return array

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()


def write(folder: Path, tensors: dict[str, np.ndarray], configs: dict[str, dict]) -> None:
    """Writes tensors, and JSON files by name, each atomically. Raises UserError if the folder holds a model already."""
    folder.mkdir(parents=True, exist_ok=True)
    if present := [name for name in (CONFIG, WEIGHTS, INDEX) if (folder / name).exists()]:
        raise UserError(f"{folder} holds {', '.join(present)} already: expected an empty or a new folder")
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})  # transformers reads no file without this note
    for name, content in configs.items():
        write_json(folder / name, content)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        parts = read_object(folder / INDEX).get("weight_map")
        if not isinstance(parts, dict):
            raise UserError(f"{folder / INDEX} has no weight_map, the list of files: copy or download it again")
        for name in parts.values():
            if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                raise UserError(f"{folder / INDEX} names {name!r:.99}: expected safetensors files beside it")
        paths = [folder / name for name in sorted(set(parts.values()))]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise UserError(f"{folder} lacks {', '.join(missing)}, which {INDEX} names")
        return paths
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES):
        raise UserError(
            f"{folder} has no {WEIGHTS}, and {', '.join(pickles)} is not read: to read a pickle is to run the code in "
            "it. Expected safetensors; transformers writes them with model.save_pretrained(folder)"
        )
    raise UserError(f"{folder} has neither {WEIGHTS} nor {INDEX}")


def _open(path: Path):
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        with path.open("rb") as file:
            if file.read(30).startswith(b"version https://git-lfs"):
                raise UserError(
                    f"{path} only says where Git LFS keeps the weights: get them with 'git lfs pull'"
                ) from error
        size = path.stat().st_size
        raise UserError(
            f"{path} is cut short or damaged at {size:,} bytes ({reason(error)}): copy or download it again"
        ) from error
