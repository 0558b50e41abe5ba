"""Variational autoencoder of the molecules of ZINC at the published size, for a GPU.

Command: python train.py --config=configs/chemical_vae_zinc_gpu.py --workdir=runs/chemical_vae_zinc_gpu
Time:    not measured yet
Needs:   gpu, molecules/zinc.txt
Reaches: not measured yet

Gomez-Bombarelli et al. 2018 ("Methods"): 196 latents, and a decoder of three GRU layers of 488 units; 120 epochs here.
Their encoder has convolutions of 9 to 11 characters; ours are the three of 5. docs/data.md says how to make the file.
"""

from ml_collections import ConfigDict

from configs.chemical_vae_zinc import get_config as smaller


def get_config() -> ConfigDict:
    config = smaller()
    config.update(
        {
            "steps": 105_000, "batch_size": 256, "eval_every": 5000, "checkpoint_every": 5000,
            "model": {"latents": 196, "width": 488, "depth": 3, "decoder_depth": 3},
            "objective": {"kl_warmup": 20_000},
            "optimizer": {"learning_rate": 1e-3, "warmup": 1000},
        }
    )  # fmt: skip
    return config
