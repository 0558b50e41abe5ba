"""Decoded images: rows by hand, splits, and which files are kept on disk, where, and when they are read."""

import io

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from data import image_cache
from data.image_cache import decoded_images


class Squares(tfds.core.GeneratorBasedBuilder):
    """PNG images of 3x5 pixels; all of image n are n, or `first` more, and its label is n modulo 3."""

    VERSION = tfds.core.Version("1.0.0")
    first = 0

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(3, 5, 1)),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 11), "test": self._generate_examples(11, 13)}

    def _generate_examples(self, start, stop):
        for n in range(start, stop):
            yield n, {"image": png(np.full((3, 5), n + self.first, np.uint8)), "label": n % 3}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    file.seek(0)
    return file


def prepared(folder, first=0):
    builder = Squares(data_dir=folder)
    builder.first = first
    builder.download_and_prepare(file_format="array_record")
    return builder


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    tfds.disable_progress_bar()
    return prepared(tmp_path_factory.mktemp("sets"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of kept images. Here splits of 11 images are kept, splits of 2 are not. Each test is a first run."""
    image_cache._read.cache_clear()
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path))
    monkeypatch.setattr(image_cache, "_WORTH_KEEPING", 11)
    return tmp_path / "decoded"


def numbers(rows, first=0):
    """The numbers of the images; checks that each is of one colour and has its label."""
    values = rows["image"][:, 0, 0, 0]
    np.testing.assert_array_equal(rows["image"], np.broadcast_to(values.reshape(-1, 1, 1, 1), (len(rows), 3, 5, 1)))
    np.testing.assert_array_equal((values - first) % 3, rows["label"])
    return sorted(values.tolist())


def test_rows_are_images_and_their_labels(squares):
    rows = decoded_images(squares, "train")
    assert rows["image"].dtype == np.uint8 and rows["label"].dtype == np.int32
    assert numbers(rows) == list(range(11))


def test_splits_are_sliced_and_added_as_in_tfds(squares, capsys):
    parts = [decoded_images(squares, split) for split in ("train[:80%]", "train[80%:]+test")]
    assert [len(part) for part in parts] == [9, 4]
    assert numbers(np.concatenate(parts)) == list(range(13))
    expected = [int(record["image"][0, 0, 0]) for record in squares.as_data_source("train[:80%]")]
    assert parts[0]["image"][:, 0, 0, 0].tolist() == expected
    assert capsys.readouterr().err == "decoding train of squares (once)\n"
    with pytest.raises(ValueError, match="squares has no split 'dev'. It has train"):
        decoded_images(squares, "dev")


def test_the_second_run_reads_what_the_first_kept(squares, folder, monkeypatch, capsys):
    first = decoded_images(squares, "train")
    [file] = folder.iterdir()
    assert file.name.startswith("squares-1.0.0-train-")
    capsys.readouterr()
    image_cache._read.cache_clear()
    monkeypatch.setattr(image_cache, "_decode", None)  # a call would fail
    np.testing.assert_array_equal(decoded_images(squares, "train"), first)
    assert capsys.readouterr().err == ""


def test_sets_of_the_same_files_share_the_arrays(squares):
    again = tfds.builder_from_directory(squares.data_dir)
    parts = [decoded_images(builder, split) for builder, split in ((squares, "train[:80%]"), (again, "train[5:]"))]
    assert np.shares_memory(parts[0], parts[1])


def test_small_splits_are_not_kept(squares, folder, capsys):
    assert numbers(decoded_images(squares, "test")) == [11, 12]
    assert not folder.exists() and capsys.readouterr().err == ""


def test_other_images_in_a_set_of_the_same_name_are_decoded_anew(squares, tmp_path, folder):
    decoded_images(squares, "train")
    other = prepared(tmp_path / "other", first=100)
    assert numbers(decoded_images(other, "train"), first=100) == list(range(100, 111))
    assert numbers(decoded_images(squares, "train")) == list(range(11))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda x: x[:-30], lambda x: b"", lambda x: x.replace(b"\7" * 15, b"\6" * 15)])
def test_a_damaged_file_is_made_again(squares, folder, damage, capsys):
    rows = decoded_images(squares, "train")
    [file] = folder.iterdir()
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert file.read_bytes() != content
    image_cache._read.cache_clear()
    np.testing.assert_array_equal(decoded_images(squares, "train"), rows)
    assert capsys.readouterr().err.count("decoding train of squares (once)\n") == 2
    with np.load(file) as archive:
        np.testing.assert_array_equal(archive["rows"], rows)


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_lost(squares, folder, capsys):
    folder.write_text("a file stands where the folder should be")
    assert numbers(decoded_images(squares, "train")) == list(range(11))
    output = capsys.readouterr().err.splitlines()
    assert len(output) == 2 and "cannot be written" in output[1] and "Set LECTERN_DATA" in output[1]


def test_a_full_disk_leaves_no_partial_file(squares, folder, monkeypatch, capsys):
    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache.np, "savez", full)
    assert numbers(decoded_images(squares, "train")) == list(range(11))
    assert "No space left on device" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_damaged_set_is_named_and_nothing_is_kept(tmp_path, folder):
    builder = prepared(tmp_path / "broken")
    [file] = builder.info.splits["train"].filepaths
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"broken/squares/1.0.0 is damaged: train of squares cannot be read"):
        decoded_images(builder, "train")
    assert not folder.exists()
