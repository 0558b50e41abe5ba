"""Classes named by sentences: the same as comparing by hand, ensembles of prompts, and what is refused."""

import json
import re
import shutil

import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from core.errors import UserError
from data.prompts import TEMPLATES, framed, prompts
from experiments.use.zero_shot import (
    BATCH,
    ENSEMBLE,
    PROBE,
    accuracies,
    class_vectors,
    image_vectors,
    main,
    open_published,
    open_run,
)
from models import pretrained
from tests import tiny
import train

pytestmark = pytest.mark.medium

PUBLISHED = tiny.ROOT / "tests" / "models" / "pretrained" / "clip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def workdir(folder):
    sizes = {"patch": 4, "shared_width": 7, "width": 8, "depth": 1, "heads": 2}
    config = {
        "seed": 0, "steps": 30, "batch_size": 32, "eval_every": 30, "checkpoint_every": 30,
        "optimizer": {"learning_rate": 1e-2}, "model": {"name": "clip"} | sizes, "objective": {"name": "contrastive"},
        "data": {"name": "digits", "form": "pair", "train": "train[:500]", "evaluation": "test[:211]"},
    }  # fmt: skip
    train.run(config, folder / "clip")
    return folder / "clip"


@pytest.fixture(scope="module")
def opened(workdir):
    return open_run(workdir)


def test_an_image_has_the_class_whose_sentence_the_model_finds_most_similar(opened):
    model, dataset, vocabulary = opened
    batch = dataset.evaluation.examples(np.arange(211))
    results = accuracies(model, dataset, vocabulary, TEMPLATES[:2])
    for template in TEMPLATES[:2]:
        tokens, mask = framed(vocabulary, prompts(dataset.classes, [template]), model.context)
        similarities = model(jnp.asarray(batch["inputs"]["images"]), tokens, mask=mask)
        right = np.asarray(similarities).argmax(1) == batch["targets"]
        assert results[template] == pytest.approx(right.mean())
    assert list(results) == [*TEMPLATES[:2], ENSEMBLE] and 0 < results[ENSEMBLE] < 1


def test_an_ensemble_is_the_mean_of_its_vectors(opened):
    model, dataset, vocabulary = opened
    single = [class_vectors(model, vocabulary, dataset.classes, [template]) for template in TEMPLATES]
    mean = np.mean(single, axis=0)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(class_vectors(model, vocabulary, dataset.classes), expected, atol=1e-5)
    assert np.abs(single[0] - single[1]).max() > 1e-3


def test_the_last_images_are_read_once(opened):
    model, dataset, _ = opened
    vectors, labels = image_vectors(model, dataset.evaluation)
    assert vectors.shape == (211, 7) and labels.shape == (211,) and 211 > BATCH
    last = dataset.evaluation.examples(np.array([210]))
    np.testing.assert_allclose(vectors[210], model.encode_images(jnp.asarray(last["inputs"]["images"]))[0], atol=1e-5)


def test_the_command_prints_each_template_and_a_probe_of_another_split(workdir, capsys):
    main([f"--workdir={workdir}", "--split=test[211:]", "--templates", "a {}", "this is a {}", "--probe"])
    lines = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[:-1]] == ["a {}", "this is a {}", ENSEMBLE, PROBE]
    assert all(0 <= float(line[1]) <= 1 for line in lines[:-1])
    assert lines[-1] == ["149 images of the split test[211:], 10 classes to choose from"]


@pytest.mark.parametrize(
    "templates, words",
    [
        (["a photograph of a {}"], "the model has never read the word 'photograph'"),
        (["a picture"], "has not one place for the class"),
        (["a {} in a picture of a picture of a picture"], "tokens with .BOS. and .EOS.: at most 7"),
    ],
    ids=str,
)
def test_templates_that_cannot_be_read_are_refused(opened, templates, words):
    model, dataset, vocabulary = opened
    with pytest.raises(UserError, match=words):
        accuracies(model, dataset, vocabulary, templates)


def test_a_run_of_another_model_is_refused(folder):
    config = tiny.get_config("vit").to_dict() | {"steps": 4}
    train.run(config, folder / "vit")
    with pytest.raises(UserError, match="'vit' of the data 'digits', which compares no images with texts"):
        open_run(folder / "vit")


# ---- published ------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path):
    """The folder of a published CLIP with a tokenizer of words, and images of two classes."""
    folder = tmp_path / "clip"
    shutil.copytree(PUBLISHED, folder)
    words = ["[BOS]", "[PAD]", "a", "picture", "of", "cat", "dog", *(f"word{i}" for i in range(21)), "[EOS]"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = Whitespace()
    ends = [("[BOS]", 0), ("[EOS]", words.index("[EOS]"))]
    tokenizer.post_processor = TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"size": {"shortest_edge": 15}, "crop_size": 15}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    for number, name in enumerate(["cat", "dog"] * 3):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (17, 23, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return folder, tmp_path / "images"


def test_a_published_clip_compares_each_image_with_each_prompt(published):
    folder, images = published
    model, dataset, vocabulary = open_published(str(folder), str(images))
    assert dataset.classes == ("cat", "dog") and len(dataset.evaluation) == 6
    batch = dataset.evaluation.examples(np.arange(6))
    results = accuracies(model, dataset, vocabulary, ["a {}", "a picture of a {}"])
    for template, text in {"a {}": [2], "a picture of a {}": [2, 3, 4, 2]}.items():
        tokens = np.array([[0, *text, word, 28] for word in (5, 6)])
        similarities = pretrained.load(folder)(jnp.asarray(batch["inputs"]["images"]), tokens)
        assert results[template] == pytest.approx((np.asarray(similarities).argmax(1) == batch["targets"]).mean())


def test_prompts_of_several_lengths_are_padded_without_effect(published):
    model, _, vocabulary = open_published(*map(str, published))
    one_by_one = [class_vectors(model, vocabulary, [name], ["a {}"])[0] for name in ("cat", "a picture of a dog")]
    in_one_batch = class_vectors(model, vocabulary, ["cat", "a picture of a dog"], ["a {}"])
    np.testing.assert_allclose(in_one_batch, one_by_one, atol=1e-6)


def test_the_command_reads_a_published_clip(published, capsys):
    folder, images = published
    main([f"--weights={folder}", f"--images={images}", "--templates", "a {}"])
    output = capsys.readouterr().out.splitlines()
    assert output[-1] == "6 images of the split train+validation, 2 classes to choose from" and len(output) == 3


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--weights=FOLDER"], "--weights and --images: expected both"),
        (["--weights=FOLDER", "--images=nowhere"], "There is no folder nowhere"),
        (["--weights=FOLDER", "--images=IMAGES", "--templates", f"{'a ' * 12}{{}}"], "tokens: expected at most 13"),
        (["--weights=VIT", "--images=IMAGES"], "which compares no images with texts"),
    ],
)
def test_what_a_published_clip_cannot_do_is_said_in_a_line(published, flags, words, capsys):
    folder, images = published
    places = {"FOLDER": str(folder), "IMAGES": str(images), "VIT": str(PUBLISHED.with_name("vit"))}
    for name, place in places.items():
        flags = [flag.replace(name, place) for flag in flags]
    with pytest.raises(SystemExit):
        main(flags)
    assert words in capsys.readouterr().err
