"""Perceiver on MNIST: each of the 784 pixels is a row of the input.

Command: python train.py --config=configs/perceiver_mnist.py --workdir=runs/perceiver_mnist
Time:    not measured yet
Needs:   mnist
Reaches: not measured yet
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 9000
    config.batch_size = 64
    config.log_every = 100
    config.eval_every = 1000
    config.checkpoint_every = 1000

    config.model = ConfigDict()
    config.model.name = "perceiver"
    config.model.image_shape = placeholder(tuple)  # from the data
    config.model.classes = placeholder(int)  # from the data
    config.model.latents = 32
    config.model.width = 64
    config.model.depth = 2
    config.model.repeats = 2
    config.model.heads = 4
    config.model.cross_heads = 4
    config.model.bands = 14
    config.model.dropout = 0.1

    config.objective = ConfigDict()
    config.objective.name = "classification"
    config.objective.label_smoothing = 0.1

    config.data = ConfigDict()
    config.data.name = "mnist"
    config.data.shift = 2

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 500
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip = 1.0

    config.mesh = ConfigDict()
    config.mesh.data = -1
    config.mesh.fsdp = 1
    config.mesh.tensor = 1
    return config
