"""Labelled texts and images of the user's own: layouts, class numbers, exact values, messages for malformed files."""

from concurrent.futures import ThreadPoolExecutor
import io
import os

import numpy as np
from PIL import Image
import pyarrow
import pyarrow.parquet
import pytest

from core.errors import UserError
from data import image_rows
from data.image_rows import ImageRows
from data.images import Images
from data.pipeline import train_batches
from data.resizing import STRETCHED
from data.subwords import CLS, SEP, Subwords
from data.user_files import image_folder, labelled_text


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def picture(folder, name, pixels, mode=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8), mode=mode).save(path)


def parquet(columns):
    table, file = pyarrow.table(columns), io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


# ---- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content",
    [
        ("train.tsv", "pos\tgood\nneg\tbad\tworse\r\npos\tné\n"),
        (
            "train.jsonl",
            '{"label": "pos", "text": "good"}\n{"text": "bad\\tworse", "label": "neg"}\n{"label":"pos","text":"né"}',
        ),
        ("train.csv", 'text,number,label\r\ngood,1,pos\r\n"bad\tworse",2,neg\r\n\r\n"né",3,pos\r\n'),
        ("train.parquet", parquet({"text": ["good", "bad\tworse", "né"], "label": ["pos", "neg", "pos"]})),
    ],
)
def test_labelled_lines_become_bytes_and_class_numbers(tmp_path, name, content):
    write(tmp_path, name, content)
    write(tmp_path, "validation.tsv", "neg\tso so\n")
    write(tmp_path, "notes.md", "not read")
    dataset = labelled_text(path=str(tmp_path), context=11)
    assert dataset.vocabulary is not None
    assert dataset.facts == {"classes": 2, "vocab_size": 263, "context": 11}
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (3, 1, "validation")
    batch = dataset.train.examples(np.arange(3))
    assert batch["targets"].tolist() == [1, 0, 1]
    texts = [dataset.vocabulary.decode(row[mask]) for row, mask in zip(*batch["inputs"].values())]
    assert texts == ["good", "bad\tworse", "né"]
    assert dataset.evaluation.examples(np.array([0]))["targets"].tolist() == [0]


def test_one_file_can_be_cut_into_splits(tmp_path):
    write(tmp_path, "train.tsv", "".join(f"{number % 2}\ttext {number}\n" for number in range(10)))
    dataset = labelled_text(path=str(tmp_path), context=11, train="train[:70%]", evaluation="train[70%:]")
    assert (len(dataset.train), len(dataset.evaluation)) == (7, 3)


@pytest.mark.parametrize(
    "name, content",
    [("train.csv", "words,stars\nb,4\na,2\n"), ("train.jsonl", '{"words":"b","stars":4}\n{"words":"a","stars":2}\n'),
     ("train.parquet", parquet({"stars": [4, 2], "words": ["b", "a"]}))],
)  # fmt: skip
def test_the_columns_can_be_named(tmp_path, name, content):
    write(tmp_path, name, content)
    dataset = labelled_text(path=str(tmp_path), context=5, evaluation="train", text="words", label="stars")
    assert dataset.classes == ("2", "4") and dataset.train.examples(np.arange(2))["targets"].tolist() == [1, 0]


def test_numbers_are_labels_too(tmp_path):
    write(tmp_path, "train.jsonl", '{"label": 3, "text": "a"}\n{"label": 12, "text": "b"}\n{"label": 3, "text": "c"}\n')
    dataset = labelled_text(path=str(tmp_path), context=5, evaluation="train")
    assert dataset.train.examples(np.arange(3))["targets"].tolist() == [1, 0, 1]


def test_cut_texts_are_counted(tmp_path, capsys):
    write(tmp_path, "train.tsv", "a\tfive.\nb\tseven..\nb\t12345678\n")
    labelled_text(path=str(tmp_path), context=7, evaluation="train")
    assert "1 of 3 texts are longer than 7 tokens and were cut" in capsys.readouterr().err
    labelled_text(path=str(tmp_path), context=8, evaluation="train")
    assert capsys.readouterr().err == ""


def test_a_tokenizer_puts_a_text_between_cls_and_sep(tmp_path):
    Subwords.train(["good bad"], kind="bpe", vocab_size=270).save(tmp_path / "tokenizer.json")
    write(tmp_path, "train.tsv", "a\tgood\nb\tbad bad bad bad\n")
    tokenizer = str(tmp_path / "tokenizer.json")
    dataset = labelled_text(path=str(tmp_path), context=5, evaluation="train", tokenizer=tokenizer)
    assert dataset.vocabulary is not None
    assert dataset.facts == {"classes": 2, "vocab_size": len(dataset.vocabulary), "context": 5}
    tokens, mask = dataset.train.examples(np.arange(2))["inputs"].values()
    for row, text in zip(tokens, ("good", "bad bad bad bad")):
        inside = dataset.vocabulary.encode(text)[:3].tolist()
        assert row.tolist() == [*[CLS, *inside, SEP], 0, 0, 0][:5]
    np.testing.assert_array_equal(mask, tokens != 0)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("train.tsv", "a\tb\nno tab\n", r"train.tsv, line 2: expected a label, a tab and a text, got 'no tab'"),
        ("train.tsv", "a\tb\n\nc\td\n", r"train.tsv, line 2: empty"),
        ("train.tsv", "a\tb\n\tb\n", r"train.tsv, line 2: expected a label"),
        ("train.tsv", "a\tb\na\t \n", r"train.tsv, line 2: expected a label"),
        ("train.tsv", b"a\tb\na\tn\xe9\n", r"train.tsv, line 2: not UTF-8"),
        ("train.jsonl", '{"label": "a", "text": "b"}\n{"label": "a"\n', r"train.jsonl, line 2: expected \{\"label\""),
        ("train.jsonl", '{"label": "a"}\n', r"train.jsonl, line 1: expected"),
        ("train.jsonl", '["label", "text"]\n', r"train.jsonl, line 1: expected"),
        ("train.jsonl", '{"label": null, "text": "b"}\n', r"train.jsonl, line 1: expected"),
        ("train.jsonl", '{"label": 0.5, "text": "b"}\n', r"train.jsonl, line 1: expected"),
        ("train.csv", "label,text\na,b\nc\n", r"train.csv, line 3: 1 columns, but the header has 2: label, text"),
        ("train.csv", "label,words\na,b\n", r"no column 'text': its header is 'label', 'words'. Name the columns"),
        ("train.csv", "label,text,text\na,b,c\n", r"train.csv has several columns 'text'"),
        ("train.csv", "", r"no column 'label': its header is nothing"),
        ("train.csv", 'label,text\na,"two\nlines"\nb,\n', r"train.csv, line 4: expected a label and a text"),
        ("train.csv", 'label,text\na,"b\n', r"train.csv, line 2: unexpected end of data. Expected CSV"),
        ("train.parquet", b"no table", r"train.parquet is not a Parquet file that can be read"),
        ("train.parquet", parquet({"label": ["a"], "words": ["b"]}), r"no column 'text': its header is 'label'"),
        ("train.parquet", parquet({"label": ["a", None], "text": ["b", "c"]}), r"row 2: expected a label and a text"),
        ("notes.md", "a\tb\n", r"holds nothing to train on. Expected a file per split \(train.tsv"),
        ("dev.tsv", "a\tb\n", r"no split 'train'. It has dev \(1\)"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path, name, content, message):
    write(tmp_path, name, content)
    with pytest.raises(ValueError, match=message):
        labelled_text(path=str(tmp_path), context=5, evaluation="train")


@pytest.mark.parametrize("context, tokenizer", [(0, "bytes"), (2, "tokenizer.json")])
def test_a_context_that_is_too_short_is_named(tmp_path, context, tokenizer):
    with pytest.raises(ValueError, match=f"context = {context}: expected at least 1 token, or 3"):
        labelled_text(path=str(tmp_path), context=context, tokenizer=tokenizer)


def test_an_unknown_label_is_named_with_its_line(tmp_path):
    write(tmp_path, "train.tsv", "pos\tgood\nneg\tbad\n")
    write(tmp_path, "validation.tsv", "pos\tgood\npostive\tbad\n")
    with pytest.raises(
        ValueError, match=r"validation.tsv, line 2: the label 'postive' is not among .* train: neg, pos"
    ):
        labelled_text(path=str(tmp_path), context=5)


def test_a_split_in_two_files_and_a_missing_folder_are_named(tmp_path):
    write(tmp_path, "train.tsv", "a\tb\n")
    write(tmp_path, "train.jsonl", '{"label": "a", "text": "b"}\n')
    with pytest.raises(ValueError, match="holds train as .jsonl and as .tsv"):
        labelled_text(path=str(tmp_path), context=5)
    with pytest.raises(UserError, match="There is no folder .*nowhere"):
        labelled_text(path=str(tmp_path / "nowhere"), context=5)


# ---- images ---------------------------------------------------------------------------------------------------------


def pets(folder):
    picture(folder, "train/cat/1.png", np.full((3, 5), 51))
    picture(folder, "train/cat/2.png", np.full((3, 5), 102))
    picture(folder, "train/dog/1.png", np.full((3, 5, 3), (255, 0, 51)))
    picture(folder, "validation/dog/7.png", np.full((3, 5), 204))
    write(folder, "train/.DS_Store", "hidden")
    return str(folder)


def test_folders_become_classes(tmp_path):
    dataset = image_folder(path=pets(tmp_path))
    assert dataset.facts == {"image_shape": (3, 5, 3), "classes": 2}
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (3, 1, "validation")
    batch = dataset.train.examples(np.arange(3))
    assert batch["inputs"]["images"].shape == (3, 3, 5, 3)
    corners = np.round(255 * batch["inputs"]["images"][:, 2, 4]).astype(int).tolist()
    class_of = {tuple(corner): label for corner, label in zip(corners, batch["targets"].tolist())}
    assert class_of == {(51, 51, 51): 0, (102, 102, 102): 0, (255, 0, 51): 1}
    assert dataset.evaluation.examples(np.array([0]))["targets"].tolist() == [1]
    assert isinstance(dataset.evaluation, Images) and dataset.evaluation.place(0).endswith("validation/dog/7.png")


def test_grey_images_of_another_size(tmp_path):
    picture(tmp_path, "train/cat/1.png", np.full((7, 2), 51))
    picture(tmp_path, "train/dog/1.png", [[0, 0, 255, 255]] * 4)
    dataset = image_folder(path=str(tmp_path), size=2, channels=1, evaluation="train", targets="images")
    assert dataset.facts == {"image_shape": (2, 2, 1), "target_shape": (2, 2, 1)}
    images = sorted(dataset.train.examples(np.arange(2))["inputs"]["images"][..., 0].tolist())
    np.testing.assert_allclose(images[1], [[0.2, 0.2], [0.2, 0.2]], atol=1e-6)
    assert images[0][0][0] < 0.2 and images[0][0][1] > 0.8


def test_a_slice_has_all_classes_and_is_the_same_each_time(tmp_path):
    for number in range(20):
        for label in ("cat", "dog"):
            picture(tmp_path, f"train/{label}/{number}.png", [[number]])
    load = lambda: image_folder(path=str(tmp_path), train="train[:80%]", evaluation="train[80%:]")
    dataset, again = load(), load()
    assert (len(dataset.train), len(dataset.evaluation)) == (32, 8)
    batch = dataset.evaluation.examples(np.arange(8))
    assert set(batch["targets"]) == {0, 1}
    np.testing.assert_equal(again.evaluation.examples(np.arange(8)), batch)


def test_an_image_is_decoded_once_where_all_fit_into_memory(tmp_path):
    labelled = [(tmp_path / f"{n}.png", n % 3) for n in range(7)]
    for n, (file, _) in enumerate(labelled):
        picture(tmp_path, file, np.full((3, 5), 10 * n))
    size = 7 * (4 + 3 * 5)  # bytes: a label and the pixels
    in_memory, from_files = (ImageRows(labelled, (3, 5, 1), memory_limit=limit) for limit in (size, size - 1))
    for source in (in_memory, from_files):
        rows = source[np.array([5, 2])]
        assert (rows["image"][:, 2, 4, 0].tolist(), rows["label"].tolist()) == ([50, 20], [2, 2])
    labelled[2][0].unlink()
    assert in_memory[np.array([6, 2, 5])]["image"][:, 0, 0, 0].tolist() == [60, 20, 50]
    with pytest.raises(ValueError, match="There is no file .*2.png"):
        from_files[np.array([6, 2, 5])]


def batches(path, start, count):
    """Training batches number `start` to `start + count` of a folder of images that do not stay in memory."""
    files = sorted(path.glob("train/*/*.jpg"))
    labelled = [(file, number) for number, file in enumerate(files)]
    rows = ImageRows(labelled, (4, 4, 3), resizing=STRETCHED, memory_limit=0)
    source = Images(rows, peak=255)
    iterator = train_batches(source, batch_size=13, seed=3)
    first_batches = [next(iterator) for _ in range(start)]
    state = iterator.get_state()
    resumed = train_batches(source, batch_size=13, seed=3)
    resumed.set_state(state)
    return [next(resumed) for _ in range(count)], first_batches


def test_files_that_are_decoded_in_parallel_give_the_same_batches_also_after_resuming(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for number in range(17):
        pixels = generator.integers(0, 256, (11, 7, 3))
        picture(tmp_path, f"train/{'cat' if number % 3 else 'dog'}/{number}.jpg", pixels)
    monkeypatch.setattr(image_rows, "_THREADS", 1)
    _, one_by_one = batches(tmp_path, 11, 0)
    monkeypatch.setattr(image_rows, "_THREADS", 4)
    monkeypatch.setattr(image_rows, "_SMALL", 0)
    in_parallel, _ = batches(tmp_path, 5, 6)
    np.testing.assert_equal(in_parallel, one_by_one[5:])
    assert len({batch["inputs"]["images"].tobytes() for batch in one_by_one}) == 11


@pytest.mark.parametrize("content, pools", [(b"", 0), (bytes(40_000), 1)])
def test_small_files_are_read_by_one_thread(tmp_path, monkeypatch, content, pools):
    picture(tmp_path, "1.png", [[1, 2]])
    with (tmp_path / "1.png").open("ab") as stream:
        stream.write(content)  # behind the end of the picture, where nothing reads it
    opened = []
    monkeypatch.setattr(image_rows, "ThreadPoolExecutor", lambda n: opened.append(n) or ThreadPoolExecutor(n))
    monkeypatch.setattr(image_rows, "_THREADS", 3)
    rows = ImageRows([(tmp_path / "1.png", 2)] * 8, (1, 2, 1))
    assert rows[np.arange(8)]["image"][7].tolist() == [[[1], [2]]]
    assert opened == [3] * pools


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_of_several_files_that_cannot_be_read_the_first_is_named(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(image_rows, "_THREADS", threads)
    monkeypatch.setattr(image_rows, "_SMALL", 0)
    labelled = [(tmp_path / f"{n}.png", 0) for n in range(19)]
    for file, _ in labelled:
        picture(tmp_path, file, [[1, 2]])
    rows = ImageRows(labelled, (1, 2, 1))
    for number in (17, 5, 11):
        labelled[number][0].write_text("no image")
    for _ in range(5):
        with pytest.raises(UserError, match="/5.png is not an image"):
            rows[np.arange(19)]


def test_images_of_two_sizes_are_named(tmp_path):
    pets(tmp_path)
    picture(tmp_path, "validation/dog/8.png", np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"8.png has 5 rows and 3 columns, but .* has 3 rows and 5 .* Set data.size"):
        image_folder(path=str(tmp_path))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("train/dog/2.png", "no image", "2.png is not an image of a format"),
        ("train/2.png", "no image", "2.png: expected a folder per class"),
        ("validation/bird/1.png", "no image", "1.png: the label 'bird' is not among those of train: cat, dog"),
    ],
)
def test_a_file_in_the_wrong_place_is_named(tmp_path, name, content, message):
    pets(tmp_path)
    write(tmp_path, name, content)
    with pytest.raises(ValueError, match=message):
        image_folder(path=str(tmp_path))


def test_a_damaged_image_is_named_when_it_is_read(tmp_path):
    pets(tmp_path)
    file = tmp_path / "train/dog/1.png"
    picture(tmp_path, "train/dog/1.png", np.random.default_rng(0).integers(0, 255, (3, 5, 3)))
    file.write_bytes(file.read_bytes()[:-40])
    dataset = image_folder(path=str(tmp_path))
    with pytest.raises(ValueError, match="1.png cannot be read as an image: .*"):
        dataset.train.examples(np.arange(3))


def test_more_than_8_bits_are_refused_before_they_are_clipped(tmp_path):
    (tmp_path / "train/cat").mkdir(parents=True)
    Image.fromarray(np.full((3, 5), 40_000, np.uint16)).save(tmp_path / "train/cat/1.png")
    with pytest.raises(ValueError, match=r"1.png has more than 8 bits a channel \(mode I;16\)"):
        image_folder(path=str(tmp_path), evaluation="train")


def test_a_missing_folder_and_other_channels_are_named(tmp_path):
    with pytest.raises(UserError, match="There is no folder .*nowhere"):
        image_folder(path=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"channels = 2: expected 3 \(colour\) or 1 \(grey\)"):
        image_folder(path=pets(tmp_path), channels=2)
    with pytest.raises(ValueError, match="size = -1: expected at least 1 pixel"):
        image_folder(path=pets(tmp_path), size=-1)


# ---- layouts and special files --------------------------------------------------------------------------------------


def test_a_folder_at_the_wrong_level_is_shown_with_the_level_that_is_expected(tmp_path):
    pets(tmp_path / "pets")
    with pytest.raises(UserError) as refused:
        image_folder(path=str(tmp_path))
    assert f"expected: {tmp_path}/train/cat/1.png" in str(refused.value)
    assert f"found:    {tmp_path}/pets/train/cat/1.png" in str(refused.value)
    assert "holds the splits" in str(refused.value)


def test_splits_without_classes_are_refused(tmp_path):
    picture(tmp_path, "train/1.png", [[0]])
    picture(tmp_path, "validation/2.png", [[0]])
    with pytest.raises(UserError, match="train is called as a split, but holds no folder of a class"):
        image_folder(path=str(tmp_path))


def test_folders_of_classes_alone_are_split_by_class(tmp_path, capsys):
    for label, count in {"cat": 10, "dog": 23, "eel": 2, "fox": 1}.items():
        for number in range(count):
            picture(tmp_path, f"{label}/{number}.png", [[7 * number]])
    load = lambda **fields: image_folder(path=str(tmp_path), held_out=0.3, **fields)
    dataset = load()
    assert "a folder per class; 30% of each are held out; images: train 25, validation 11" in capsys.readouterr().err
    labels = [source.examples(np.arange(len(source)))["targets"] for source in (dataset.train, dataset.evaluation)]
    assert [np.bincount(x, minlength=4).tolist() for x in labels] == [[7, 16, 1, 1], [3, 7, 1, 0]]
    images = lambda source: sorted(
        (int(label), int(image.sum() * 85)) for image, label in
        zip(source.examples(np.arange(len(source)))["inputs"]["images"].round(6),
            source.examples(np.arange(len(source)))["targets"])
    )  # fmt: skip
    assert len(set(images(dataset.train) + images(dataset.evaluation))) == 36  # no image is in both
    assert images(load().evaluation) == images(dataset.evaluation) != images(load(split_seed=1).evaluation)


def test_the_layout_with_splits_is_named_too(tmp_path, capsys):
    image_folder(path=pets(tmp_path))
    assert "a folder per split with a folder per class in it; images: train 3, validation 1" in capsys.readouterr().err


@pytest.mark.parametrize("reader", [image_folder, lambda path: labelled_text(path=path, context=5)])
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, reader):
    write(tmp_path, "train.tsv", "a\tb\n")
    with pytest.raises(UserError, match="train.tsv is a file: name the folder that holds it"):
        reader(path=str(tmp_path / "train.tsv"))


def special_files(folder):
    """Creates what is no ordinary file in a folder, and yields the name of each, one at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path),
        "nothing": lambda path: os.symlink("/does/not/exist", path),
    }  # fmt: skip
    for kind, make in makers.items():
        make(folder / kind)
        yield folder / kind
        (folder / kind).rmdir() if kind == "folder" else (folder / kind).unlink()


def test_what_is_no_ordinary_file_is_refused_by_name_and_nothing_waits_for_it(tmp_path):
    pets(tmp_path)
    for file in special_files(tmp_path / "train/cat"):
        with pytest.raises(UserError, match=file.name):
            image_folder(path=str(tmp_path))
    write(tmp_path, "texts/train.tsv", "a\tb\n")
    for file in special_files(tmp_path / "texts"):
        named = file.rename(file.with_suffix(".tsv"))
        with pytest.raises(UserError, match=named.name):
            labelled_text(path=str(tmp_path / "texts"), context=5, evaluation="train")
        named.rename(file)
