"""Graph convolution on Cora: 2,708 papers, 140 of them with a label, and who cites whom (Kipf & Welling 2017).

Command: python train.py --config=configs/gcn_cora.py --workdir=runs/gcn_cora
Time:    37 s on 2 CPU cores that other work kept busy
Needs:   planetoid/cora
Reaches: test/accuracy >= 0.80
Published: test/accuracy 0.815, Kipf & Welling 2017, table 2, the mean of 100 runs

data.path is the folder with the files ind.cora.* of github.com/kimiyoung/planetoid; --config.data.path=... names
another one. experiments/sweeps/gcn_cora_seeds.py trains 100 runs as one program.
Unlike the paper, the penalty is on both layers, and training does not stop early.
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
