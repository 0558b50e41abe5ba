"""Variational autoencoder with 50 latents on binary MNIST, so that its likelihood compares with published ones.

Command: python train.py --config=configs/vae_binary_mnist.py --workdir=runs/vae_binary_mnist
Time:    not measured yet
Needs:   mnist
Reaches: not measured yet
Published: test/importance_bound -86.76, Burda et al. 2016, table 1, VAE with one layer of latents, k = 1

The setting of Burda et al. 2016: 50 latents, two hidden layers of 200 units on both sides, pixels that are drawn anew
each time they are seen. Unlike there, it trains for 100 epochs instead of 3,280, in batches of 100 instead of 20, the
layers have ReLUs instead of tanh, and log p(x) is estimated with 500 draws for each test image instead of 5,000.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 60_000, "batch_size": 100, "log_every": 600, "eval_every": 60_000,
            "checkpoint_every": 6000,
            "model": {"name": "variational", "latents": 50, "width": 200, "depth": 2},
            "objective": {"name": "variational", "evaluation_samples": 500},
            "data": {"name": "binary_mnist"},
            "optimizer": {"learning_rate": 1e-3, "warmup": 100},
        }
    )  # fmt: skip
