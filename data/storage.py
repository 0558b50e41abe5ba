"""Where prepared data sets are on disk, and how they are opened: without TensorFlow, and without a network."""

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import re
import shutil
from typing import Any

from filelock import FileLock
import tensorflow_datasets as tfds

from core.errors import UserError, reason, shown
from core.files import parse_json
from core.notes import note
from data.image_files import stored_pixels


class MissingData(UserError):
    """A data set that is not on disk, or not in a format that can be read. The message says how to prepare it."""


def open_official(name: str) -> tfds.core.DatasetBuilder:
    """Opens a set that TFDS publishes, from $TFDS_DATA_DIR or, where that is not set, ~/tensorflow_datasets.

    Raises MissingData, with the command that prepares the set, where it is absent or in a format that only TensorFlow
    can read, and UserError where it is damaged. The folder is searched before TFDS is asked, because TFDS would try to
    download the set.
    """
    if not re.fullmatch(r"\w+(/[\w.-]*\w)?", name):
        raise UserError(f"{shown(name)} is no name of a set: expected such as cifar10 or imdb_reviews/plain_text")
    root = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    infos = {path.parent: _info(path) for path in root.glob(f"{name}/[0-9]*/dataset_info.json")}
    readable = [folder for folder, info in infos.items() if info.get("fileFormat") == "array_record"]
    if readable:
        return tfds.builder_from_directory(max(readable, key=_version))
    if infos:
        folder, info = infos.popitem()
        problem = (
            f"{folder} holds {name} as {info.get('fileFormat', 'tfrecord')}, which cannot be read without "
            "TensorFlow. Move that folder away and prepare the set as array_record:"
        )
    else:
        configurations = sorted({path.parts[-3] for path in root.glob(f"{name}/*/[0-9]*/dataset_info.json")})
        if configurations:
            names = ", ".join(f"{name}/{configuration}" for configuration in configurations)
            raise MissingData(f"The set {name} has several configurations. On disk are: {names}")
        problem = f"The set {name} is not on disk. Looked in {root / name}. To prepare it:"
    raise MissingData(f"{problem}\n{_how_to_prepare(name, root)}")


def kept_root() -> Path:
    """Returns the folder for sets that this project prepares: $LECTERN_DATA, by default ~/.cache/lectern/tfds."""
    return Path(os.environ.get("LECTERN_DATA") or "~/.cache/lectern/tfds").expanduser()


def open_embedded(builder_class: type[tfds.core.GeneratorBasedBuilder]) -> tfds.core.DatasetBuilder:
    """Opens a set whose content comes with the installed packages; the first call on a machine prepares it.

    The set is kept in `kept_root()`. A lock lets one process prepare it while others wait. What a killed process left
    half-written, or what is damaged so that it cannot be opened, is removed and prepared again.

    Raises UserError where the folder cannot be written to.
    """
    name = builder_class.name
    root = kept_root()
    folder = root / name / str(builder_class.VERSION)
    builder = _opened(folder)
    if builder is None:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / "lock"):
                if _opened(folder) is None:
                    note(f"preparing {name} in {folder} (once)")
                    _prepare(builder_class, root, folder)
        except OSError as error:
            raise UserError(
                f"Cannot prepare {name} in {root}: {reason(error)}. Set LECTERN_DATA to a writable folder with enough "
                "space."
            ) from error
        builder = tfds.builder_from_directory(folder)
    return builder


def records(builder: tfds.core.DatasetBuilder, split: str) -> Iterator[dict]:
    """Yields the records of an entire split in their order. Raises UserError, with the folder, where it is damaged.

    TFDS would have Pillow open images of any format; here they are those of `data.image_files.STORED`.
    """
    chunk = 1_000
    features: Any = builder.info.features
    images = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
    try:
        open_split: Any = builder.as_data_source  # TFDS's decorator hides its arguments from a type checker
        source = open_split(split, decoders={name: tfds.decode.SkipDecoding() for name in images})
        for start in range(0, len(source), chunk):
            for row in source.__getitems__(range(start, min(start + chunk, len(source)))):
                yield row | {name: stored_pixels(row[name], features[name].shape) for name in images}
    except (RuntimeError, OSError, ValueError) as error:  # what array_record, Pillow and TFDS raise
        raise UserError(
            f"{builder.data_dir} is damaged: {split} of {builder.info.name} cannot be read ({reason(error)}). Move "
            "that folder away and prepare the set again. Sets that come with Lectern are prepared by the next run."
        ) from error


def _info(path: Path) -> dict[str, Any]:
    try:
        info = parse_json(path.read_text())
        if not isinstance(info, dict):
            raise ValueError("it is not that of a data set")
        return info
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({reason(error)}). Move {path.parent} away and prepare the set again."
        ) from error


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in folder.name.split(".") if number.isdigit())


def _how_to_prepare(name: str, root: Path) -> str:
    builder = f"tfds.builder({name!r}, data_dir={str(root)!r}, file_format='array_record')"
    return (
        "  python -m venv tfds-env\n"
        "  tfds-env/bin/pip install tensorflow tensorflow-datasets array_record importlib_resources\n"
        f'  tfds-env/bin/python -c "import tensorflow_datasets as tfds; {builder}.download_and_prepare()"\n'
        "  TensorFlow is needed only for this, once, and never to read. If the set is elsewhere, set "
        "TFDS_DATA_DIR to the folder that holds it."
    )


def _opened(folder: Path) -> tfds.core.DatasetBuilder | None:
    """The set in a folder, or None if there is none that can be opened."""
    # TFDS writes into a temporary folder beside this one, this file last, and then renames the folder.
    if not (folder / "dataset_info.json").exists():
        return None
    try:
        return tfds.builder_from_directory(folder)
    except Exception:  # for damaged files, TFDS and protobuf raise exceptions of many kinds
        return None


def _prepare(builder_class: type[tfds.core.GeneratorBasedBuilder], root: Path, folder: Path) -> None:
    for leftover in [folder, *folder.parent.glob("incomplete.*")]:
        shutil.rmtree(leftover, ignore_errors=True)
    tfds.disable_progress_bar()
    # TFDS would announce a download, and there is none.
    with contextlib.redirect_stdout(None):
        builder_class(data_dir=root).download_and_prepare(file_format="array_record")
