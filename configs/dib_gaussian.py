"""Deep information bottleneck between two Gaussian views, where the optimum is known; needs no download.

Command: python train.py --config=configs/dib_gaussian.py --workdir=runs/dib_gaussian
Time:    13 s on 2 CPU cores
Reaches: test/information >= 0.90
Reaches: test/kl <= 3.22

Here beta weighs the likelihood, so a small beta lets no information through. The optimum for beta = 20 is 3.12 nats
about x~ and 0.92 nats about x (`data.two_views.gaussian_bottleneck`). To draw the whole curve:
python -m experiments.latent curve --workdir=runs/dib_gaussian
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2000, "batch_size": 512, "eval_every": 1000, "checkpoint_every": 1000,
            "model": {"name": "variational", "latents": 2, "likelihood": "gaussian", "width": 64, "depth": 2},
            "objective": {
                "name": "variational", "beta": 20.0, "beta_weighs": "likelihood", "evaluation_samples": 16,
            },
            "data": {"name": "gaussian_pair"},
            "optimizer": {"learning_rate": 0.003, "warmup": 100},
        }
    )  # fmt: skip
