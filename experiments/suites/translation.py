"""Translation of embedded number words, English to German: the share that greedy decoding gets exactly right."""

from experiments.benchmark.families import DECAY, DECODER, GRU, LINEAR, LSTM, NO_IMAGE, WINDOW, others
from experiments.benchmark.suite import Family, Suite

BLOCKS = {"width": 64, "heads": 4}
NO_TEXT = "answers with a class, not with text"
NO_WRITING = "reads text but cannot generate it"

SUITE = Suite(
    title="Translation of number words, English to German",
    about="forty-two is zweiundvierzig: units come before tens. The share of held-out numbers below 100,000 that are "
    "translated without any error. Decoder, GRU and LSTM read source, [BOS] and target as one sequence, trained on the "
    "target only; so do linear and window, the latter with a window of 16 letters.",
    data={"name": "number_words", "train": "train[:90%]", "evaluation": "train[99%:]"},
    test="test",
    budget=180_000,
    examples=102_400,
    tuning_examples=38_400,
    batch_size=128,
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
    score="exactly right",
    metric="exact",
    better="max",
    target=0.9,
    percent=True,
    families=others({
        "encoder_decoder": Family(
            model={"name": "encoder_decoder"} | BLOCKS | {"depth": 2, "mlp_width": 128}, objective={"name": "seq2seq"},
            own=DECAY,
            sizes={"quarter": {"model.width": 32, "model.mlp_width": 64}, "half": {"model.width": 44}},
        ),
        "decoder": Family(
            model=DECODER | BLOCKS | {"depth": 3}, objective={"name": "seq2seq"}, data={"form": "prompt"}, own=DECAY,
            sizes={"quarter": {"model.width": 32}, "half": {"model.width": 44}},
        ),
        "gru": Family(
            model=GRU | {"width": 142}, objective={"name": "seq2seq"}, data={"form": "prompt"}, own=DECAY,
            sizes={"quarter": {"model.width": 59}, "half": {"model.width": 93}},
        ),
        "lstm": Family(
            model=LSTM | {"width": 126}, objective={"name": "seq2seq"}, data={"form": "prompt"}, own=DECAY,
            sizes={"quarter": {"model.width": 54}, "half": {"model.width": 84}},
        ),
        "recurrent": Family(
            model={"name": "recurrent_encoder_decoder", "width": 86}, objective={"name": "seq2seq"}, own=DECAY,
            sizes={"quarter": {"model.width": 38}, "half": {"model.width": 58}},
        ),
        "linear": Family(
            model=LINEAR | BLOCKS | {"depth": 3}, objective={"name": "seq2seq"}, data={"form": "prompt"}, own=DECAY,
            sizes={"quarter": {"model.width": 32}, "half": {"model.width": 44}},
        ),
        "window": Family(
            model=WINDOW | BLOCKS | {"depth": 3, "window": 16}, objective={"name": "seq2seq"},
            data={"form": "prompt"}, own=DECAY,
            sizes={"quarter": {"model.width": 32}, "half": {"model.width": 44}},
        ),
        "encoder": NO_WRITING,
    }, NO_TEXT, images=NO_IMAGE),
)  # fmt: skip

get_config = SUITE.config
