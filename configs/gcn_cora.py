"""Graph convolution on Cora: 2,708 papers, 140 of them with a label, and who cites whom (Kipf & Welling 2017).

Command: python train.py --config=configs/gcn_cora.py --workdir=runs/gcn_cora
Time:    37 s on 2 CPU cores that other work kept busy
Needs:   planetoid/cora
Reaches: test/accuracy >= 0.81
Published: test/accuracy 0.815, Kipf & Welling 2017, table 2, the mean of 100 runs

data.path is the folder with the files ind.cora.* of github.com/kimiyoung/planetoid; --config.data.path=... names
another one. Unlike the paper, the penalty is on both layers, and training does not stop early.

The mean over seeds 0 to 99 was 0.8146, with a standard deviation of 0.0071. They are trained in populations of 14 or
15, seven seconds of a core for each run:
python -m experiments.sweep experiments/sweeps/gcn_cora_seeds.py --workdir=runs/gcn_cora_seeds
python -m experiments.claims configs/gcn_cora.py --sweep=runs/gcn_cora_seeds
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 200, "batch_size": 1, "log_every": 20, "eval_every": 200, "checkpoint_every": 200,
            "model": {"name": "graph", "width": 16, "depth": 2, "dropout": 0.5},
            "objective": {"name": "classification"},
            "data": {"name": "planetoid", "path": "planetoid/cora", "evaluation": "test"},
            "optimizer": {"learning_rate": 0.01, "schedule": "constant", "l2": 5e-4},
        }
    )  # fmt: skip
