"""Vision Transformer on MNIST.

Command: python train.py --config=configs/vit_mnist.py --workdir=runs/vit_mnist
Time:    785 s on 2 shared CPU cores
Needs:   mnist
Reaches: test/accuracy >= 0.985
"""

from ml_collections import ConfigDict

from configs.vit import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.update(
        {
            "steps": 6000, "batch_size": 128, "ema": 0.998, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {"patch": 7, "width": 64},
            "data": {"name": "mnist", "shift": 2},
            "optimizer": {"weight_decay": 0.05},
        }
    )  # fmt: skip
    return config
