"""Classification of the embedded handwritten digits, 8 x 8 pixels. The suite that `make compare` runs."""

from experiments.benchmark.families import of_images
from experiments.benchmark.suite import Suite

BLOCKS = {"width": 32, "depth": 2, "heads": 4}
NARROW = {"quarter": {"model.width": 16}, "half": {"model.width": 24}}

SUITE = Suite(
    title="Digits: 8 x 8 pixels, ten classes",
    about="1,797 images that come with scikit-learn. Encoder, decoder and encoder-decoder read the 64 pixels as a "
    "sequence of tokens, one of 17 intensities each; the decoder answers with the class as the next token, the "
    "encoder-decoder with a sequence of one class. ViT and the hybrid read patches of 2 x 2, the Swin Transformer "
    "windows of 4 x 4 pixels, the Perceiver the array of pixels; the bottleneck is VIB.",
    data={"name": "digits", "train": "train[:80%]", "evaluation": "train[80%:]"},
    test="test",
    budget=28_000,
    examples=38_400,
    tuning_examples=12_800,
    batch_size=32,
    rates=(1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    score="accuracy",
    metric="accuracy",
    better="max",
    target=0.9,
    percent=True,
    families=of_images(
        models={
            "encoder": BLOCKS,
            "decoder": BLOCKS,
            "encoder_decoder": BLOCKS | {"decoder_depth": 1, "mlp_width": 44},
            "vit": BLOCKS | {"patch": 2},
            "hybrid": BLOCKS | {"width": 24, "patch": 2},
            "swin": {"width": 14, "patch": 1, "window": 4, "heads": 2},
            "resnet": {"width": 19, "depths": [1, 1]},
            "perceiver": BLOCKS | {"depth": 1, "latents": 32, "cross_heads": 4, "bands": 4},
            "bottleneck": {"latents": 16, "width": 120, "depth": 2},
            "cnn": {"width": 37, "depth": 2},
            "mlp": {"width": 128, "depth": 2},
        },
        sizes={
            "encoder": NARROW,
            "decoder": NARROW,
            "encoder_decoder": {"quarter": {"model.width": 16, "model.mlp_width": 22}, "half": {"model.width": 24}},
            "vit": NARROW,
            "hybrid": {"quarter": {"model.width": 12}, "half": {"model.width": 16}},
            "swin": {"quarter": {"model.width": 6}, "half": {"model.width": 10}},
            "resnet": {"quarter": {"model.width": 9}, "half": {"model.width": 13}},
            "perceiver": NARROW,
            "bottleneck": {"quarter": {"model.width": 48}, "half": {"model.width": 80}},
            "cnn": {"quarter": {"model.width": 18}, "half": {"model.width": 26}},
            "mlp": {"quarter": {"model.width": 56}, "half": {"model.width": 84}},
        },
    ),
)

get_config = SUITE.config
