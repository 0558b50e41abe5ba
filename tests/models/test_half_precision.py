"""With dtype="bfloat16" what a model ends with is added up in float32, and so are scores and their gradients."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import MODELS, VariationalAutoencoder
from models.bert import HEADS
from models.fused import attend
from models.layers import Embedding, linear, read_out
from models.positions import rotate
from tests.models.rows import ROWS, TOKENS
from tests.tiers import first_fast

OF_TOKENS = dict(vocab_size=23, context=13, image_shape=None)
# (model, further fields)
CASES = (
    [(name, {}) for name in sorted(MODELS)]
    + [("gpt", {"tied": False}), ("encoder_decoder", {"tied": False}), ("encoder_decoder", {"logits_bias": True})]
    + [("bert", {"head": head, "classes": 19}) for head in HEADS if head not in ("none", "pooler")]
    + [("vit", {"head": "pooler"}), ("perceiver", {"output": "query"})]
    + [("perceiver", OF_TOKENS | {"output": "dense", "tied": tied, "query_width": 14}) for tied in (True, False)]
)


def is_rounded(x) -> float:
    """The share of numbers that bfloat16 can hold. It is about 1 in 2^16 if they were added up in float32."""
    return float(jnp.mean(x.astype(jnp.bfloat16).astype(jnp.float32) == x))


@pytest.mark.parametrize("name, more", first_fast(CASES), ids=str)
def test_no_logits_are_rounded(name, more):
    fields, inputs, *_ = ROWS[name]
    inputs = {"tokens": TOKENS} if "vocab_size" in more else inputs
    model = MODELS[name](**fields | more, dtype="bfloat16", rngs=nnx.Rngs(0))
    outputs = jax.jit(lambda: jax.tree.leaves(model(**inputs)))()
    for x in outputs[1:] if more.get("head") == "pooler" else outputs:  # hidden states come before what is pooled
        assert x.dtype == jnp.float32
        assert is_rounded(x) < 0.1


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_neither_posteriors_nor_likelihoods_are_rounded(network):
    model = VariationalAutoencoder(
        image_shape=(8, 12, 3), latents=5, width=7, depth=2, encoder=network, decoder=network, likelihood="gaussian",
        dtype="bfloat16", rngs=nnx.Rngs(0),
    )  # fmt: skip
    images = jax.random.uniform(jax.random.key(0), (3, 8, 12, 3))
    mean, log_variance = model.encode(images)
    for x in (mean, log_variance, model.decode(mean)["mean"]):
        assert x.dtype == jnp.float32
        assert is_rounded(x) < 0.1
    gradients = jax.grad(lambda images: model.decode(model.encode(images)[0])["mean"].sum())(images)
    assert np.isfinite(gradients).all() and gradients.any()


def test_logits_are_the_sums_of_products_of_rounded_numbers():
    x = jax.random.normal(jax.random.key(0), (3, 257)).astype(jnp.bfloat16)
    head = read_out(257, 11, dtype="bfloat16", rngs=nnx.Rngs(0))
    table = Embedding(11, 257, dtype="bfloat16", rngs=nnx.Rngs(1))
    assert head.bias is not None
    head.bias[...] = jax.random.normal(jax.random.key(1), (11,))
    exact = lambda a: np.asarray(a.astype(jnp.bfloat16), np.float64)
    products = exact(x) @ exact(head.kernel[...]) + np.asarray(head.bias[...], np.float64)  # the bias is not rounded
    np.testing.assert_allclose(head(x), products, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(table.attend(x), exact(x) @ exact(table.embedding[...]).T, rtol=1e-5, atol=1e-5)


def test_in_float32_a_read_out_is_a_linear_map_to_the_bit():
    x = jax.random.normal(jax.random.key(0), (3, 257))
    np.testing.assert_array_equal(read_out(257, 11, rngs=nnx.Rngs(0))(x), linear(257, 11, rngs=nnx.Rngs(0))(x))


def test_gradients_of_attention_scores_are_added_up_in_float32():
    """A common part of all values has no influence on the weights' gradient; rounded, it would drown the rest."""
    keys = jax.random.split(jax.random.key(0), 4)
    query, key, value, weight = (jax.random.normal(k, (1, 32, 2, 8)).astype(jnp.bfloat16) for k in keys)
    value = (value + 16).astype(jnp.bfloat16)
    loss = lambda query, key, value: (attend(query, key, value) * weight).sum().astype(jnp.float32)
    half = jax.grad(loss, (0, 1, 2))(query, key, value)
    wide = lambda x: x.astype(jnp.float32)
    weight = wide(weight)
    expected = jax.grad(loss, (0, 1, 2))(wide(query), wide(key), wide(value))
    for x, y in zip(half, expected):
        assert float(jnp.linalg.norm(wide(x) - y) / jnp.linalg.norm(y)) < 0.03


def test_rotations_are_rounded_once():
    x = jax.random.normal(jax.random.key(0), (1, 50, 2, 8)).astype(jnp.bfloat16)
    exact = rotate(x.astype(jnp.float32), jnp.arange(50))
    np.testing.assert_array_equal(rotate(x, jnp.arange(50)), exact.astype(jnp.bfloat16))
