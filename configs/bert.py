"""BERT pre-trained on the documentation of Python: masked tokens and next-sentence prediction.

Command: python train.py --config=configs/bert.py --workdir=runs/bert
Time:    1184 s on 2 CPU cores that did other work too
Reaches: validation/masked_loss <= 4.1
Reaches: validation/next_accuracy >= 0.7

The training text is small: 118,604 tokens with Python 3.11. The vocabulary is learned from it in the first run.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 2000
    config.batch_size = 32
    config.eval_every = 1000
    config.checkpoint_every = 1000

    config.model = ConfigDict()
    config.model.name = "bert"
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.head = "pretraining"
    config.model.width = 128
    config.model.depth = 3
    config.model.heads = 4
    config.model.dropout = 0.1

    config.objective = ConfigDict()
    config.objective.name = "masked_language_modeling"
    config.objective.rate = 0.15

    config.data = ConfigDict()
    config.data.name = "sentence_pairs"
    config.data.context = 64
    config.data.vocab_size = 2048

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 200
    config.optimizer.weight_decay = 0.01
    config.optimizer.clip = 1.0
    return config
