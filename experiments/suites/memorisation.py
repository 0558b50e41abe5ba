"""Memorisation, a skill of MAD (Poli et al. 2024): a dictionary that is in no sequence, only in the parameters.

The baseline of the paper has 256 sequences for training; here there are more, of the same dictionary. Not run whole
yet.
"""

from dataclasses import replace

from experiments.suites.noisy_recall import SUITE as NOISY

SUITE = replace(
    NOISY,
    title="Memorisation",
    about="127 keys, each with a value of its own that is the same in all sequences and no input of any: the share of "
    "values that are right. Linear and window are decoders, the latter with a window of 16 tokens. The flag --by "
    "varies the number of symbols, of which half are keys.",
    data={**NOISY.data, "name": "memorisation"},
    budget=85_000,
    by=("data.symbols", (512, 1024, 2048)),
)

get_config = SUITE.config
