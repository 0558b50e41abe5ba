"""Perceiver on MNIST: each of the 784 pixels is a row of the input.

Command: python train.py --config=configs/perceiver_mnist.py --workdir=runs/perceiver_mnist
Time:    2815 s on 2 CPU cores that did other work too
Needs:   mnist
Reaches: test/accuracy >= 0.965
"""

from ml_collections import ConfigDict

from configs.perceiver import get_config as digits


def get_config() -> ConfigDict:
    config = digits()
    config.update(steps=4000, eval_every=1000, checkpoint_every=1000)
    config.model.update(latents=32, bands=14, dropout=0.1)
    config.data.update(name="mnist", shift=2)
    config.optimizer.update(warmup=300)
    return config
