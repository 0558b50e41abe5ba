"""What makes a ResNet: blocks that begin near the identity, stages that halve the image, a norm without memory."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models.resnet import GroupNorm, ResidualBlock, ResNet

IMAGES = jax.random.normal(jax.random.key(0), (2, 7, 5, 3))


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_block_whose_last_convolution_is_zero_is_the_identity(block):
    module = ResidualBlock(12, 12, stride=1, block=block, rngs=nnx.Rngs(0))
    last = module.convolutions[-1].linear
    last.kernel[...] = jnp.zeros_like(last.kernel[...])
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 12))
    np.testing.assert_array_equal(module(x), x)
    assert len(module.convolutions) == {"basic": 2, "bottleneck": 3}[block]


def test_each_stage_halves_the_image_and_doubles_the_channels():
    model = ResNet(image_shape=(7, 5, 3), classes=11, width=8, depths=(1, 2, 1), rngs=nnx.Rngs(0))
    shapes = [x.shape[1:] for x in jax.eval_shape(model.features, IMAGES)]
    assert shapes == [(35, 8), (35, 8), (4 * 3, 16), (2 * 2, 32)]


@pytest.mark.parametrize("channels", [32, 12])
def test_group_norm_by_hand(channels):
    norm = GroupNorm(channels, rngs=nnx.Rngs(0))
    norm.scale[...], norm.bias[...] = jnp.arange(channels) + 1.0, jnp.arange(channels) * 2.0
    x = np.asarray(3 + 2 * jax.random.normal(jax.random.key(1), (2, 5, 3, channels)))
    size = {32: 16, 12: 12}[channels]
    expected = np.empty_like(x)
    for start in range(0, channels, size):
        group = x[..., start : start + size]
        mean, variance = group.mean((1, 2, 3), keepdims=True), group.var((1, 2, 3), keepdims=True)
        expected[..., start : start + size] = (group - mean) / np.sqrt(variance + 1e-5)
    expected = expected * (np.arange(channels) + 1) + 2 * np.arange(channels)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-4)


def test_without_a_norm_over_pixels_far_pixels_do_not_matter():
    """Stem and one block of two 3 x 3 convolutions: a pixel sees 3 pixels to each side."""
    model = ResNet(image_shape=(11, 1, 1), classes=3, width=4, depths=(1,), norm="layer", rngs=nnx.Rngs(0))
    image = jax.random.normal(jax.random.key(0), (1, 11, 1, 1))
    sensitivity = jax.jit(jax.grad(lambda x: model.features(x)[-1][0, 5].sum()))(image)[0, :, 0, 0]
    np.testing.assert_array_equal(np.flatnonzero(sensitivity), np.arange(2, 9))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_of_the_first_resnets_by_hand(stride):
    """ReLU behind each convolution and behind the sum."""
    block = ResidualBlock(4, 6, stride=stride, norm="none", norm_order="post", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 4))
    first, second = block.convolutions
    assert block.shortcut is not None
    expected = jnp.maximum(block.shortcut(x[:, ::stride, ::stride]) + second(jnp.maximum(first(x), 0)), 0)
    np.testing.assert_allclose(block(x), expected, atol=1e-6)
    assert expected.shape == {1: (2, 5, 7, 6), 2: (2, 3, 4, 6)}[stride]


def test_a_norm_behind_each_convolution_normalises_its_output():
    """Of "layer" norms without scale and shift, each pixel has a mean of 0 and a variance of 1 over its channels."""
    block = ResidualBlock(8, 8, stride=1, norm="layer", norm_order="post", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 8))
    correction = np.asarray(block.norms[1](block.convolutions[1](nnx.relu(block.norms[0](block.convolutions[0](x))))))
    np.testing.assert_allclose(correction.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(correction.var(-1), 1, atol=1e-2)
    np.testing.assert_allclose(block(x), np.maximum(x + correction, 0), atol=1e-6)


@pytest.mark.parametrize("norm_order", ["pre", "post"])
def test_a_large_stem_leaves_a_quarter_of_the_rows_and_columns(norm_order):
    model = ResNet(
        image_shape=(21, 13, 3), classes=11, width=8, depths=(1, 1), stem="large", stem_width=5,
        norm_order=norm_order, rngs=nnx.Rngs(0),
    )  # fmt: skip
    images = jax.ShapeDtypeStruct((2, 21, 13, 3), jnp.float32)
    assert [x.shape[1:] for x in jax.eval_shape(model.features, images)] == [(6 * 4, 5), (6 * 4, 8), (3 * 2, 16)]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"norm": "batch"}, "expected 'group', 'layer', 'rms' or 'none'"),
        ({"block": "wide"}, "expected 'basic' or 'bottleneck'"),
        ({"stem": "patch"}, "stem='patch': expected 'small' or 'large'"),
        ({"norm_order": "both"}, "norm_order='both': expected 'pre' or 'post'"),
        ({"block": "bottleneck", "width": 6}, "needs a multiple of 4"),
        ({"depths": ()}, "the number of blocks of each stage"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    fields = {"image_shape": (7, 5, 3), "classes": 5, "width": 8} | wrong
    with pytest.raises(UserError, match=words):
        ResNet(**fields, rngs=nnx.Rngs(0))
