"""A language model is a denoising autoencoder whose corruption is a delay.

The text is moved by one place, so that the word to restore is the one that is missing, and a causal model restores the
clean text from the delayed one: its reconstruction error is the loss of the language model, to the last digit. The mask
is the other half. A model that also sees later places has every word in view, one place further on, and only moves them
back.

Formula: x~_t = x_{t-1}; min E -log p(x_t | x~_1, ..., x~_t) = -log p(x_t | x_1, ..., x_{t-1})
Source: A. Canziani, autoencoders and denoising; Vincent et al. 2008; Bengio et al. 2003.
Look at: the two losses lie on each other and fall to the entropy rate. Without the mask nothing is learned but a move.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from data.markov import entropy_rate, markov, stationary
from experiments.figures.engine import Criterion, at_most, near
from experiments.figures.style import grid, ink
from models import GPT, Bert
from objectives import language_modeling, reconstruction
from training.state import merge, split

SYMBOLS, T, STEPS, BATCH = 12, 16, 160, 64
SIZES: dict[str, Any] = {"vocab_size": SYMBOLS + 1, "context": T, "width": 32, "depth": 1, "heads": 4}
START = 0  # what the delay leaves in the gap, and no symbol


def run(seed: int, *, delay: int = 1) -> dict:
    data = markov(symbols=SYMBOLS, context=T)
    texts = lambda source, count: source.examples(np.arange(count))["inputs"]["tokens"] + 1
    train_BT = texts(data.train, len(data.train))
    rows = np.random.default_rng(seed).integers(len(train_BT), size=(STEPS, BATCH))
    held_out_BT = texts(data.evaluation, len(data.evaluation))
    losses = {}
    models = {"causal": GPT(**SIZES, rngs=nnx.Rngs(seed)),
              "without the mask": Bert(**SIZES, head="masked", rngs=nnx.Rngs(seed))}  # fmt: skip
    for name, model in models.items():
        fitted, losses[name] = _fit(model, train_BT[rows], delay)
        losses[f"{name}, held out"] = float(reconstruction(fitted, _clean(held_out_BT), None, delay=delay)[0])
        if name == "causal":
            losses["language model, held out"] = float(language_modeling(fitted, _shifted(held_out_BT), None)[0])
    example = held_out_BT[0]
    return {"losses": losses, "example": example, "delayed": np.append(np.zeros(delay, int), example[:-delay])}


def _fit(model: nnx.Module, batches_NBT: np.ndarray, delay: int):
    """Trains the model to restore delayed texts. Returns it, and its loss and that of a language model at each step."""
    structure, parameters = split(model)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, len(batches_NBT)))

    def step(carry, text_BT):
        parameters, state = carry
        loss = lambda p: reconstruction(merge(structure, p), _clean(text_BT), None, delay=delay)[0]
        value, gradient = jax.value_and_grad(loss)(parameters)
        other = language_modeling(merge(structure, parameters), _shifted(text_BT), None)[0]
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(parameters, updates), state), (value, other)

    fit = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), jnp.asarray(batches_NBT)))
    (parameters, _), values = fit(parameters)
    return merge(structure, parameters), np.array(values)


def _clean(text_BT) -> dict:
    """The text as its own target: the objective corrupts the input."""
    return {"inputs": {"tokens": text_BT}, "targets": text_BT, "weights": jnp.ones(text_BT.shape)}


def _shifted(text_BT) -> dict:
    """The batch of a language model, which reads the start and all words but the last."""
    read_BT = jnp.concatenate([jnp.full_like(text_BT[:, :1], START), text_BT[:, :-1]], axis=1)
    return {"inputs": {"tokens": read_BT}, "targets": text_BT, "weights": jnp.ones(text_BT.shape)}


def _floor() -> float:
    """The entropy of a word, averaged over a text: its first word is drawn from the stationary distribution."""
    p = stationary(SYMBOLS)
    return float((-(p * np.log(p)).sum() + (T - 1) * entropy_rate(SYMBOLS)) / T)


def check(results: dict) -> list[Criterion]:
    losses = results["losses"]
    restored, predicted = losses["causal"]
    return [
        at_most("causal: distance between both losses in training, nats", np.abs(restored - predicted).max(), 1e-6),
        near("causal: loss on held-out texts, nats per word", losses["causal, held out"], _floor(), 0.05),
        at_most("without the mask: loss on held-out texts", losses["without the mask, held out"], 0.3),
    ]


def plot(figure: Figure, results: dict) -> None:
    above, axes = figure.subplots(2, 1, height_ratios=[1, 3.2])
    letters = lambda tokens: ["-" if token == START else chr(96 + token) for token in tokens]
    for row, tokens in enumerate((results["example"], results["delayed"])):
        for place, letter in enumerate(letters(tokens)):
            above.text(place, -row, letter, ha="center", va="center", fontsize=17, family="monospace",
                       color="C0" if row else ink())  # fmt: skip
    for place in (5, 9):
        above.annotate("", (place, -0.25), (place, -0.78), arrowprops={"arrowstyle": "->", "color": "C1", "lw": 2})
    above.set(xlim=(-0.6, T - 0.4), ylim=(-1.5, 0.5), xticks=[])
    above.set_yticks([0, -1], ["clean", "delayed by one"])
    above.spines[:].set_visible(False)
    above.tick_params(length=0)
    restored, predicted = results["losses"]["causal"]
    steps = np.arange(1, STEPS + 1)
    axes.plot(steps, restored, "C0", linewidth=5, alpha=0.5, label="denoising autoencoder, causal")
    axes.plot(steps, predicted, "C1", linewidth=1.5, label="language model, the same parameters")
    axes.plot(steps, results["losses"]["without the mask"][0], "C2", label="denoising autoencoder without the mask")
    axes.axhline(_floor(), color=ink(), linestyle=":")
    axes.text(STEPS, _floor() + 0.05, "entropy", ha="right", fontsize=13)
    axes.set(xlabel="training step", ylabel="loss (nats per word)", ylim=(0, None))
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.42))
    grid(axes, "y")
