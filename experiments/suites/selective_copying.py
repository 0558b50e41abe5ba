"""Selective copying, a skill of MAD (Poli et al. 2024): tokens among blanks are written down without the blanks.

The baseline of the paper, with fewer examples and smaller models. Not run whole yet.
"""

from dataclasses import replace

from experiments.benchmark.families import NO_IMAGE, of_decoders, others
from experiments.suites.noisy_recall import MODELS, NO_NEXT_TOKEN
from experiments.suites.noisy_recall import SUITE as NOISY

SUITE = replace(
    NOISY,
    title="Selective copying",
    about="16 of 14 different tokens stand among blanks, 239 places in all, and are to be written down in their order "
    "after a sign: the share of tokens that are right. Linear and window are decoders, the latter with a window of 16 "
    "tokens. The flag --by varies how many tokens are copied.",
    data={**NOISY.data, "name": "selective_copying"},
    budget=69_000,
    by=("data.copied", (8, 32, 64)),
    families=others(
        of_decoders(MODELS | {"gru": {"width": 106}, "lstm": {"width": 91}}, sizes={}), NO_NEXT_TOKEN, images=NO_IMAGE
    ),
)

get_config = SUITE.config
