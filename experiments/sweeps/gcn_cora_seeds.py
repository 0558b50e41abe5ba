"""Graph convolution on Cora over 100 seeds, trained in populations: is the mean the published 81.5 %?

Command: python -m experiments.sweep experiments/sweeps/gcn_cora_seeds.py --workdir=runs/gcn_cora_seeds
"""

from experiments.sweep.space import repeat

CONFIG = "configs/gcn_cora.py"
METRIC = "test/accuracy"


def sweep():
    return repeat([{}], seeds=100)
