"""An encoder-decoder transformer on parallel text of your own: line n of one file translates line n of the other.

Command: python train.py --config=configs/own_parallel_text.py --workdir=runs/own_parallel_text
Time:    300 s on 2 CPU cores that other work kept busy
Needs:   samples/parallel_text
Reaches: validation/exact >= 0.98

To make the sample first: python -m experiments.sample parallel_text. For your own, a folder with train.en, train.de,
validation.en and validation.de; other endings by --config.data.source and --config.data.target:

  D=FOLDER
  python -m experiments.tokenizer --files $D/train.en $D/train.de --out=$D/tokenizer.json
  python train.py --config=configs/own_parallel_text.py --workdir=runs/mine --config.data.path=$D
    --config.data.tokenizer=$D/tokenizer.json
  python -m experiments.translate --workdir=runs/mine --text="forty-two"
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1000, "batch_size": 32, "eval_every": 500, "checkpoint_every": 500, "best": "exact",
            "model": {"name": "encoder_decoder", "width": 64, "depth": 2, "heads": 4, "dropout": 0.1},
            "objective": {"name": "seq2seq"},
            "data": {
                "name": "translation", "path": "samples/parallel_text", "source": "en", "target": "de",
                "tokenizer": "samples/parallel_text/tokenizer.json", "source_length": 40, "length": 40,
            },
            "optimizer": {"learning_rate": 2e-3, "warmup": 100, "weight_decay": 0.05, "clip": 1.0},
        }
    )  # fmt: skip
