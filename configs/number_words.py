"""An encoder-decoder transformer that translates English number words to German ones.

Command: python train.py --config=configs/number_words.py --workdir=runs/number_words
Time:    193 s on 2 CPU cores
Reaches: test/exact >= 0.99

"forty-two thousand" is "zweiundvierzigtausend": the order turns around, inside one word of several tokens. Exact is the
share of held-out numbers that greedy decoding gets right, see `objectives.seq2seq`. To translate:
python -m experiments.translate --workdir=runs/number_words --text="forty-two"
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 800
    config.batch_size = 128
    config.eval_every = 400
    config.checkpoint_every = 400
    config.best = "exact"

    config.model = ConfigDict()
    config.model.name = "encoder_decoder"
    config.model.source_vocab_size = placeholder(int)  # from the data
    config.model.vocab_size = placeholder(int)  # from the data
    config.model.source_context = placeholder(int)  # from the data
    config.model.context = placeholder(int)  # from the data
    config.model.width = 128
    config.model.depth = 2
    config.model.heads = 4
    config.model.shared = True
    config.model.positions = "sinusoidal"
    config.model.dropout = 0.0

    config.objective = ConfigDict()
    config.objective.name = "seq2seq"
    config.objective.label_smoothing = 0.0

    config.data = ConfigDict()
    config.data.name = "number_words"
    config.data.vocab_size = 400

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.optimizer.weight_decay = 0.01
    config.optimizer.clip = 1.0
    return config
