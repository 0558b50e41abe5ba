"""How each architecture takes part in what several suites share: classes of images, and classes of sequences of tokens.

A new architecture enters these suites by its line here. Sizes are for the suite to say, since budgets differ.
"""

from collections.abc import Mapping

from experiments.benchmark.suite import Family

CLASSIFY = {"name": "classification"}
DECAY = ("optimizer.weight_decay", (0.05, 0.3))
BETA = ("objective.beta", (0.001, 0.01))
NO_IMAGE = "reads images, and these are tokens in a line"

# What every size of these has. A suite adds width, depth, and what else it likes.
ENCODER = {"name": "bert", "head": "classification", "norm_order": "pre"}
DECODER = {"name": "gpt"}
# Learned positions begin small: beside embeddings of the order of 1 they would be lost, and an image with them.
ENCODER_DECODER = {"name": "encoder_decoder", "shared": False, "positions": "learned", "embedding_scale": "none"}
VIT = {"name": "vit"}
PERCEIVER = {"name": "perceiver", "repeats": 2, "sharing": "all"}
BOTTLENECK = {"name": "variational", "likelihood": "categorical", "decoder_depth": 0}
CNN = {"name": "convolutional"}
MLP = {"name": "perceptron"}


def of_images(models: Mapping[str, Mapping], sizes: Mapping[str, Mapping[str, Mapping]]) -> dict[str, Family]:
    """Classes of images. `models` are the sizes of the models, by family; `sizes` smaller ones, see `Family`."""
    return {
        "encoder": _family("encoder", ENCODER, CLASSIFY, DECAY, models, sizes, data={"form": "class"}),
        "decoder": _family(
            "decoder", DECODER, {"name": "language_modeling"}, DECAY, models, sizes, data={"form": "next_token"}
        ),
        "encoder_decoder": _family(
            "encoder_decoder", ENCODER_DECODER, {"name": "seq2seq"}, DECAY, models, sizes, data={"form": "answer"}
        ),
        "vit": _family("vit", VIT, CLASSIFY, DECAY, models, sizes),
        "perceiver": _family("perceiver", PERCEIVER, CLASSIFY, DECAY, models, sizes),
        "bottleneck": _family(
            "bottleneck", BOTTLENECK, {"name": "variational", "evaluation_samples": 12}, BETA, models, sizes
        ),
        "cnn": _family("cnn", CNN, CLASSIFY, DECAY, models, sizes, note="yardstick"),
        "mlp": _family("mlp", MLP, CLASSIFY, DECAY, models, sizes, note="yardstick"),
    }


def of_tokens(models: Mapping[str, Mapping], sizes: Mapping[str, Mapping[str, Mapping]]) -> dict[str, Family | str]:
    """Classes of sequences of tokens, as `of_images`; the bottleneck is over an encoder."""
    images = of_images(models | dict.fromkeys(("vit", "cnn", "mlp"), {}), sizes)
    tokens = {"encoder": "bert"}
    bottleneck = _family(
        "bottleneck", BOTTLENECK | tokens, {"name": "variational", "evaluation_samples": 12}, BETA, models, sizes,
        data={"form": "class"},
    )  # fmt: skip
    return images | {"vit": NO_IMAGE, "bottleneck": bottleneck, "cnn": NO_IMAGE, "mlp": NO_IMAGE}


def _family(
    name: str, model: Mapping, objective: Mapping, own: tuple, models: Mapping, sizes: Mapping, **more
) -> Family:
    return Family(model=model | models[name], objective=objective, own=own, sizes=sizes.get(name, {}), **more)
