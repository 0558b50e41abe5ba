"""ListOps of Long Range Arena: the suite `listops` with up to 1,999 tokens. Meant for a GPU."""

from dataclasses import replace

from experiments.benchmark.families import of_tokens
from experiments.suites.listops import SUITE as SHORT

BLOCKS = {"width": 256, "depth": 4, "heads": 4}

SUITE = replace(
    SHORT,
    title="ListOps of Long Range Arena: 501 to 1,999 tokens, ten classes",
    about=SHORT.about.replace("up to 4 deep", "up to 10 deep"),
    data={"name": "listops", "train": "train", "evaluation": "validation"},
    budget=3_600_000,
    examples=640_000,
    tuning_examples=96_000,
    batch_size=32,
    rates=(1e-4, 3e-4, 1e-3, 3e-3),
    target=0.3,
    families=of_tokens(
        models={
            "encoder": BLOCKS,
            "decoder": BLOCKS,
            "encoder_decoder": BLOCKS | {"depth": 2, "mlp_width": 752},
            "perceiver": BLOCKS | {"depth": 3, "latents": 128, "cross_heads": 4, "positions": "learned"},
            "bottleneck": BLOCKS | {"latents": 32},
        },
        sizes={},
    ),
    published={"Transformer, Tay et al. 2021 (arXiv 2011.04006)": 0.3637},
)

get_config = SUITE.config
