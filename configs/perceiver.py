"""Perceiver on scikit-learn's 8x8 digits: each of the 64 pixels is a row of the input.

Command: python train.py --config=configs/perceiver.py --workdir=runs/perceiver
Time:    241 s on 2 CPU cores that did other work too
Reaches: test/accuracy >= 0.97
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 2000
    config.batch_size = 64
    config.eval_every = 500
    config.checkpoint_every = 500

    config.model = ConfigDict()
    config.model.name = "perceiver"
    config.model.image_shape = placeholder(tuple)  # from the data
    config.model.classes = placeholder(int)  # from the data
    config.model.latents = 16
    config.model.width = 64
    config.model.depth = 2
    config.model.repeats = 2
    config.model.heads = 4
    config.model.cross_heads = 4
    config.model.bands = 4
    config.model.dropout = 0.0

    config.objective = ConfigDict()
    config.objective.name = "classification"
    config.objective.label_smoothing = 0.1

    config.data = ConfigDict()
    config.data.name = "digits"
    config.data.shift = 1

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip = 1.0
    return config
