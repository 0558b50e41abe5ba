"""GPT on the text of Python's own documentation, character by character; needs no download.

Command: python train.py --config=configs/gpt.py --workdir=runs/gpt
Time:    641 s on 2 shared CPU cores
Reaches: validation/loss <= 1.22
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 16, "eval_every": 500, "checkpoint_every": 500,
            "model": {"name": "gpt", "width": 128, "depth": 4, "heads": 4, "positions": "rotary"},
            "objective": {"name": "language_modeling"},
            "data": {"name": "python_docs", "context": 128},
            "optimizer": {
                "learning_rate": 1e-3, "warmup": 100, "final": 0.1, "beta2": 0.99, "weight_decay": 0.1, "clip": 1.0,
            },
        }
    )  # fmt: skip
