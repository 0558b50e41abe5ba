"""Perceiver on MNIST: each of the 784 pixels is a row of the input.

Command: python train.py --config=configs/perceiver_mnist.py --workdir=runs/perceiver_mnist
Time:    2815 s on 2 shared CPU cores
Needs:   mnist
Reaches: test/accuracy >= 0.965
"""

from ml_collections import ConfigDict

from configs.perceiver import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.update(
        {
            "steps": 4000, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {"latents": 32, "bands": 14, "dropout": 0.1},
            "data": {"name": "mnist", "shift": 2},
            "optimizer": {"warmup": 300},
        }
    )  # fmt: skip
    return config
