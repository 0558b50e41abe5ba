"""Variational autoencoder with 20 latents on MNIST.

Command: python train.py --config=configs/vae_mnist.py --workdir=runs/vae_mnist
Time:    126 s on 2 shared CPU cores
Needs:   mnist
Reaches: test/loss <= 104

A Bernoulli likelihood of grey pixels, which are not binarised, as in
https://github.com/google/flax/tree/main/examples/vae. Unlike there, encoder and decoder have a second hidden layer of
500 units, and the learning rate falls. 10 epochs.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 4688, "batch_size": 128, "eval_every": 1172, "checkpoint_every": 1172,
            "model": {"name": "variational", "latents": 20, "width": 500, "depth": 2},
            "objective": {"name": "variational"},
            "data": {"name": "mnist", "targets": "images"},
            "optimizer": {"learning_rate": 2e-3, "warmup": 100},
        }
    )  # fmt: skip
