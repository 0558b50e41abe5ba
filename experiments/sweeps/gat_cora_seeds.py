"""Graph attention on Cora over 20 seeds, trained in populations: is the mean the published 83.0 %?

Command: python -m experiments.sweep experiments/sweeps/gat_cora_seeds.py --workdir=runs/gat_cora_seeds
"""

from experiments.sweep.space import repeat

CONFIG = "configs/gat_cora.py"
METRIC = "test/accuracy"


def sweep():
    return repeat([{}], seeds=20)
