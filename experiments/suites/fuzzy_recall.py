"""Fuzzy recall, a skill of MAD (Poli et al. 2024): keys and values of one to three tokens.

The baseline of the paper, with fewer examples and smaller models. Not run whole yet.
"""

from dataclasses import replace

from experiments.suites.noisy_recall import SUITE as NOISY

SUITE = replace(
    NOISY,
    title="Fuzzy recall",
    about="Keys of one to three of 7 tokens, each of which has a value of one to three of 8 others in a sequence of "
    "128 tokens. The share of tokens of values that are right, of keys that came before. Linear and window are "
    "decoders, the latter with a window of 16 tokens. The flag --by varies the largest number of tokens of a key.",
    data={**NOISY.data, "name": "fuzzy_recall"},
    budget=61_000,
    by=("data.key_tokens", (1, 2, 5)),
)

get_config = SUITE.config
