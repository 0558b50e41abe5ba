"""Addition modulo 113 from 30 % of all pairs: learned by heart at first, and understood much later ("grokking").

Command: python train.py --config=configs/grokking.py --workdir=runs/grokking
Time:    214 s on 2 CPU cores that other work kept busy
Reaches: test/accuracy >= 0.99
Published: test/accuracy 1.0, Power et al. 2022, abstract ("perfect generalization"; modulo 97)

The task of Nanda et al. 2023. The loss of the pairs that are seen is near 0 after a tenth of the steps, when most other
sums are still wrong. Weight decay, here ten times the usual one, brings the rest: with
--config.optimizer.weight_decay=0.0, 85 % stay wrong. Unlike in the paper, a step takes 512 pairs instead of all, the
network has the usual norms, and the embeddings do not decay.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 6000, "batch_size": 512, "eval_every": 500, "checkpoint_every": 2000,
            "model": {
                "name": "gpt", "width": 128, "depth": 1, "heads": 4, "activation": "relu", "tied": False,
            },
            "objective": {"name": "language_modeling"},
            "data": {"name": "modular_addition"},
            "optimizer": {
                "learning_rate": 1e-3, "schedule": "constant", "warmup": 10, "beta2": 0.98, "weight_decay": 1.0,
            },
        }
    )  # fmt: skip
