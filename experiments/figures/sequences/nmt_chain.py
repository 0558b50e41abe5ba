"""A product of conditional probabilities is a distribution over all sentences.

The decoder gives a distribution over the next word, given the words before it. By the chain rule, the product is a
probability for every sentence, and over all sentences of one length these sum to 1, whether the model is trained or
not. If the input is not shifted to the right, each word is predicted from itself, and the product is no distribution.

Formula: p(y | x) = prod_t p(y_t | y_<t, x), sum over all y in V^T = 1
Source: V. Roth, Neural Encoder-Decoder Models: neural machine translation; the decoder's input shifts right.
Look at: the sums over all 4, 16, ..., 1,024 sentences.
"""

from itertools import product

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, near
from experiments.figures.style import grid, ink
from models.encoder_decoder import EncoderDecoder

WORDS, T, BEGIN = 4, 5, 4


def run(seed: int, *, shift: bool = True) -> dict:
    model = EncoderDecoder(
        source_vocab_size=WORDS, vocab_size=WORDS + 1, source_context=6, context=T, width=16, depth=2, heads=2,
        shared=False, rngs=nnx.Rngs(seed),
    )  # fmt: skip
    source = jax.random.randint(jax.random.key(seed), (1, 6), 0, WORDS)
    sentences_BT = jnp.array(list(product(range(WORDS), repeat=T)))

    @nnx.jit
    def log_probabilities(model, tokens_BT):
        logits_BTV = model(jnp.repeat(source, len(tokens_BT), 0), tokens_BT)[..., :WORDS]  # BEGIN is never predicted
        return jnp.take_along_axis(jax.nn.log_softmax(logits_BTV), sentences_BT[..., None], -1)[..., 0]

    begin_B1 = jnp.full((len(sentences_BT), 1), BEGIN)
    shifted_BT = jnp.concatenate([begin_B1, sentences_BT[:, :-1]], axis=1)
    log_p_BT = np.array(log_probabilities(model, shifted_BT if shift else sentences_BT), np.float64)
    return {"sums": _sums(log_p_BT), "leaking": _sums(np.array(log_probabilities(model, sentences_BT), np.float64)),
            "probabilities": np.sort(np.exp(log_p_BT.sum(1)))[::-1]}  # fmt: skip


def _sums(log_p_BT: np.ndarray) -> list[float]:
    """The sums over all sentences of t words, for t = 1 ... T."""
    prefixes = [np.exp(log_p_BT[:, :t].sum(1))[:: WORDS ** (T - t)] for t in range(1, T + 1)]
    return [float(values.sum()) for values in prefixes]


def check(results: dict) -> list[Criterion]:
    return [near(f"sum over all {WORDS**t:,} sentences of {t} words", value, 1.0, 1e-5)
            for t, value in enumerate(results["sums"], 1)]  # fmt: skip


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    lengths = np.arange(1, T + 1)
    left.bar(lengths - 0.2, results["sums"], 0.38, color="C0", label="shifted")
    left.bar(lengths + 0.2, results["leaking"], 0.38, color="C1", label="not shifted")
    left.axhline(1, color=ink(), linestyle=":")
    left.set(xlabel="words in a sentence", ylabel="sum of p over all sentences", title="Is this a distribution?")
    left.set(yscale="log", ylim=(0.3, 5 * max(results["leaking"] + [1.0])))
    left.legend(loc="upper left", ncols=2)
    right.semilogx(np.arange(1, WORDS**T + 1), np.cumsum(results["probabilities"]), "C0")
    right.axhline(1, color=ink(), linestyle=":")
    right.set(xlabel="sentences, most likely first", ylabel="cumulative probability", ylim=(0, 1.1))
    right.set_title(f"All {WORDS**T:,} sentences of {T} words")
    grid(right)
