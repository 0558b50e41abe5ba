"""A captioner that says what shapes it sees, with a convolutional encoder and a recurrent decoder with attention.

Command: python train.py --config=configs/captions.py --workdir=runs/captions
Time:    205 s on 2 CPU cores that other work kept busy
Reaches: test/exact >= 0.99

"exact" is the share of captions without any error. Images that show a combination of colour and shape that is in no
image of the training split, such as a red triangle, are described without an error in a share of 0.127, and 0.857 of
the words are right: python -m experiments.evaluate --workdir=runs/captions --split=combinations
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 1200, "batch_size": 64, "eval_every": 400, "checkpoint_every": 400, "best": "exact",
            "model": {
                "name": "captioner", "encoder": "convolutional", "decoder": "recurrent", "width": 64, "depth": 2,
                "decoder_depth": 1,
            },
            "objective": {"name": "seq2seq"},
            "data": {"name": "shapes"},
            "optimizer": {"learning_rate": 3e-3, "warmup": 100, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
