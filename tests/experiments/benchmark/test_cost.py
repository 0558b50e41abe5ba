"""FLOPs of every family against a count of its matrix products by hand, for one example in the evaluation."""

import jax
import pytest

from data.pipeline import train_batches
from experiments.benchmark import suite as suites
from train import Run
from training.flops import count
from training.step import make_evaluation_step, make_train_step

BATCH = 16


def block(queries: int, width: int, mlp: int, *, keys: int = 0, share: float = 1.0) -> float:
    """A transformer block: four projections, scores and mixing (a `share` of them is computed), and the MLP.

    With `keys` the block reads other positions, whose keys and values are projected.
    """
    keys = keys or queries
    projections = 2 * width * width * (2 * queries + 2 * keys)
    return projections + share * 4 * queries * keys * width + 4 * queries * width * mlp


def chain(*widths: int) -> float:
    """Linear maps one after the other."""
    return sum(2 * a * b for a, b in zip(widths, widths[1:]))


CAUSAL = 0.75  # on a CPU our attention skips the upper right quarter of the scores
HEAD = chain(32, 10)
DECODER = 2 * block(64, 32, 128, share=CAUSAL)
HAND = {
    ("digits", "encoder"): 2 * block(65, 32, 128) + chain(32, 32, 10),  # [CLS] and 64 pixels; pooler
    ("digits", "decoder"): DECODER + 64 * chain(32, 27),  # 17 intensities and ten classes
    ("digits", "encoder_decoder"): 2 * block(64, 32, 44) + block(1, 32, 0) + block(1, 32, 44, keys=64) + chain(32, 11),
    ("digits", "vit"): 16 * chain(4, 32) + 2 * block(16, 32, 128) + HEAD,
    # 32 latents read 64 pixels of 19 channels (intensity, two places, four bands of sine and cosine each), twice.
    ("digits", "perceiver"): 2 * (
        2 * 32 * chain(32, 32) + 2 * 64 * chain(19, 32) + 4 * 32 * 64 * 32 + 4 * 32 * 32 * 128 + block(32, 32, 128)
    ) + HEAD,
    ("digits", "bottleneck"): chain(64, 120, 120, 2 * 16) + 12 * chain(16, 10),  # 12 samples
    ("digits", "cnn"): 64 * chain(9, 37) + 16 * chain(9 * 37, 74) + chain(4 * 74, 10),
    ("digits", "mlp"): chain(64, 128, 128, 10),
    ("density", "decoder"): DECODER + 64 * chain(32, 3),
    ("density", "vae"): chain(64, 80, 80, 2 * 16) + 64 * chain(16, 80, 80, 64),  # 64 samples
}  # fmt: skip


def counted(name: str, family: str, *, samples: int = 0, train: bool = False) -> float:
    """The matrix products in the evaluation of one example, or in a train step."""
    config = suites.load(name).config(family).to_dict()
    if samples:
        config["objective"]["evaluation_samples"] = samples
    run = Run.of(config)
    structure, create = run.initialise()
    state = jax.eval_shape(create, jax.random.key(0))
    batch = next(train_batches(run.dataset.train, batch_size=BATCH, seed=0))
    if train:
        return count(make_train_step(structure, run.objective, run.optimizer), state, batch).products / BATCH
    return count(make_evaluation_step(structure, run.objective), state.parameters, batch).products / BATCH


@pytest.mark.parametrize("name, family", HAND, ids=str)
def test_flops_are_those_of_a_count_by_hand(name, family):
    assert counted(name, family) == pytest.approx(HAND[name, family], rel=2e-4)  # the rest: sums over a batch


def test_each_importance_sample_costs_a_decoder():
    assert counted("density", "vae") - counted("density", "vae", samples=1) == 63 * chain(16, 80, 80, 64)
    assert 1.63e6 < 64 * chain(16, 80, 80, 64) < 1.65e6


def test_a_train_step_costs_three_evaluations():
    """A product has two derivatives, except in the first layer, where nobody asks for that of the data."""
    assert counted("digits", "mlp", train=True) == 3 * chain(64, 128, 128, 10) - chain(64, 128)
