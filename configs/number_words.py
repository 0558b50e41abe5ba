"""An encoder-decoder transformer that translates English number words into German.

Command: python train.py --config=configs/number_words.py --workdir=runs/number_words
Time:    193 s on 2 CPU cores
Reaches: test/exact >= 0.99

"forty-two thousand" is "zweiundvierzigtausend": units come before tens, inside one word of several tokens. The metric
"exact" is the share of held-out numbers that greedy decoding gets right, see `objectives.seq2seq`. To translate:
python -m experiments.translate --workdir=runs/number_words --text="forty-two"
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 800, "batch_size": 128, "eval_every": 400, "checkpoint_every": 400, "best": "exact",
            "model": {"name": "encoder_decoder", "width": 128, "depth": 2, "heads": 4},
            "objective": {"name": "seq2seq"},
            "data": {"name": "number_words"},
            "optimizer": {"learning_rate": 1e-3, "warmup": 100, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
