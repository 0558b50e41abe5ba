"""MNIST from TFDS: classification like `digits`, at 28 x 28 pixels. Meant for a GPU: three families read 784 tokens."""

from experiments.benchmark.families import of_images
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 64, "depth": 4, "heads": 4}
NARROW = {"quarter": {"model.width": 32}, "half": {"model.width": 48}}

SUITE = Suite(
    title="MNIST: 28 x 28 pixels, ten classes",
    about="70,000 handwritten digits, reduced to 16 intensities. Encoder, decoder and encoder-decoder read the 784 "
    "pixels as a sequence of tokens, ViT and the hybrid patches of 4 x 4, the Swin Transformer patches of 2 x 2, the "
    "Perceiver the array of pixels; the bottleneck is VIB.",
    data={"name": "mnist", "levels": 16, "train": "train[:90%]", "evaluation": "train[90%:]"},
    test="test",
    budget=250_000,
    examples=1_200_000,
    tuning_examples=200_000,
    batch_size=100,
    rates=(1e-3, 3e-3, 1e-2, 3e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.97,
    percent=True,
    families=of_images(
        models={
            "encoder": BLOCKS,
            "decoder": BLOCKS,
            "encoder_decoder": BLOCKS | {"depth": 2, "mlp_width": 192},
            "vit": BLOCKS | {"width": 72, "patch": 4},
            "hybrid": BLOCKS | {"width": 60, "patch": 4},
            "swin": {"width": 44, "patch": 2, "window": 7, "heads": 2},
            "resnet": {"width": 19},
            "perceiver": BLOCKS | {"latents": 32, "cross_heads": 4, "bands": 14},
            "bottleneck": {"latents": 32, "width": 235, "depth": 2},
            "cnn": {"width": 93, "depth": 2},
            "mlp": {"width": 240, "depth": 2},
        },
        sizes={
            "encoder": NARROW,
            "decoder": NARROW,
            "encoder_decoder": {"quarter": {"model.width": 32, "model.mlp_width": 96}, "half": {"model.width": 44}},
            "vit": {"quarter": {"model.width": 32}, "half": {"model.width": 48}},
            "hybrid": {"quarter": {"model.width": 28}, "half": {"model.width": 40}},
            "swin": {"quarter": {"model.width": 20}, "half": {"model.width": 30}},
            "resnet": {"quarter": {"model.width": 9}, "half": {"model.width": 13}},
            "perceiver": NARROW,
            "bottleneck": {"quarter": {"model.width": 68}, "half": {"model.width": 128}},
            "cnn": {"quarter": {"model.width": 43}, "half": {"model.width": 61}},
            "mlp": {"quarter": {"model.width": 72}, "half": {"model.width": 136}},
        },
    ),
)

get_config = SUITE.config
