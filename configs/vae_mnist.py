"""Variational autoencoder with 20 latents on MNIST.

Command: python train.py --config=configs/vae_mnist.py --workdir=runs/vae_mnist
Time:    126 s on 2 CPU cores that did other work too
Needs:   mnist
Reaches: test/loss <= 104

Bernoullis on grey pixels, which are not binarised, as in https://github.com/google/flax/tree/main/examples/vae; next to
it there is a second hidden layer of 500 in each half, and the learning rate falls. 10 epochs.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 4688
    config.batch_size = 128
    config.eval_every = 1172
    config.checkpoint_every = 1172

    config.model = ConfigDict()
    config.model.name = "variational"
    config.model.image_shape = placeholder(tuple)  # from the data
    config.model.target_shape = placeholder(tuple)  # from the data
    config.model.latents = 20
    config.model.encoder = "dense"
    config.model.decoder = "dense"
    config.model.likelihood = "bernoulli"
    config.model.width = 500
    config.model.depth = 2

    config.objective = ConfigDict()
    config.objective.name = "variational"
    config.objective.beta = 1.0
    config.objective.beta_weighs = "kl"

    config.data = ConfigDict()
    config.data.name = "mnist"
    config.data.targets = "images"

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    return config
