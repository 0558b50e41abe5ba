"""A recurrent encoder-decoder with attention that translates English image captions into German: Multi30k.

Command: python train.py --config=configs/multi30k_recurrent.py --workdir=runs/multi30k_recurrent --config.data.path=multi30k --config.data.tokenizer=multi30k/tokenizer.json
Time:    2099 s on one CPU core that other work shared
Needs:   multi30k/tokenizer.json
Reaches: val/accuracy >= 0.57

Data, vocabulary and optimizer are those of configs/multi30k.py, which describes where they come from and how to measure
BLEU. This is additive attention (Bahdanau et al. 2015); --config.model.attention=dot has the form of Luong et al. 2015,
and with --config.model.attention=fixed the decoder gets a single vector (Cho et al. 2014). Each was trained once, with
seed 0, and translated test_2016_flickr:

  attention      BLEU, 5 beams   BLEU, greedy   parameters   time
  dot                    34.08          31.89    1,230,648   1304 s
  additive               32.62          30.25    1,443,088   2099 s
  fixed                  19.65          18.10    1,372,024   1591 s
  transformer            33.94          32.18    configs/multi30k.py
"""  # noqa: E501

from ml_collections import ConfigDict

from configs.multi30k import get_config as transformer


def get_config() -> ConfigDict:
    config = transformer()
    config.model = ConfigDict({"name": "recurrent_encoder_decoder", "width": 188, "dropout": 0.3})
    return config
