"""Deep archetypal analysis of mixtures of three archetypes in eight dimensions; needs no download.

Command: python train.py --config=configs/archetypes.py --workdir=runs/archetypes
Time:    69 s on 2 CPU cores that other work kept busy
Reaches: test/archetype <= 0.001

test/archetype is the mean squared distance of the archetypes from mixtures of a batch of examples.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2000, "batch_size": 256, "eval_every": 1000, "checkpoint_every": 2000,
            "model": {"name": "archetypal", "archetypes": 3, "width": 64, "depth": 2, "variance": 0.01},
            "objective": {"name": "archetypal", "beta": 0.1, "archetype_weight": 100.0},
            "data": {"name": "mixtures"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 50},
        }
    )  # fmt: skip
