"""Every model that takes a mask takes it as True and False or as 1 and 0, and refuses anything else in one line."""

import inspect
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import MODELS
from models.attention import Attention
from models.fused import attend
from models.masks import boolean, padding_mask
from models.protocols import Features
from models.scores import as_given, hardargmax, softargmax
from tests.models.rows import EDGE_MASK, ROWS, SOURCE_MASK, TEXT_MASK, TOKENS
from tests.tiers import first_fast

OF_TOKENS = dict(vocab_size=23, context=13, image_shape=None)
# name: (fields that make a model of the row read tokens, the name of its mask, the mask)
MASKED = {
    "bert": ({}, "mask", TEXT_MASK),
    "clip": ({}, "mask", TEXT_MASK),
    "encoder_decoder": ({}, "source_mask", SOURCE_MASK),
    "gpt": ({}, "mask", TEXT_MASK),
    "graph": ({}, "edge_mask", EDGE_MASK),
    "perceiver": (OF_TOKENS, "mask", TEXT_MASK),
    "recurrent": ({}, "mask", TEXT_MASK),
    "recurrent_encoder_decoder": ({}, "source_mask", SOURCE_MASK),
    "sequence_vae": ({}, "mask", TEXT_MASK),
    "variational": (OF_TOKENS | dict(encoder="bert", patch=None), "mask", TEXT_MASK),
}
KINDS = [np.int32, np.uint8, np.float32, jnp.bfloat16]


def model_and_inputs(name):
    fields, inputs, *_ = ROWS[name]
    more, argument, mask = MASKED[name]
    inputs = dict(inputs if argument in inputs else {"tokens": TOKENS})
    inputs.pop(argument, None)
    return MODELS[name](**fields | more, rngs=nnx.Rngs(0)), inputs, argument, mask


def test_every_model_with_a_mask_is_tested_here():
    takes = lambda model: any("mask" in name for name in inspect.signature(model.__call__).parameters)
    assert {name for name, model in MODELS.items() if takes(model)} == set(MASKED)


@pytest.mark.parametrize("name", first_fast(sorted(MASKED)))
def test_ones_and_zeros_are_true_and_false_for_every_model(name):
    model: Any
    model, inputs, argument, mask = model_and_inputs(name)
    has_features = isinstance(model, Features)

    @jax.jit
    def run(mask):
        hidden = model.features(**inputs, **{argument: mask}) if has_features else []
        return jax.tree.leaves([model(**inputs, **{argument: mask}), hidden])

    expected, without = run(mask), run(jnp.ones_like(mask))
    assert not all(np.allclose(x, y) for x, y in zip(expected, without))  # the mask has an effect
    for x, y in zip(run(mask.astype(jnp.int32)), expected):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="^mask is float32 in a compiled program: expected True or 1 where .*"):
        jax.eval_shape(lambda mask: padding_mask(mask, mask.shape), mask.astype(jnp.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_ones_and_zeros_of_any_kind_are_true_and_false(kind):
    mask = np.asarray(TEXT_MASK)
    arrays: list[Any] = [mask.astype(kind), jnp.asarray(mask).astype(kind), mask.astype(int).tolist()]
    for array in arrays:
        converted = padding_mask(array, TOKENS.shape)
        assert converted.dtype == bool
        np.testing.assert_array_equal(converted, mask)


@pytest.mark.parametrize("name", sorted(MASKED))
@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda mask: 2 * mask.astype(np.int32), "holds numbers from 0 to 2: expected True or 1"),
        (lambda mask: np.where(mask, 0.0, -1e9), "holds numbers from -1e.09 to 0: expected True or 1"),
        (lambda mask: np.where(mask, 1.0, np.nan), "holds numbers from nan to nan: expected True or 1"),
        (lambda mask: np.where(mask, "yes", "no"), "is <U3: expected True or 1"),
        (lambda mask: mask[:, :-1], "expected that of the sequences, "),
        (lambda mask: mask[:3], "expected that of the sequences, "),
        (lambda mask: mask[:, None, None, :], "expected that of the sequences, "),
    ],
)
def test_anything_else_is_refused_in_one_line(name, wrong, words):
    model, inputs, argument, mask = model_and_inputs(name)
    with pytest.raises(UserError, match=f"^{argument} .*{words}.*$") as error:
        model(**inputs, **{argument: wrong(np.asarray(mask))})
    assert "\n" not in str(error.value)


def test_one_row_serves_all():
    np.testing.assert_array_equal(padding_mask(TEXT_MASK[3:4], TOKENS.shape), TEXT_MASK[3:4])


def test_the_parts_of_attention_take_ones_and_zeros_too():
    keys = jax.random.split(jax.random.key(0), 3)
    query, key, value = (jax.random.normal(k, (2, 5, 3, 7)) for k in keys)
    mask = jnp.tril(jnp.ones((5, 5), bool))
    scores = jnp.einsum("bthk,bshk->bhts", query, key)
    module = Attention(width=7, heads=1, rngs=nnx.Rngs(0))
    for function in (
        lambda mask: softargmax(scores, mask), lambda mask: hardargmax(scores, mask),
        lambda mask: as_given(scores, mask), lambda mask: attend(query, key, value, mask=mask),
        lambda mask: module(query[:, :, 0], mask=mask)[0],
    ):  # fmt: skip
        np.testing.assert_array_equal(function(mask.astype(np.int32)), function(mask))


def test_booleans_are_left_alone():
    mask = jnp.array([True, False])
    assert boolean(mask) is mask
    assert boolean(None) is None
