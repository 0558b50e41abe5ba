"""Variational autoencoder of 6,000 small molecules, whose latents also predict log P; needs no download.

Command: python train.py --config=configs/chemical_vae.py --workdir=runs/chemical_vae
Time:    290 s on 2 CPU cores that other work kept busy
Reaches: test/exact >= 0.65
Reaches: test/property <= 0.02

Gomez-Bombarelli et al. 2018. "exact" is the share of molecules that are restored from a draw of the latents without any
mistake; from their mean, more are (the figure `chemical_vae`). "property" is the squared error of log P, in units of
its variance. For ZINC or other molecules, a line each: --config.data.name=molecules_file
--config.data.path=FILE.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 700, "batch_size": 128, "eval_every": 350, "checkpoint_every": 700,
            "model": {"name": "sequence_vae", "latents": 32, "width": 128},
            "objective": {"name": "sequence_variational", "beta": 0.1, "property_weight": 20.0},
            "data": {"name": "molecules"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 50, "clip": 1.0},
        }
    )  # fmt: skip
