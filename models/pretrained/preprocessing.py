"""What is done to an image before a published model reads it: `preprocessor_config.json`, read and written.

Here an image is rows, columns and channels of numbers in [0, 1], of which a mean is subtracted and which are divided by
a standard deviation, both for each channel. Rescaling by another factor, or none, becomes part of these two.
"""

from collections.abc import Sequence
import math
from pathlib import Path
from typing import Any

from core.errors import UserError
from models.pretrained.files import read_object
from models.pretrained.settings import expect

FILE = "preprocessor_config.json"
Channels = Sequence[float]
BILINEAR, BICUBIC = 2, 3  # as Pillow numbers them
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": (
        "ViTImageProcessor",
        {"do_center_crop": False, "resample": BILINEAR, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    ),
    "perceiver": (
        "PerceiverImageProcessor",
        {
            "do_center_crop": True, "resample": BICUBIC, "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
    ),
}  # fmt: skip
"""model_type -> the class that is written, and those defaults in which the two classes differ."""
DEFAULTS: dict[str, Any] = {
    "do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "size": 224,
}  # fmt: skip
HARMLESS = (
    "image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "crop_size",
    "default_to_square", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping",
    "_valid_processor_keys",
)  # fmt: skip

PROCESSORS |= {"resnet": PROCESSORS["vit"], "swin": PROCESSORS["vit"]}


def preprocessing(folder: str | Path) -> dict:
    """Returns what is done to an image in [0, 1] before a published model reads it.

    The result has the fields of the data sets here: "mean" and "std", of each channel or of all, both empty if nothing
    is done; and "size", the side to which images are stretched by bilinear interpolation, if they are and are squares.
    It is empty if the folder has no `preprocessor_config.json`.

    Raises UserError that names a setting which is unknown, wrong or not supported here.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    config = read_object(Path(folder) / "config.json")
    model_type = config.get("model_type")
    if model_type not in PROCESSORS:
        return {}
    name, defaults = PROCESSORS[model_type]
    content = read_object(path)
    settings = DEFAULTS | defaults | content
    problems = []
    family = name.removesuffix("ImageProcessor")
    for key in ("image_processor_type", "feature_extractor_type"):
        if not str(settings.get(key, name)).startswith(family):
            problems.append(f"{key} = {settings[key]!r:.60}: expected {name}")
    for key in ("do_resize", "do_rescale", "do_normalize"):
        problems += filter(None, [expect(key, settings[key], "flag")])
    supported = DEFAULTS.keys() | defaults.keys() | set(HARMLESS)
    unsupported = {k: v for k, v in content.items() if k not in supported and v is not None}
    problems += [f"{k} = {v!r:.60} is not supported" for k, v in unsupported.items()]
    if settings["do_center_crop"]:
        problems.append("do_center_crop = True is not supported")
    if settings["do_resize"] and settings["resample"] != BILINEAR:
        problems.append(f"resample = {settings['resample']!r:.60}: only {BILINEAR}, bilinear, is supported")
    problems += filter(None, [expect("rescale_factor", settings["rescale_factor"], "number")])
    if problems:
        raise UserError(f"{path}: {'; '.join(problems)}")
    factor = 255 * settings["rescale_factor"] if settings["do_rescale"] else 255.0
    factor = 1.0 if math.isclose(factor, 1, rel_tol=1e-9) else factor
    mean, std = _channels(path, "image_mean", settings), _channels(path, "image_std", settings)
    if not settings["do_normalize"]:
        mean, std = (0.0,), (1.0,)
    if len(mean) != len(std) or min(std) <= 0:
        raise UserError(f"{path}: image_mean = {mean}, image_std = {std}: expected as many numbers, std above 0")
    channels = config.get("num_channels", 3)
    if len(mean) not in (1, channels):
        raise UserError(
            f"{path}: image_mean = {mean}: expected a number for each channel, and config.json has num_channels = "
            f"{channels!r:.60}"
        )
    scaled = lambda values: tuple(value / factor for value in values)  # image * factor - mean, divided by std
    fields: dict[str, Any] = {"mean": scaled(mean), "std": scaled(std)}
    if not any(mean) and set(fields["std"]) == {1.0}:
        fields = {"mean": (), "std": ()}
    if not settings["do_resize"]:
        return fields
    rows, columns = _size(path, settings["size"])
    return fields | ({"size": rows} if rows == columns else {})


def to_config(model_type: str, image_shape: tuple[int, int, int], mean: Channels, std: Channels) -> dict:
    """Returns the content of `preprocessor_config.json` for a model that reads images of this shape."""
    rows, columns, channels = image_shape
    each = lambda values: list(values) * (channels if len(values) == 1 else 1)
    return {
        "image_processor_type": PROCESSORS[model_type][0],
        "do_resize": True,
        "size": {"height": rows, "width": columns},
        "resample": BILINEAR,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": each(mean or (0.0,)),
        "image_std": each(std or (1.0,)),
    }


def _channels(path: Path, key: str, settings: dict) -> tuple[float, ...]:
    values = settings[key] if isinstance(settings[key], list) else [settings[key]]
    is_number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
    if not values or not all(map(is_number, values)):
        raise UserError(f"{path}: {key} = {settings[key]!r:.60}: expected a number for each channel")
    return tuple(map(float, values))


def _size(path: Path, size: Any) -> tuple[int, int]:
    if isinstance(size, dict) and size.keys() != {"height", "width"}:
        raise UserError(f"{path}: size = {size!r:.60}: only height and width, or one number, are supported")
    rows, columns = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
    if problem := expect("size", rows, "size") or expect("size", columns, "size"):
        raise UserError(f"{path}: {problem}")
    return rows, columns
