"""Vision Transformer on MNIST.

Command: python train.py --config=configs/vit_mnist.py --workdir=runs/vit_mnist
Time:    785 s on 2 CPU cores that did other work too
Needs:   mnist
Reaches: test/accuracy >= 0.985
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 6000
    config.batch_size = 128
    config.ema = 0.998
    config.eval_every = 1000
    config.checkpoint_every = 1000

    config.model = ConfigDict()
    config.model.name = "vit"
    config.model.image_shape = placeholder(tuple)  # from the data
    config.model.classes = placeholder(int)  # from the data
    config.model.patch = 7
    config.model.width = 64
    config.model.depth = 4
    config.model.heads = 4

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
    config.optimizer.warmup = 100
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip = 1.0
    return config
