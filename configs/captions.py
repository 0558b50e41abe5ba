"""A captioner that says what shapes it sees, with a convolutional encoder and a recurrent decoder with attention.

Command: python train.py --config=configs/captions.py --workdir=runs/captions
Time:    not measured yet
Reaches: not measured yet

"exact" is the share of captions without any error. To see whether it also names combinations of colour and shape that
are in no image of the training split, such as a red triangle: --config.data.evaluation=combinations.
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
