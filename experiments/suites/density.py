"""The digits as a distribution: how many bits a pixel costs. Pixels are black or white, so that all count the same."""

import math

from experiments.benchmark.families import DECAY, DECODER, ENCODER_DECODER
from experiments.benchmark.suite import Family, Suite

BLOCKS = {"width": 32, "depth": 2, "heads": 4}
NARROW = {"quarter": {"model.width": 16}, "half": {"model.width": 24}}
PIXELS = 64
BITS = 1 / math.log(2)
WHOLE, HALF = "the whole image", "the lower half, given the upper one"
NO_DENSITY = "gives classes, not a probability of the image"

SUITE = Suite(
    title="Density of binary digits, in bits a pixel",
    about="The digits with each of 64 pixels black or white, as a distribution over images: bits a pixel on images not "
    "seen before, less is better. The decoder gives the exact likelihood. The VAE gives an upper bound of its bits, by "
    "64 importance samples: where it comes out ahead it is, where behind, its true bits may be fewer. The "
    "encoder-decoder is given the upper half of the image, and so is a decoder beside it.",
    data={"name": "digits", "levels": 2, "train": "train[:80%]", "evaluation": "train[80%:]"},
    test="test",
    budget=27_000,
    examples=38_400,
    tuning_examples=12_800,
    batch_size=32,
    rates=(1e-3, 3e-3, 1e-2, 3e-2),
    score="bits a pixel",
    metric="loss",
    better="min",
    target=0.45,
    families={
        "decoder": Family(
            model=DECODER | BLOCKS, objective={"name": "language_modeling"}, data={"form": "density"}, own=DECAY,
            sizes=NARROW, factor=BITS, note="exact", among=WHOLE,
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
        "encoder": "sees all pixels at once, those to be predicted too",
        "vit": NO_DENSITY,
        "perceiver": NO_DENSITY,
        "bottleneck": NO_DENSITY,
        "cnn": NO_DENSITY,
        "mlp": NO_DENSITY,
    },
)  # fmt: skip

get_config = SUITE.config
