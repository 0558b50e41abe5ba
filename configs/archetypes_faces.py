"""Deep archetypal analysis of faces: each picture as a mixture of a few extreme ones (Keller et al. 2020, section 4).

Command: python train.py --config=configs/archetypes_faces.py --workdir=runs/archetypes_faces
Time:    65 s on one CPU core that other work kept busy
Needs:   faces.npz
Reaches: validation/archetype <= 0.001

configs/unet_faces.py says where faces.npz comes from. The paper's own faces are not public.
validation/archetype is the mean squared distance of the archetypes from mixtures of the 80 held-out pictures, which are
one batch: a smaller batch may lack the extreme ones.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 3000, "batch_size": 80, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {"name": "archetypal", "archetypes": 6, "width": 256, "depth": 2, "variance": 0.05},
            "objective": {"name": "archetypal", "beta": 4.0, "archetype_weight": 3000.0},
            "data": {"name": "image_array", "path": "faces.npz", "size": 32, "targets": "images"},
            "optimizer": {"learning_rate": 1e-3, "warmup": 50},
        }
    )  # fmt: skip
