"""Noisy recall, a skill of MAD (Poli et al. 2024): pairs of a key and its value, with noise between them.

The baseline of the paper, with fewer examples and smaller models. Not run whole yet.
"""

from experiments.benchmark.families import NO_IMAGE, of_decoders, others
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 64, "depth": 2, "heads": 4, "mlp_width": 64, "tied": False, "initial_scale": 0.5}
MODELS = {
    "decoder": BLOCKS,
    "linear": BLOCKS,
    "window": BLOCKS | {"window": 16},
    "gru": {"width": 100},
    "lstm": {"width": 86},
}
NO_NEXT_TOKEN = "does not predict tokens from those before them"

SUITE = Suite(
    title="Noisy recall",
    about="Eight keys, each of which has one of eight values in a sequence; a fifth of the 64 pairs is noise. The "
    "share of values that are right, of keys that came before. Linear and window are decoders, the latter with a "
    "window of 16 tokens. The flag --by varies the share of noise.",
    data={"name": "noisy_recall", "train": "train[:90%]", "evaluation": "train[90%:]"},
    test="test",
    budget=63_000,
    examples=128_000,
    tuning_examples=32_000,
    batch_size=32,
    rates=(1e-3, 3e-3, 1e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.9,
    percent=True,
    by=("data.noise", (0.4, 0.6, 0.8)),
    families=others(of_decoders(MODELS, sizes={}), NO_NEXT_TOKEN, images=NO_IMAGE),
)

get_config = SUITE.config
