"""Multi30k: translation of English image captions to German, from a folder of your own. Meant for a GPU.

configs/multi30k.py describes where the folder `multi30k` comes from, and how to make its vocabulary of 4,000 tokens.
With a folder of another name:

  python -m experiments.benchmark multi30k --set data.path=D --set data.tokenizer=D/tokenizer.json
"""

import math

from experiments.benchmark.families import DECODER, GRU, LSTM, NO_IMAGE, others
from experiments.benchmark.suite import Family, Suite
from experiments.suites.translation import NO_TEXT, NO_WRITING

BLOCKS = {"width": 128, "heads": 4, "dropout": 0.1}
DROPOUT = ("model.dropout", (0.1, 0.3))  # the training set is small and soon overfitted
BITS = 1 / math.log(2)

SUITE = Suite(
    title="Multi30k, English to German",
    about="29,000 image captions with their translations. Bits per token of the German caption, including the end "
    "token, given the English caption and the preceding German tokens: lower is better. Another vocabulary gives other "
    "numbers. The decoder reads source, [BOS] and target as one sequence and is trained on the target only. For the "
    "BLEU of a run: python -m experiments.translate.",
    data={
        "name": "translation", "path": "multi30k", "tokenizer": "multi30k/tokenizer.json", "source": "en",
        "target": "de", "source_length": 64, "length": 64, "train": "train", "evaluation": "val",
    },
    test="test_2016_flickr",
    budget=1_450_000,
    examples=256_000,
    tuning_examples=64_000,
    batch_size=64,
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
    score="bits per token",
    metric="loss",
    better="min",
    target=3.6,
    families=others({
        "encoder_decoder": Family(
            model={"name": "encoder_decoder"} | BLOCKS | {"depth": 2, "mlp_width": 512}, objective={"name": "seq2seq"},
            own=DROPOUT,
            sizes={
                "quarter": {"model.width": 48, "model.mlp_width": 192},
                "half": {"model.width": 80, "model.mlp_width": 320},
            },
            factor=BITS,
        ),
        "decoder": Family(
            model=DECODER | BLOCKS | {"depth": 5, "mlp_width": 448}, objective={"name": "seq2seq"},
            data={"form": "prompt"}, own=DROPOUT,
            sizes={
                "quarter": {"model.width": 48, "model.mlp_width": 168},
                "half": {"model.width": 80, "model.mlp_width": 280},
            },
            factor=BITS,
        ),
        "gru": Family(
            model=GRU | {"width": 260, "dropout": 0.1}, objective={"name": "seq2seq"}, data={"form": "prompt"},
            own=DROPOUT, sizes={"quarter": {"model.width": 82}, "half": {"model.width": 150}}, factor=BITS,
        ),
        "lstm": Family(
            model=LSTM | {"width": 243, "dropout": 0.1}, objective={"name": "seq2seq"}, data={"form": "prompt"},
            own=DROPOUT, sizes={"quarter": {"model.width": 79}, "half": {"model.width": 141}}, factor=BITS,
        ),
        "recurrent": Family(
            model={"name": "recurrent_encoder_decoder", "width": 188, "dropout": 0.1}, objective={"name": "seq2seq"},
            own=DROPOUT, sizes={"quarter": {"model.width": 68}, "half": {"model.width": 116}}, factor=BITS,
        ),
        "encoder": NO_WRITING,
    }, NO_TEXT, images=NO_IMAGE),
)  # fmt: skip

get_config = SUITE.config
