"""Sampling: the right tokens are kept, and the text follows the model's logits, with the cache or without."""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.decoding import choose, narrow, sample
from models.gpt import GPT

B, V, CONTEXT = 2, 13, 11
PROMPT = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def make(**settings):
    model = GPT(vocab_size=V, context=CONTEXT, width=12, depth=3, heads=2, **settings, rngs=nnx.Rngs(7))
    model.embedding.embedding[...] *= 40  # so that the logits differ by more than rounding
    return model


MODELS = {"learned": make(), "rotary": make(positions="rotary"), "scan": make(scan=True)}


@pytest.fixture(params=MODELS)
def any_model(request):
    return MODELS[request.param]


@pytest.fixture
def model():
    return MODELS["learned"]


def next_logits(model, tokens):
    """Logits after the last of `tokens`, from a window of the context and without a cache.

    What stands behind the tokens is the future, which the model does not see, so that one shape serves every length.
    """
    window = tokens[:, -CONTEXT:]
    padded = np.pad(window, ((0, 0), (0, CONTEXT - window.shape[1])))
    return forward(*nnx.split(model), padded)[:, window.shape[1] - 1]


@partial(jax.jit, static_argnums=0)
def forward(structure, state, tokens):
    return nnx.merge(structure, state)(tokens)


def kept(logits, top_k, top_p):
    return np.isfinite(narrow(jnp.log(jnp.array(logits)), top_k, top_p)).tolist()


def test_top_k_keeps_the_k_likeliest_in_every_row():
    logits = jnp.array([[0.1, 3.0, 2.0, -1.0, 5.0], [9.0, 8.0, 7.0, 6.0, 5.0]])
    expected = np.where([[0, 1, 0, 0, 1], [1, 1, 0, 0, 0]], logits, -np.inf)
    np.testing.assert_array_equal(narrow(logits, 2, 1.0), expected)
    np.testing.assert_array_equal(narrow(logits, 0, 1.0), logits)
    np.testing.assert_array_equal(narrow(logits, 5, 1.0), logits)
    np.testing.assert_array_equal(narrow(logits, 17, 1.0), logits)


def test_top_k_keeps_exactly_k_of_equals():
    np.testing.assert_array_equal(np.isfinite(narrow(jnp.zeros((1, 7)), 3, 1.0)), [[1, 1, 1, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    "top_p, expected",
    [(0.01, [0, 0, 1, 0]), (0.5, [0, 0, 1, 0]), (0.51, [1, 0, 1, 0]), (0.8, [1, 1, 1, 0]), (1.0, [1, 1, 1, 1])],
)
def test_top_p_keeps_the_fewest_that_reach_the_share(top_p, expected):
    assert kept([[0.25, 0.15625, 0.5, 0.09375]], 0, top_p) == [[bool(x) for x in expected]]


def test_top_p_counts_the_shares_of_what_top_k_left():
    # Among the two likeliest the first has 0.5 / 0.75 = 2/3.
    assert kept([[0.25, 0.125, 0.5, 0.125]], 2, 0.66) == [[False, False, True, False]]
    assert kept([[0.25, 0.125, 0.5, 0.125]], 2, 0.67) == [[True, False, True, False]]


def test_top_p_of_1_keeps_the_unlikeliest_too():
    assert np.isfinite(narrow(jnp.concatenate([jnp.zeros((1, 96)), jnp.full((1, 1), -40.0)], axis=1), 0, 1.0)).all()


def test_draws_follow_the_temperature():
    logits, draws = jnp.log(jnp.array([0.7, 0.2, 0.1])), 20_000
    for temperature in (0.5, 1.0, 2.0):
        tokens = choose(jax.random.key(0), jnp.tile(logits, (draws, 1)), temperature, 0, 1.0)
        expected = jax.nn.softmax(logits / temperature)
        np.testing.assert_allclose(np.bincount(tokens, minlength=3) / draws, expected, atol=0.015)


def test_temperature_0_takes_the_best():
    assert choose(jax.random.key(0), jnp.array([[1.0, 5.0, 2.0], [7.0, 6.0, 7.0]]), 0.0, 0, 1.0).tolist() == [1, 0]


def test_cached_logits_are_those_without_cache(any_model):
    tokens = np.concatenate([PROMPT, PROMPT[::-1]], axis=1)
    decode = jax.jit(any_model.decode)
    logits, cache = decode(tokens[:, :5], any_model.new_cache(B, 10))
    parts = [logits]
    for t in range(5, 10):
        logits, cache = decode(tokens[:, t : t + 1], cache)
        parts.append(logits)
    np.testing.assert_allclose(
        np.concatenate(parts, axis=1), forward(*nnx.split(any_model), tokens), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("length", [1, 7, 19], ids=["one token", "to the context", "beyond it"])
def test_greedy_text_is_the_argmax_over_the_last_context_tokens(any_model, length):
    tokens = PROMPT
    for _ in range(length):
        tokens = np.append(tokens, next_logits(any_model, tokens).argmax(-1)[:, None], axis=1)
    sampled = sample(any_model, PROMPT, jax.random.key(0), length=length, temperature=0.0)
    assert sampled.dtype == jnp.int32 and sampled.tolist() == tokens[:, 5:].tolist()


@pytest.mark.parametrize("top_k, top_p", [(0, 1.0), (3, 1.0), (0, 0.6)])
def test_samples_are_drawn_from_the_logits_without_cache(model, top_k, top_p):
    tokens, key = PROMPT, jax.random.key(5)
    for number in range(17):
        token = choose(jax.random.fold_in(key, number), next_logits(model, tokens), 0.9, top_k, top_p)
        tokens = np.append(tokens, token[:, None], axis=1)
    sampled = sample(model, PROMPT, key, length=17, temperature=0.9, top_k=top_k, top_p=top_p)
    assert sampled.tolist() == tokens[:, 5:].tolist()


def test_a_prompt_longer_than_the_context_counts_by_its_end(model):
    long = np.concatenate([PROMPT, PROMPT, PROMPT], axis=1)
    key = jax.random.key(0)
    assert (sample(model, long, key, length=3) == sample(model, long[:, -CONTEXT:], key, length=3)).all()


def test_the_key_decides_the_text(model):
    texts = [sample(model, PROMPT, jax.random.key(seed), length=17, temperature=3.0).tolist() for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"length": 0}, "length = 0"),
        ({"temperature": -0.5}, "temperature = -0.5"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": -1}, "top_k = -1"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
        ({"prompt_BT": np.zeros((B, 0), int)}, r"\(2, 0\)"),
        ({"prompt_BT": np.zeros(5, int)}, r"\(5,\)"),
    ],
)
def test_settings_out_of_range_are_named(model, settings, message):
    with pytest.raises(ValueError, match=message):
        sample(model, **{"prompt_BT": PROMPT, "key": jax.random.key(0), "length": 3} | settings)
