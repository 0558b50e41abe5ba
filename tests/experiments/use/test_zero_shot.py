"""Classes named by sentences: the same as comparing by hand, ensembles of prompts, and what is refused."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

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
    open_run,
)
from tests import tiny
import train


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
