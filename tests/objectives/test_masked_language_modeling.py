"""Which tokens are hidden and how, and that evaluation always hides the same ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from objectives.masked_language_modeling import corrupt, masked_language_modeling

SETTINGS = dict(mask_id=3, vocab_size=20)


def batch(rows=7, length=11):
    tokens = jax.random.randint(jax.random.key(1), (rows, length), 0, 20)
    return {"inputs": {"tokens": tokens}, "targets": jnp.arange(rows) % 2, "weights": jnp.ones((rows, length))}


def test_fifteen_percent_of_which_80_10_10():
    tokens = jax.random.randint(jax.random.key(0), (20_000, 8), 7, 20)
    keys = jax.random.split(jax.random.key(1), 20_000)
    changed, hidden = jax.vmap(lambda key, t: corrupt(key, t, **SETTINGS))(keys, tokens)
    assert hidden.mean() == pytest.approx(0.15, abs=0.01)
    assert (changed[~hidden] == tokens[~hidden]).all()
    masked, same = (changed == 3)[hidden].mean(), (changed == tokens)[hidden].mean()
    # Of 20 tokens that can be drawn one is the mask, and one the token itself.
    assert masked == pytest.approx(0.805, abs=0.01)
    assert same == pytest.approx(0.105, abs=0.01)
    assert 1 - masked - same == pytest.approx(0.09, abs=0.01)


def test_tokens_below_special_below_are_never_hidden():
    tokens = jnp.arange(20)
    changed, hidden = corrupt(jax.random.key(0), tokens, **SETTINGS, special_below=7, rate=1.0)
    np.testing.assert_array_equal(hidden, tokens >= 7)
    np.testing.assert_array_equal(changed[:7], tokens[:7])


def oracle(seen, nll):
    """A model that gives the right token at each position the negative log-likelihood `nll`.

    It appends the tokens that it sees to `seen`.
    """

    def model(tokens, *, key):
        seen.append(tokens)
        right = jax.nn.one_hot(batch(len(tokens))["inputs"]["tokens"], 20)
        rest = jnp.log(jnp.expm1(nll) / 19)  # 1 / (1 + 19 exp(rest)) = exp(-nll)
        return jnp.where(right == 1, 0.0, rest)

    return model


def test_loss_is_over_hidden_tokens_of_weight_one():
    seen = []
    half = batch()
    half["weights"] = half["weights"].at[:, 5:].set(0)
    loss, metrics = masked_language_modeling(oracle(seen, 0.5), half, jax.random.key(0), **SETTINGS, rate=1.0)
    assert loss == pytest.approx(0.5, rel=1e-5)
    assert set(metrics) == {"loss", "accuracy"}
    np.testing.assert_allclose(metrics["loss"], (0.5 * 35, 35), rtol=1e-5)
    assert (seen[0] == 3).mean() > 0.6


def test_nothing_hidden_is_a_loss_of_zero():
    loss, metrics = masked_language_modeling(oracle([], 0.5), batch(), jax.random.key(0), **SETTINGS, rate=0.0)
    assert loss == 0 and metrics["loss"] == (0, 0)


def test_evaluation_hides_the_same_however_it_is_batched_and_training_does_not():
    objective = partial(masked_language_modeling, **SETTINGS, rate=0.4)
    batch_hidden, again, one, two = [], [], [], []
    objective(oracle(batch_hidden, 1.0), batch(), None)
    objective(oracle(again, 1.0), batch(), None)
    np.testing.assert_array_equal(batch_hidden[0], again[0])
    last = jax.tree.map(lambda x: x[4:], batch())
    alone = lambda tokens, *, key: (again.append(tokens), jnp.zeros((*tokens.shape, 20)))[1]
    objective(alone, last, None)
    np.testing.assert_array_equal(batch_hidden[0][4:], again[1])
    objective(oracle(one, 1.0), batch(), jax.random.key(1))
    objective(oracle(two, 1.0), batch(), jax.random.key(2))
    assert (one[0] != two[0]).any() and (one[0] != batch_hidden[0]).any()
    hidden_in_column = (batch_hidden[0] != batch()["inputs"]["tokens"]).mean(axis=0)
    assert 0 < hidden_in_column.mean() < 1 and len(set(hidden_in_column.tolist())) > 1


def test_next_sentence_is_added_where_the_model_says_it():
    def model(tokens, *, key):
        following = jnp.log(jnp.array([0.25, 0.75]))
        return jnp.zeros((*tokens.shape, 20)), jnp.tile(following, (len(tokens), 1))

    examples = batch()
    examples["weights"] = examples["weights"].at[6].set(0)  # such as a copy that fills the last batch
    loss, metrics = masked_language_modeling(model, examples, jax.random.key(0), **SETTINGS, rate=1.0)
    # Of six examples three follow: each costs log 4/3, the others log 4.
    next_sum = 3 * np.log(4 / 3) + 3 * np.log(4)
    assert loss == pytest.approx(np.log(20) + next_sum / 6, rel=1e-5)
    np.testing.assert_allclose(metrics["next_loss"], (next_sum, 6), rtol=1e-5)
    np.testing.assert_allclose(metrics["next_accuracy"], (3, 6))
    np.testing.assert_allclose(metrics["masked_loss"], (66 * np.log(20), 66), rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], (66 * float(loss), 66), rtol=1e-5)


def test_settings_may_be_traced():
    traced = jax.jit(lambda rate: masked_language_modeling(oracle([], 0.5), batch(), None, **SETTINGS, rate=rate)[0])
    assert traced(0.5) == pytest.approx(0.5, rel=1e-5)
