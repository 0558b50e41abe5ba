"""Graph attention on Cora: 2,708 papers, 140 of them with a label, and who cites whom (Velickovic et al. 2018).

Command: python train.py --config=configs/gat_cora.py --workdir=runs/gat_cora
Time:    111 s on 2 CPU cores that other work kept busy
Needs:   planetoid/cora
Reaches: test/accuracy >= 0.81
Published: test/accuracy 0.83, Velickovic et al. 2018, table 2, the mean of 100 runs (standard deviation 0.007)

Eight heads of eight columns, then one. data.path: see configs/gcn_cora.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 300, "batch_size": 1, "log_every": 20, "eval_every": 100, "checkpoint_every": 300,
            "model": {"name": "graph", "layer": "gat", "width": 64, "depth": 2, "heads": 8, "dropout": 0.6},
            "objective": {"name": "classification"},
            "data": {"name": "planetoid", "path": "planetoid/cora", "evaluation": "test"},
            "optimizer": {"learning_rate": 0.005, "schedule": "constant", "l2": 5e-4},
        }
    )  # fmt: skip
