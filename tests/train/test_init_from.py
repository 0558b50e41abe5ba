"""A run that begins with the parameters of another one: those that fit are taken, all others are new and named."""

from dataclasses import replace
import json
import shutil
from typing import Any

from flax import nnx
import numpy as np
from PIL import Image
import pytest

from core.errors import UserError
from data.digits import digits
from data.subwords import Subwords
from models import Bert, VisionTransformer
from models.positions import interpolate
from models.pretrained import save
import train
from training.state import split

COMMON = {
    "seed": 0, "steps": 1, "batch_size": 3, "eval_every": 1, "checkpoint_every": 1,
    "optimizer": {"learning_rate": 1e-9},
}  # fmt: skip
SIZES = {"width": 8, "depth": 2, "heads": 2}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "bert"
    data = {"name": "sentence_pairs", "context": 16, "vocab_size": 600, "evaluation": "validation[:1000]"}
    model = {"name": "bert", "head": "pretraining"} | SIZES
    train.run(COMMON | {"model": model, "objective": {"name": "masked_language_modeling"}, "data": data}, workdir)
    return workdir


def tagging(workdir, **more):
    data = {"name": "python_docs_quotes", "context": 16, "vocab_size": 600, "evaluation": "validation[:1000]"}
    model = {"name": "bert", "head": "tagging"} | SIZES
    objective = {"name": "classification"}
    return COMMON | {"model": model, "objective": objective, "data": data, "init_from": str(workdir)} | more


def vit(data="digits", **more):
    data = {"name": data, "evaluation": "test[:3]"}
    model = {"name": "vit", "patch": 4} | SIZES
    return COMMON | {"model": model, "objective": {"name": "classification"}, "data": data} | more


class Tall:
    """Images of twice the height."""

    draws = 0

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def identity(self):
        return {"examples": len(self), "rows": "twice"}

    def examples(self, indices, draws=None):
        batch = self.source.examples(indices)
        return batch | {"inputs": {"images": np.repeat(batch["inputs"]["images"], 2, axis=1)}}


def tall_digits(*, evaluation: str):
    small = digits(evaluation=evaluation)
    facts = small.facts | {"image_shape": (16, 8, 1)}
    return replace(small, facts=facts, train=Tall(small.train), evaluation=Tall(small.evaluation))


def parameters(workdir):
    return split(train.load(workdir)[0])[1]


@pytest.mark.medium
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_encoder_is_taken_and_the_head_is_new(pretrained, tmp_path, capsys, ema):
    train.run(tagging(pretrained, ema=ema), tmp_path)
    assert "new: head.classifier.bias, head.classifier.kernel\n" in capsys.readouterr().out
    before, after = parameters(pretrained), parameters(tmp_path)
    assert before.keys() - after.keys() == {path for path in before if path.startswith("head.")}
    for path in before.keys() & after.keys():
        np.testing.assert_allclose(after[path], before[path], atol=1e-7)


@pytest.mark.medium
def test_a_resumed_run_does_not_begin_again(pretrained, tmp_path, capsys):
    config = tagging(pretrained)
    train.run(config, tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")  # this process keeps a folder until it ends
    train.run(config | {"steps": 2}, tmp_path / "copy")
    assert capsys.readouterr().out.count("begins with") == 1


@pytest.mark.medium
def test_an_array_of_another_shape_is_new(pretrained, tmp_path, capsys):
    config = tagging(pretrained)
    train.run(config | {"data": config["data"] | {"context": 12}}, tmp_path)
    assert "new: head.classifier.bias, head.classifier.kernel, positions.table\n" in capsys.readouterr().out


@pytest.mark.medium
def test_positions_of_a_vision_transformer_are_interpolated(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(train.DATASETS, "tall_digits", tall_digits)
    train.run(vit(), tmp_path / "small")
    train.run(vit("tall_digits", init_from=str(tmp_path / "small")), tmp_path / "tall")
    assert "new: none\n" in capsys.readouterr().out
    small, tall = (parameters(tmp_path / name) for name in ("small", "tall"))
    expected = interpolate(small["positions.table"], (2, 2), (4, 2))
    np.testing.assert_allclose(tall["positions.table"], expected, atol=1e-7)
    np.testing.assert_allclose(tall["embedding.kernel"], small["embedding.kernel"], atol=1e-7)


def test_what_has_nothing_in_common_is_refused(pretrained, tmp_path):
    other = {"name": "vit", "patch": 4, "width": 12, "depth": 1, "heads": 2}
    with pytest.raises(UserError, match="no parameter there has the path and shape"):
        train.run(vit(init_from=str(pretrained)) | {"model": other}, tmp_path)


def test_another_vocabulary_is_refused(pretrained, tmp_path):
    config = tagging(pretrained)
    config["data"]["vocab_size"] = 590
    with pytest.raises(ValueError, match=r"bert was trained with another vocabulary \(600 tokens\)"):
        train.run(config, tmp_path)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="init_from = .*nothing': expected the folder of a published model"):
        train.run(vit(init_from=str(tmp_path / "nothing")), tmp_path / "new")


def published_vit(folder, **more):
    fields: dict[str, Any] = {"image_shape": (8, 8, 1), "patch": 4, "classes": 3, "pooling": "cls", "epsilon": 1e-12}
    fields |= SIZES | more
    model = VisionTransformer(**fields, rngs=nnx.Rngs(7))
    save(model, folder)
    return split(model)[1]


@pytest.mark.medium
def test_published_weights_are_taken_and_another_number_of_classes_is_said(tmp_path, capsys):
    published = published_vit(tmp_path / "vit")
    config = vit(init_from=str(tmp_path / "vit"))
    config["model"] |= {"pooling": "cls", "epsilon": 1e-12}
    train.run(config, tmp_path / "run")
    assert "new: head.bias, head.kernel\n" in capsys.readouterr().out
    tuned = parameters(tmp_path / "run")
    for path in tuned.keys() - {"head.bias", "head.kernel"}:
        np.testing.assert_allclose(tuned[path], published[path], atol=1e-7)


def test_published_weights_that_would_compute_other_things_are_refused(tmp_path):
    published_vit(tmp_path / "vit", heads=4, activation="gelu_tanh")
    config = vit(init_from=str(tmp_path / "vit"))
    config["model"] |= {"pooling": "cls", "epsilon": 1e-12}
    with pytest.raises(ValueError, match="set model.heads=4, not 2, model.activation='gelu_tanh', not 'gelu'"):
        train.run(config, tmp_path / "run")


def published_text(folder, vocabulary):
    """A published BERT, with a tokenizer beside it."""
    fields: dict[str, Any] = {"vocab_size": len(vocabulary), "context": 16, "head": "masked"}
    fields |= SIZES
    save(Bert(**fields, rngs=nnx.Rngs(3)), folder)
    vocabulary.save(folder / "tokenizer.json")
    return folder


@pytest.mark.medium
def test_a_published_text_model_with_another_tokenizer_of_the_same_size_is_refused(pretrained, tmp_path, capsys):
    own = train.load(pretrained)[1].dataset.vocabulary
    assert own is not None
    other = json.loads(own.text())
    words = other["model"]["vocab"]
    a, b = list(words)[-2:]
    words[a], words[b] = words[b], words[a]
    (tmp_path / "other.json").write_text(json.dumps(other))
    swapped = Subwords.load(tmp_path / "other.json")
    assert len(swapped) == len(own) == 600
    folder = published_text(tmp_path / "other", swapped)
    with pytest.raises(UserError, match=r"other was trained with another vocabulary \(600 tokens\)"):
        train.run(tagging(folder), tmp_path / "refused")
    train.run(tagging(published_text(tmp_path / "same", own)), tmp_path / "run")
    assert "new: head.classifier.bias, head.classifier.kernel\n" in capsys.readouterr().out
    (tmp_path / "same" / "tokenizer.json").unlink()
    train.run(tagging(tmp_path / "same"), tmp_path / "unknown")
    assert "has no tokenizer.json: nothing shows whether it numbers tokens" in capsys.readouterr().out


@pytest.mark.medium
def test_images_are_normalised_as_the_published_model_expects(tmp_path):
    """Also by the run that starts from that run, and by whoever loads either of them."""
    published_vit(tmp_path / "vit")
    settings = {"image_mean": [0.5], "image_std": [0.25], "do_resize": False}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(settings))
    config = vit(init_from=str(tmp_path / "vit"))
    config["model"] |= {"pooling": "cls", "epsilon": 1e-12}
    train.run(config, tmp_path / "run")
    train.run(config | {"init_from": str(tmp_path / "run")}, tmp_path / "second")
    plain = digits(evaluation="test[:3]").evaluation.examples(np.arange(3))["inputs"]["images"]
    for name in ("run", "second"):
        _, run = train.load(tmp_path / name)
        assert (run.config["data"]["mean"], run.config["data"]["std"]) == ([0.5], [0.25])
        images = run.dataset.evaluation.examples(np.arange(3))["inputs"]["images"]
        np.testing.assert_allclose(images, (plain - 0.5) / 0.25, rtol=1e-6)
    shutil.rmtree(tmp_path / "vit")
    assert train.load(tmp_path / "run")[1].config["data"]["mean"] == [0.5]
    # What the config sets itself stays.
    own = config | {"data": config["data"] | {"mean": [0.1], "std": [0.2]}, "init_from": str(tmp_path / "run")}
    assert train.Run.of(own).config["data"]["mean"] == [0.1]


@pytest.mark.medium
def test_images_are_resized_as_the_published_model_expects(tmp_path):
    """Also by the run that starts from that run; what the config sets itself stays."""
    published_vit(tmp_path / "vit", image_shape=(12, 12, 3))
    settings = {"size": 12, "resample": 3}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(settings))
    generator = np.random.default_rng(0)
    for number in range(4):
        path = tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (7 + number, 19, 3), np.uint8)).save(path)
    config = vit(init_from=str(tmp_path / "vit"))
    config["model"] |= {"pooling": "cls", "epsilon": 1e-12}
    config["data"] = {"name": "image_folder", "path": str(tmp_path / "images")}
    config["batch_size"] = 2
    train.run(config, tmp_path / "run")
    data = train.load(tmp_path / "run")[1].config["data"]
    assert (data["size"], data["resample"], data["centre"], data["proportions"]) == (12, "bicubic", 1.0, False)
    second = train.Run.of(config | {"init_from": str(tmp_path / "run"), "data": config["data"] | {"size": 12}})
    assert second.config["data"]["resample"] == "bicubic"
    own = config | {"data": config["data"] | {"resample": "bilinear"}}
    assert train.Run.of(own).config["data"]["resample"] == "bilinear"


def test_data_that_cannot_be_normalised_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(train.DATASETS, "tall_digits", tall_digits)
    published_vit(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5], "image_std": [0.5]}))
    with pytest.raises(UserError, match=r"vit has data.mean = \(0.5,\), a field that data 'tall_digits' lacks"):
        train.Run.of(vit("tall_digits", init_from=str(tmp_path / "vit")))


def flamingo(text, pair, **more):
    model = {"name": "flamingo", "patch": 8, "vision_width": 6, "vision_depth": 1, "vision_heads": 3, "latents": 2}
    return COMMON | {
        "model": model | SIZES, "objective": {"name": "language_modeling"},
        "data": {"name": "shapes", "form": "interleaved", "objects": 1, "side": 16, "evaluation": "test[:8]"},
        "init_parts": {"language": str(text), "vision": f"{pair}#image_encoder"}, "steps": 3, "ema": 0.5,
        "freeze": ("language.*", "vision.*"), "optimizer": {"learning_rate": 0.1, "weight_decay": 0.5},
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A language model of the sentences, and a CLIP of the same images with a larger vocabulary."""
    folder = tmp_path_factory.mktemp("parts")
    data = {"name": "shapes", "side": 16, "evaluation": "test[:8]"}
    text = {"model": {"name": "gpt"} | SIZES, "objective": {"name": "language_modeling"}}
    train.run(COMMON | text | {"data": data | {"form": "blind", "objects": 1}}, folder / "text")
    model = {"name": "clip", "patch": 8, "shared_width": 5, "width": 6, "depth": 1, "heads": 3}
    pair = {"model": model, "objective": {"name": "contrastive"}}
    train.run(COMMON | pair | {"data": data | {"form": "pair"}}, folder / "pair")
    return folder / "text", folder / "pair"


@pytest.mark.medium
def test_parts_come_from_two_runs_and_frozen_ones_keep_every_bit(sources, tmp_path, capsys):
    text, pair = map(parameters, sources)
    train.run(flamingo(*sources), tmp_path / "run")
    out = " ".join(capsys.readouterr().out.split())
    assert f"begins with {sources[0]}, {sources[1]}#image_encoder: " in out and "new: gated.0." in out
    after = parameters(tmp_path / "run")
    for path, x in after.items():
        part, _, rest = path.partition(".")
        if part == "language":
            np.testing.assert_array_equal(x, text[rest])
        if part == "vision":
            np.testing.assert_array_equal(x, pair[f"image_encoder.{rest}"])
    assert all(np.abs(x).max() > 0.01 for path, x in after.items() if path.endswith("_gate"))


@pytest.mark.medium
def test_a_resumed_run_needs_its_parts_no_more(sources, tmp_path):
    copies = [shutil.copytree(source, tmp_path / source.name) for source in sources]
    schedule = {"optimizer": {"learning_rate": 0.1, "schedule": "constant"}}
    train.run(flamingo(*copies, **schedule), tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")  # this process keeps a folder until it ends
    for copy in copies:
        shutil.rmtree(copy)
    train.run(flamingo(*copies, **schedule) | {"steps": 4}, tmp_path / "copy")
    assert parameters(tmp_path / "copy").keys() == parameters(tmp_path / "run").keys()


@pytest.mark.parametrize(
    "parts, words",
    [
        (lambda text, pair: {"language": str(pair)}, "pair was trained with another vocabulary"),
        (lambda text, pair: {"vision": str(text)}, "init_parts.vision = .* has nothing for vision."),
        (lambda text, pair: {"eyes": str(text)}, "init_parts.eyes: the model has no such part. Its parts are "),
        (lambda text, pair: {"language": f"{text}/nothing"}, "nothing"),
        (lambda text, pair: {"language": 3}, "init_parts.language = 3: expected the workdir of a run"),
    ],
)
def test_parts_that_do_not_fit_are_refused(sources, tmp_path, parts, words):
    with pytest.raises(UserError, match=words):
        train.run(flamingo(*sources, init_parts=parts(*sources)), tmp_path)
