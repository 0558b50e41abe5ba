"""Recurrent networks: the equations, padding, causality, cached decoding, attention, and what a fixed context loses."""

import itertools
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import RecurrentEncoderDecoder, RecurrentLanguageModel
from models.attention import AttentionWeights
from models.beam_search import beam_search
from models.recurrent import Cell, RecurrentLayers

ATTENTIONS = ("fixed", "additive", "dot")
SOURCE = jax.random.randint(jax.random.key(1), (3, 7), 0, 19)
MASK = jnp.arange(7) < jnp.array([7, 5, 2])[:, None]
TOKENS = jax.random.randint(jax.random.key(2), (3, 11), 0, 23)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x_TD, kernels, h):
    """Cho et al. 2014, as PyTorch writes it, in NumPy float64."""
    (w, b), u = kernels
    for x in x_TD:
        r, z, n = np.split(x @ w + b, 3)
        r_h, z_h, n_h = np.split(h @ u, 3)
        z = sigmoid(z + z_h)
        h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * h
        yield h


def lstm(x_TD, kernels, h):
    """Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000), in NumPy float64."""
    (w,), (u, b) = kernels
    c = np.zeros_like(h)
    for x in x_TD:
        i, f, g, o = np.split(x @ w + h @ u + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        yield h


def gates(cell: Cell, name: str) -> np.ndarray:
    """The kernels of a cell, or its biases, as one float64 matrix with the gates side by side."""
    parameters = {"/".join(map(str, path)): value for path, value in nnx.to_flat_state(nnx.state(cell))}
    return np.asarray(parameters[name][...], np.float64)


def best_by_enumeration(model, source, mask, *, bos: int, eos: int, length: int) -> tuple[float, list[int]]:
    """Log-probability of the most likely of all targets, and the target, filled with `eos`."""
    targets = [list(target) for target in itertools.product(range(5), repeat=length)]
    ends = [target.index(eos) + 1 if eos in target else length for target in targets]
    tokens = jnp.array([[bos, *target[:-1]] for target in targets])
    repeat = lambda x: jnp.repeat(x, len(targets), axis=0)
    log_p = jax.nn.log_softmax(model(repeat(source), tokens, source_mask=repeat(mask)))
    totals = [sum(log_p[i, t, targets[i][t]] for t in range(end)) for i, end in enumerate(ends)]
    best = int(np.argmax(np.array(totals)))
    return float(totals[best]), targets[best][: ends[best]] + [eos] * (length - ends[best])


def make(attention="additive", **fields) -> Any:
    defaults: dict[str, Any] = dict(
        source_vocab_size=19, vocab_size=23, source_context=7, context=11, width=10, depth=2, shared=False
    )
    chosen: dict[str, Any] = defaults | {"attention": attention} | fields
    return RecurrentEncoderDecoder(**chosen, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("kind, reference", [("gru", gru), ("lstm", lstm)])
def test_a_cell_computes_its_equations(kind, reference):
    cell = Cell(kind, 5, 7, rngs=nnx.Rngs(0))
    for path, parameter in nnx.to_flat_state(nnx.state(cell)):
        parameter[...] = jax.random.normal(jax.random.key(sum(map(ord, str(path)))), parameter.shape) / 2
    x_BTD = jax.random.normal(jax.random.key(3), (3, 11, 5))
    input_kernel, hidden_kernel = (gates(cell, f"cell/{name}/kernel") for name in ("dense_i", "dense_h"))
    if kind == "gru":
        kernels = [(input_kernel, gates(cell, "cell/dense_i/bias")), hidden_kernel]
    else:
        kernels = [(input_kernel,), (hidden_kernel, gates(cell, "cell/dense_h/bias"))]
    out_BTD, state = cell(x_BTD, cell.empty(3))
    for x_TD, out_TD in zip(np.asarray(x_BTD, np.float64), out_BTD):
        np.testing.assert_allclose(out_TD, list(reference(x_TD, kernels, np.zeros(7))), atol=1e-6)
    np.testing.assert_array_equal(state[-1], out_BTD[:, -1])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_never_changes_a_state(cell, bidirectional):
    layers = RecurrentLayers(
        cell=cell, inputs=5, width=14, depth=2, bidirectional=bidirectional, rngs=nnx.Rngs(0)
    )  # fmt: skip
    x = jax.random.normal(jax.random.key(3), (3, 7, 5))
    out, states = layers(x, mask=MASK)
    for row, length in enumerate((7, 5, 2)):
        alone, alone_states = layers(x[row : row + 1, :length])
        np.testing.assert_allclose(out[row, :length], alone[0], atol=1e-6)
        for state, alone_state in zip(jax.tree.leaves(states), jax.tree.leaves(alone_states)):
            np.testing.assert_allclose(state[row], alone_state[0], atol=1e-6)
    garbage = jnp.where(MASK[..., None], x, 1e6)
    np.testing.assert_array_equal(layers(garbage, mask=MASK)[0], out)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_language_model_sees_the_past_only_and_continues_from_its_cache(cell):
    model = RecurrentLanguageModel(vocab_size=23, context=13, width=14, depth=2, cell=cell, rngs=nnx.Rngs(0))
    logits = model(TOKENS)
    gradient = jax.jacobian(lambda table: model.layers(table)[0][0, :, 0])(model.embedding(TOKENS))[:, 0]
    reach_TS = np.abs(gradient).sum(-1) > 0
    np.testing.assert_array_equal(reach_TS, np.tri(11, dtype=bool))
    first, cache = model.decode(TOKENS[:, :4], model.new_cache(3))
    later, _ = model.decode(TOKENS[:, 4:], cache)
    np.testing.assert_allclose(jnp.concatenate([first, later], axis=1), logits, atol=1e-5)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_cached_decoding_equals_the_full_forward(attention, cell):
    model = make(attention, cell=cell)
    logits = model(SOURCE, TOKENS, source_mask=MASK)
    cache, parts = model.new_cache(SOURCE, source_mask=MASK), []
    for begin, end in ((0, 4), (4, 5), (5, 11)):
        part, cache = model.decode(TOKENS[:, begin:end], cache)
        parts.append(part)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), logits, atol=1e-5)
    moved = model.reorder(cache, jnp.array([2, 2, 0]))
    for new, old in zip(jax.tree.leaves(moved["states"]), jax.tree.leaves(cache["states"])):
        np.testing.assert_array_equal(new[1], old[2])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_of_the_source_changes_nothing(attention, bidirectional):
    model = make(attention, bidirectional=bidirectional)
    logits = model(SOURCE, TOKENS, source_mask=MASK)
    garbage = jnp.where(MASK, SOURCE, 17)
    np.testing.assert_array_equal(model(garbage, TOKENS, source_mask=MASK), logits)
    np.testing.assert_allclose(model(SOURCE[1:2, :5], TOKENS[1:2])[0], logits[1], atol=1e-5)


@pytest.mark.parametrize("attention", ["additive", "dot"])
def test_alignments_sum_to_one_ignore_padding_and_can_be_read_from_outside(attention):
    model = make(attention)
    logits, captured = nnx.capture(model, AttentionWeights)(SOURCE, TOKENS, source_mask=MASK)
    (weights_BHTS,) = jax.tree.leaves(captured)
    assert weights_BHTS.shape == (3, 1, 11, 7)
    np.testing.assert_allclose(weights_BHTS.sum(-1), 1, atol=1e-6)
    assert not weights_BHTS[1, :, :, 5:].any() and not weights_BHTS[2, :, :, 2:].any()
    np.testing.assert_allclose(logits, model(SOURCE, TOKENS, source_mask=MASK), atol=1e-6)


def test_dot_attention_is_unscaled_with_the_current_state_as_query():
    """The lecture's form: softmax(s_t . h_i), then tanh(W [z_t; s_t])."""
    model = make("dot", depth=1)
    h_BSD = model.encode(SOURCE, source_mask=MASK)
    cache = model.new_cache(SOURCE, source_mask=MASK)
    s_BTD, _ = model.decoder(model.embedding(TOKENS), cache["states"])
    scores = np.where(MASK[:, None], np.einsum("btd,bsd->bts", s_BTD, h_BSD), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    z_BTD = np.einsum("bts,bsd->btd", weights, h_BSD)
    hidden = np.tanh(np.concatenate([z_BTD, s_BTD], -1) @ model.mixer.kernel[...] + model.mixer.bias[...])
    expected = hidden @ model.embedding.embedding[...].T
    np.testing.assert_allclose(model(SOURCE, TOKENS, source_mask=MASK), expected, atol=1e-5)


def test_additive_attention_asks_with_the_state_before():
    """Bahdanau et al. 2015: z_t from s_{t-1}, s_t from [y; z_t], the output from [s_t; z_t; y]."""
    model = make("additive", depth=1)
    align, (cell,) = model.cross, model.decoder.forward
    h_BSD, cache = model.encode(SOURCE), model.new_cache(SOURCE)
    (state,), expected = cache["states"], []
    for t in range(TOKENS.shape[1]):
        y_BD = model.embedding(TOKENS[:, t])
        pairs = np.tanh(align.query(state[-1])[:, None] + align.key(h_BSD)) @ align.vector[...][0]
        weights = np.exp(pairs) / np.exp(pairs).sum(-1, keepdims=True)
        z_BD = np.einsum("bs,bsd->bd", weights, h_BSD)
        state = cell.step(state, jnp.concatenate([y_BD, z_BD], -1), None)
        hidden = np.tanh(model.mixer(jnp.concatenate([state[-1], z_BD, y_BD], -1)))
        expected.append(hidden @ model.embedding.embedding[...].T)
    np.testing.assert_allclose(model(SOURCE, TOKENS), np.stack(expected, axis=1), atol=1e-5)


def test_a_fixed_context_is_all_that_the_decoder_knows_of_the_source():
    model = make("fixed")
    cache = model.new_cache(SOURCE, source_mask=MASK)
    assert "source" not in cache and cache["last"].shape == (3, 10)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_beam_search_finds_what_enumeration_finds(attention):
    model = make(attention, vocab_size=5, context=4, width=6)
    tokens, scores = beam_search(model, SOURCE, MASK, bos=0, eos=1, length=3, beams=5**2)
    for row in range(3):
        log_p, best = best_by_enumeration(
            model, SOURCE[row : row + 1], MASK[row : row + 1], bos=0, eos=1, length=3
        )  # fmt: skip
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
