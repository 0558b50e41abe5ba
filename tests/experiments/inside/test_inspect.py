"""Pictures of the inside of a model: which are drawn, what is in them, and what is refused."""

from xml.etree import ElementTree

from flax import nnx
import numpy as np
import pytest

from experiments.inside import inspect
from experiments.inside.attention_maps import attention_distance, attention_maps, grid_distances, similarity
from experiments.inside.block_diagram import draw, parts_of
from models.gpt import GPT
from models.perceiver import Perceiver
from tests.models import rows

CONFIGS = {
    "gpt": {"model": {"name": "gpt", "width": 8, "depth": 2, "heads": 2}, "objective": {"name": "language_modeling"},
            "data": {"name": "markov", "symbols": 5, "context": 7}},
    "vit": {"model": {"name": "vit", "width": 8, "depth": 1, "heads": 2, "patch": 4, "pooling": "cls"},
            "objective": {"name": "classification"}, "data": {"name": "digits"}},
    "perceiver": {"model": {"name": "perceiver", "width": 8, "depth": 1, "heads": 2, "latents": 16},
                  "objective": {"name": "classification"}, "data": {"name": "digits"}},
}  # fmt: skip
SOURCE = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({} | dict(seed=0, steps=1, batch_size=8, eval_every=1, checkpoint_every=1,
                                optimizer=dict(learning_rate=0.01)))
"""


@pytest.fixture
def config(tmp_path, request):
    path = tmp_path / "config.py"
    path.write_text(SOURCE.replace("{}", repr(CONFIGS[request.param])))
    return str(path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        inspect.main(list(arguments))
    return stop.value.code


@pytest.mark.parametrize("config", ["vit"], indirect=True)
def test_all_that_there_is_to_see_of_an_image(config, tmp_path, capsys):
    inspect.main([f"--config={config}", f"--out={tmp_path}/out", "--example=3"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {"attention_blocks_0", "mask", "distance", "positions"}
    assert names == {"model.svg"} | {f"{p}{s}.{k}" for p in pictures for s in ("", "_dark") for k in ("png", "svg")}
    assert set(capsys.readouterr().out.split()) == {str(tmp_path / "out" / name) for name in names}


@pytest.mark.parametrize("config", ["gpt"], indirect=True)
def test_tokens_are_named_and_the_mask_is_that_of_the_model(config):
    inside = inspect.open_config(config, 2)
    assert inside.title.endswith("GPT, untrained") and inside.image is None
    assert list(inside.maps) == list(inside.masks) == ["blocks.0.attention", "blocks.1.attention"]
    for mask in inside.masks.values():
        np.testing.assert_array_equal(mask, np.tri(7, dtype=bool))
    tokens = inside.inputs["tokens"][0]
    assert inside.names("blocks.0.attention", 7, keys=True) == [str(token) for token in tokens]
    apart = np.abs(np.subtract.outer(range(7), range(7)))
    for path, (heads, uniform) in inspect._distances(inside).items():
        by_hand = (inside.maps[path] * apart).sum(-1).mean(-1)
        np.testing.assert_allclose(heads, by_hand, rtol=1e-5)
        assert uniform == pytest.approx(apart.mean())


@pytest.mark.parametrize("config", ["perceiver"], indirect=True)
def test_latents_are_no_places_of_the_image(config):
    """16 latents could pass for 4 x 4 patches."""
    inside = inspect.open_config(config, 2)
    cross, tower = inside.maps
    assert inside.places(cross, 64) == (8, 8) and inside.places(tower, 16) is None
    assert inspect._distances(inside) == {}


def test_maps_of_every_attention_also_one_that_is_called_twice():
    fields, inputs, *_ = rows.ROWS["perceiver"]
    maps = attention_maps(Perceiver(**fields, rngs=nnx.Rngs(0)), inputs)
    assert maps["crosses.0.cross"].shape == (8, 1, 5, 150) and "towers.0.blocks.2.attention #2" in maps
    assert all(np.allclose(weights.sum(-1), 1, atol=1e-5) for weights in maps.values())


def test_distances_by_hand():
    distances = grid_distances(2, 3)
    assert distances[0].tolist() == pytest.approx([0, 1, 2, 1, 2**0.5, 5**0.5])
    weights = np.stack([np.eye(6), np.full((6, 6), 1 / 6), np.zeros((6, 6))])[None]
    weights[0, 2, 0, 2] = 1  # one row alone looks somewhere, two steps away
    np.testing.assert_allclose(attention_distance(weights, distances), [0, distances.mean(), 2])
    np.testing.assert_allclose(similarity(np.array([[1.0, 0], [3, 3]])), [[1, 0.5**0.5], [0.5**0.5, 1]])


def test_the_block_diagram_counts_every_parameter_once():
    model = GPT(vocab_size=23, context=13, width=14, depth=3, heads=7, mlp_width=17, tied=False, rngs=nnx.Rngs(0))
    whole = parts_of(model, {"tokens": rows.TOKENS})
    assert whole.parameters == sum(part.parameters for part in whole.parts) and whole.shape == (8, 11, 23)
    blocks = next(part for part in whole.parts if part.name == "blocks")
    block = next(part for part in blocks.parts if part.kind == "Block")
    assert (block.name, block.count, block.shape) == ("blocks 0 to 2", 3, (8, 11, 14))
    assert blocks.parameters == 3 * block.parameters + 28  # and the last norm
    attention = next(part for part in block.parts if part.name == "attention")
    assert [(part.name, part.parameters) for part in attention.parts] == [
        (name, 14 * 14 + 14) for name in ("query", "key", "value", "out")
    ]
    root = ElementTree.fromstring(draw(whole, "a <model>"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a <model>", "blocks 0 to 2 × 3", f"{whole.parameters:,}", "gives 8 × 11 × 23"} <= set(texts)


@pytest.mark.parametrize("config", ["gpt"], indirect=True)
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config={}"], "error: --config needs --out"),
        (["--config={}", "--out=x", "--example=2000"], "--example=2000: expected 0 to 1,999"),
        (["--workdir={}.absent"], "is not the workdir of a run: it has no config.json"),
    ],
)
def test_mistakes_are_one_line(config, arguments, message, capsys):
    assert run(*(word.format(config) for word in arguments)) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
