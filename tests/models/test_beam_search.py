"""Beam search: against a plain search, and against the scores of all possible targets."""

from itertools import product
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GPT, EncoderDecoder
from models.beam_search import beam_search, beam_search_on

BOS, EOS, V = 2, 3, 5
SOURCE = jax.random.randint(jax.random.key(1), (3, 7), 0, 11)
MASK = jnp.arange(7) < jnp.array([7, 4, 2])[:, None]
RELATIVE = {"positions": "none", "relative_buckets": 6, "relative_farthest": 5, "scan": True}
LINEAR = {"attention": "linear", "scan": True}
CHOICES = [{}, RELATIVE, {"positions": "rotary", "kv_heads": 1, "norm_order": "post"}, LINEAR, {"window": 3}]
FIELDS: dict[str, Any] = dict(
    source_vocab_size=11, vocab_size=V, source_context=7, context=13, width=28, depth=2, heads=7, shared=False
)


def build(**more: Any) -> Any:
    return EncoderDecoder(**FIELDS | more, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def model():
    return build()


def search(model, row=slice(None), **settings):
    return beam_search(model, SOURCE[row], MASK[row], **{"bos": BOS, "eos": EOS} | settings)


def without_cache(model):
    """A function from a row of the source and a target to the log-probabilities of the next token, by a full pass."""
    full = jax.jit(lambda *inputs: jax.nn.log_softmax(model(*inputs[:2], source_mask=inputs[2])))

    def log_p(row: int, target) -> np.ndarray:
        tokens = [BOS, *target, *[0] * (12 - len(target))]  # what comes later is not seen
        return np.asarray(full(SOURCE[row : row + 1], jnp.array([tokens]), MASK[row : row + 1]))[0, len(target)]

    return log_p


def plain_search(log_p, row: int, *, length: int, beams: int, length_penalty: float, ends: tuple[int, ...] = (EOS,)):
    """What the docstring of `models.beam_search` describes, with lists: targets, and their scores."""
    score = lambda item: item[1] / len(item[0]) ** length_penalty
    going: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[tuple[int, ...], float]] = []
    for number in range(1, length + 1):
        longer = [
            ((*target, token), total + p) for target, total in going for token, p in enumerate(log_p(row, target))
        ]
        longer = sorted(longer, key=lambda item: item[1], reverse=True)[: (1 + len(ends)) * beams]
        ended = [item for item in longer[:beams] if item[0][-1] in ends or number == length]
        finished = sorted(finished + ended, key=score, reverse=True)[:beams]
        going = [item for item in longer if item[0][-1] not in ends][:beams]
        if len(finished) == beams and score(going[0]) <= score(finished[-1]):
            break
    filled = [(*target, *[ends[0]] * (length - len(target))) for target, _ in finished]
    return filled, [score(item) for item in finished]


@pytest.mark.parametrize("more", CHOICES, ids=str)
def test_one_beam_is_greedy(more):
    model = build(**more)
    tokens, scores = search(model, length=6)
    log_p = without_cache(model)
    assert tokens.shape == (3, 1, 6) and tokens.dtype == jnp.int32 and scores.shape == (3, 1)
    for row in range(3):
        target, total = [], 0.0
        while len(target) < 6 and EOS not in target:
            p = log_p(row, target)
            target.append(int(p.argmax()))
            total += p.max()
        assert tokens[row, 0].tolist() == target + [EOS] * (6 - len(target))
        np.testing.assert_allclose(scores[row, 0], total, rtol=1e-5)


@pytest.mark.parametrize("more", CHOICES, ids=str)
def test_a_few_beams_do_as_a_plain_search_without_cache(more):
    model = build(**more)
    tokens, scores = search(model, length=5, beams=3, length_penalty=0.7)
    log_p = without_cache(model)
    for row in range(3):
        expected, values = plain_search(log_p, row, length=5, beams=3, length_penalty=0.7)
        np.testing.assert_allclose(scores[row], values, rtol=1e-5)
        assert tokens[row].tolist() == [list(target) for target in expected]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("ends", [(1, 3), (3, 0, 4)])
def test_every_end_token_ends_a_target(model, ends, beams):
    tokens, scores = search(model, length=5, beams=beams, length_penalty=0.7, eos=ends)
    log_p, both = without_cache(model), set()
    for row in range(3):
        expected, values = plain_search(log_p, row, length=5, beams=beams, length_penalty=0.7, ends=ends)
        np.testing.assert_allclose(scores[row], values, rtol=1e-5)
        assert tokens[row].tolist() == [list(target) for target in expected]
        both |= {next((token for token in target if token in ends), None) for target in expected}
    assert len(both - {None}) > 1 or beams == 1


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 3.0])
def test_enough_beams_find_all_targets_in_their_order(model, length_penalty):
    open_ = [token for token in range(V) if token != EOS]
    # All targets: 0, 1 or 2 tokens and then the end, or 3 tokens.
    targets = [(*start, EOS) for size in range(3) for start in product(open_, repeat=size)] + [
        *product(open_, repeat=3)
    ]
    assert len(targets) == 1 + 4 + 16 + 64
    tokens, scores = search(model, slice(1, 2), length=3, beams=len(targets) + 2, length_penalty=length_penalty)
    expected, log_p = {}, without_cache(model)
    for target in targets:
        total = sum(log_p(1, target[:place])[token] for place, token in enumerate(target))
        filled = (*target, *[EOS] * (3 - len(target)))
        expected[filled] = total / len(target) ** length_penalty
    scored = dict(zip(map(tuple, tokens[0, :-2].tolist()), scores[0, :-2].tolist()))
    assert scored.keys() == expected.keys()
    assert all(scored[target] == pytest.approx(expected[target], rel=1e-4) for target in expected)
    assert (np.diff(scores[0, :-2]) <= 0).all() and (scores[0, -2:] == -np.inf).all()


def test_texts_are_continued_as_by_a_plain_search():
    model = GPT(vocab_size=V, context=9, width=12, depth=2, heads=2, rngs=nnx.Rngs(7))
    model.embedding.embedding[...] *= 40  # so that the logits differ by more than rounding
    prompts = jnp.array([[4, 1, 0], [0, 2, 2]])
    full = jax.jit(lambda tokens: jax.nn.log_softmax(model(tokens)))

    def log_p(row, target):
        tokens = [*prompts[row].tolist(), *target, *[0] * (6 - len(target))]
        return np.asarray(full(jnp.array([tokens])))[0, 2 + len(target)]

    tokens, scores = beam_search_on(model, prompts, eos=EOS, length=6, beams=3, length_penalty=1.0)
    for row in range(2):
        expected, values = plain_search(log_p, row, length=6, beams=3, length_penalty=1.0)
        np.testing.assert_allclose(scores[row], values, rtol=1e-4)
        assert tokens[row].tolist() == [list(target) for target in expected]
    with pytest.raises(ValueError, match="length = 8: expected 1 to 7 tokens"):
        beam_search_on(model, prompts, eos=None, length=8)


def test_it_stops_when_all_have_ended(model):
    calls = []

    class Counting(EncoderDecoder):
        def decode(self, tokens, cache):
            jax.debug.callback(lambda: calls.append(1))
            logits, cache = super().decode(tokens, cache)
            # In the third step the target almost certainly ends.
            return logits + jnp.where(cache["length"] == 3, 50.0, -50.0) * (jnp.arange(V) == EOS), cache

    tokens, _ = search(Counting(**FIELDS, rngs=nnx.Rngs(0)), length=13, beams=2)
    jax.effects_barrier()
    assert len(calls) == 3
    assert (tokens[..., 2:] == EOS).all() and (tokens[..., :2] != EOS).all()


def test_padding_and_the_rest_of_the_batch_change_nothing(model):
    tokens, scores = search(model, length=6, beams=3)
    other = jnp.where(MASK, SOURCE, 10 - SOURCE)
    padded = beam_search(model, other, MASK, bos=BOS, eos=EOS, length=6, beams=3)
    np.testing.assert_array_equal(padded[0], tokens)
    np.testing.assert_array_equal(padded[1], scores)
    alone = beam_search(model, SOURCE[1:2, :4], bos=BOS, eos=EOS, length=6, beams=3)
    np.testing.assert_array_equal(alone[0][0], tokens[1])
    np.testing.assert_allclose(alone[1][0], scores[1], rtol=1e-5)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"beams": 0}, "beams = 0: expected at least 1"),
        ({"length": 14}, "length = 14: expected 1 to 13 tokens"),
        ({"length": 0}, "length = 0: expected 1 to 13 tokens"),
        ({"length_penalty": -1.0}, "length_penalty = -1.0: expected at least 0"),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_named(model, wrong, words):
    with pytest.raises(ValueError, match=words):
        search(model, **{"length": 6} | wrong)
