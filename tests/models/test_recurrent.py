"""Recurrent models: causality, padding, cached decoding, attention as its equations say, and beam search."""

import itertools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.inside.attention_maps import attention_maps
from models import RecurrentEncoderDecoder, RecurrentLanguageModel
from models.beam_search import beam_search

SOURCE = jax.random.randint(jax.random.key(1), (3, 7), 0, 19)
MASK = jnp.arange(7) < jnp.array([7, 5, 2])[:, None]
TOKENS = jax.random.randint(jax.random.key(2), (3, 11), 0, 23)


def make(attention="additive", **fields) -> Any:
    defaults: dict[str, Any] = dict(
        source_vocab_size=19, vocab_size=23, source_context=7, context=11, width=10, shared=False
    )
    chosen: dict[str, Any] = defaults | {"attention": attention} | fields
    return RecurrentEncoderDecoder(**chosen, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module", params=["fixed", "additive", "dot"])
def trio(request):
    """A model, the same as a compiled function of source, tokens and mask, and what it gives for a padded batch."""
    model = make(request.param, depth=2, cell="gru" if request.param == "dot" else "lstm")
    function = jax.jit(lambda source, tokens, mask: model(source, tokens, source_mask=mask))
    return model, function, function(SOURCE, TOKENS, MASK)


def test_a_language_model_sees_the_past_only_and_continues_from_its_cache():
    model = RecurrentLanguageModel(vocab_size=23, context=13, width=14, depth=2, cell="lstm", rngs=nnx.Rngs(0))
    logits = jax.jit(model)(TOKENS)
    jacobian = jax.jit(jax.jacobian(lambda x: model.layers(x)[0][0, :, 0]))(model.embedding(TOKENS[:1]))[:, 0]
    np.testing.assert_array_equal(np.abs(jacobian).sum(-1) > 0, np.tri(11, dtype=bool))
    first, cache = jax.jit(model.decode)(TOKENS[:, :4], model.new_cache(3))
    later, _ = jax.jit(model.decode)(TOKENS[:, 4:], cache)
    np.testing.assert_allclose(jnp.concatenate([first, later], axis=1), logits, atol=1e-5)


def test_cached_decoding_equals_the_full_forward(trio):
    model, _, logits = trio

    @jax.jit
    def decode():
        cache, parts = model.new_cache(SOURCE, source_mask=MASK), []
        for begin, end in ((0, 4), (4, 5), (5, 11)):
            part, cache = model.decode(TOKENS[:, begin:end], cache)
            parts.append(part)
        return jnp.concatenate(parts, axis=1), cache

    decoded, cache = decode()
    np.testing.assert_allclose(decoded, logits, atol=1e-5)
    moved = model.reorder(cache, jnp.array([2, 2, 0]))
    for new, old in zip(jax.tree.leaves(moved["states"]), jax.tree.leaves(cache["states"])):
        np.testing.assert_array_equal(new[1], old[2])


def test_padding_of_the_source_changes_nothing(trio):
    _, function, logits = trio
    np.testing.assert_array_equal(function(jnp.where(MASK, SOURCE, 17), TOKENS, MASK), logits)
    np.testing.assert_allclose(function(SOURCE[1:2, :5], TOKENS[1:2], None)[0], logits[1], atol=1e-5)


def test_padding_may_also_come_first(trio):
    """As where a tokenizer pads on the left."""
    _, function, logits = trio
    shift = lambda x: jnp.stack([jnp.roll(row, 7 - count) for row, count in zip(x, (7, 5, 2))])
    np.testing.assert_allclose(function(shift(SOURCE), TOKENS, shift(MASK)), logits, atol=1e-5)


@pytest.mark.parametrize("attention", ["additive", "dot"])
def test_alignments_sum_to_one_ignore_padding_and_can_be_read_from_outside(attention):
    maps = attention_maps(make(attention), source=SOURCE, source_mask=MASK, tokens=TOKENS)
    weights_BHTS = maps.pop("decoder.cross")
    assert not maps and weights_BHTS.shape == (3, 1, 11, 7)
    np.testing.assert_allclose(weights_BHTS.sum(-1), 1, atol=1e-6)
    assert not weights_BHTS[1, :, :, 5:].any() and not weights_BHTS[2, :, :, 2:].any()


def test_dot_attention_is_unscaled_with_the_current_state_as_query():
    """The lecture's form: softmax(s_t . h_i), then tanh(W [z_t; s_t])."""
    model = make("dot")

    @jax.jit
    def parts():
        s_BTD, _ = model.decoder.layers(model.embedding(TOKENS), model.new_cache(SOURCE, source_mask=MASK)["states"])
        return model.encode(SOURCE, source_mask=MASK), s_BTD, model(SOURCE, TOKENS, source_mask=MASK)

    h_BSD, s_BTD, logits = map(np.asarray, parts())
    scores = np.where(MASK[:, None], np.einsum("btd,bsd->bts", s_BTD, h_BSD), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    z_BTD = np.einsum("bts,bsd->btd", weights, h_BSD)
    mixer = model.decoder.mixer
    mixed = np.concatenate([z_BTD, s_BTD], -1) @ np.asarray(mixer.kernel[...]) + mixer.bias[...]
    np.testing.assert_allclose(logits, np.tanh(mixed) @ model.embedding.embedding[...].T, atol=1e-5)


def test_additive_attention_asks_with_the_state_before():
    """Bahdanau et al. 2015: z_t from s_{t-1}, s_t from [y; z_t], the output from [s_t; z_t; y]."""
    model = make("additive")
    cell = jax.jit(lambda state, x: model.decoder.layers.forward[0].step(state, x, None))
    parts = lambda: (model.encode(SOURCE, source_mask=MASK), model.new_cache(SOURCE, source_mask=MASK)["states"])
    (h_BSD, (state,)), logits = jax.jit(parts)(), jax.jit(model)(SOURCE, TOKENS, source_mask=MASK)
    array = lambda parameter: np.asarray(parameter[...])
    cross, table, mixer = model.decoder.cross, array(model.embedding.embedding), model.decoder.mixer
    keys = np.asarray(h_BSD) @ array(cross.key.kernel) + array(cross.key.bias)
    expected = []
    for t in range(TOKENS.shape[1]):
        y_BD = table[TOKENS[:, t]]
        query = np.asarray(state[-1]) @ array(cross.query.kernel)
        scores = np.where(MASK, np.tanh(query[:, None] + keys) @ array(cross.vector)[0], -np.inf)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        z_BD = np.einsum("bs,bsd->bd", weights, h_BSD)
        state = cell(state, np.concatenate([y_BD, z_BD], -1))
        mixed = np.concatenate([state[-1], z_BD, y_BD], -1) @ array(mixer.kernel) + array(mixer.bias)
        expected.append(np.tanh(mixed) @ table.T)
    np.testing.assert_allclose(logits, np.stack(expected, axis=1), atol=1e-5)


def test_a_fixed_context_is_all_that_the_decoder_knows_of_the_source():
    cache = make("fixed").new_cache(SOURCE, source_mask=MASK)
    assert "source" not in cache and cache["summary"].shape == (3, 10)


def best_by_enumeration(model, source, mask, *, bos: int, eos: int, length: int) -> tuple[float, list[int]]:
    """Log-probability of the most likely of all targets, and the target, filled with `eos`."""
    targets = np.array(list(itertools.product(range(5), repeat=length)))
    tokens = np.concatenate([np.full((len(targets), 1), bos), targets[:, :-1]], axis=1)
    repeat = lambda x: jnp.repeat(x, len(targets), axis=0)
    log_p = jax.jit(lambda: jax.nn.log_softmax(model(repeat(source), tokens, source_mask=repeat(mask))))()
    counted = np.cumsum(targets == eos, axis=1) - (targets == eos) == 0  # up to the first `eos`
    totals = (np.take_along_axis(np.asarray(log_p), targets[..., None], -1)[..., 0] * counted).sum(1)
    best = int(np.argmax(totals))
    return float(totals[best]), np.where(counted[best], targets[best], eos).tolist()


@pytest.mark.parametrize("attention", ["fixed", "additive"])
def test_beam_search_finds_what_enumeration_finds(attention):
    model = make(attention, vocab_size=5, context=4, width=6)
    tokens, scores = beam_search(model, SOURCE, MASK, bos=0, eos=1, length=3, beams=5**2)
    for row in (0, 2):
        one = slice(row, row + 1)
        log_p, best = best_by_enumeration(model, SOURCE[one], MASK[one], bos=0, eos=1, length=3)
        np.testing.assert_array_equal(tokens[row, 0], best)
        np.testing.assert_allclose(scores[row, 0], log_p, atol=1e-5)


def test_a_field_that_does_not_fit_is_named():
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"attention": "cosine"}, "attention='cosine': expected 'fixed', 'additive' or 'dot'"),
        ({"cell": "elman"}, "cell='elman': expected 'gru' or 'lstm'"),
        ({"width": 7}, "width=7: a bidirectional layer needs an even width"),
        ({"shared": True}, "shared=True needs one vocabulary"),
    ]
    for fields, message in wrong:
        with pytest.raises(ValueError, match=message):
            make(**fields)
