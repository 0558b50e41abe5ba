"""A recurrent encoder-decoder with additive attention that translates English number words into German.

Command: python train.py --config=configs/recurrent_number_words.py --workdir=runs/recurrent_number_words
Time:    217 s on 2 CPU cores that other work kept busy
Reaches: test/exact >= 0.998

Bahdanau et al. 2015, with GRUs. To hand over a single vector instead: --config.model.attention=fixed. The same task as
configs/number_words.py, where a transformer learns it. To translate:
python -m experiments.translate --workdir=runs/recurrent_number_words --text="forty-two"
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 800, "batch_size": 128, "eval_every": 400, "checkpoint_every": 400, "best": "exact",
            "model": {"name": "recurrent_encoder_decoder", "width": 128},
            "objective": {"name": "seq2seq"},
            "data": {"name": "number_words"},
            "optimizer": {"learning_rate": 5e-3, "warmup": 100, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
