"""Predictions for files, folders, texts and arrays, compared with the model itself."""

from contextlib import redirect_stdout
import csv
import io
import json
from pathlib import Path
import shutil
from typing import Any

import jax
import numpy as np
from PIL import Image
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from core.errors import UserError
from experiments.use.answers import answers
from experiments.use.inputs import image_files, of_items
from experiments.use.opened import open_folder, open_split
from experiments.use.predict import main, predict
from models import pretrained
import train

PUBLISHED = Path(__file__).parents[2] / "models" / "pretrained"
COMMON = {
    "seed": 0, "steps": 2, "batch_size": 4, "eval_every": 2, "checkpoint_every": 2,
    "optimizer": {"learning_rate": 1e-2},
}  # fmt: skip
SIZES = {"width": 8, "depth": 1, "heads": 2}
DIGITS = {"name": "digits", "evaluation": "test[:7]"}
CONFIGS = {
    "images": {"model": {"name": "vit", "patch": 4} | SIZES, "objective": {"name": "classification"},
               "data": DIGITS | {"mean": [0.3], "std": [0.4]}},
    "sequence": {"model": {"name": "bert", "head": "classification"} | SIZES, "objective": {"name": "classification"},
                 "data": DIGITS | {"form": "class"}},
    "draws": {"model": {"name": "variational", "latents": 3, "width": 8, "depth": 1, "likelihood": "categorical"},
              "objective": {"name": "variational", "evaluation_samples": 5}, "data": DIGITS},
    "texts": {"model": {"name": "bert", "head": "classification"} | SIZES, "objective": {"name": "classification"},
              "data": {"name": "labelled_text", "path": "TEXTS", "context": 13, "evaluation": "train"}},
    "tags": {"model": {"name": "bert", "head": "tagging"} | SIZES, "objective": {"name": "classification"},
             "data": {"name": "python_docs_quotes", "context": 11, "vocab_size": 600,
                      "evaluation": "validation[:2000]"}},
    "numbers": {"model": {"name": "in_context"} | SIZES, "objective": {"name": "regression"},
                "data": {"name": "linear_functions", "evaluation": "test[:7]", "length": 5}},
    "pixels": {"model": {"name": "unet", "width": 8, "depth": 1}, "objective": {"name": "segmentation"},
               "data": {"name": "shapes", "form": "mask", "side": 16, "evaluation": "test[:7]"}},
    "codes": {"model": {"name": "autoencoder", "code": 3, "width": 8, "depth": 1},
              "objective": {"name": "reconstruction"}, "data": DIGITS | {"targets": "images"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """The workdir of a run of a config, which is trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "labelled").mkdir()
    (folder / "labelled" / "train.tsv").write_text("good\tfine\nbad\tpoor work\ngood\twell\nbad\tno\n")

    def workdir(name: str) -> Path:
        config = COMMON | CONFIGS[name]
        if "path" in config["data"]:
            config["data"] = config["data"] | {"path": str(folder / "labelled")}
        if not (folder / name).exists():
            with redirect_stdout(None):
                train.run(config, folder / name)
        return folder / name

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield workdir


@pytest.fixture
def pictures(tmp_path):
    """Five images as files, grey of 8 x 8 pixels, and their pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    for number, image in enumerate(pixels):
        path = tmp_path / "pictures" / ("below" if number > 2 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (tmp_path / "pictures" / "notes.txt").write_text("no image")
    return tmp_path / "pictures", pixels


def rows_of(capsys, *arguments) -> list[dict]:
    main([*map(str, arguments), "--format=jsonl"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.medium
def test_a_folder_of_images_is_read_as_the_training_images_were(workdirs, pictures, capsys):
    folder, pixels = pictures
    rows = rows_of(capsys, f"--workdir={workdirs('images')}", "--images", folder, "--top_k=10", "--batch_size=2")
    model, _ = train.load(workdirs("images"))
    images = (pixels[..., None] / np.float32(255) - np.float32(0.3)) / np.float32(0.4)
    expected = jax.nn.softmax(model(images))  # pyright: ignore[reportCallIssue] # every model can be called
    assert [Path(row["input"]).name for row in rows] == [f"{number}.png" for number in (0, 1, 2, 3, 4)]
    for row, probabilities in zip(rows, np.asarray(expected)):
        assert row["class"] == str(probabilities.argmax())
        assert list(row["probabilities"].values()) == sorted(row["probabilities"].values(), reverse=True)
        np.testing.assert_allclose([row["probabilities"][str(c)] for c in range(10)], probabilities, atol=2e-6)


def test_an_image_of_another_size_and_in_colour_is_stretched_and_grey(workdirs, tmp_path):
    Image.new("RGB", (31, 17), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("L", (8, 8), 76).save(tmp_path / "grey.png")  # the luma of red
    opened = open_folder(workdirs("images"))
    red, grey = predict(opened, of_items(opened, [tmp_path / "red.png", tmp_path / "grey.png"]))
    assert red["probabilities"] == grey["probabilities"]


@pytest.mark.parametrize("name", ["images", *(pytest.param(x, marks=pytest.mark.slow) for x in ("sequence", "draws"))])
def test_a_split_is_answered_as_the_objective_counts_it(workdirs, name):
    opened = open_folder(workdirs(name))
    assert opened.run is not None
    source = open_split(opened.run, "test[:7]").evaluation
    (part,) = answers(opened, source, batch_size=7)
    _, metrics = opened.run.objective(opened.model, part.batch, None)
    accuracy = (part.values.argmax(-1) == part.batch["targets"]).mean()
    assert accuracy == pytest.approx(float(metrics["accuracy"][0] / metrics["accuracy"][1]))
    again = np.concatenate([piece.values for piece in answers(opened, source, batch_size=3)])
    np.testing.assert_allclose(again, part.values, atol=1e-6)


@pytest.mark.medium
def test_texts_are_named_by_class_on_a_table(workdirs, capsys):
    workdir = workdirs("texts")
    main([f"--workdir={workdir}", "--text=fine work"])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["input", "class", "probability", "others"]
    model, run = train.load(workdir)
    vocabulary: Any = run.dataset.vocabulary
    tokens = np.pad(vocabulary.encode("fine work"), (0, 4))[None]
    logits = model(tokens, mask=tokens > 0)  # pyright: ignore[reportCallIssue]
    bad, good = np.asarray(jax.nn.softmax(logits))[0]
    best, other = (("bad", bad), ("good", good)) if bad > good else (("good", good), ("bad", bad))
    assert line.split() == ["fine", "work", best[0], f"{best[1]:.4f}", other[0], f"{other[1]:.4f}"]


def test_lines_of_a_file_and_of_standard_input_are_the_same(workdirs, tmp_path, capsys, monkeypatch):
    lines = 'fine\na "quoted", word\n'
    (tmp_path / "lines.txt").write_text(lines)
    rows = rows_of(capsys, f"--workdir={workdirs('texts')}", f"--file={tmp_path}/lines.txt")
    assert [row["input"] for row in rows] == lines.splitlines()
    for arguments in (["--file=-"], []):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        assert rows_of(capsys, f"--workdir={workdirs('texts')}", *arguments) == rows


def test_csv_has_a_column_for_each_class(workdirs, tmp_path, capsys):
    (tmp_path / "lines.txt").write_text('fine\na "quoted", word\n')
    main([f"--workdir={workdirs('texts')}", f"--file={tmp_path}/lines.txt", f"--out={tmp_path}/out.csv", "--top_k=1"])
    assert capsys.readouterr().out == ""
    first, second = csv.DictReader((tmp_path / "out.csv").open(newline=""))
    assert list(first) == ["input", "class", "probability", "p(bad)", "p(good)"]
    assert second["input"] == 'a "quoted", word'
    assert float(first["p(bad)"]) + float(first["p(good)"]) == pytest.approx(1, abs=1e-5)
    assert first[f"p({first['class']})"] == first["probability"]


@pytest.mark.medium
def test_a_tagger_answers_for_each_token_of_the_text(workdirs, capsys):
    (row,) = rows_of(capsys, f"--workdir={workdirs('tags')}", "--text=The import statement")
    opened = open_folder(workdirs("tags"))
    vocabulary: Any = opened.vocabulary
    tokens = vocabulary.encode("The import statement")
    assert [element["token"] for element in row["elements"]] == [vocabulary.decode([token]) for token in tokens]
    assert [element["place"] for element in row["elements"]] == list(range(1, 1 + len(tokens)))  # behind [CLS]
    assert {element["class"] for element in row["elements"]} <= {"outside", "quoted"}
    main([f"--workdir={workdirs('tags')}", "--text=The import statement", "--format=csv"])
    head, *lines = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == ["input", "place", "token", "class", "probability"] and len(lines) == len(tokens)


@pytest.mark.medium
def test_a_regressor_answers_numbers_for_arrays(workdirs, tmp_path, capsys):
    points, values = np.ones((3, 5, 2)), np.arange(15.0).reshape(3, 5)
    np.savez(tmp_path / "in.npz", points=points, values=values)
    rows = rows_of(capsys, f"--workdir={workdirs('numbers')}", f"--arrays={tmp_path}/in.npz", "--batch_size=2")
    model: Any = train.load(workdirs("numbers"))[0]
    expected = np.asarray(model(points.astype(np.float32), values.astype(np.float32)))
    np.testing.assert_allclose([row["numbers"] for row in rows], expected, atol=1e-5)


@pytest.mark.slow
def test_a_model_of_pixels_answers_the_share_of_each_class(workdirs, tmp_path, capsys):
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "1.png")
    (row,) = rows_of(capsys, f"--workdir={workdirs('pixels')}", "--images", tmp_path / "1.png")
    assert list(row["shares"])[0] == "background" and sum(row["shares"].values()) == pytest.approx(1, abs=1e-4)


# ---- published folders ----------------------------------------------------------------------------------------------


def test_a_published_image_classifier_is_asked_as_its_preprocessor_says(tmp_path, capsys):
    source = pretrained.load(PUBLISHED / "vit")
    rows, columns, channels = pretrained.describe(source)["image_shape"]
    pretrained.save(source, tmp_path / "vit", mean=[0.5] * channels, std=[0.25] * channels)
    config = json.loads((tmp_path / "vit/config.json").read_text())
    config |= {"id2label": {str(number): name for number, name in enumerate("abcde")}}
    (tmp_path / "vit/config.json").write_text(json.dumps(config))
    pixels = np.random.default_rng(0).integers(0, 256, (rows, columns, channels), np.uint8)
    Image.fromarray(pixels.squeeze()).save(tmp_path / "1.png")
    (row,) = rows_of(capsys, f"--weights={tmp_path}/vit", "--images", tmp_path / "1.png", "--top_k=5")
    images = (pixels[None] / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    expected = np.asarray(jax.nn.softmax(source(images)))[0]  # pyright: ignore[reportCallIssue]
    np.testing.assert_allclose([row["probabilities"][name] for name in "abcde"], expected, atol=2e-6)


def test_a_published_model_is_asked_about_the_middle_of_images_of_another_size_than_it_learned(tmp_path, capsys):
    """DINOv2 has positions for 3 x 3 patches of 5 pixels here; it is asked about 2 x 2, cut out of 14 x 14 pixels."""
    shutil.copytree(PUBLISHED / "dinov2", tmp_path / "dinov2")
    settings = {"size": {"shortest_edge": 14}, "crop_size": 10, "image_mean": [0.5], "image_std": [0.25]}
    (tmp_path / "dinov2/preprocessor_config.json").write_text(json.dumps(settings))
    pixels = np.random.default_rng(0).integers(0, 256, (14, 23, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    (row,) = rows_of(capsys, f"--weights={tmp_path}/dinov2", "--images", tmp_path / "1.png", "--top_k=5")
    images = (pixels[None, 2:12, 6:16] / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    source: Any = pretrained.load(PUBLISHED / "dinov2")
    expected = np.asarray(jax.nn.softmax(source.resized((10, 10, 3))(images)))[0]
    probabilities = [row["probabilities"][f"LABEL_{number}"] for number in range(5)]
    np.testing.assert_allclose(probabilities, expected, atol=2e-6)


def test_a_published_clip_is_not_asked_about_images_alone(tmp_path):
    Image.new("RGB", (15, 15)).save(tmp_path / "1.png")
    opened = open_folder(PUBLISHED / "clip")
    with pytest.raises(UserError, match="clip holds a CLIP, which compares images with texts: load it in Python"):
        of_items(opened, [tmp_path / "1.png"])


@pytest.fixture
def published_bert(tmp_path):
    """Returns a function from a case to a folder with its weights and a tokenizer of words and [CLS] and [SEP]."""

    def folder(case: str) -> Path:
        shutil.copytree(PUBLISHED / case, tmp_path / case, ignore=shutil.ignore_patterns("expected*"))
        words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "one": 4, "two": 5}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
        tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
        tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[UNK]"])
        tokenizer.save(str(tmp_path / case / "tokenizer.json"))
        return tmp_path / case

    return folder


def test_a_published_text_classifier_reads_padded_and_cut_texts(published_bert, tmp_path, capsys):
    folder = published_bert("bert_classification")
    model: Any = pretrained.load(folder)
    (tmp_path / "lines.txt").write_text("one two\n" + "two " * model.context + "\n")
    rows = rows_of(capsys, f"--weights={folder}", f"--file={tmp_path}/lines.txt", "--top_k=9")
    expected = [model(np.array([[1, 4, 5, 2]])), model(np.array([[1, *[5] * (model.context - 2), 2]]))]
    for row, logits in zip(rows, expected):
        names = [f"LABEL_{number}" for number in range(logits.shape[1])]
        probabilities = [row["probabilities"][name] for name in names]
        np.testing.assert_allclose(probabilities, np.asarray(jax.nn.softmax(logits))[0], atol=2e-6)


def test_a_published_tagger_leaves_out_special_tokens(published_bert, capsys):
    (row,) = rows_of(capsys, f"--weights={published_bert('bert_tagging')}", "--text=two one")
    assert [(element["place"], element["token"]) for element in row["elements"]] == [(1, "two"), (2, "one")]


# ---- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("images", ["--text=a"], "which reads images: use --images"),
        ("texts", ["--images", "pictures"], "which reads texts: use --text or --file"),
        ("numbers", ["--text=a"], "which reads no texts or images of yours: use --arrays"),
        ("texts", ["--text= "], "text 1 is empty"),
        ("images", ["--images", "absent.png"], "There is no file absent.png"),
        ("images", ["--split=dev"], "has no split 'dev'"),
        pytest.param("codes", ["--split=test"], "which predicts neither classes nor numbers", marks=pytest.mark.slow),
        ("numbers", ["--arrays=lines.txt"], "lines.txt is not an .npz file of arrays"),
        ("numbers", ["--arrays=other.npz"], "the inputs of the model are 'points', 'values', but the data has 'x'"),
        ("texts", ["--text=a", "--out=lines.txt/a.csv"], "lines.txt/a.csv cannot be written: lines.txt is no folder"),
        ("texts", ["--text=a", "--batch_size=0"], "batch_size = 0: expected 1 <= batch_size"),
    ],
)
def test_errors_are_one_line(workdirs, pictures, monkeypatch, capsys, name, arguments, words):
    monkeypatch.chdir(pictures[0].parent)
    Path("lines.txt").write_text("a\n")
    np.savez("other.npz", x=np.ones((2, 3)))
    workdir = workdirs(name)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([f"--workdir={workdir}", *arguments])
    output = capsys.readouterr()
    error = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 1 and output.out == "" and len(error) == 1 and words in error[0]


def test_a_damaged_image_is_named(workdirs, tmp_path):
    (tmp_path / "1.png").write_bytes(b"no image")
    opened = open_folder(workdirs("images"))
    with pytest.raises(UserError, match="1.png is not an image of a format"):
        list(predict(opened, of_items(opened, [tmp_path / "1.png"])))


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no image"):
        image_files([tmp_path])
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of its 1 image files can be read"):
        image_files([tmp_path])


def test_in_a_folder_a_damaged_image_is_left_out_and_named(pictures, capsys):
    folder, _ = pictures
    (folder / "below" / "3.png").write_bytes(b"no image")
    assert [file.name for file in image_files([folder])] == ["0.png", "1.png", "2.png", "4.png"]
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("1 of 6 files left out: no image by their names")
    assert second.startswith(f"left out: {folder / 'below' / '3.png'} is not an image")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_in_a_folder_an_image_that_ends_too_early_is_left_out_and_named(tmp_path, capsys, suffix):
    """Its header is good, so opening it is not enough."""
    pixels = np.random.default_rng(0).integers(0, 256, (37, 41, 3), np.uint8)
    for name in ("cut", "whole"):
        Image.fromarray(pixels).save(tmp_path / f"{name}{suffix}")
    cut = tmp_path / f"cut{suffix}"
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    assert [file.stem for file in image_files([tmp_path])] == ["whole"]
    assert str(cut) in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["top_k", "batch_size"])
def test_a_number_out_of_range_is_refused_as_it_was_given_and_before_anything_is_read(flag, capsys):
    with pytest.raises(SystemExit):
        main(["--workdir=none", "--images", "none", f"--{flag}=-3"])
    assert f"{flag} = -3: expected" in capsys.readouterr().err
