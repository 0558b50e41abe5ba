"""What is done to an image before a published model reads it: `preprocessor_config.json`, read and written.

Here an image is rows, columns and channels of numbers in [0, 1], of which a mean is subtracted and which are divided by
a standard deviation, both for each channel. Rescaling by another factor, or none, becomes part of these two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from pathlib import Path
from typing import Any

from core.errors import UserError, cut
from models.pretrained.files import read_object
from models.pretrained.settings import expect

FILE = "preprocessor_config.json"
Channels = Sequence[float]
RESAMPLES = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
CLIPS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip
CUT: dict[str, Any] = {"do_center_crop": True, "resample": 3}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class Processor:
    """A published class of preprocessing.

    Attributes:
      name: of the class. defaults: of settings that a file may leave out, where they are not those of `DEFAULTS`.
      cuts: whether `do_center_crop` cuts the middle out of a resized image, as it does not in every class.
    """

    name: str
    defaults: dict[str, Any] = field(default_factory=dict)
    cuts: bool = False


PROCESSORS = {
    "vit": Processor("ViTImageProcessor", HALVES),
    "perceiver": Processor("PerceiverImageProcessor", IMAGENET | {"do_center_crop": True, "resample": 3}),
    "deit": Processor("DeiTImageProcessor", HALVES | {"size": 256} | CUT, cuts=True),
    "dinov2_with_registers": Processor("BitImageProcessor", CLIPS | CUT | {"default_to_square": False}, cuts=True),
    "dinov2": Processor("BitImageProcessor", CLIPS | CUT | {"default_to_square": False}, cuts=True),
    "resnet": Processor("BitImageProcessor", CLIPS | CUT | {"default_to_square": False}, cuts=True),
    "convnext": Processor("BitImageProcessor", CLIPS | CUT | {"default_to_square": False}, cuts=True),
    "swin": Processor("ViTImageProcessor", HALVES),
    "clip": Processor("CLIPImageProcessor", CLIPS | CUT | {"default_to_square": False}, cuts=True),
}
"""model_type -> what `save` writes for it."""
DEFAULTS: dict[str, Any] = {
    "do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "size": 224,
    "resample": 2, "do_center_crop": False, "crop_size": 224, "default_to_square": True,
}  # fmt: skip
HARMLESS = (
    "image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb",
    "data_format", "input_data_format", "return_tensors", "device", "disable_grouping", "_valid_processor_keys",
)  # fmt: skip


def preprocessing(folder: str | Path) -> dict:
    """Returns what is done to an image in [0, 1] before a published model reads it.

    The result has the fields of the data sets here: "mean" and "std", of each channel or of all, both empty if nothing
    is done; "size", the side of the images, if they are resized and are squares then; and "resample", "centre" and
    "proportions" (`data.resizing.Resizing`) where they are not the default. It is empty if the folder has no
    `preprocessor_config.json`.

    Raises UserError that names a setting which is unknown, wrong or not supported here.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    config = read_object(Path(folder) / "config.json")
    processor = PROCESSORS.get(config.get("model_type", ""))
    if processor is None:
        return {}
    content = read_object(path)
    names = [str(content[key]) for key in _CLASS if key in content]
    by_default = config["model_type"] == "convnext" and not names
    if processor.name == "BitImageProcessor" and (by_default or any(x.startswith("ConvNext") for x in names)):
        content = _of_convnext(path, content)
    settings = DEFAULTS | processor.defaults | content
    problems = []
    family = processor.name.removesuffix("ImageProcessor")
    for key in _CLASS:
        if not str(settings.get(key, processor.name)).startswith(family):
            problems.append(f"{key} = {settings[key]!r:.60}: expected {processor.name}")
    for key in ("do_resize", "do_rescale", "do_normalize", "do_center_crop", "default_to_square"):
        problems += filter(None, [expect(key, settings[key], "flag")])
    unsupported = {k: v for k, v in content.items() if k not in DEFAULTS | _CHANNELS and k not in HARMLESS}
    problems += [f"{cut(k)} = {v!r:.60} is not supported" for k, v in unsupported.items() if v is not None]
    problems += filter(None, [expect("rescale_factor", settings["rescale_factor"], "number")])
    if problems:
        raise UserError(f"{path}: {'; '.join(problems)}")
    part = config.get("vision_config")
    channels = (part if isinstance(part, dict) else config).get("num_channels", 3)
    return _normalisation(path, settings, channels) | _resizing(path, settings, processor)


def to_config(
    model_type: str, image_shape: tuple[int, int, int], mean: Channels, std: Channels, *, resample: str = "bilinear",
    centre: float = 1.0, proportions: bool = False,
) -> dict:  # fmt: skip
    """Returns the content of `preprocessor_config.json` for a model that reads images of this shape.

    The other arguments are the fields of the data sets here, as `preprocessing` returns them. Raises UserError for
    those that the class of this format does not have.
    """
    rows, columns, channels = image_shape
    processor, cut = PROCESSORS[model_type], centre < 1 or proportions
    if cut and (not processor.cuts or rows != columns):
        reason = f"{processor.name} keeps every part of an image" if rows == columns else "only squares are cut out"
        raise UserError(f"centre = {centre}, proportions = {proportions}: the published format cannot say so, {reason}")
    height, width = round(rows / centre), round(columns / centre)
    each = lambda values: list(values) * (channels if len(values) == 1 else 1)
    return {
        "image_processor_type": processor.name,
        "do_resize": True,
        "size": {"shortest_edge": height} if proportions else {"height": height, "width": width},
        "resample": {name: number for number, name in RESAMPLES.items()}[resample],
        "do_center_crop": cut,
        **({"crop_size": {"height": rows, "width": columns}} if cut else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": each(mean or (0.0,)),
        "image_std": each(std or (1.0,)),
    }


_CLASS = ("image_processor_type", "feature_extractor_type")
_CHANNELS = {"image_mean": None, "image_std": None}


def _of_convnext(path: Path, content: dict) -> dict:
    """Returns what `ConvNextImageProcessor` does in the settings of `BitImageProcessor`.

    Below 384 pixels it resizes the shorter side to size / crop_pct and cuts out the middle; from there on it stretches.
    """
    settings: dict[str, Any] = {key: value for key, value in content.items() if key not in _CLASS}
    size, share = settings.pop("size", 384), settings.pop("crop_pct", None)
    side: Any = size["shortest_edge"] if isinstance(size, dict) and size.keys() == {"shortest_edge"} else size
    share = 224 / 256 if share is None else share
    if problem := expect("size", side, "size") or expect("crop_pct", share, "number"):
        raise UserError(f"{path}: {problem}")
    if not 0 < share <= 1:
        raise UserError(f"{path}: crop_pct = {share!r:.60}: expected a share above 0, at most 1")
    settings = HALVES | {"resample": 3} | settings
    if side >= 384:
        return settings | {"size": {"height": side, "width": side}, "do_center_crop": False}
    return settings | {"size": {"shortest_edge": int(side / share)}, "do_center_crop": True, "crop_size": side}


def _normalisation(path: Path, settings: dict, channels: Any) -> dict:
    """The fields "mean" and "std"."""
    factor = 255 * settings["rescale_factor"] if settings["do_rescale"] else 255.0
    factor = 1.0 if math.isclose(factor, 1, rel_tol=1e-9) else factor
    mean, std = _channels(path, "image_mean", settings), _channels(path, "image_std", settings)
    if not settings["do_normalize"]:
        mean, std = (0.0,), (1.0,)
    if len(mean) != len(std) or min(std) <= 0:
        raise UserError(f"{path}: image_mean = {mean}, image_std = {std}: expected as many numbers, std above 0")
    if len(mean) not in (1, channels):
        raise UserError(
            f"{path}: image_mean = {mean}: expected a number for each channel, and config.json has num_channels = "
            f"{channels!r:.60}"
        )
    scaled = lambda values: tuple(value / factor for value in values)  # image * factor - mean, divided by std
    if not any(mean) and set(scaled(std)) == {1.0}:
        return {"mean": (), "std": ()}
    return {"mean": scaled(mean), "std": scaled(std)}


def _resizing(path: Path, settings: dict, processor: Processor) -> dict:
    """The fields "size", "resample", "centre" and "proportions"."""
    crop = settings["do_center_crop"]
    if crop and not processor.cuts:
        raise UserError(f"{path}: do_center_crop = True is not supported for {processor.name}")
    if not settings["do_resize"]:
        if crop:
            raise UserError(f"{path}: do_center_crop = True is not supported without do_resize")
        return {}
    resample = settings["resample"]
    if not isinstance(resample, int) or resample not in RESAMPLES:
        numbers = " and ".join(f"{number}, {name}" for number, name in RESAMPLES.items())
        raise UserError(f"{path}: resample = {resample!r:.60}: only {numbers}, are supported")
    fields = {} if RESAMPLES[resample] == "bilinear" else {"resample": RESAMPLES[resample]}
    size = settings["size"]
    if isinstance(size, int) and not settings["default_to_square"]:
        size = {"shortest_edge": size}
    proportions = isinstance(size, dict) and size.keys() == {"shortest_edge"}
    side: Any = size["shortest_edge"] if isinstance(size, dict) and proportions else size
    if proportions and not crop:
        raise UserError(f"{path}: size = {size!r:.60}: without do_center_crop, images would have several sizes")
    rows, columns = _sides(path, "size", side)
    if not crop:
        return fields | ({"size": rows} if rows == columns else {})
    sides = _sides(path, "crop_size", settings["crop_size"])
    if rows != columns or sides[0] != sides[1] or sides[0] > rows:
        raise UserError(
            f"{path}: size = {size!r:.60}, crop_size = {settings['crop_size']!r:.60}: expected a square that is cut "
            "out of one as large or larger"
        )
    fields |= {"size": sides[0]} | ({"centre": sides[0] / rows} if sides[0] < rows else {})
    return fields | ({"proportions": True} if proportions else {})


def _channels(path: Path, key: str, settings: dict) -> tuple[float, ...]:
    values = settings[key] if isinstance(settings[key], list) else [settings[key]]
    is_number = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
    if not values or not all(map(is_number, values)):
        raise UserError(f"{path}: {key} = {settings[key]!r:.60}: expected a number for each channel")
    return tuple(map(float, values))


def _sides(path: Path, key: str, size: Any) -> tuple[int, int]:
    if isinstance(size, dict) and size.keys() != {"height", "width"}:
        raise UserError(f"{path}: {key} = {size!r:.60}: only height and width, or one number, are supported")
    rows, columns = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
    if problem := expect(key, rows, "size") or expect(key, columns, "size"):
        raise UserError(f"{path}: {problem}")
    return rows, columns
