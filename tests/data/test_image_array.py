"""Images from a .npz file: exact pixels, classes by their labels, a share held out; other files are refused by name."""

import io
import zipfile

import numpy as np
import pytest

from core.errors import UserError
from data.image_array import image_array

COUNT, ROWS, COLUMNS = 35, 7, 5


def arrays(channels: int | None = None) -> dict[str, np.ndarray]:
    """Images whose first pixel is their number, of classes 3, 11 and 20 in turn: 12, 12 and 11 of each."""
    shape = (COUNT, ROWS, COLUMNS) if channels is None else (COUNT, ROWS, COLUMNS, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images.reshape(COUNT, -1)[:, 0] = np.arange(COUNT)
    return {"images": images, "labels": np.array([3, 11, 20])[np.arange(COUNT) % 3]}


def write(folder, content) -> str:
    path = folder / "set.npz"
    np.savez_compressed(path, **content)
    return str(path)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_every_image_is_in_one_split_with_its_label(tmp_path, channels):
    content = arrays(channels)
    dataset = image_array(path=write(tmp_path, content), held_out=0.25)
    assert dataset.facts == {"classes": 3, "image_shape": (ROWS, COLUMNS, channels or 1)}
    assert dataset.classes == ("3", "11", "20")
    splits = []
    for source in (dataset.train, dataset.evaluation):
        batch = source.examples(np.arange(len(source)))
        images = np.asarray(batch["inputs"]["images"])
        numbers = np.rint(images.reshape(len(images), -1)[:, 0] * 255).astype(int)
        assert np.array_equal(images, content["images"][numbers].reshape(images.shape) / np.float32(255))
        assert np.array_equal(batch["targets"], numbers % 3)
        splits.append(numbers)
    assert [np.bincount(numbers % 3).tolist() for numbers in splits] == [[9, 9, 8], [3, 3, 3]]
    assert sorted(np.concatenate(splits)) == list(range(COUNT)) and not np.array_equal(splits[0], np.sort(splits[0]))


def test_names_of_arrays_labels_that_are_texts_and_another_size(tmp_path):
    content = arrays()
    path = write(tmp_path, {"faces": content["images"], "who": np.array(["ann", "bob"])[np.arange(COUNT) % 2]})
    dataset = image_array(path=path, images="faces", label="who", size=2, targets="images", train="train[:50%]")
    assert dataset.facts == {"image_shape": (2, 2, 1), "target_shape": (2, 2, 1)}
    assert dataset.classes == ("ann", "bob") and len(dataset.train) == 14 and len(dataset.evaluation) == 7


def test_another_seed_holds_out_others_and_changed_pixels_are_other_data(tmp_path):
    path = write(tmp_path, arrays())
    identity = lambda **fields: image_array(path=path, **fields).evaluation.identity()
    assert identity() == identity() != identity(split_seed=1)
    before, others = identity(), arrays()
    others["images"][:, -1, -1] ^= 1
    write(tmp_path, others)
    assert identity() != before


@pytest.mark.parametrize(
    "change, words",
    [
        ({"images": np.zeros((COUNT, ROWS, COLUMNS))}, "images is float64"),
        ({"images": np.zeros((COUNT, ROWS, COLUMNS, 2), np.uint8)}, "with 1 or 3 channels"),
        ({"images": np.zeros((0, ROWS, COLUMNS), np.uint8), "labels": np.zeros(0, int)}, "expected uint8"),
        ({"labels": np.zeros(3, int)}, "one for each of the 35 images"),
        ({"labels": np.zeros(COUNT)}, "labels is float64"),
        ({"labels": np.array([None] * COUNT)}, "plain arrays"),
    ],
)
def test_arrays_of_other_types_and_shapes_are_refused(tmp_path, change, words):
    with pytest.raises(UserError, match=words) as error:
        image_array(path=write(tmp_path, arrays() | change))
    assert "set.npz" in str(error.value) and str(error.value).count("\n") == 0


def test_a_file_that_is_none_is_refused(tmp_path):
    path = write(tmp_path, arrays())
    with pytest.raises(UserError, match="no array 'pictures': it has 'images', 'labels'"):
        image_array(path=path, images="pictures")
    with pytest.raises(UserError, match="There is no file"):
        image_array(path=str(tmp_path / "nowhere.npz"))
    content = (tmp_path / "set.npz").read_bytes()
    for damaged in (b"", b"text", content[: len(content) // 2], content[:60] + b"\xff" * 9 + content[69:]):
        (tmp_path / "set.npz").write_bytes(damaged)
        with pytest.raises(UserError, match="set.npz"):
            image_array(path=path)


@pytest.mark.parametrize("shape, words", [((COUNT, 10**9), "fewer bytes|expected up to"), ((COUNT, 100, 1), "fewer")])
def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path, shape, words):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    with pytest.raises(UserError, match=words):
        image_array(path=str(tmp_path / "set.npz"))
