"""Perceiver on the bytes of a text: in which of sixteen languages is this number written?

Command: python train.py --config=configs/perceiver_languages.py --workdir=runs/perceiver_languages
Time:    199 s on 2 shared CPU cores
Reaches: test/accuracy >= 0.99
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2000, "batch_size": 64, "eval_every": 500, "checkpoint_every": 500,
            "model": {
                "name": "perceiver", "latents": 16, "width": 64, "depth": 2, "repeats": 2, "heads": 4, "cross_heads": 4,
                "positions": "learned",
            },
            "objective": {"name": "classification"},
            "data": {"name": "number_languages"},
            "optimizer": {"learning_rate": 1e-3, "warmup": 100, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
