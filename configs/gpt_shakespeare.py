"""GPT on the characters of tiny Shakespeare, with nanoGPT's recipe for a CPU.

Command: python train.py --config=configs/gpt_shakespeare.py --workdir=runs/gpt_shakespeare
Time:    258 s on 2 shared CPU cores
Needs:   tiny_shakespeare
Reaches: validation/loss <= 1.88
Published: validation/loss 1.88, README of https://github.com/karpathy/nanoGPT

The recipe is that of https://github.com/karpathy/nanoGPT ("I only have a macbook"): 4 layers, width 128, context 64,
batch size 12, no dropout. The loss here is the mean over the whole validation split, in nats per character.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2000, "batch_size": 12, "eval_every": 500, "checkpoint_every": 500,
            "model": {"name": "gpt", "width": 128, "depth": 4, "heads": 4, "bias": False},
            "objective": {"name": "language_modeling"},
            "data": {"name": "tiny_shakespeare", "context": 64},
            "optimizer": {
                "learning_rate": 1e-3, "warmup": 100, "final": 0.1, "beta2": 0.99, "weight_decay": 0.1, "clip": 1.0,
            },
        }
    )  # fmt: skip
