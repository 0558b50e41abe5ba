"""What makes a U-Net: an answer for each pixel, skip connections, and attention where the image is smallest."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models.unet import UNet

FIELDS: dict[str, Any] = {"image_shape": (32, 4, 3), "width": 4, "depth": 1, "norm": "layer"}


def build(**more) -> UNet:
    return UNet(**FIELDS | more, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("more", "outputs"), [({"classes": 7}, 7), ({"channels": 5}, 5), ({}, 3)], ids=str)
def test_the_answer_has_the_size_of_the_image(more, outputs):
    images = jax.ShapeDtypeStruct((2, 32, 4, 3), jnp.float32)
    for depth in (1, 2):
        model = build(depth=depth, **more)
        assert jax.eval_shape(model, images).shape == (2, 32, 4, outputs)
        assert hasattr(model, "classes") == ("classes" in more)


def sensitivity(model: UNet) -> np.ndarray:
    """By row, how much the answer of the first pixel depends on the image."""
    image = jax.random.normal(jax.random.key(0), (1, 32, 4, 3))
    return np.abs(jax.jit(jax.grad(lambda x: model(x)[0, 0, 0].sum()))(image)[0]).sum(axis=(1, 2))


def test_only_attention_sees_the_whole_image():
    near, far = sensitivity(build()), sensitivity(build(heads=2))
    assert near[:4].all() and not near[20:].any()
    assert far.all()


def test_without_skip_connections_everything_passes_the_smallest_image():
    model, closed = build(), build(skips=False)
    for network in (model, closed):
        network.dropout = lambda x, key: 0 * x  # type: ignore[method-assign]
    assert sensitivity(model)[0] > 0
    assert not sensitivity(closed).any()


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"depth": 3}, "an image of 32 x 4 cannot be halved that often"),
        ({"classes": 3, "channels": 2}, "classes=3 and channels=2: expected one of the two"),
        ({"norm": "batch"}, "expected 'group', 'layer', 'rms' or 'none'"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(UserError, match=words):
        build(**wrong)
