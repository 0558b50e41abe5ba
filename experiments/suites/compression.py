"""Compression, a skill of MAD (Poli et al. 2024): a string through one vector.

The baseline of the paper, with fewer examples and smaller models. The paper reads a string out of the last state of any
sequence of layers by an MLP; here recurrent decoders write it. Not run whole yet.
"""

from dataclasses import replace

from experiments.benchmark.families import DECAY, NO_IMAGE, RECURRENT, SEQUENCE, others
from experiments.benchmark.suite import Family
from experiments.suites.noisy_recall import SUITE as NOISY

FIXED = RECURRENT | {"attention": "fixed"}
NO_VECTOR = "does not write a sequence from one vector"

SUITE = replace(
    NOISY,
    title="Compression",
    about="Random strings of 32 of 16 different symbols are to be written down again: the share of symbols that are "
    "right, given the true ones before. Between encoder and decoder there is one vector, of GRUs in `recurrent` and of "
    "LSTMs in `recurrent_lstm`. The flag --by varies the length.",
    data={**NOISY.data, "name": "compression"},
    budget=66_000,
    by=("data.length", (16, 64, 128)),
    families=others(
        {
            "recurrent": Family(model=FIXED | {"width": 60}, objective=SEQUENCE, own=DECAY),
            "recurrent_lstm": Family(model=FIXED | {"cell": "lstm", "width": 52}, objective=SEQUENCE, own=DECAY),
        },
        NO_VECTOR, images=NO_IMAGE,
    ),
)  # fmt: skip

get_config = SUITE.config
