"""Deep information bottleneck between two Gaussian views, where the answer is known; needs no download.

Command: python train.py --config=configs/dib_gaussian.py --workdir=runs/dib_gaussian
Time:    13 s on 2 CPU cores
Reaches: test/information >= 0.90
Reaches: test/kl <= 3.22

beta weighs the likelihood: a small one says nothing. The known answer for beta 20 is 3.12 nats about x~, 0.92 about x
(`data.two_views.gaussian_bottleneck`). The whole curve: python -m experiments.latent curve runs/dib_gaussian
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 2000
    config.batch_size = 512
    config.eval_every = 1000
    config.checkpoint_every = 1000

    config.model = ConfigDict()
    config.model.name = "variational"
    config.model.image_shape = placeholder(tuple)  # from the data
    config.model.target_shape = placeholder(tuple)  # from the data
    config.model.latents = 2
    config.model.encoder = "dense"
    config.model.decoder = "dense"
    config.model.likelihood = "gaussian"
    config.model.width = 64
    config.model.depth = 2

    config.objective = ConfigDict()
    config.objective.name = "variational"
    config.objective.beta = 20.0
    config.objective.beta_weighs = "likelihood"
    config.objective.evaluation_samples = 16
    config.objective.target_entropy = placeholder(float)  # from the data

    config.data = ConfigDict()
    config.data.name = "gaussian_pair"
    config.data.correlations = (0.9, 0.5)

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 0.003
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    return config
