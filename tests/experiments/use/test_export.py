"""Exported folders: the same answers as the run, tokenizer, names of classes, images, and the model card."""

from contextlib import redirect_stdout
import io
import json
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from PIL import Image
import pytest

from data.bytes import Bytes
from data.characters import Characters
from data.published_tokenizer import PublishedTokenizer
from data.subwords import Subwords
from data.tokenizer_files import dumped, tokenizer_files
from experiments.use import evaluate
from experiments.use.export import main
from experiments.use.generate import generate
from experiments.use.inputs import of_items
from experiments.use.next_uses import after_evaluation
from experiments.use.opened import open_folder
from experiments.use.predict import predict
import train

pytestmark = pytest.mark.medium

SIZES = {"width": 8, "depth": 1, "heads": 2}
BERT = {"model": {"name": "bert", "head": "classification"} | SIZES, "objective": {"name": "classification"}}
CONFIGS: dict[str, dict[str, Any]] = {
    "images": {"model": {"name": "vit", "patch": 4, "pooling": "cls", "epsilon": 1e-12} | SIZES,
               "objective": {"name": "classification", "label_smoothing": 0.1},
               "data": {"name": "digits", "evaluation": "test[:29]", "mean": [0.3], "std": [0.4]}},
    "bytes": BERT | {"data": {"name": "labelled_text", "path": "TEXTS", "context": 13, "evaluation": "train"}},
    "subwords": BERT | {"data": {"name": "labelled_text", "path": "TEXTS", "context": 7, "evaluation": "train",
                                 "tokenizer": "TEXTS/tokenizer.json"}},
    "characters": {"model": {"name": "gpt", "epsilon": 1e-5} | SIZES, "objective": {"name": "language_modeling"},
                   "data": {"name": "python_docs", "context": 11, "evaluation": "validation[:60]"}},
    "colours": {"model": {"name": "vit", "patch": 4, "pooling": "cls", "epsilon": 1e-12} | SIZES,
                "objective": {"name": "classification"},
                "data": {"name": "image_folder", "path": "TEXTS/images", "mean": [0.5], "std": [0.25], "size": 8,
                         "resample": "bicubic"}},
    "pixels": {"model": {"name": "unet", "width": 8, "depth": 1}, "objective": {"name": "segmentation"},
               "data": {"name": "shapes", "form": "mask", "side": 16, "evaluation": "test[:7]"}},
}  # fmt: skip
TEXTS = ["fine work", "né, poor", "a text that is longer than the context"]


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """The workdir of a run of a config, which is trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    texts = folder / "labelled"
    texts.mkdir()
    (texts / "train.tsv").write_text("good\tfine\nbad\tpoor work\ngood\twell\nbad\tno\n")
    Subwords.train(["fine poor work"], kind="wordpiece", vocab_size=60).save(texts / "tokenizer.json")

    def workdir(name: str) -> Path:
        config = {
            "seed": 0, "steps": 2, "batch_size": 4, "eval_every": 2, "checkpoint_every": 2, "ema": 0.9,
            "optimizer": {"learning_rate": 1e-2},
        } | CONFIGS[name]  # fmt: skip
        data = {k: v.replace("TEXTS", str(texts)) if isinstance(v, str) else v for k, v in config["data"].items()}
        if not (folder / name).exists():
            with redirect_stdout(None):
                train.run(config | {"data": data}, folder / name)
        return folder / name

    generator = np.random.default_rng(0)
    for number in range(10):
        path = texts / "images" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield workdir


def exported(workdir: Path, out: Path) -> Path:
    with redirect_stdout(io.StringIO()):
        main([f"--workdir={workdir}", f"--out={out}"])
    return out


def assert_same_answers(workdir: Path, folder: Path, items) -> None:
    ours, theirs = (list(predict(o, of_items(o, items), top_k=99)) for o in map(open_folder, (workdir, folder)))
    for a, b in zip(ours, theirs, strict=True):
        assert a["class"] == b["class"] and list(a["probabilities"]) == list(b["probabilities"])
        np.testing.assert_allclose(list(a["probabilities"].values()), list(b["probabilities"].values()), atol=3e-6)


@pytest.mark.parametrize("name", ["bytes", "subwords"])
def test_texts_are_answered_as_by_the_run(workdirs, tmp_path, name):
    folder = exported(workdirs(name), tmp_path / "out")
    assert_same_answers(workdirs(name), folder, TEXTS)
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}


def test_images_are_answered_as_by_the_run_and_the_card_has_its_numbers(workdirs, tmp_path):
    workdir = workdirs("images")
    with redirect_stdout(io.StringIO()):
        evaluate.main([f"--workdir={workdir}", "--split=train[:31]", f"--out={workdir}/evaluate"])
    folder = exported(workdir, tmp_path / "out")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "1.png")
    assert_same_answers(workdir, folder, [tmp_path / "1.png"])
    text = (folder / "README.md").read_text()
    metrics = json.loads((workdir / "summary.json").read_text())["metrics"]
    assert f"| test[:29] | accuracy | {metrics['test[:29]/accuracy']:.5g} |" in text
    assert "| train[:31] | expected calibration error | " in text
    assert "moving average" in text and "label smoothing of 0.1" in text
    _, _, arguments = json.loads((workdir / "environment.json").read_text())["command"].partition(" ")
    assert f"\npython {arguments}\n" in text  # without the path of the interpreter here
    content = json.loads((folder / "preprocessor_config.json").read_text())
    assert content["image_mean"] == [0.3] and content["size"] == {"height": 8, "width": 8}


def test_images_of_other_sizes_are_resampled_as_by_the_run(workdirs, tmp_path):
    folder = exported(workdirs("colours"), tmp_path / "out")
    assert json.loads((folder / "preprocessor_config.json").read_text())["resample"] == 3
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 29, 3), np.uint8)).save(tmp_path / "1.png")
    assert_same_answers(workdirs("colours"), folder, [tmp_path / "1.png"])


@pytest.mark.parametrize(
    "name, usage",
    [
        ("images", "predict FROM --images FOLDER"), ("bytes", 'predict FROM --text="..."'),
        ("characters", 'generate FROM --prompt="..."'),
    ],
)  # fmt: skip
def test_what_comes_next_is_a_use_of_the_run_and_then_of_the_folder(workdirs, tmp_path, capsys, name, usage):
    folder, line = workdirs(name), f"python -m experiments.{usage}"
    export_line = f"python -m experiments.export --workdir={folder} --out=published"
    assert after_evaluation(open_folder(folder)) == [line.replace("FROM", f"--workdir={folder}"), export_line]
    capsys.readouterr()
    main([f"--workdir={folder}", f"--out={tmp_path / 'a b'}"])
    assert capsys.readouterr().out.endswith(f"\nnext     {line}\n".replace("FROM", f"--weights='{tmp_path}/a b'"))


def test_a_model_without_a_published_format_is_not_said_to_be_exported_next(workdirs):
    folder = workdirs("pixels")
    line = f"python -m experiments.predict --workdir={folder} --images FOLDER"
    assert after_evaluation(open_folder(folder)) == [line]


def test_an_evaluation_of_an_earlier_step_is_not_in_the_card(workdirs, tmp_path):
    path = workdirs("bytes") / "evaluate" / "old.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"split": "old", "step": 1, "metrics": {"accuracy": 0.5}}))
    assert "| old |" not in (exported(workdirs("bytes"), tmp_path / "out") / "README.md").read_text()
    path.write_text(json.dumps({"split": "old", "step": 2, "metrics": {"accuracy": 0.5}}))
    assert "| old | accuracy | 0.5 |" in (exported(workdirs("bytes"), tmp_path / "two") / "README.md").read_text()


@pytest.mark.slow
def test_a_language_model_writes_the_same_text(workdirs, tmp_path):
    folder = exported(workdirs("characters"), tmp_path / "out")
    settings: dict[str, Any] = {"tokens": 7, "temperature": 0.0}
    ours = generate(str(workdirs("characters")), "The import", **settings)
    assert generate(str(folder), "The import", **settings) == ours


@pytest.mark.parametrize(
    "vocabulary",
    [Bytes(), Characters.of("The né — \n"), Subwords.train(["The ne"], kind="bpe", vocab_size=265),
     Subwords.train(["The né — \n"], kind="wordpiece", vocab_size=40)],
    ids=["bytes", "characters", "bpe", "wordpiece"],
)  # fmt: skip
def test_a_tokenizer_numbers_a_text_as_the_vocabulary_does(tmp_path, vocabulary):
    for name, content in tokenizer_files(vocabulary, framed=False, longest=31).items():
        (tmp_path / name).write_text(dumped(content))
    (tmp_path / "config.json").write_text("{}")
    tokenizer = PublishedTokenizer(tmp_path)
    for text in ("The né", "né — The", "—"):
        np.testing.assert_array_equal(tokenizer.encode(text), vocabulary.encode(text))
        assert tokenizer.decode(vocabulary.encode(text)) == vocabulary.decode(vocabulary.encode(text))
    assert len(tokenizer) == len(vocabulary)


def test_errors_are_one_line(workdirs, tmp_path, capsys):
    def refused(name: str, out: Path) -> str:
        with pytest.raises(SystemExit):
            main([f"--workdir={workdirs(name)}", f"--out={out}"])
        return capsys.readouterr().err

    assert "a UNet has no published format" in refused("pixels", tmp_path / "unet")
    exported(workdirs("bytes"), tmp_path / "out")
    assert "holds config.json, model.safetensors already" in refused("bytes", tmp_path / "out")


@pytest.mark.skipif("LECTERN_PIPELINES" not in os.environ, reason="a part of make test-reference")
@pytest.mark.parametrize("name", ["bytes", "subwords", "colours"])
def test_folders_for_the_pipeline_of_the_reference(workdirs, name):
    """Writes an exported folder, inputs and our answers; reference_pipelines.py compares with its own."""
    place = Path(os.environ["LECTERN_PIPELINES"]) / name
    place.mkdir(parents=True)
    items: list[str] = TEXTS
    if name == "colours":
        images = workdirs("colours").parent / "labelled" / "images"
        items = [str(shutil.copy(path, place)) for path in sorted(images.rglob("*.png"))]
    folder = exported(workdirs(name), place / "model")
    assert_same_answers(workdirs(name), folder, items)
    opened = open_folder(workdirs(name))
    answers = list(predict(opened, of_items(opened, items), top_k=99))
    (place / "answers.json").write_text(json.dumps(answers))
