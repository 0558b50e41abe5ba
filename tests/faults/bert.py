"""A tiny classifier of texts; --config.data.path is the folder of its files."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 5, "batch_size": 2, "eval_every": 5, "checkpoint_every": 5,
            "optimizer": {"learning_rate": 0.01},
            "model": {"name": "bert", "head": "next", "width": 8, "depth": 1, "heads": 2},
            "objective": {"name": "classification"},
            "data": {"name": "labelled_text", "context": 16, "tokenizer": "bytes"},
        }
    )  # fmt: skip
