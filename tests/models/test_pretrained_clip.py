"""Published CLIPs: settings of two parts, the end of a text, the temperature, and what no folder can express."""

import json
from pathlib import Path
import shutil
from typing import Any

from flax import nnx
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import UserError
from models import CLIP, pretrained
from models.layers import ACTIVATIONS
from models.pretrained import load_for, save

CASE = Path(__file__).with_name("pretrained") / "clip"
EXPECTED = load_file(CASE / "expected.safetensors")


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(CASE, tmp_path / "clip", ignore=shutil.ignore_patterns("expected*"))
    return tmp_path / "clip"


def change(folder: Path, part: str = "", **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(settings)
    (folder / "config.json").write_text(json.dumps(config))


def similarities(model: Any, tokens=EXPECTED["inputs.tokens"], mask: Any = EXPECTED["inputs.mask"]):
    return model(EXPECTED["inputs.images"], tokens, mask=mask)


def test_the_activation_by_hand():
    np.testing.assert_allclose(ACTIVATIONS["gelu_sigmoid"](jnp.array([1.0, -2.0])), [0.845796, -0.064341], atol=1e-6)


def test_a_text_is_read_at_its_first_end_token(folder):
    """What follows has no influence, with the mask or without."""
    model: Any = pretrained.load(folder)
    tokens = EXPECTED["inputs.tokens"]
    assert (tokens == 28).any(axis=1).all() and model.text_encoder.end == 28
    np.testing.assert_allclose(similarities(model, mask=None), similarities(model), atol=1e-5)
    other = np.where(np.cumsum(tokens == 28, axis=1) > 0, 28, tokens)
    np.testing.assert_allclose(similarities(model, other, None), similarities(model), atol=1e-5)
    moved = np.where(np.arange(tokens.shape[1]) == 1, 28, tokens)
    assert np.abs(similarities(model, moved, None) - similarities(model)).max() > 0.1


def test_files_with_the_old_mistake_are_read_at_the_largest_token(folder, tmp_path):
    change(folder, "text_config", eos_token_id=2)
    model: Any = pretrained.load(folder)
    assert model.text_encoder.end == 30  # of 31
    save(model, tmp_path / "again")
    assert json.loads((tmp_path / "again/config.json").read_text())["text_config"]["eos_token_id"] == 30


def test_settings_of_a_part_are_checked_and_named(folder):
    change(folder, "vision_config", rotary=True)
    with pytest.raises(UserError, match="vision_config.rotary = True is not a setting that is known here"):
        pretrained.load(folder)


@pytest.mark.parametrize(
    "part, settings, words",
    [
        ("text_config", {"hidden_act": "gelu"}, "text_config.hidden_act = 'gelu': only that of vision_config"),
        ("text_config", {"layer_norm_eps": 1e-3}, "text_config.layer_norm_eps = 0.001: only that of vision_config"),
        ("text_config", {"is_decoder": True}, "text_config.is_decoder = True: only False is supported here"),
        ("vision_config", {"attention_dropout": 0.5}, "attention_dropout = 0.5, .*here one rate holds for all"),
        ("vision_config", {"hidden_size": 0}, "vision_config.hidden_size = 0: expected a whole number"),
        ("", {"vision_config": [3]}, r"vision_config = \[3\]: expected settings by name"),
        ("text_config", {"num_hidden_layers": 1000}, "1,000 layers, but there are"),
    ],
    ids=str,
)
def test_what_our_model_cannot_have_is_refused_by_name(part, settings, words, folder):
    change(folder, part, **settings)
    with pytest.raises(UserError, match=words):
        pretrained.load(folder)


def test_settings_that_an_older_version_wrote_twice_are_those_of_the_second_place(folder):
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change(folder, text_config={"hidden_size": 512}, text_config_dict=text, vision_config_dict=None)
    np.testing.assert_allclose(similarities(pretrained.load(folder)), EXPECTED["logits.0"], atol=1e-4)


def test_a_temperature_below_ours_is_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"logit_scale": np.array(4.7, np.float32)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="logit_scale = 4.7: expected at most log 100"):
        pretrained.load(folder)


FIELDS: dict[str, Any] = dict(
    image_shape=(6, 6, 1), vocab_size=13, context=5, shared_width=7, width=10, depth=1, heads=2, patch=3, pooling="cls",
    embedding_norm=True, projection_bias=False, end=11,
)  # fmt: skip


@pytest.mark.parametrize(
    "more, words",
    [
        ({"projection_bias": True}, r"projection_bias=True \(only False\)"),
        ({"pooling": "mean"}, r"pooling='mean' \(only 'cls'\)"),
        ({"end": None}, "text_config.eos_token_id = None"),
        ({"encoder": "resnet"}, "the format 'clip' needs encoder='vit'"),
        ({"positions": "none"}, "positions='none'"),
        ({"head_size": 3}, "head_size=3"),
    ],
    ids=str,
)
def test_what_no_folder_can_express_is_named(more, words, tmp_path):
    save(CLIP(**FIELDS, rngs=nnx.Rngs(0)), tmp_path / "plain")
    with pytest.raises(UserError, match=words):
        save(CLIP(**(FIELDS | more), rngs=nnx.Rngs(0)), tmp_path / "model")


def test_fields_that_compute_something_else_are_named(folder):
    fields: dict[str, Any] = FIELDS | dict(image_shape=(15, 15, 3), patch=5, width=14, heads=7, depth=2)
    with pytest.raises(UserError, match="model.activation='gelu_sigmoid', not 'gelu'.*model.end=28, not 11"):
        load_for(lambda rngs: CLIP(**fields, rngs=rngs), folder)
