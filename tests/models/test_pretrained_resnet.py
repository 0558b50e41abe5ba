"""ResNets as transformers writes them: batch norm becomes a part of each convolution, and what ours cannot compute."""

import json
from pathlib import Path
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from core.errors import UserError
from models import ResNet, pretrained
from models.pretrained import REFERENCES, load_for, preprocessing, save
from training.state import merge, split

FOLDER = Path(__file__).with_name("pretrained") / "resnet"
CONFIG = json.loads((FOLDER / "config.json").read_text())
FIELDS: dict[str, Any] = dict(
    image_shape=(12, 12, 1), classes=5, width=8, depths=(1, 1), stem="large", stem_width=3, norm="none",
    norm_order="post",
)  # fmt: skip


def load(folder: Path, **settings: Any) -> Any:
    """The model of a folder, any part of which the tests may look into."""
    return pretrained.load(folder, **settings)


def build(**more: Any) -> ResNet:
    fields: dict[str, Any] = FIELDS | more
    return ResNet(**fields, rngs=nnx.Rngs(0))


def test_a_convolution_with_its_batch_norm_by_hand():
    """Channel 2 of the first 3 x 3 convolution at a pixel inside: (w . x - mean) / std * scale + bias."""
    tensors, model = load_file(FOLDER / "model.safetensors"), load(FOLDER)
    prefix = "resnet.encoder.stages.0.layers.0.layer.1"
    of_norm = lambda name: float(tensors[f"{prefix}.normalization.{name}"][2])
    x = np.random.default_rng(0).normal(size=(1, 5, 7, 3)).astype(np.float32)
    product = np.sum(x[0, 1:4, 3:6] * tensors[f"{prefix}.convolution.weight"][2].transpose(1, 2, 0))
    normed = (product - of_norm("running_mean")) / np.sqrt(of_norm("running_var") + 1e-5)
    expected = normed * of_norm("weight") + of_norm("bias")
    assert float(model.stages[0][0].convolutions[1](x)[0, 2, 4, 2]) == pytest.approx(expected, abs=1e-5)


def test_what_is_saved_has_statistics_that_change_nothing(tmp_path):
    save(load(FOLDER), tmp_path / "ours")
    tensors, theirs = load_file(tmp_path / "ours" / "model.safetensors"), load_file(FOLDER / "model.safetensors")
    assert tensors.keys() == theirs.keys()
    norm = "resnet.encoder.stages.1.layers.0.shortcut.normalization"
    assert np.all(tensors[f"{norm}.running_mean"] == 0) and np.all(tensors[f"{norm}.weight"] == 1)
    np.testing.assert_allclose(tensors[f"{norm}.running_var"], 1 - 1e-5)
    assert tensors[f"{norm}.num_batches_tracked"] == 0
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["hidden_sizes"] == [12, 24] and config["image_size"] == [37, 29]


def test_fine_tuning_trains_every_parameter():
    structure, parameters = split(load(FOLDER))
    images, labels = jax.random.normal(jax.random.key(0), (8, 37, 29, 3)), jnp.arange(8) % 5

    @jax.jit
    def step(parameters):
        def loss(parameters):
            return optax.softmax_cross_entropy_with_integer_labels(merge(structure, parameters)(images), labels).mean()

        value, gradients = jax.value_and_grad(loss)(parameters)
        return value, gradients, jax.tree.map(lambda x, g: x - 0.03 * g, parameters, gradients)

    first, gradients, parameters = step(parameters)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())
    losses = []
    for _ in range(10):
        loss, _, parameters = step(parameters)
        losses.append(loss)
    assert losses[-1] < first - 0.1


@pytest.mark.parametrize(
    "settings, words",
    [
        (
            {"hidden_sizes": [12, 20]},
            r"hidden_sizes = \[12, 20\]: expected one for each of depths = \[1, 2\], each twice",
        ),
        ({"hidden_sizes": [12]}, r"hidden_sizes = \[12\]: expected one for each"),
        ({"hidden_sizes": [6, 12]}, r"hidden_sizes = \[6, 12\]: expected multiples of 4"),
        ({"layer_type": "wide"}, "layer_type = 'wide': expected 'basic' or 'bottleneck'"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu': only 'relu'"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage = True: only False"),
        ({"downsample_in_bottleneck": True}, "downsample_in_bottleneck = True: only False"),
        ({"groups": 2}, "groups = 2 is not a setting"),
    ],
    ids=str,
)
def test_what_ours_cannot_compute_is_refused_by_name(settings, words):
    with pytest.raises(UserError, match=words):
        REFERENCES["resnet"].fields_of(CONFIG | settings)


def test_a_config_without_sizes_is_that_of_resnet_50():
    fields = REFERENCES["resnet"].fields_of({"model_type": "resnet"})
    assert fields["image_shape"] == (224, 224, 3) and (fields["stem_width"], fields["width"]) == (64, 256)
    assert fields["depths"] == (3, 4, 6, 3) and fields["block"] == "bottleneck"


@pytest.mark.parametrize(
    "more, words",
    [
        ({"norm": "group"}, r"norm='group' \(only 'none'\)"),
        ({"norm": "rms"}, r"norm='rms' \(only 'none'\)"),
        ({"norm_order": "pre"}, r"norm_order='pre' \(only 'post'\)"),
        ({"stem": "small"}, r"stem='small' \(only 'large'\)"),
    ],
    ids=str,
)
def test_models_that_the_format_cannot_express_are_refused(more, words, tmp_path):
    with pytest.raises(UserError, match=words):
        save(build(**more), tmp_path / "resnet")


def test_a_new_model_is_saved_with_what_is_done_to_its_images(tmp_path):
    save(build(dropout=0.3), tmp_path / "resnet", mean=(0.3,), std=(0.7,))
    assert preprocessing(tmp_path / "resnet") == {"mean": (0.3,), "std": (0.7,), "size": 12}
    again = load(tmp_path / "resnet", dropout=0.3)
    x = jax.random.normal(jax.random.key(0), (2, 12, 12, 1))
    np.testing.assert_allclose(again(x), build()(x), atol=1e-5)
    assert again.dropout.rate == 0.3


def test_fine_tuning_needs_the_same_norm_and_order(tmp_path):
    save(build(), tmp_path / "resnet")
    assert load_for(lambda _: build(classes=7), tmp_path / "resnet")
    with pytest.raises(UserError, match="set model.norm='none', not 'group', model.norm_order='post', not 'pre'"):
        load_for(lambda _: build(norm="group", norm_order="pre"), tmp_path / "resnet")
