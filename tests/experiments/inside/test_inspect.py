"""Pictures of the inside of a model: which are drawn, what they show, and which mistakes are refused."""

from pathlib import Path
from xml.etree import ElementTree

from flax import nnx
from matplotlib.figure import Figure
import numpy as np
from PIL import Image
import pytest

from experiments.inside import inspect
from experiments.inside.attention_maps import attention_distance, attention_maps, draw_map, grid_distances, similarity
from experiments.inside.block_diagram import diagram, parts_of
from experiments.use.opened import Opened
from models import pretrained
from models.gpt import GPT
from models.perceiver import Perceiver
from models.unet import UNet
from tests.models import rows

PUBLISHED = Path(__file__).parents[2] / "models" / "pretrained"
CONFIGS = {
    "gpt": {"model": {"name": "gpt", "width": 8, "depth": 2, "heads": 2}, "objective": {"name": "language_modeling"},
            "data": {"name": "markov", "symbols": 5, "context": 7}},
    "vit": {"model": {"name": "vit", "width": 8, "depth": 1, "heads": 2, "patch": 4, "pooling": "cls"},
            "objective": {"name": "classification"}, "data": {"name": "digits"}},
    "perceiver": {"model": {"name": "perceiver", "width": 8, "depth": 1, "heads": 2, "latents": 16},
                  "objective": {"name": "classification"}, "data": {"name": "digits"}},
}  # fmt: skip
BLOCK = "blocks.0.attention"
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


def run(*arguments: str):
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stop:
        inspect.main(list(arguments))
    return stop.value.code


@pytest.mark.parametrize("config", ["vit"], indirect=True)
def test_all_pictures_of_a_model_for_images(config, tmp_path, capsys):
    inspect.main([f"--config={config}", f"--out={tmp_path}/out", "--example=3"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    stems = {"attention_blocks_0", "distance", "positions"}  # and no mask: it would be a plain square
    assert names == {"model.svg"} | {f"{p}{s}.{k}" for p in stems for s in ("", "_dark") for k in ("png", "svg")}
    line, left_out = capsys.readouterr().out.splitlines()
    assert line == f"{tmp_path}/out: model, {', '.join(sorted(stems))} (PNG and SVG, light and dark)"
    assert left_out == "left out  mask: every query may attend to every key"


@pytest.mark.parametrize("config", ["gpt"], indirect=True)
def test_tokens_are_named_and_the_mask_is_that_of_the_model(config):
    inspection = inspect.open_config(config, 2)
    assert inspection.title.endswith("GPT, untrained") and inspection.image is None
    assert list(inspection.maps) == list(inspection.masks) == ["blocks.0.attention", "blocks.1.attention"]
    for mask in inspection.masks.values():
        np.testing.assert_array_equal(mask, np.tri(7, dtype=bool))
    tokens = inspection.inputs["tokens"][0]
    assert inspection.labels("blocks.0.attention", 7, keys=True) == [str(token) for token in tokens]
    apart = np.abs(np.subtract.outer(range(7), range(7)))
    for path, (heads, uniform) in inspect._distances(inspection).items():
        by_hand = (inspection.maps[path] * apart).sum(-1).mean(-1)
        np.testing.assert_allclose(heads, by_hand, rtol=1e-5)
        assert uniform == pytest.approx(apart.mean())


@pytest.mark.parametrize("config", ["perceiver"], indirect=True)
def test_latents_are_no_places_of_the_image(config):
    """16 latents could be mistaken for 4 x 4 patches."""
    inspection = inspect.open_config(config, 2)
    cross, tower = inspection.maps
    assert inspection.places(cross, 64) == (8, 8) and inspection.places(tower, 16) is None
    assert inspect._distances(inspection) == {}


def test_every_attention_has_a_map_and_one_that_is_called_twice_has_two():
    fields, inputs, *_ = rows.ROWS["perceiver"]
    maps = attention_maps(Perceiver(**fields, rngs=nnx.Rngs(0)), inputs)
    assert maps["crosses.0.cross"].shape == (8, 1, 5, 150) and "towers.0.blocks.2.attention #2" in maps
    assert all(np.allclose(weights.sum(-1), 1, atol=1e-5) for weights in maps.values())


def test_the_map_of_a_text_in_six_lines(tmp_path):
    text = "the man drove the woman"
    model = GPT(vocab_size=128, context=32, width=8, depth=2, heads=2, rngs=nnx.Rngs(0))
    weights = attention_maps(model, tokens=[list(text.encode())])["blocks.0.attention"]
    np.testing.assert_array_equal(weights, attention_maps(model, {"tokens": np.array([list(text.encode())])})[BLOCK])
    assert weights.shape == (1, 2, 23, 23)
    axes = draw_map(weights[0, 0], text, axes=Figure().subplots())
    np.testing.assert_array_equal(axes.images[0].get_array(), weights[0, 0])
    labels = lambda axis: [label.get_text() for label in axis.get_ticklabels()]
    assert labels(axes.xaxis) == labels(axes.yaxis) == list(text)
    axes = draw_map(weights[0, 0, :2, :3], queries=["a", "b"], axes=Figure().subplots())
    assert labels(axes.yaxis) == ["a", "b"] and labels(axes.xaxis) == ["1", "3"]
    with pytest.raises(ValueError, match="22 labels for 23 queries or keys"):
        draw_map(weights[0, 0], text[1:], axes=Figure().subplots())


def test_the_map_is_drawn_on_the_current_axes_by_default():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    current = pyplot.figure().subplots()
    assert draw_map(np.eye(3)) is current
    pyplot.close()


def test_distances_by_hand():
    distances = grid_distances(2, 3)
    assert distances[0].tolist() == pytest.approx([0, 1, 2, 1, 2**0.5, 5**0.5])
    weights = np.stack([np.eye(6), np.full((6, 6), 1 / 6), np.zeros((6, 6))])[None]
    weights[0, 2, 0, 2] = 1  # a single query has weight, on a key two steps away
    np.testing.assert_allclose(attention_distance(weights, distances), [0, distances.mean(), 2])
    np.testing.assert_allclose(similarity(np.array([[1.0, 0], [3, 3]])), [[1, 0.5**0.5], [0.5**0.5, 1]])


def test_the_block_diagram_counts_every_parameter_once():
    model = GPT(vocab_size=23, context=13, width=14, depth=3, heads=7, mlp_width=17, tied=False, rngs=nnx.Rngs(0))
    tree = parts_of(model, {"tokens": rows.TOKENS})
    assert tree.parameters == sum(part.parameters for part in tree.parts) and tree.shape == (8, 11, 23)
    blocks = next(part for part in tree.parts if part.name == "blocks")
    block = next(part for part in blocks.parts if part.kind == "Block")
    assert (block.name, block.count, block.shape) == ("blocks 0 to 2", 3, (8, 11, 14))
    assert blocks.parameters == 3 * block.parameters + 28  # and the last norm
    attention = next(part for part in block.parts if part.name == "attention")
    assert [(part.name, part.parameters) for part in attention.parts] == [
        (name, 14 * 14 + 14) for name in ("query", "key", "value", "out")
    ]
    # In the order of the data, not of the alphabet; a residual connection goes around each norm and what follows it.
    assert [part.name for part in tree.parts] == ["embedding", "positions", "blocks", "head"]
    parts = [(part.name, part.residual) for part in block.parts]
    assert parts == [("attention_norm", 0), ("attention", 2), ("mlp_norm", 0), ("mlp", 2)]
    root = ElementTree.fromstring(diagram(tree, "a <model>"))
    paths = root.findall("{http://www.w3.org/2000/svg}path")
    assert [path.get("class") for path in paths] == ["residual"] * 2
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a <model>", "blocks 0 to 2 × 3", f"{tree.parameters:,}", "gives 8 × 11 × 23"} <= set(texts)


SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("skips", [True, False])
def test_the_block_diagram_of_a_unet_alternates_its_lists_and_draws_its_skip_connections(skips):
    model = UNet(image_shape=(8, 12, 3), classes=5, width=4, depth=2, skips=skips, rngs=nnx.Rngs(0))
    tree = parts_of(model, {"images": np.zeros((7, 8, 12, 3), np.float32)})
    down, up = ["down 0", "down 1", "down 2"], ["double 0", "up 0", "double 1", "up 1"]
    assert [part.name for part in tree.parts] == [*down, *up, "head"]
    reads = {part.name: part.reads for part in tree.parts if part.reads}
    assert reads == ({"up 0": "down 1", "up 1": "down 0"} if skips else {})
    inside = tree.parts[0].parts
    assert [part.name for part in inside] == ["convolutions 0", "norms 0", "convolutions 1", "norms 1"]
    root = ElementTree.fromstring(diagram(tree, "U-Net"))
    lanes = [float(str(path.get("d")).split()[4]) for path in root.findall(f"{SVG}path")]
    assert len(lanes) == len(set(lanes)) == 2 * skips  # lines that do not lie on one another


def test_the_block_diagram_ends_with_the_tied_embedding_and_leaves_space_for_the_last_sum():
    model = GPT(vocab_size=23, context=13, width=14, depth=2, heads=7, tied=True, rngs=nnx.Rngs(0))
    tree = parts_of(model, {"tokens": rows.TOKENS})
    names = [part.name for part in tree.parts]
    assert names == ["embedding", "positions", "blocks", "embedding, transposed"]
    assert (tree.parts[-1].shape, tree.parts[-1].parameters) == ((8, 11, 23), 0)
    root = ElementTree.fromstring(diagram(tree, "GPT"))
    numbers = lambda element, *keys: [float(element.get(key)) for key in keys]
    sums = [numbers(circle, "cy", "r") for circle in root.findall(f"{SVG}circle")]
    assert len(sums) == 2
    boxes = [numbers(box, "y", "height") for box in root.findall(f"{SVG}rect")[1:]]
    for y, radius in sums:  # no border of a box that holds a sum touches it
        assert all(not top < y < top + height or top + height > y + radius for top, height in boxes)


@pytest.mark.parametrize("config", ["gpt"], indirect=True)
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config={}"], "error: --config needs --out"),
        (["--config={}", "--out=x", "--example=2000"], "example=2000: expected 0 to 1,999"),
        (["--workdir={}.absent"], "is not the workdir of a run: it has no config.json"),
    ],
)
def test_mistakes_are_one_line(config, arguments, message, capsys):
    assert run(*(word.format(config) for word in arguments)) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.medium
def test_a_published_model_is_drawn_with_a_picture_of_the_users(tmp_path, capsys):
    folder = PUBLISHED / "vit"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 15, 3), np.uint8)).save(tmp_path / "1.png")
    inspect.main([f"--weights={folder}", "--images", f"{tmp_path}/1.png", f"--out={tmp_path}/out"])
    assert f"{tmp_path}/out: model, attention_blocks_0, " in capsys.readouterr().out
    assert (tmp_path / "out" / "attention_blocks_0.png").exists() and not (tmp_path / "out" / "mask.svg").exists()


def test_the_masks_of_a_published_encoder_decoder_are_those_of_its_kind(tmp_path):
    model = pretrained.load(PUBLISHED / "t5", dropout=0.0)
    opened = Opened("t5", model, None, None, None, None)
    inputs = {"source": np.array([[3, 4, 5]]), "tokens": np.array([[0, 6, 7, 8]])}
    masks = inspect.open_weights(opened, inputs).masks
    causal = masks["decoder.blocks.0.attention"]
    np.testing.assert_array_equal(causal, np.tri(4, dtype=bool))
    assert masks["encoder.blocks.0.attention"].all() and masks["decoder.blocks.0.cross"].shape == (4, 3)


@pytest.mark.parametrize("more, words", [([], "--weights needs --out"), (["--text=a"], "reads images: use --images")])
def test_a_published_model_needs_something_to_read(tmp_path, capsys, more, words):
    assert run(f"--weights={PUBLISHED}/vit", f"--out={tmp_path}/out", *more) == 1
    assert words in capsys.readouterr().err
