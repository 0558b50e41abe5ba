"""An encoder-decoder transformer that translates English image captions into German: Multi30k, 29,000 pairs.

Command: python train.py --config=configs/multi30k_gpu.py --workdir=runs/multi30k_gpu --config.data.path=multi30k --config.data.tokenizer=multi30k/tokenizer.json
Time:    not measured yet
Needs:   gpu, multi30k/tokenizer.json
Reaches: not measured yet

The folder multi30k holds train.en, train.de, val.en and val.de of https://github.com/multi30k/dataset (task 1, raw).
To make the vocabulary first, and to measure BLEU afterwards:

  D=multi30k
  python -m experiments.tokenizer --files $D/train.en $D/train.de --vocab_size=8000 --out=$D/tokenizer.json
  python -m experiments.translate --workdir=runs/multi30k_gpu --file=$D/test_2016_flickr.en
    --references=$D/test_2016_flickr.de --beams=5

With so little text a small model with much dropout does best: Wu et al. 2021 ("Good for Misconceived Reasons") use
width 128, and dropout 0.3 as here.
"""  # noqa: E501

from ml_collections import ConfigDict

from configs.multi30k import get_config as smaller


def get_config() -> ConfigDict:
    config = smaller()
    config.update(
        {
            "steps": 12_000, "batch_size": 256, "ema": 0.999,
            "model": {"width": 256, "depth": 4, "dropout": 0.3},
            "data": {"source_length": 64, "length": 64},  # no pair is longer
            "optimizer": {"learning_rate": 1e-3, "schedule": "rsqrt", "warmup": 2000},
        }
    )  # fmt: skip
    return config
