"""GPT on the characters of tiny Shakespeare, with nanoGPT's recipe for a CPU.

Command: python train.py --config=configs/gpt_shakespeare.py --workdir=runs/gpt_shakespeare
Time:    258 s on 2 CPU cores that did other work too
Needs:   tiny_shakespeare
Reaches: validation/loss <= 1.88

The recipe is that of https://github.com/karpathy/nanoGPT ("I only have a macbook"): 4 layers, width 128, context 64,
batch 12, no dropout. Here the loss is over the whole validation split, in nats a character.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 2000
    config.batch_size = 12
    config.eval_every = 500
    config.checkpoint_every = 500

    config.model = ConfigDict()
    config.model.name = "gpt"
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.width = 128
    config.model.depth = 4
    config.model.heads = 4
    config.model.positions = "learned"
    config.model.bias = False
    config.model.dropout = 0.0

    config.objective = ConfigDict()
    config.objective.name = "language_modeling"

    config.data = ConfigDict()
    config.data.name = "tiny_shakespeare"
    config.data.context = 64

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
