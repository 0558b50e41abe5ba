"""Multi30k, English image captions to German ones, from a folder of the user's own; meant for a GPU.

The folder `multi30k` is that of configs/multi30k.py, which says where it is from, and how to make the vocabulary in it:
4,000 tokens. A folder of another name:

  python -m experiments.benchmark multi30k --set data.path=D --set data.tokenizer=D/tokenizer.json
"""

import math

from experiments.benchmark.families import DECODER, NO_IMAGE
from experiments.benchmark.suite import Family, Suite
from experiments.suites.translation import NO_TEXT, NO_WRITING

BLOCKS = {"width": 128, "heads": 4, "dropout": 0.1}
DROPOUT = ("model.dropout", (0.1, 0.3))  # so little text is soon learned by heart
BITS = 1 / math.log(2)

SUITE = Suite(
    title="Multi30k, English to German",
    about="29,000 captions of images with their translations. Bits a token of the German captions, the end among the "
    "tokens, given the English one and the true beginning: less is better, and another vocabulary gives other numbers. "
    "The decoder reads source, [BOS] and target in one row, and learns from the target only. BLEU of one of the runs: "
    "python -m experiments.translate.",
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
    score="bits a token",
    metric="loss",
    better="min",
    target=3.6,
    families={
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
        "encoder": NO_WRITING,
        "vit": NO_IMAGE,
        "perceiver": NO_TEXT,
        "bottleneck": NO_TEXT,
        "cnn": NO_IMAGE,
        "mlp": NO_IMAGE,
    },
)  # fmt: skip

get_config = SUITE.config
