"""The same Perceiver class on the bytes of texts: in which of sixteen languages is this number?

Command: python train.py --config=configs/perceiver_languages.py --workdir=runs/perceiver_languages
Time:    199 s on 2 CPU cores that did other work too
Reaches: test/accuracy >= 0.99
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
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.classes = placeholder(int)  # from the data
    config.model.latents = 16
    config.model.width = 64
    config.model.depth = 2
    config.model.repeats = 2
    config.model.heads = 4
    config.model.cross_heads = 4
    config.model.positions = "learned"
    config.model.dropout = 0.0

    config.objective = ConfigDict()
    config.objective.name = "classification"

    config.data = ConfigDict()
    config.data.name = "number_languages"

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip = 1.0
    return config
