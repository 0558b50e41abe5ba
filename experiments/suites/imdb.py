"""Film reviews of IMDB: whether each is negative or positive, from its first 128 word pieces.

Not run whole yet. Needs `imdb_reviews/plain_text`, and a vocabulary of 1,000 word pieces; a larger one would leave few
parameters for anything but embeddings:

  python -m experiments.tokenizer --tfds=imdb_reviews/plain_text --vocab_size=1000 --out=runs/imdb_1000.json
"""

from experiments.benchmark.families import STACKS, of_tokens
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 32, "depth": 1, "heads": 4}
NARROW = {"quarter": {"model.width": 8, "model.heads": 2}, "half": {"model.width": 16}}

SUITE = Suite(
    title="IMDB, the first 128 word pieces of a review",
    about="25,000 film reviews to learn from, of which 2,500 are held out for validation, and 25,000 to be tested on: "
    "negative or positive. Encoder and bottleneck read a review after a [CLS] token; decoder, GRU and LSTM answer with "
    "the class as the next token, the encoder-decoders with a sequence of one class. Linear and window are decoders, "
    "the latter with a window of 8 tokens.",
    data={
        "name": "imdb", "tokenizer": "runs/imdb_1000.json", "context": 128, "train": "train[:90%]",
        "evaluation": "train[90%:]",
    },
    test="test",
    budget=50_000,
    examples=40_000,
    tuning_examples=16_000,
    batch_size=32,
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.75,
    percent=True,
    families=of_tokens(
        models=dict.fromkeys(STACKS, BLOCKS) | {
            "encoder_decoder": BLOCKS | {"decoder_depth": 1, "mlp_width": 32},
            "gru": {"width": 40},
            "lstm": {"width": 38},
            "recurrent": {"width": 30},
            "perceiver": BLOCKS | {"mlp_width": 40, "latents": 16, "cross_heads": 4, "positions": "learned"},
            "bottleneck": BLOCKS | {"latents": 16},
        },
        sizes=dict.fromkeys(STACKS, NARROW) | {
            "encoder_decoder": {
                "quarter": {"model.width": 8, "model.heads": 2, "model.mlp_width": 8},
                "half": {"model.width": 16, "model.mlp_width": 16},
            },
            "gru": {"quarter": {"model.width": 10}, "half": {"model.width": 20}},
            "lstm": {"quarter": {"model.width": 10}, "half": {"model.width": 20}},
            "recurrent": {"quarter": {"model.width": 10}, "half": {"model.width": 18}},
            "perceiver": {
                "quarter": {"model.width": 8, "model.heads": 2, "model.cross_heads": 2, "model.mlp_width": 10},
                "half": {"model.width": 16, "model.mlp_width": 20},
            },
            "bottleneck": NARROW,
        },
    ),
)  # fmt: skip

get_config = SUITE.config
