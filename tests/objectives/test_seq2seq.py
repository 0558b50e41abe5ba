"""Teacher forcing: the loss of tokens, and the share of targets without an error, which greedy decoding gets right."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import EncoderDecoder
from models.beam_search import beam_search
from objectives import OBJECTIVES
from objectives.seq2seq import seq2seq

# Token 0 is right everywhere; at place 1 the model says 2.
LOGITS = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25]]] * 4))
TARGETS = jnp.zeros((4, 3), int).at[3, 1].set(2)
WEIGHTS = jnp.array([[1.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
BATCH = {"inputs": {}, "targets": TARGETS, "weights": WEIGHTS}


def evaluate(**settings):
    return seq2seq(lambda key: LOGITS, BATCH, None, **settings)


def test_it_is_in_the_table():
    assert OBJECTIVES["seq2seq"] is seq2seq


def test_hand_computed():
    loss, metrics = evaluate()
    # Halves at 4 places, 0.1 and 0.8 at one each.
    total = -(4 * np.log(0.5) + np.log(0.1) + np.log(0.8))
    np.testing.assert_allclose(metrics["loss"], (total, 6), rtol=1e-6)
    np.testing.assert_allclose(loss, total / 6, rtol=1e-6)
    assert [float(x) for x in metrics["accuracy"]] == [5, 6]
    # The first is wrong at place 1, the second is padding there, the third is padding whole, the last is right.
    assert [float(x) for x in metrics["exact"]] == [2, 3]


def test_label_smoothing_moves_its_share_to_all():
    loss = evaluate(label_smoothing=0.3)[0]
    target_V = 0.3 / 3 + 0.7 * jax.nn.one_hot(TARGETS, 3)
    expected = (-(target_V * LOGITS).sum(-1) * WEIGHTS).sum() / 6
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("right", [True, False])
def test_exact_is_what_greedy_decoding_gets_right(right):
    bos, eos = 2, 3
    fields: dict[str, Any] = dict(source_vocab_size=5, vocab_size=5, source_context=7, context=6)
    model = EncoderDecoder(**fields, width=28, depth=1, heads=7, rngs=nnx.Rngs(0))
    source = jax.random.randint(jax.random.key(1), (13, 7), 0, 5)
    targets = beam_search(model, source, bos=bos, eos=eos, length=6)[0][:, 0]
    if not right:
        targets = targets.at[:5, 0].set((targets[:5, 0] + 1) % 5)
    tokens = jnp.concatenate([jnp.full((13, 1), bos), targets[:, :-1]], axis=1)
    within = jnp.cumsum(tokens == eos, axis=1) == 0
    batch = {"inputs": {"source": source, "tokens": tokens}, "targets": targets, "weights": within.astype(float)}
    assert seq2seq(model, batch, None)[1]["exact"] == (13 if right else 8, 13)
