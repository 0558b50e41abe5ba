"""Short ListOps, for a CPU: the value of nested MIN, MAX, MED and SM of up to 32 tokens."""

from experiments.benchmark.families import STACKS, of_tokens
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 48, "depth": 2, "heads": 4}
NARROW = {"quarter": {"model.width": 24}, "half": {"model.width": 32}}

SUITE = Suite(
    title="ListOps, short: 7 to 32 tokens, ten classes",
    about="Expressions such as [MAX 2 9 [MIN 4 7 ] 0 ], whose value is a digit, nested up to 4 deep. Encoder and "
    "bottleneck read them after a [CLS] token; decoder, GRU and LSTM answer with the value as the next token, the "
    "encoder-decoders with a sequence of one value. Linear and window are decoders, the latter with a window of 8 "
    "tokens.",
    data={"name": "listops", "max_depth": 4, "max_args": 4, "longer_than": 6, "shorter_than": 33, "examples": 50_000,
          "evaluation": "validation", "train": "train"},
    test="test",
    budget=60_000,
    examples=160_000,
    tuning_examples=48_000,
    batch_size=64,
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.5,
    percent=True,
    families=of_tokens(
        models=dict.fromkeys(STACKS, BLOCKS) | {
            "encoder_decoder": BLOCKS | {"decoder_depth": 1, "mlp_width": 70},
            "gru": {"width": 96},
            "lstm": {"width": 84},
            "recurrent": {"width": 54},
            "perceiver": BLOCKS | {"depth": 1, "latents": 16, "cross_heads": 4, "positions": "learned"},
            "bottleneck": BLOCKS | {"latents": 16},
        },
        sizes=dict.fromkeys(STACKS, NARROW) | {
            "encoder_decoder": {"quarter": {"model.width": 24, "model.mlp_width": 35}, "half": {"model.width": 32}},
            "gru": {"quarter": {"model.width": 48}, "half": {"model.width": 68}},
            "lstm": {"quarter": {"model.width": 42}, "half": {"model.width": 60}},
            "recurrent": {"quarter": {"model.width": 26}, "half": {"model.width": 38}},
            "perceiver": NARROW,
            "bottleneck": NARROW,
        },
    ),
)  # fmt: skip

get_config = SUITE.config
