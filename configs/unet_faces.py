"""A U-Net that restores faces of which half of the pixels are hidden: 400 pictures of 40 people, the ORL faces.

Command: python train.py --config=configs/unet_faces.py --workdir=runs/unet_faces
Time:    205 s on one CPU core that other work kept busy
Needs:   faces.npz
Reaches: validation/loss <= 0.003

faces.npz holds the arrays `images` and `labels`. Scikit-learn downloads a smaller version of the same faces:

    from sklearn.datasets import fetch_olivetti_faces
    faces = fetch_olivetti_faces()
    numpy.savez("faces.npz", images=(255 * faces.images).round().astype("uint8"), labels=faces.target)

Each person has ten pictures, two of which are held out. The loss is the mean squared error of a pixel; it was measured
on the original pictures of 112 x 92 pixels (Samaria & Harter 1994). Without skip connections
(--config.model.skips=False) it is 0.0034 instead of 0.0022.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1000, "batch_size": 16, "eval_every": 250, "checkpoint_every": 250,
            "model": {"name": "unet", "width": 16, "depth": 2},
            "objective": {"name": "reconstruction", "masked": 0.5},
            "data": {"name": "image_array", "path": "faces.npz", "size": 32, "targets": "images"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 50, "clip": 1.0},
        }
    )  # fmt: skip
