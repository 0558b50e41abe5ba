"""Associative recall: 12 pairs of a key and a value, then one of the keys again; the class is its value.

A pair is one token. With two tokens per pair, key and then value, the task is too hard for this budget even with five
pairs: trained on more examples than here, an encoder reached 40.7 %. Answering with the most frequent value of an
example gives 40.5 %.

Command: python train.py --config=experiments/suites/recall.py:encoder --workdir=runs/two_tokens --config.steps=3000
  --config.data.joined=false --config.data.pairs=5 --config.data.distinct_keys=13
"""

from experiments.benchmark.families import STACKS, of_tokens
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 32, "depth": 2, "heads": 4}
NARROW = {"quarter": {"model.width": 16}, "half": {"model.width": 24}}

SUITE = Suite(
    title="Associative recall",
    about="Twelve of 24 keys, each with one of 7 values and each pair as one token, and then one of these keys: which "
    "value belongs to it? Encoder and bottleneck read this after a [CLS] token; decoder, GRU and LSTM answer with "
    "the value as the next token, the encoder-decoders with a sequence of one value. Linear and window are decoders, "
    "the latter with a window of 8 tokens. The flag --by varies the number of pairs.",
    data={
        "name": "recall", "pairs": 12, "distinct_keys": 24, "joined": True,
        "train": "train[:90%]", "evaluation": "train[90%:]",
    },
    test="test",
    budget=33_000,
    examples=128_000,
    tuning_examples=64_000,
    batch_size=64,
    rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.9,
    percent=True,
    by=("data.pairs", (4, 8, 24)),
    families=of_tokens(
        models=dict.fromkeys(STACKS, BLOCKS) | {
            "encoder_decoder": BLOCKS | {"decoder_depth": 1, "mlp_width": 44},
            "gru": {"width": 60},
            "lstm": {"width": 52},
            "recurrent": {"width": 36},
            "perceiver": BLOCKS | {"depth": 1, "latents": 8, "cross_heads": 4, "positions": "learned"},
            "bottleneck": BLOCKS | {"latents": 8},
        },
        sizes=dict.fromkeys(STACKS, NARROW) | {
            "encoder_decoder": {"quarter": {"model.width": 16, "model.mlp_width": 22}, "half": {"model.width": 24}},
            "gru": {"quarter": {"model.width": 24}, "half": {"model.width": 40}},
            "lstm": {"quarter": {"model.width": 20}, "half": {"model.width": 36}},
            "recurrent": {"quarter": {"model.width": 16}, "half": {"model.width": 24}},
            "perceiver": NARROW,
            "bottleneck": NARROW,
        },
    ),
)  # fmt: skip

get_config = SUITE.config
