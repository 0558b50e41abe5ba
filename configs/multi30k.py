"""An encoder-decoder transformer that translates English image captions into German: Multi30k, 29,000 pairs.

Command: python train.py --config=configs/multi30k.py --workdir=runs/multi30k --config.data.path=multi30k --config.data.tokenizer=multi30k/tokenizer.json
Time:    1900 s on 2 shared CPU cores
Needs:   multi30k/tokenizer.json
Reaches: val/accuracy >= 0.61

The folder multi30k holds train.en, train.de, val.en and val.de of https://github.com/multi30k/dataset (task 1, raw).
To make the vocabulary first, and to measure BLEU afterwards:

  D=multi30k
  python -m experiments.tokenizer --files $D/train.en $D/train.de --vocab_size=4000 --out=$D/tokenizer.json
  python -m experiments.translate --workdir=runs/multi30k --file=$D/test_2016_flickr.en
    --references=$D/test_2016_flickr.de --beams=5

This gives 33.94 BLEU with 5 beams and 32.18 with greedy decoding (--beams=1). configs/multi30k_gpu.py is a larger
model for a GPU.
"""  # noqa: E501

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0, "steps": 4000, "batch_size": 64, "ema": 0.995, "eval_every": 1000, "checkpoint_every": 1000,
            "best": "accuracy",
            "model": {
                "name": "encoder_decoder", "width": 128, "depth": 2, "heads": 4, "mlp_width": 512, "dropout": 0.1,
            },
            "objective": {"name": "seq2seq", "label_smoothing": 0.1},
            "data": {  # path and tokenizer are set on the command line; 1 % of the pairs are longer than 36 tokens
                "name": "translation", "source": "en", "target": "de", "source_length": 36, "length": 36,
                "evaluation": "val",
            },
            "optimizer": {"learning_rate": 2e-3, "warmup": 400, "beta2": 0.98, "weight_decay": 0.01, "clip": 1.0},
        }
    )  # fmt: skip
