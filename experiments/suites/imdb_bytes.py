"""Film reviews of IMDB byte by byte: whether each is negative or positive, from its first 256 bytes.

Bytes are the setting of the task Text of Long Range Arena (Tay et al. 2021), with up to 4,000 of them: that is
configs/imdb_bytes_gpu.py. Needs `imdb_reviews/plain_text`. Not run yet.
"""

from dataclasses import replace

from experiments.benchmark.families import STACKS, of_tokens
from experiments.suites.imdb import BLOCKS
from experiments.suites.imdb import SUITE as IMDB

NARROW = {"quarter": {"model.width": 12}, "half": {"model.width": 20}}

SUITE = replace(
    IMDB,
    title="IMDB, the first 256 bytes of a review",
    about="25,000 film reviews to learn from, of which 2,500 are held out for validation, and 5,000 to be tested on: "
    "negative or positive. Encoder and bottleneck read a review after a [CLS] "
    "token; decoder, GRU and LSTM answer with the class as the next token, the encoder-decoders with a sequence of one "
    "class. Linear and window are decoders, the latter with a window of 8 bytes.",
    data={"name": "imdb", "context": 256, "train": "train[:90%]", "evaluation": "train[90%:]"},
    test="test[:5000]",
    budget=29_500,
    target=0.6,
    families=of_tokens(
        models=dict.fromkeys(STACKS, BLOCKS) | {
            "encoder_decoder": BLOCKS | {"decoder_depth": 1, "mlp_width": 16},
            "gru": {"width": 50},
            "lstm": {"width": 46},
            "recurrent": {"width": 32},
            "perceiver": BLOCKS | {"mlp_width": 32, "latents": 16, "cross_heads": 4, "positions": "learned"},
            "bottleneck": BLOCKS | {"latents": 16},
        },
        sizes=dict.fromkeys(STACKS, NARROW) | {
            "encoder_decoder": {
                "quarter": {"model.width": 12, "model.mlp_width": 6},
                "half": {"model.width": 20, "model.mlp_width": 10},
            },
            "gru": {"quarter": {"model.width": 18}, "half": {"model.width": 32}},
            "lstm": {"quarter": {"model.width": 18}, "half": {"model.width": 30}},
            "recurrent": {"quarter": {"model.width": 14}, "half": {"model.width": 24}},
            "perceiver": {
                "quarter": {"model.width": 12, "model.mlp_width": 12},
                "half": {"model.width": 20, "model.mlp_width": 20},
            },
            "bottleneck": NARROW,
        },
    ),
)  # fmt: skip

get_config = SUITE.config
