"""A transformer encoder that tells positive film reviews from negative ones: IMDB, 25,000 reviews to learn from.

Command: python train.py --config=configs/imdb.py --workdir=runs/imdb --config.data.tokenizer=runs/imdb.json
Time:    1452 s on one CPU core that other work shared
Needs:   imdb_reviews/plain_text, runs/imdb.json
Reaches: test/accuracy >= 0.84

To make the vocabulary first: python -m experiments.tokenizer --tfds=imdb_reviews/plain_text --out=runs/imdb.json
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 2400, "batch_size": 32, "eval_every": 800, "checkpoint_every": 800, "best": "accuracy",
            "model": {
                "name": "bert", "head": "classification", "norm_order": "pre", "width": 64, "depth": 1, "heads": 4,
                "mlp_width": 128, "dropout": 0.3,
            },
            "objective": {"name": "classification"},
            "data": {"name": "imdb", "context": 256},  # tokenizer is set on the command line
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
