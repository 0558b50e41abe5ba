"""A captioner that says what shapes it sees, with a convolutional encoder and a recurrent decoder with attention.

Command: python train.py --config=configs/captions.py --workdir=runs/captions
Time:    103 s on one CPU core that other work shared
Reaches: test/exact >= 0.99

"exact" is the share of captions without any error. Of the images that show a combination of colour and shape that is in
no image of the training split, such as a red triangle, 0.834 are described without an error; with five colours, two
convolutions and no word dropout 0.127:
python -m experiments.caption --workdir=runs/captions --split=combinations --limit=1000
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1200, "batch_size": 64, "eval_every": 400, "checkpoint_every": 400, "best": "exact",
            "model": {
                "name": "captioner", "encoder": "convolutional", "decoder": "recurrent", "width": 64, "depth": 3,
                "decoder_depth": 1, "word_dropout": 0.8,
            },
            "objective": {"name": "seq2seq"},
            "data": {"name": "shapes", "colours": 12},
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "weight_decay": 0.1, "clip": 1.0},
        }
    )  # fmt: skip
