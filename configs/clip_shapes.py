"""CLIP on coloured shapes and sentences about them; some combinations, such as a red triangle, are in no image of it.

Command: python train.py --config=configs/clip_shapes.py --workdir=runs/clip_shapes
Time:    not measured yet
Reaches: not measured yet

Several images of a batch have the same sentence, so the loss stays above 1; "image_to_text" takes any of them as right.
What it makes of combinations that it has never seen: python -m experiments.zero_shot --workdir=runs/clip_shapes
--split=combinations
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1200, "batch_size": 64, "eval_every": 300, "checkpoint_every": 300,
            "best": "image_to_text",
            "model": {
                "name": "clip", "encoder": "convolutional", "shared_width": 32, "width": 64, "depth": 3, "heads": 4,
                "text_width": 32, "text_depth": 1,
            },
            "objective": {"name": "contrastive"},
            "data": {"name": "shapes", "form": "pair", "side": 16},
            "optimizer": {"learning_rate": 3e-3, "warmup": 50, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
