"""A Vision Transformer on images of your own: a folder of PNG or JPEG files for each class.

Command: python train.py --config=configs/own_images.py --workdir=runs/own_images
Time:    178 s on 2 shared CPU cores
Needs:   samples/images
Reaches: validation/accuracy >= 0.97

To make the sample first: python -m experiments.sample images. For your own images: --config.data.path=FOLDER, in which
cat/1.png is an image of the class cat; a fifth of each class is held out. Or with splits of yours, as train/cat/1.png
and validation/cat/2.png. Then: python -m experiments.predict --workdir=runs/own_images --images IMAGES. The model can
be exported by experiments.export.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 600, "batch_size": 32, "ema": 0.99, "eval_every": 200, "checkpoint_every": 200,
            "best": "accuracy",
            "model": {
                "name": "vit", "patch": 8, "width": 64, "depth": 3, "heads": 4, "pooling": "cls", "epsilon": 1e-12,
            },
            "objective": {"name": "classification"},
            "data": {"name": "image_folder", "path": "samples/images", "size": 32, "shift": 2},
            "optimizer": {"learning_rate": 1e-3, "warmup": 50, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
