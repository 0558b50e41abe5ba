"""Flamingo: a frozen GPT writes about the images that a frozen encoder of CLIP sees; only what joins them is trained.

Command: python train.py --config=configs/flamingo_shapes.py --workdir=runs/flamingo_shapes
Time:    216 s on 2 shared CPU cores
Needs:   runs/shapes_text, runs/clip_shapes
Reaches: test/accuracy >= 0.98

It begins with the runs of configs/shapes_text.py and configs/clip_shapes.py. "accuracy" counts
words and [EOS]; what the language model alone reaches is in its own run.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 400, "batch_size": 32, "eval_every": 200, "checkpoint_every": 200, "best": "accuracy",
            "init_parts": {"language": "runs/shapes_text", "vision": "runs/clip_shapes#image_encoder"},
            "freeze": ("language.*", "vision.*"),
            "model": {
                "name": "flamingo", "width": 32, "depth": 2, "heads": 4, "vision": "convolutional", "vision_width": 64,
                "vision_depth": 3, "latents": 2,
            },
            "objective": {"name": "language_modeling"},
            "data": {"name": "shapes", "form": "interleaved", "objects": 1, "side": 16},
            "optimizer": {"learning_rate": 3e-3, "warmup": 40, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
