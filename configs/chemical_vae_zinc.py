"""Variational autoencoder of 249,455 drug-like molecules of ZINC, whose latents also predict log P.

Command: python train.py --config=configs/chemical_vae_zinc.py --workdir=runs/chemical_vae_zinc
Time:    not measured yet
Needs:   molecules/zinc.txt
Reaches: not measured yet

Gomez-Bombarelli et al. 2018. docs/data.md says how to make the file. Only the first 1,094 steps have been run, a third
of an epoch, with steps=1250; then the R^2 of log P was 0.96, 36 % of 500 draws from the prior were molecules by RDKit,
and 0.4 % of 500 molecules of validation were restored exactly:
python -m experiments.molecules --workdir=runs/chemical_vae_zinc --limit=500 --draws=500
With complete training, Jin et al. 2018 (table 1) give 44.6 % restored and 0.7 % valid for that paper's model.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 12_000, "batch_size": 64, "eval_every": 500, "checkpoint_every": 500, "log_every": 50,
            "model": {"name": "sequence_vae", "latents": 64, "width": 128},
            "objective": {"name": "sequence_variational", "beta": 0.05, "property_weight": 5.0, "kl_warmup": 2000},
            "data": {
                "name": "molecules_file", "path": "molecules/zinc.txt", "context": 110,
                "evaluation": "validation[:1000]",
            },
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "clip": 1.0},
        }
    )  # fmt: skip
