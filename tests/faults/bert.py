"""A tiny classifier of texts; --config.data.path is the folder of its files."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "steps": 5,
            "batch_size": 2,
            "model": {"name": "bert", "head": "next", "width": 8, "depth": 1, "heads": 2},
            "objective": {"name": "classification"},
            "data": {"name": "labelled_text", "context": 16, "tokenizer": "bytes"},
        }
    )
