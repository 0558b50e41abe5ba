"""Fashion-MNIST at 14 x 14 pixels: real images, small enough that every family can be compared on two CPU cores."""

from experiments.benchmark.families import of_images
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 32, "depth": 2, "heads": 4}

SUITE = Suite(
    title="Fashion-MNIST at 14 x 14 pixels, ten classes",
    about="70,000 pictures of clothes; each pixel is the mean of 2 x 2 pixels, in 16 intensities. Encoder, decoder and "
    "encoder-decoder read the 196 pixels as a sequence of tokens, ViT and the hybrid patches of 2 x 2, the Swin "
    "Transformer windows of 7 x 7 pixels, the Perceiver the array of pixels; the bottleneck is VIB.",
    data={"name": "fashion_mnist", "pool": 2, "levels": 16, "train": "train[:90%]", "evaluation": "train[90%:]"},
    test="test",
    budget=30_000,
    examples=120_000,
    tuning_examples=30_000,
    batch_size=60,
    rates=(1e-3, 3e-3, 1e-2, 3e-2),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.82,
    percent=True,
    families=of_images(
        models={
            "encoder": BLOCKS | {"mlp_width": 112},
            "decoder": BLOCKS | {"mlp_width": 112},
            "encoder_decoder": BLOCKS | {"decoder_depth": 1, "mlp_width": 36},
            "vit": BLOCKS | {"patch": 2},
            "hybrid": BLOCKS | {"width": 24, "patch": 2},
            "swin": {"width": 14, "patch": 1, "window": 7, "heads": 2},
            "resnet": {"width": 19, "depths": [1, 1]},
            "perceiver": BLOCKS | {"depth": 1, "latents": 48, "cross_heads": 4, "bands": 7},
            "bottleneck": {"latents": 16, "width": 92, "depth": 2},
            "cnn": {"width": 58, "depth": 1},
            "mlp": {"width": 98, "depth": 2},
        },
        sizes={},
    ),
)

get_config = SUITE.config
