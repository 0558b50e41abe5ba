"""Graph attention on Cora: 2,708 papers, 140 of them with a label, and who cites whom (Velickovic et al. 2018).

Command: python train.py --config=configs/gat_cora.py --workdir=runs/gat_cora
Time:    169 s on 2 CPU cores that other work kept busy
Needs:   planetoid/cora
Reaches: test/accuracy >= 0.82
Published: test/accuracy 0.83, Velickovic et al. 2018, table 2, the mean of 100 runs (standard deviation 0.007)

Eight heads of eight columns, then one. data.path: see configs/gcn_cora.py. Unlike the paper, training does not stop
early. The mean over seeds 0 to 19 was 0.8246, with a standard deviation of 0.0062:
python -m experiments.sweep experiments/sweeps/gat_cora_seeds.py --workdir=runs/gat_cora_seeds
python -m experiments.claims configs/gat_cora.py --sweep=runs/gat_cora_seeds
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 500, "batch_size": 1, "log_every": 20, "eval_every": 50, "checkpoint_every": 500,
            "model": {"name": "graph", "layer": "gat", "width": 64, "depth": 2, "heads": 8, "dropout": 0.6},
            "objective": {"name": "classification"},
            "data": {"name": "planetoid", "path": "planetoid/cora", "evaluation": "test"},
            "optimizer": {"learning_rate": 0.005, "schedule": "constant", "l2": 5e-4},
        }
    )  # fmt: skip
