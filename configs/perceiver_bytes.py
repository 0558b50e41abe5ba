"""Perceiver IO on the bytes of Python's documentation: hidden bytes are asked for by output queries.

Command: python train.py --config=configs/perceiver_bytes.py --workdir=runs/perceiver_bytes
Time:    817 s on 2 CPU cores that did other work too
Reaches: validation/loss <= 1.35
Reaches: validation/accuracy >= 0.64

Jaegle et al. 2021b, section 4.1: the bytes themselves, without a tokenizer, masked as for BERT. How often each
byte occurs gives 3.26 nats and nothing better; a net of 4 layers, width 128, with 64 latents for 256 bytes (batches of
32) was at 3.12 after 1,300 steps, so this one is small. The 3.26, with the Python that runs it:

  python -c "import numpy as np, pydoc_data.topics as t; n = np.bincount(np.frombuffer(''.join(t.topics.values())
    .encode(), np.uint8)); p = n[n > 0] / n.sum(); print(-(p * np.log(p)).sum())"
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 3000
    config.batch_size = 128
    config.eval_every = 1000
    config.checkpoint_every = 1000

    config.model = ConfigDict()
    config.model.name = "perceiver"
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.output = "dense"
    config.model.latents = 16
    config.model.width = 64
    config.model.depth = 2
    config.model.heads = 4
    config.model.cross_heads = 4
    config.model.positions = "sinusoidal"
    config.model.dropout = 0.0

    config.objective = ConfigDict()
    config.objective.name = "masked_language_modeling"
    config.objective.rate = 0.15

    config.data = ConfigDict()
    config.data.name = "python_docs"
    config.data.context = 32
    config.data.tokenizer = "bytes"

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 200
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip = 1.0
    return config
