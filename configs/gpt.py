"""GPT on the text of Python's own documentation, character by character; needs no download.

Command: python train.py --config=configs/gpt.py --workdir=runs/gpt
Time:    641 s on 2 CPU cores that did other work too
Reaches: validation/loss <= 1.22
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 1500
    config.batch_size = 16
    config.eval_every = 500
    config.checkpoint_every = 500

    config.model = ConfigDict()
    config.model.name = "gpt"
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.width = 128
    config.model.depth = 4
    config.model.heads = 4
    config.model.positions = "rotary"
    config.model.dropout = 0.0

    config.objective = ConfigDict()
    config.objective.name = "language_modeling"

    config.data = ConfigDict()
    config.data.name = "python_docs"
    config.data.context = 128

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.optimizer.final = 0.1
    config.optimizer.beta2 = 0.99
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip = 1.0
    return config
