"""BERT pre-trained on the documentation of Python: masked tokens and next-sentence prediction.

Command: python train.py --config=configs/bert.py --workdir=runs/bert
Time:    1184 s on 2 shared CPU cores
Reaches: validation/masked_loss <= 4.1
Reaches: validation/next_accuracy >= 0.7

The training text is small: 118,604 tokens with Python 3.11. The first run learns the vocabulary from it.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2000, "batch_size": 32, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {"name": "bert", "width": 128, "depth": 3, "heads": 4, "dropout": 0.1},
            "objective": {"name": "masked_language_modeling"},
            "data": {"name": "sentence_pairs", "context": 64},
            "optimizer": {"learning_rate": 1e-3, "warmup": 200, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
