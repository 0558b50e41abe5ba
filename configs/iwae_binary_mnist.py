"""Importance-weighted autoencoder on binary MNIST: the same model as the VAE there, with a tighter bound.

Command: python train.py --config=configs/iwae_binary_mnist.py --workdir=runs/iwae_binary_mnist
Time:    not measured yet
Needs:   mnist
Reaches: not measured yet
Published: test/importance_bound -85.54, Burda et al. 2016, table 1, IWAE with one layer of latents, k = 5

Five draws for each image and step. What else is unlike the paper: configs/vae_binary_mnist.py.
"""

from ml_collections import ConfigDict

from configs.vae_binary_mnist import get_config as vae_binary_mnist


def get_config() -> ConfigDict:
    config = vae_binary_mnist()
    config.objective.update({"bound": "importance", "samples": 5})
    return config
