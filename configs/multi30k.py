"""An encoder-decoder transformer that translates English image captions to German ones: Multi30k, 29,000 pairs.

Command: python train.py --config=configs/multi30k.py --workdir=runs/multi30k --config.data.path=multi30k --config.data.tokenizer=multi30k/tokenizer.json
Time:    1900 s on 2 CPU cores that did other work too
Needs:   multi30k/tokenizer.json
Reaches: val/accuracy >= 0.61

The folder multi30k holds train.en, train.de, val.en and val.de of https://github.com/multi30k/dataset (task 1, raw).
Its vocabulary, before, and BLEU, after:

  D=multi30k
  python -m experiments.tokenizer --files $D/train.en $D/train.de --vocab_size=4000 --out=$D/tokenizer.json
  python -m experiments.translate --workdir=runs/multi30k --file=$D/test_2016_flickr.en
    --references=$D/test_2016_flickr.de --beams=5

That is 33.94 BLEU with 5 beams, and 32.18 greedily (--beams=1). The larger model of configs/multi30k_gpu.py is meant
for a GPU.
"""  # noqa: E501

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 4000
    config.batch_size = 64
    config.ema = 0.995
    config.eval_every = 1000
    config.checkpoint_every = 1000
    config.best = "accuracy"

    config.model = ConfigDict()
    config.model.name = "encoder_decoder"
    config.model.source_vocab_size = placeholder(int)  # from the data
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.source_context = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.width = 128
    config.model.depth = 2
    config.model.heads = 4
    config.model.mlp_width = 512
    config.model.shared = True
    config.model.positions = "sinusoidal"
    config.model.dropout = 0.1

    config.objective = ConfigDict()
    config.objective.name = "seq2seq"
    config.objective.label_smoothing = 0.1

    config.data = ConfigDict()
    config.data.name = "translation"
    config.data.path = placeholder(str)  # on the command line
    config.data.source = "en"
    config.data.target = "de"
    config.data.tokenizer = placeholder(str)  # on the command line
    config.data.source_length = 36  # 1 % of the pairs are longer
    config.data.length = 36
    config.data.train = "train"
    config.data.evaluation = "val"

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 400
    config.optimizer.beta2 = 0.98
    config.optimizer.weight_decay = 0.01
    config.optimizer.clip = 1.0
    return config
