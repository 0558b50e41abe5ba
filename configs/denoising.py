"""Denoising autoencoder on scikit-learn's 8x8 digits: half of the pixels are hidden; needs no download.

Command: python train.py --config=configs/denoising.py --workdir=runs/denoising
Time:    321 s on a machine of 2 CPU cores with 30 other processes
Reaches: test/loss <= 0.026

The code is larger than the image, so without the corruption it could keep a copy. The loss is the mean squared error of
a pixel, for inputs with hidden pixels. 500 hidden units, as in A. Canziani's lecture.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2500, "batch_size": 128, "eval_every": 1250, "checkpoint_every": 2500,
            "model": {"name": "autoencoder", "code": 500, "width": 500, "depth": 1, "decoder_depth": 0},
            "objective": {"name": "reconstruction", "masked": 0.5},
            "data": {"name": "digits", "targets": "images"},
            "optimizer": {"learning_rate": 0.002, "warmup": 100},
        }
    )  # fmt: skip
