"""GPT on the characters of tiny Shakespeare, with nanoGPT's recipe for a GPU.

Command: python train.py --config=configs/gpt_shakespeare_gpu.py --workdir=runs/gpt_shakespeare_gpu
Time:    not measured yet (no GPU was at hand)
Needs:   tiny_shakespeare, gpu
Reaches: validation/loss <= 1.4697

The recipe is that of https://github.com/karpathy/nanoGPT: 6 layers, width 384, context 256, batch 64, dropout 0.2;
1.4697 is the best validation loss that its README reports. Here the loss is over the whole validation split, in nats
a character. The best checkpoint is kept: with this recipe the validation loss rises again before the end.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 5000
    config.batch_size = 64
    config.log_every = 100
    config.eval_every = 250
    config.checkpoint_every = 500

    config.model = ConfigDict()
    config.model.name = "gpt"
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.width = 384
    config.model.depth = 6
    config.model.heads = 6
    config.model.positions = "learned"
    config.model.bias = False
    config.model.dropout = 0.2
    config.model.dtype = "bfloat16"

    config.objective = ConfigDict()
    config.objective.name = "language_modeling"

    config.data = ConfigDict()
    config.data.name = "tiny_shakespeare"
    config.data.context = 256

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.optimizer.final = 0.1
    config.optimizer.beta2 = 0.99
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip = 1.0

    config.mesh = ConfigDict()
    config.mesh.data = -1
    config.mesh.fsdp = 1
    config.mesh.tensor = 1
    return config
