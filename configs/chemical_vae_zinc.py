"""Variational autoencoder of 249,455 drug-like molecules of ZINC, whose latents also predict log P.

Command: python train.py --config=configs/chemical_vae_zinc.py --workdir=runs/chemical_vae_zinc
Time:    4056 s on one CPU core that other work shared
Needs:   molecules/zinc.txt
Reaches: validation[:1000]/exact >= 0.17
Reaches: validation[:1000]/property <= 0.035

Gomez-Bombarelli et al. 2018. docs/data.md says how to make the file. After these 12,000 steps, three passes over the
molecules, 30.0 % of 1,000 molecules of validation are restored exactly from the mean of the latents and 19.4 % from a
draw, 53.8 % of 1,000 draws from the prior are molecules by RDKit, all of them different, and the R^2 of log P is 0.976:
python -m experiments.molecules --workdir=runs/chemical_vae_zinc
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
