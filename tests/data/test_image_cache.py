"""Decoded images: rows by hand, splits, and what is kept on disk when, where and for how long."""

import io

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from data import decoded as module
from data.decoded import decoded


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
    """Where images are kept; splits of 11 are worth it here, those of 2 are not. Each test is a first run."""
    module._read.cache_clear()
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path))
    monkeypatch.setattr(module, "_WORTH_KEEPING", 11)
    return tmp_path / "decoded"


def numbers(rows, first=0):
    """The numbers of the images, each of which must be of one colour and have its label."""
    found = rows["image"][:, 0, 0, 0]
    np.testing.assert_array_equal(rows["image"], np.broadcast_to(found.reshape(-1, 1, 1, 1), (len(rows), 3, 5, 1)))
    np.testing.assert_array_equal((found - first) % 3, rows["label"])
    return sorted(found.tolist())


def test_rows_are_images_and_their_labels(squares):
    rows = decoded(squares, "train")
    assert rows["image"].dtype == np.uint8 and rows["label"].dtype == np.int32
    assert numbers(rows) == list(range(11))


def test_splits_are_cut_and_added_as_tfds_does(squares, capsys):
    parts = [decoded(squares, split) for split in ("train[:80%]", "train[80%:]+test")]
    assert [len(part) for part in parts] == [9, 4]
    assert numbers(np.concatenate(parts)) == list(range(13))
    expected = [int(record["image"][0, 0, 0]) for record in squares.as_data_source("train[:80%]")]
    assert parts[0]["image"][:, 0, 0, 0].tolist() == expected
    assert capsys.readouterr().out == "decoding train of squares (once)\n"
    with pytest.raises(ValueError, match="squares has no split 'dev'. It has train"):
        decoded(squares, "dev")


def test_the_second_run_reads_what_the_first_kept(squares, folder, monkeypatch, capsys):
    first = decoded(squares, "train")
    [file] = folder.iterdir()
    assert file.name.startswith("squares-1.0.0-train-")
    capsys.readouterr()
    module._read.cache_clear()
    monkeypatch.setattr(module, "_decode", None)  # a call would fail
    np.testing.assert_array_equal(decoded(squares, "train"), first)
    assert capsys.readouterr().out == ""


def test_sets_of_the_same_files_share_the_arrays(squares):
    again = tfds.builder_from_directory(squares.data_dir)
    parts = [decoded(builder, split) for builder, split in ((squares, "train[:80%]"), (again, "train[5:]"))]
    assert np.shares_memory(*parts)


def test_small_splits_are_not_kept(squares, folder, capsys):
    assert numbers(decoded(squares, "test")) == [11, 12]
    assert not folder.exists() and capsys.readouterr().out == ""


def test_other_images_of_the_same_name_are_decoded_anew(squares, tmp_path, folder):
    decoded(squares, "train")
    other = prepared(tmp_path / "other", first=100)
    assert numbers(decoded(other, "train"), first=100) == list(range(100, 111))
    assert numbers(decoded(squares, "train")) == list(range(11))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda x: x[:-30], lambda x: b"", lambda x: x.replace(b"\7" * 15, b"\6" * 15)])
def test_a_damaged_file_is_made_again(squares, folder, damage, capsys):
    whole = decoded(squares, "train")
    [file] = folder.iterdir()
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert file.read_bytes() != content
    module._read.cache_clear()
    np.testing.assert_array_equal(decoded(squares, "train"), whole)
    assert capsys.readouterr().out.count("decoding train of squares (once)\n") == 2
    with np.load(file) as kept:
        np.testing.assert_array_equal(kept["rows"], whole)


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_lost(squares, folder, capsys):
    folder.write_text("a file stands where the folder should be")
    assert numbers(decoded(squares, "train")) == list(range(11))
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and "cannot be written" in printed[1] and "Set LECTERN_DATA" in printed[1]


def test_a_full_disk_leaves_no_half_a_file(squares, folder, monkeypatch, capsys):
    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "savez", full)
    assert numbers(decoded(squares, "train")) == list(range(11))
    assert "No space left on device" in capsys.readouterr().out
    assert list(folder.iterdir()) == []


def test_a_damaged_set_is_named_and_nothing_is_kept(tmp_path, folder):
    builder = prepared(tmp_path / "broken")
    [file] = builder.info.splits["train"].filepaths
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"broken/squares/1.0.0 is damaged: train of squares cannot be read"):
        decoded(builder, "train")
    assert not folder.exists()
