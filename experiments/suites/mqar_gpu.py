"""Multi-query associative recall as published: 8,192 symbols, 256 tokens, 16 pairs, two layers 64 to 512 wide.

Meant for a GPU. By the compiler's estimate a final run of the decoder takes at least 4:49 minutes on an H100, and 10:32
if it is 512 wide; not run yet:

python -m experiments.preflight --config=experiments/suites/mqar_gpu.py:decoder --topology h100:1

The paper's easier settings are 128 tokens with 8 pairs and 64 with 4; --sizes adds the wider models:

python -m experiments.benchmark mqar_gpu --sizes --set data.length=64 --set data.pairs=4 --workdir=runs/mqar_64
"""

from collections.abc import Mapping
from dataclasses import replace

from experiments.benchmark.suite import Family
from experiments.suites.mqar import SUITE as SHORT

# The width of each model, and those of the further sizes. Most parameters are embeddings, which all but GRU and LSTM
# have two tables of.
WIDTHS = {
    "encoder_decoder": (64, (128, 256, 488)),
    "recurrent": (62, (124, 240, 464)),
    "gru": (125, (242, 466, 885)),
    "lstm": (122, (231, 433, 805)),
}
USUAL = 64, (128, 256, 512)


def _published(name: str, family: Family) -> Family:
    width, wider = WIDTHS.get(name, USUAL)
    prefixed = lambda size: {f"model.{field}": value for field, value in _fields(family, size).items()}
    sizes = {str(usual): prefixed(size) for usual, size in zip(USUAL[1], wider)}
    return replace(family, model={**family.model, **_fields(family, width)}, sizes=sizes)


def _fields(family: Family, width: int) -> Mapping[str, int]:
    return {field: width for field in ("width", "mlp_width") if field in family.model}


SUITE = replace(
    SHORT,
    title="Multi-query associative recall, as published",
    about=SHORT.about.replace("Eight pairs of one of 63 keys and one of 64", "16 pairs of one of 4,095 keys and 4,096"),
    data={
        "name": "mqar", "length": 256, "pairs": 16,
        "train": "train[:97%]", "evaluation": "train[97%:]",
    },
    budget=1_130_000,
    examples=6_400_000,
    tuning_examples=640_000,
    batch_size=256,
    rates=(1e-4, 4.6e-4, 2.2e-3, 1e-2),
    by=("", ()),
    families={
        name: family if isinstance(family, str) else _published(name, family) for name, family in SHORT.families.items()
    },
)  # fmt: skip

get_config = SUITE.config
