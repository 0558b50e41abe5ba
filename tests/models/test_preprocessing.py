"""Images are prepared as the image processors of the reference do it, from `preprocessor_config.json` and back.

The cases in tests/models/processors are written by tests/models/reference_images.py. Where LECTERN_PROCESSORS names
another folder of cases ("make test-reference"), those are compared instead.
"""

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
import pytest
from safetensors.numpy import load_file

from core.errors import UserError
from data.images import image_reading
from data.resizing import RESIZING, Resizing
from data.user_files import image_folder
from models.pretrained import preprocessing
from models.pretrained.preprocessing import PROCESSORS, to_config

FOLDER = Path(os.environ.get("LECTERN_PROCESSORS") or Path(__file__).with_name("processors"))
CASES = sorted(path.parent.name for path in FOLDER.glob("*/images.safetensors"))


def files_of(case: str, folder: Path) -> tuple[list[Path], np.ndarray]:
    """Returns the images of a case as files, and what the reference makes of them."""
    tensors = load_file(FOLDER / case / "images.safetensors")
    count, files = len(tensors) // 2, []
    for number in range(count):
        files.append(folder / f"{number}.png")
        Image.fromarray(tensors[f"image.{number}"]).save(files[-1])
    return files, np.stack([tensors[f"result.{number}"] for number in range(count)])


def model_type_of(case: str) -> str:
    return json.loads((FOLDER / case / "config.json").read_text())["model_type"]


def resizing_of(settings: dict) -> Resizing:
    return Resizing(**{field: settings[field] for field in RESIZING if field in settings})


def test_every_class_has_a_case():
    assert {model_type_of(case) for case in CASES} == set(PROCESSORS)


@pytest.mark.parametrize("case", CASES)
def test_images_are_those_of_the_reference(case, tmp_path):
    files, expected = files_of(case, tmp_path)
    settings = preprocessing(FOLDER / case)
    reading = image_reading(
        expected.shape[1:], resizing=resizing_of(settings), mean=settings["mean"], std=settings["std"]
    )
    images = reading.source(files).examples(np.arange(len(files)))["inputs"]["images"]
    assert settings["size"] == expected.shape[1]
    np.testing.assert_allclose(images, expected, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_what_was_read(case, tmp_path):
    settings = preprocessing(FOLDER / case)
    size = settings.pop("size")
    content = to_config(model_type_of(case), (size, size, 3), settings.pop("mean"), settings.pop("std"), **settings)
    (tmp_path / "config.json").write_text((FOLDER / case / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    again, expected = preprocessing(tmp_path), preprocessing(FOLDER / case)
    for name in ("mean", "std"):
        np.testing.assert_allclose(again.pop(name), expected.pop(name))
    assert again == expected


def test_fields_by_hand(tmp_path):
    """224 of 256 pixels of each side; the published CLIP gives its sizes as numbers, for the shorter side."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "deit"}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert preprocessing(tmp_path) == {
        "mean": (0.5,) * 3, "std": (0.5,) * 3, "size": 224, "resample": "bicubic", "centre": 0.875
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 336, "crop_size": 336}))
    settings = preprocessing(tmp_path)
    assert settings["proportions"] and settings["size"] == 336 and "centre" not in settings


def test_the_published_resnets_by_hand(tmp_path):
    """Theirs is the class of ConvNeXT: 224 of 256 pixels, but from 384 pixels on the image is stretched."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    content = {"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content | {"size": 224}))
    halves = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resample": "bicubic"}
    assert preprocessing(tmp_path) == halves | {"size": 224, "centre": 0.875, "proportions": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content | {"size": {"shortest_edge": 384}}))
    assert preprocessing(tmp_path) == halves | {"size": 384}


def test_the_middle_is_cut_out_by_hand():
    """Of 4 rows and 8 columns, the shorter side has 4 pixels already: columns 2 to 5 are left."""
    picture = Image.fromarray(np.arange(32, dtype=np.uint8).reshape(4, 8))
    middle = np.asarray(Resizing(proportions=True).picture(picture, 4, 4))
    np.testing.assert_array_equal(middle, np.arange(32).reshape(4, 8)[:, 2:6])
    np.testing.assert_array_equal(  # a half of each side
        np.asarray(Resizing(centre=0.5).picture(picture, 2, 4)), np.arange(32).reshape(4, 8)[1:3, 2:6]
    )
    assert Resizing(proportions=True).picture(picture, 5, 3).size == (3, 5)


@pytest.mark.parametrize(
    "model, settings, words",
    [
        ("clip", {"do_center_crop": False}, "size = {'shortest_edge': 224}: without do_center_crop"),
        ("clip", {"do_resize": False}, "do_center_crop = True is not supported without do_resize"),
        ("clip", {"crop_size": 256}, ".*crop_size = 256: expected a square"),
        ("deit", {"size": {"height": 256, "width": 288}}, "size = .*expected a square"),
        ("deit", {"crop_size": {"shortest_edge": 3}}, "crop_size = {'shortest_edge': 3}: only height and width"),
        ("dinov2", {"crop_size": 0}, "crop_size = 0: expected a whole number"),
        ("dinov2", {"resample": 1}, "resample = 1: only 2, bilinear and 3, bicubic, are supported"),
        ("dinov2", {"resample": "cubic"}, "resample = 'cubic': only 2"),
        ("vit", {"do_center_crop": True}, "do_center_crop = True is not supported for ViTImageProcessor"),
        ("vit", {"default_to_square": 1}, "default_to_square = 1: expected true or false"),
        ("resnet", {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 1.5}, "crop_pct = 1.5: expected"),
        ("resnet", {"image_processor_type": "ConvNextImageProcessor", "size": {"height": 7}}, "size = {'height': 7}"),
        ("perceiver", {}, "do_center_crop = True is not supported for PerceiverImageProcessor"),
    ],
    ids=str,
)
def test_what_is_not_done_here_is_refused_by_name(model, settings, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=f"preprocessor_config.json: {words}"):
        preprocessing(tmp_path)


def test_what_the_class_of_a_format_cannot_say_is_refused():
    with pytest.raises(UserError, match="centre = 0.5, .*ViTImageProcessor keeps every part of an image"):
        to_config("vit", (7, 7, 3), (), (), centre=0.5)
    with pytest.raises(UserError, match="only squares are cut out"):
        to_config("clip", (7, 5, 3), (), (), proportions=True)
    with pytest.raises(UserError, match="centre = 0.5, proportions = False: .*Set data.size"):
        Resizing.of(0, "bicubic", 0.5, False)


def test_the_images_of_a_data_set_are_those_of_its_reading(tmp_path):
    """Also for a set that is in memory, and for one whose images have the size already."""
    for name, sides in {"cat/1": (9, 14), "cat/2": (6, 6), "dog/1": (7, 5), "dog/2": (12, 5)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (*sides, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    dataset = image_folder(path=str(tmp_path), size=6, resample="bicubic", centre=0.8, proportions=True, held_out=0.5)
    files = [Path(dataset.train.place(number)) for number in range(2)]  # pyright: ignore[reportAttributeAccessIssue]
    assert dataset.reading is not None
    ours = dataset.train.examples(np.arange(2))["inputs"]["images"]
    np.testing.assert_array_equal(ours, dataset.reading.source(files).examples(np.arange(2))["inputs"]["images"])
    for file, image in zip(files, ours):
        with Image.open(file) as picture:
            side = 8 / min(picture.size)
            large = picture.resize([int(side * x) for x in picture.size], Image.Resampling.BICUBIC)
        left, top = (large.width - 6) // 2, (large.height - 6) // 2
        np.testing.assert_allclose(image * 255, np.asarray(large)[top : top + 6, left : left + 6], atol=1e-4)
