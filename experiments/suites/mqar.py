"""Multi-query associative recall in short: 8 pairs of a key and a value, two tokens each, and then every key again.

Unlike in the suite `recall`, each sequence asks for all of its pairs, and key and value are tokens of their own. The
suite `mqar_gpu` is the published form. Trained with this command, a decoder recalled 99.99 % of the values of the
validation data after 83 s on 2 shared CPU cores, and 100.00 % after 57 s with seed 2. The whole suite was not run yet.

Command: python train.py --config=experiments/suites/mqar.py:decoder --workdir=runs/mqar --config.seed=1
  --config.optimizer.learning_rate=0.003
"""

from experiments.benchmark.families import (
    CLASSIFICATION,
    DECAY,
    ENCODER,
    ENCODER_DECODER,
    NO_IMAGE,
    RECURRENT,
    SEQUENCE,
    of_decoders,
    others,
)
from experiments.benchmark.suite import Family, Suite

# Comparing tokens is the task, so embeddings start as large as what the first attention adds: see `models.gpt.GPT`.
BLOCKS = {"width": 64, "depth": 2, "heads": 1, "mlp_width": 64}
DECODING = BLOCKS | {"tied": False, "initial_scale": 0.5}
NARROW = {"quarter": {"model.width": 24, "model.mlp_width": 24}, "half": {"model.width": 40, "model.mlp_width": 40}}
ONE_ANSWER = "answers once for a whole sequence, and each sequence asks for all of its pairs"

# Its embeddings are of order 1, as those of the decoders are here.
SCALED_UP = {name: value for name, value in ENCODER_DECODER.items() if name != "embedding_scale"}

SUITE = Suite(
    title="Multi-query associative recall, short",
    about="Eight pairs of one of 63 keys and one of 64 values, then every key once more, after which its value is the "
    "next token: the share of values that are right. The encoder sees the whole sequence, in which the values do not "
    "come back. The encoder-decoders read the pairs as the source. Linear and window are decoders, the latter with a "
    "window of 8 tokens. The flag --by varies the number of pairs.",
    data={
        "name": "mqar", "symbols": 128, "length": 32, "pairs": 8,
        "train": "train[:95%]", "evaluation": "train[95%:97%]",
    },
    test="test",
    budget=69_000,
    examples=64_000,
    tuning_examples=32_000,
    batch_size=32,
    rates=(1e-3, 3e-3, 1e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.99,
    percent=True,
    by=("data.pairs", (2, 4)),
    families=others(
        of_decoders(
            models={
                "decoder": DECODING,
                "linear": DECODING,
                "window": DECODING,
                "gru": {"width": 96},
                "lstm": {"width": 85},
            },
            sizes={
                "decoder": NARROW,
                "linear": NARROW,
                "window": NARROW,
                "gru": {"quarter": {"model.width": 45}, "half": {"model.width": 66}},
                "lstm": {"quarter": {"model.width": 40}, "half": {"model.width": 59}},
            },
        ) | {
            "encoder": Family(
                model=ENCODER | BLOCKS | {"head": "tagging"}, objective=CLASSIFICATION, data={"form": "tags"},
                own=DECAY, sizes=NARROW,
            ),
            "encoder_decoder": Family(
                model=SCALED_UP | {"width": 56, "depth": 1, "heads": 1, "mlp_width": 56},
                objective=SEQUENCE, data={"form": "answers"}, own=DECAY, sizes=NARROW,
            ),
            "recurrent": Family(
                model=RECURRENT | {"width": 54}, objective=SEQUENCE, data={"form": "answers"}, own=DECAY,
                sizes={"quarter": {"model.width": 24}, "half": {"model.width": 38}},
            ),
        },
        ONE_ANSWER, images=NO_IMAGE,
    ),
)  # fmt: skip

get_config = SUITE.config
