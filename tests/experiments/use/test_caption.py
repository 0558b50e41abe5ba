"""Captions of a split and of image files: those of the beam search, beside the right ones, and what is refused."""

import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from core.errors import UserError
from core.files import read_json
from data.shapes import COLOURS, SHAPES
from data.subwords import BOS, EOS
from experiments.use.caption import captions, main
from models.beam_search import beam_search
import train

pytestmark = pytest.mark.medium

SIDE = 16


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    sizes = {"encoder": "convolutional", "decoder": "recurrent", "width": 11, "depth": 1}
    config = {
        "seed": 0, "steps": 20, "batch_size": 32, "eval_every": 20, "checkpoint_every": 20,
        "optimizer": {"learning_rate": 1e-2}, "model": {"name": "captioner"} | sizes, "objective": {"name": "seq2seq"},
        "data": {"name": "shapes", "side": SIDE, "objects": 1, "train": "train[:500]", "evaluation": "test[:50]"},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "captions"
    train.run(config, folder)
    return folder


@pytest.fixture(scope="module")
def opened(workdir):
    return train.load(workdir)


def by_hand(opened, images, **settings) -> list[str]:
    model, run = opened
    tokens, _ = beam_search(model, jnp.asarray(images), bos=BOS, eos=EOS, length=model.context, **settings)
    rows = [[int(token) for token in row] for row in np.asarray(tokens[:, 0])]
    return [run.dataset.vocabulary.decode(np.array(row[: (row + [EOS]).index(EOS)], int)) for row in rows]


@pytest.mark.parametrize("beams, batch_size", [(1, 7), (3, 64)])
def test_captions_are_those_of_the_beam_search_and_the_targets_are_decoded(opened, beams, batch_size):
    model, run = opened
    source = run.dataset.evaluation
    rows = list(captions(model, run.dataset.vocabulary, source, beams=beams, batch_size=batch_size, limit=17))
    images = source.examples(np.arange(17))["inputs"]["images"]
    assert [caption for caption, _ in rows] == by_hand(opened, images, beams=beams, length_penalty=0.6)
    for _, target in rows:
        a, colour, shape = target.split()
        assert a == "a" and colour in COLOURS and shape in SHAPES


def test_a_split_is_captioned_beside_the_right_captions(workdir, capsys):
    main([f"--workdir={workdir}", "--split=combinations", "--limit=5"])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list("01234")
    wrong = sum("   (right: a " in line for line in lines)
    assert f"{5 - wrong} of 5 captions are right" in err


def test_image_files_are_captioned_by_name(workdir, opened, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = opened[1].dataset.evaluation.examples(np.arange(2))["inputs"]["images"]
    for name, image in zip("ab", images):
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(f"{name}.png")
    main([f"--workdir={workdir}", "--images", "a.png", "b.png"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}.png  {caption}" for name, caption in zip("ab", by_hand(opened, images))]


@pytest.mark.parametrize("settings, words", [({"beams": 0}, "beams = 0"), ({"limit": 0}, "limit = 0")])
def test_settings_out_of_range_are_named(opened, settings, words):
    model, run = opened
    with pytest.raises(UserError, match=words):
        list(captions(model, run.dataset.vocabulary, run.dataset.evaluation, **settings))


def test_another_model_is_refused_by_name(workdir, tmp_path, capsys):
    config = read_json(workdir / "config.json")
    config |= {
        "steps": 1, "model": {"name": "perceptron", "width": 8, "depth": 1}, "data": config["data"] | {"form": "class"},
        "objective": {"name": "classification"},
    }  # fmt: skip
    train.run(config, tmp_path / "perceptron")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([f"--workdir={tmp_path / 'perceptron'}"])
    assert "holds the model 'perceptron' of the data 'shapes', which writes no captions" in capsys.readouterr().err
