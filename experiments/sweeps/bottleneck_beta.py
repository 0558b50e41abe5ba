"""Beta for the information bottleneck: what the latents know, of the view to predict and of the view they see.

Command: python -m experiments.sweep experiments/sweeps/bottleneck_beta.py --workdir=runs/bottleneck_beta

The exact answer: `data.two_views.gaussian_bottleneck`.
"""

from experiments.sweep.space import repeat

CONFIG = "configs/dib_gaussian.py"
METRIC = "test/information"


def sweep():
    return repeat({"objective.beta": [1.5, 2.0, 3.0, 5.0, 10.0, 20.0]}, seeds=3)
