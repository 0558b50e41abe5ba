"""Density estimation of the embedded digits, in bits per pixel.

Pixels are black or white, so that sequence models and the VAE assign probabilities to the same events.
"""

import math

from experiments.benchmark.families import (
    DECAY,
    DECODER,
    ENCODER_DECODER,
    GRU,
    LINEAR,
    LSTM,
    RECURRENT,
    WINDOW,
    others,
)
from experiments.benchmark.suite import Family, Suite

BLOCKS = {"width": 32, "depth": 2, "heads": 4}
NARROW = {"quarter": {"model.width": 16}, "half": {"model.width": 24}}
PIXELS = 64
BITS = 1 / math.log(2)
WHOLE, HALF = "the whole image", "the lower half, given the upper one"
NO_DENSITY = "predicts classes, not the probability of an image"

SUITE = Suite(
    title="Density of binary digits, in bits per pixel",
    about="Density models of the digits, whose 64 pixels are black or white: bits per pixel on held-out images, lower "
    "is better. The decoders give the exact likelihood; linear is one with linear attention, and window one whose "
    "layers see 16 pixels, two rows. The VAE gives an upper bound of its bits, from 64 importance samples: if it is "
    "ahead of another family, it is better; if it is behind, its true bits may still be fewer. The "
    "encoder-decoder predicts the lower half of the image given the upper one, and so does a second decoder.",
    data={"name": "digits", "levels": 2, "train": "train[:80%]", "evaluation": "train[80%:]"},
    test="test",
    budget=27_000,
    examples=38_400,
    tuning_examples=12_800,
    batch_size=32,
    rates=(1e-3, 3e-3, 1e-2, 3e-2),
    score="bits per pixel",
    metric="loss",
    better="min",
    target=0.45,
    families=others({
        "decoder": Family(
            model=DECODER | BLOCKS, objective={"name": "language_modeling"}, data={"form": "density"}, own=DECAY,
            sizes=NARROW, factor=BITS, note="exact", among=WHOLE,
        ),
        "gru": Family(
            model=GRU | {"width": 66}, objective={"name": "language_modeling"}, data={"form": "density"}, own=DECAY,
            sizes={"quarter": {"model.width": 33}, "half": {"model.width": 46}}, factor=BITS, note="exact", among=WHOLE,
        ),
        "lstm": Family(
            model=LSTM | {"width": 58}, objective={"name": "language_modeling"}, data={"form": "density"}, own=DECAY,
            sizes={"quarter": {"model.width": 29}, "half": {"model.width": 41}}, factor=BITS, note="exact", among=WHOLE,
        ),
        "linear": Family(
            model=LINEAR | BLOCKS, objective={"name": "language_modeling"}, data={"form": "density"}, own=DECAY,
            sizes=NARROW, factor=BITS, note="exact", among=WHOLE,
        ),
        "window": Family(
            model=WINDOW | BLOCKS | {"window": 16}, objective={"name": "language_modeling"}, data={"form": "density"},
            own=DECAY, sizes=NARROW, factor=BITS, note="exact, sees two rows", among=WHOLE,
        ),
        "vae": Family(
            model={"name": "variational", "latents": 16, "width": 80, "depth": 2},
            objective={"name": "variational", "evaluation_samples": 64}, data={"targets": "images"},
            own=("objective.free_bits", (0.0, 0.02)),
            sizes={"quarter": {"model.width": 32}, "half": {"model.width": 54}},
            metric="importance_bound", factor=-BITS / PIXELS, note="upper bound, 64 importance samples", among=WHOLE,
        ),
        "decoder_half": Family(
            model=DECODER | BLOCKS, objective={"name": "language_modeling"}, data={"form": "second_half"}, own=DECAY,
            sizes=NARROW, factor=BITS, note="exact", among=HALF,
        ),
        "encoder_decoder": Family(
            model=ENCODER_DECODER | BLOCKS | {"depth": 1, "mlp_width": 80}, objective={"name": "seq2seq"},
            data={"form": "halves"}, own=DECAY,
            sizes={"quarter": {"model.width": 16, "model.mlp_width": 40}, "half": {"model.width": 24}},
            factor=BITS, note="exact", among=HALF,
        ),
        "recurrent": Family(
            model=RECURRENT | {"width": 36}, objective={"name": "seq2seq"}, data={"form": "halves"}, own=DECAY,
            sizes={"quarter": {"model.width": 18}, "half": {"model.width": 26}}, factor=BITS, note="exact", among=HALF,
        ),
        "autoencoder": "restores images, and says nothing of their probability",
        "encoder": "sees all pixels at once, including those to be predicted",
    }, NO_DENSITY),
)  # fmt: skip

get_config = SUITE.config
