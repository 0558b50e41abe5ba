"""GPT on the sentences about coloured shapes alone: it knows how they are written, and nothing about the images.

Command: python train.py --config=configs/shapes_text.py --workdir=runs/shapes_text
Time:    68 s on 2 shared CPU cores
Reaches: test/accuracy >= 0.58

It is the language model of configs/flamingo_shapes.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 200, "batch_size": 64, "eval_every": 100, "checkpoint_every": 100,
            "model": {"name": "gpt", "width": 32, "depth": 2, "heads": 4},
            "objective": {"name": "language_modeling"},
            "data": {"name": "shapes", "form": "blind", "objects": 1, "side": 16},
            "optimizer": {"learning_rate": 3e-3, "warmup": 20, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
