"""Perceiver on scikit-learn's 8x8 digits: each of the 64 pixels is a row of the input.

Command: python train.py --config=configs/perceiver.py --workdir=runs/perceiver
Time:    241 s on 2 shared CPU cores
Reaches: test/accuracy >= 0.97
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2000, "batch_size": 64, "eval_every": 500, "checkpoint_every": 500,
            "model": {
                "name": "perceiver", "latents": 16, "width": 64, "depth": 2, "repeats": 2, "heads": 4, "cross_heads": 4,
                "bands": 4,
            },
            "objective": {"name": "classification", "label_smoothing": 0.1},
            "data": {"name": "digits", "shift": 1},
            "optimizer": {"learning_rate": 1e-3, "warmup": 100, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
