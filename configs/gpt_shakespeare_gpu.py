"""GPT on the characters of tiny Shakespeare, with nanoGPT's recipe for a GPU.

Command: python train.py --config=configs/gpt_shakespeare_gpu.py --workdir=runs/gpt_shakespeare_gpu
Time:    not measured yet (no GPU was at hand)
Needs:   tiny_shakespeare, gpu
Reaches: validation/loss <= 1.4697
Published: validation/loss 1.4697, README of https://github.com/karpathy/nanoGPT

The recipe is that of https://github.com/karpathy/nanoGPT: 6 layers, width 384, context 256, batch size 64, dropout
0.2; 1.4697 is the best validation loss that its README reports. The loss here is the mean over the whole validation
split, in nats per character. The best checkpoint is kept, because with this recipe the validation loss rises again
before the end.
"""

from ml_collections import ConfigDict

from configs.gpt_shakespeare import get_config as smaller


def get_config() -> ConfigDict:
    config = smaller()
    config.update(
        {
            "steps": 5000, "batch_size": 64, "eval_every": 250,
            "model": {"width": 384, "depth": 6, "heads": 6, "dropout": 0.2, "dtype": "bfloat16"},
            "data": {"context": 256},
        }
    )  # fmt: skip
    return config
