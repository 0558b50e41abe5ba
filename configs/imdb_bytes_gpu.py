"""Byte-level film reviews, the task Text of Long Range Arena: a Transformer on up to 4,000 bytes.

Command: python train.py --config=configs/imdb_bytes_gpu.py --workdir=runs/imdb_bytes_gpu
Time:    not measured yet (no GPU was at hand)
Needs:   imdb_reviews/plain_text, gpu
Reaches: test/accuracy >= 0.6427
Published: test/accuracy 0.6427, Tay et al. 2021 (arXiv 2011.04006), table 1

The model has the size of the published Transformer for this task: 4 layers of width 256 with 4 heads. Other kinds of
attention are one field away: --config.model.attention=linear, or --config.model.window=128.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 20_000, "batch_size": 32, "eval_every": 2000, "checkpoint_every": 2000,
            "best": "accuracy",
            "model": {
                "name": "bert", "head": "classification", "norm_order": "pre", "width": 256, "depth": 4, "heads": 4,
                "mlp_width": 1024, "dropout": 0.1, "dtype": "bfloat16",
            },
            "objective": {"name": "classification"},
            "data": {"name": "imdb", "context": 4000},
            "optimizer": {"learning_rate": 1e-3, "warmup": 1000, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
