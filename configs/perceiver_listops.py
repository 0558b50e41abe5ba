"""The same Perceiver class on tokens: the value of short ListOps expressions.

Command: python train.py --config=configs/perceiver_listops.py --workdir=runs/perceiver_listops
Time:    399 s on 2 CPU cores that did other work too
Reaches: validation/accuracy >= 0.5

The long variant, that of Long Range Arena, is what `data.listops` makes without the five fields set here.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 3000
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
    config.data.name = "listops"
    config.data.max_depth = 4
    config.data.max_args = 4
    config.data.longer_than = 6
    config.data.shorter_than = 33
    config.data.examples = 50_000

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip = 1.0
    return config
