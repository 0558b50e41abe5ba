"""A U-Net that says of each pixel which shape it belongs to: up to three coloured shapes on a grey background.

Command: python train.py --config=configs/unet_shapes.py --workdir=runs/unet_shapes
Time:    609 s on 2 CPU cores that other work kept busy
Reaches: test/iou >= 0.95

The field model.skips=False leaves the skip connections out.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1500, "batch_size": 32, "eval_every": 500, "checkpoint_every": 500, "best": "iou",
            "model": {"name": "unet", "width": 16, "depth": 3},
            "objective": {"name": "segmentation"},
            "data": {"name": "shapes", "form": "mask", "objects": 3},
            "optimizer": {"learning_rate": 3e-3, "warmup": 20, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
