"""CLIP: vectors of length 1, a text read at its last token, a temperature with a bound, and both encoders of images."""

from typing import Any, cast

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import CLIP
from models.clip import LARGEST_SCALE
from tests.models.rows import IMAGES, ROWS, TEXT_MASK, TOKENS
from training.state import merge, split

FIELDS, INPUTS, *_ = ROWS["clip"]


def build(**more) -> CLIP:
    return CLIP(**(FIELDS | more), rngs=nnx.Rngs(0))


MODEL = build()


def test_similarities_are_cosines_of_any_images_with_any_texts():
    images, texts = MODEL.encode_images(IMAGES[:5]), MODEL.encode_texts(TOKENS[:3], TEXT_MASK[:3])
    for vectors, count in ((images, 5), (texts, 3)):
        assert vectors.shape == (count, 19)
        np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    expected = images @ texts.T / 0.07
    np.testing.assert_allclose(MODEL(IMAGES[:5], TOKENS[:3], mask=TEXT_MASK[:3]), expected, rtol=1e-5, atol=1e-5)


def test_a_text_is_read_at_its_last_token_and_padding_has_no_influence():
    lengths = TEXT_MASK.sum(1)
    padded = MODEL.encode_texts(TOKENS, TEXT_MASK)
    other = MODEL.encode_texts(jnp.where(TEXT_MASK, TOKENS, 22), TEXT_MASK)
    np.testing.assert_array_equal(padded, other)
    for row, length in enumerate(lengths):
        alone = MODEL.encode_texts(TOKENS[row : row + 1, :length])
        np.testing.assert_allclose(padded[row], alone[0], rtol=1e-4, atol=1e-5)
    last = TOKENS.at[jnp.arange(8), lengths - 1].set(22)
    assert (jnp.abs(MODEL.encode_texts(last, TEXT_MASK) - padded).max(1) > 1e-4).all()


def test_one_mask_serves_all_texts():
    row = TEXT_MASK[3:4]
    np.testing.assert_array_equal(
        MODEL.encode_texts(TOKENS, row), MODEL.encode_texts(TOKENS, jnp.broadcast_to(row, TOKENS.shape))
    )


def test_the_text_encoder_is_causal():
    """What the hidden state of a token holds, none of the later ones has a gradient to."""
    encoder = MODEL.text_encoder
    x = encoder.embedding(TOKENS[:1])
    read = lambda x: encoder.blocks(x)[0][0, 4].sum()
    influence = jnp.abs(jax.grad(read)(x)[0]).sum(1)
    assert (influence[:5] > 0).all() and not influence[5:].any()


def test_the_scale_is_at_most_100_and_can_come_back():
    structure, parameters = split(MODEL)

    def scale_and_slope(log_scale: float, sign: float):
        scaled = lambda x: sign * cast(CLIP, merge(structure, parameters | {"log_scale": x})).scale
        return jax.value_and_grad(scaled)(jnp.array(log_scale))

    bound = float(np.log(LARGEST_SCALE))
    for sign in (1.0, -1.0):
        value, slope = scale_and_slope(1.0, sign)
        assert value == pytest.approx(sign * np.e, rel=1e-6) and slope == pytest.approx(sign * np.e, rel=1e-6)
    assert scale_and_slope(bound + 1, 1.0)[0] == pytest.approx(100, rel=1e-5)
    assert scale_and_slope(bound + 1, 1.0)[1] == pytest.approx(100, rel=1e-5)  # a step would lower it
    assert scale_and_slope(bound + 1, -1.0)[1] == 0  # a step would raise it further


@pytest.mark.parametrize("encoder", ["vit", "resnet", "convolutional"])
def test_every_encoder_of_images_and_sizes_of_the_texts(encoder):
    model = build(encoder=encoder, image_shape=(12, 8, 3), patch=2, text_width=22, text_heads=11, text_depth=1, depth=2)
    assert model(**INPUTS | {"images": IMAGES[:, :12, :8]}).shape == (8, 8)
    paths: dict[str, Any] = split(model)[1]
    assert paths["text_encoder.embedding.embedding"].shape == (23, 22)
    assert "text_encoder.blocks.blocks.1.mlp.up.kernel" not in paths
    assert paths["image_encoder.head.kernel"].shape == (14 * 3 * 2 if encoder == "convolutional" else 14, 19)


def test_gradients_reach_every_parameter_with_a_resnet():
    structure, parameters = split(build(encoder="resnet"))
    loss = lambda parameters: (merge(structure, parameters)(**INPUTS) ** 2).sum()
    gradients = jax.jit(jax.grad(loss))(parameters)
    idle = [path for path, gradient in gradients.items() if not gradient.any()]
    assert all(path.endswith("key.bias") for path in idle)


@pytest.mark.parametrize(
    "wrong, words", [({"encoder": "swin"}, "expected 'vit', 'resnet' or"), ({"patch": None}, "needs patch")], ids=str
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(UserError, match=words):
        build(**wrong)
