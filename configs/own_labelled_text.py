"""BERT, from scratch, on labelled texts of your own, read as bytes.

Command: python train.py --config=configs/own_labelled_text.py --workdir=runs/own_labelled_text
Time:    136 s on 2 CPU cores that other work kept busy
Needs:   samples/labelled_text
Reaches: validation/accuracy >= 0.98

To make the sample first: python -m experiments.sample labelled_text. For your own: --config.data.path=FOLDER with
train.csv and validation.csv, whose header names the columns text and label; or .tsv, .jsonl or .parquet, see
data.user_files.labelled_text. Then: python -m experiments.predict --workdir=runs/own_labelled_text --text="forty-two".
The model can be exported by experiments.export.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 200, "batch_size": 32, "eval_every": 100, "checkpoint_every": 100, "best": "accuracy",
            "model": {"name": "bert", "head": "classification", "width": 64, "depth": 2, "heads": 4, "dropout": 0.1},
            "objective": {"name": "classification"},
            "data": {"name": "labelled_text", "path": "samples/labelled_text", "context": 96},
            "optimizer": {"learning_rate": 1e-3, "warmup": 50, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
