"""What makes a ConvNeXt: a depthwise convolution by hand, blocks that begin at the identity, stages, settings."""

import json
from pathlib import Path
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models.convnext import ConvNeXt, ConvNeXtBlock, squares
from models.convolution import DepthwiseConvolution
from models.pretrained import REFERENCES, load, preprocessing, save

CONFIG = json.loads((Path(__file__).with_name("pretrained") / "convnext" / "config.json").read_text())
FIELDS: dict[str, Any] = dict(image_shape=(13, 11, 3), classes=5, width=7, depths=(1, 2), patch=2)


def build(**more: Any) -> ConvNeXt:
    return ConvNeXt(**FIELDS | more, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("side", [3, 7])
def test_a_depthwise_convolution_is_one_convolution_for_each_channel(side):
    layer = DepthwiseConvolution(5, side=side, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(5.0)
    x = jax.random.normal(jax.random.key(0), (2, 11, 4, 5))
    for channel in range(5):
        kernel = layer.kernel[:, channel].reshape(side, side, 1, 1)
        dimensions = ("NHWC", "HWIO", "NHWC")
        one = jax.lax.conv_general_dilated(
            x[..., channel, None], kernel, (1, 1), "SAME", dimension_numbers=dimensions, precision="highest"
        )
        np.testing.assert_allclose(layer(x)[..., channel], one[..., 0] + channel, atol=1e-5)


def test_a_block_whose_scale_is_zero_is_the_identity():
    block = ConvNeXtBlock(7, layer_scale=1e-6, activation="gelu", dtype="float32", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 7))
    assert 0 < np.abs(block(x) - x).max() < 1e-4
    assert block.scale is not None
    block.scale[...] = jnp.zeros(7)
    np.testing.assert_array_equal(block(x), x)


def test_a_block_sees_three_pixels_to_each_side():
    block = ConvNeXtBlock(4, layer_scale=None, activation="gelu", dtype="float32", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 11, 1, 4))
    sensitivity = jax.jit(jax.grad(lambda x: block(x)[0, 5].sum()))(x)[0, :, 0]
    np.testing.assert_array_equal(np.flatnonzero(np.abs(sensitivity).sum(-1)), np.arange(2, 9))


def test_squares_are_read_pixel_by_pixel_and_the_rest_is_left_out():
    x = jnp.arange(5 * 3 * 2).reshape(1, 5, 3, 2)
    expected = [[x[0, 2 * r, :2].ravel().tolist() + x[0, 2 * r + 1, :2].ravel().tolist()] for r in range(2)]
    assert squares(x, 2)[0].tolist() == expected


def test_each_stage_halves_the_image_and_doubles_the_channels():
    images = jax.ShapeDtypeStruct((2, 13, 11, 3), jnp.float32)
    shapes = [x.shape[1:] for x in jax.eval_shape(build().features, images)]
    assert shapes == [(6 * 5, 7), (6 * 5, 7), (3 * 2, 14)]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"depths": ()}, "the number of blocks of each stage"),
        ({"patch": 6}, "patch=6 and 2 stages need images of at least 12 x 12 pixels, not 13 x 11"),
        ({"activation": "tanh"}, "activation='tanh': expected one of"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(UserError, match=words):
        build(**wrong)


# ---- the published format -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"hidden_sizes": [7, 13]}, r"hidden_sizes = \[7, 13\]: expected one for each of .* each twice"),
        ({"num_stages": 3}, r"num_stages = 3: depths = \[1, 2\] imply 2"),
        ({"patch_size": [3, 2]}, r"patch_size = \[3, 2\]: only square"),
        ({"layer_scale_init_value": "small"}, "layer_scale_init_value = 'small': expected a finite number"),
        ({"groups": 2}, "groups = 2 is not a setting"),
    ],
    ids=str,
)
def test_what_ours_cannot_compute_is_refused_by_name(settings, words):
    with pytest.raises(UserError, match=words):
        REFERENCES["convnext"].fields_of(CONFIG | settings)


def test_a_config_without_sizes_is_that_of_convnext_tiny():
    fields = REFERENCES["convnext"].fields_of({"model_type": "convnext"})
    assert fields["image_shape"] == (224, 224, 3) and (fields["width"], fields["patch"]) == (96, 4)
    assert fields["depths"] == (3, 3, 9, 3) and fields["layer_scale"] and fields["epsilon"] == 1e-12


@pytest.mark.parametrize("layer_scale", [1e-6, None])
def test_a_new_model_is_saved_with_what_is_done_to_its_images(layer_scale, tmp_path):
    model = build(image_shape=(12, 12, 3), layer_scale=layer_scale, dropout=0.3)
    save(model, tmp_path / "convnext", mean=(0.3,), std=(0.7,), classes=tuple("abcde"))
    assert preprocessing(tmp_path / "convnext") == {"mean": (0.3,) * 3, "std": (0.7,) * 3, "size": 12}
    x = jax.random.normal(jax.random.key(0), (2, 12, 12, 3))
    again: Any = load(tmp_path / "convnext", dropout=0.3)
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    assert again.dropout.rate == 0.3


def test_the_published_folders_name_a_processor_of_their_own(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "convnext"}))
    file = tmp_path / "preprocessor_config.json"
    for name in ({}, {"feature_extractor_type": "ConvNextFeatureExtractor"}):
        file.write_text(json.dumps(name | {"size": 224, "crop_pct": 0.875, "image_mean": [0.5] * 3}))
        assert preprocessing(tmp_path) == {
            "mean": (0.5,) * 3, "std": (0.5,) * 3, "resample": "bicubic", "size": 224, "centre": 0.875,
            "proportions": True,
        }  # fmt: skip
