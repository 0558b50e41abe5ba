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


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"norm": "batch"}, "expected 'group', 'layer' or 'rms'"),
        ({"block": "wide"}, "expected 'basic' or 'bottleneck'"),
        ({"block": "bottleneck", "width": 6}, "needs a multiple of 4"),
        ({"depths": ()}, "the number of blocks of each stage"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    fields = {"image_shape": (7, 5, 3), "classes": 5, "width": 8} | wrong
    with pytest.raises(UserError, match=words):
        ResNet(**fields, rngs=nnx.Rngs(0))
