"""How each architecture takes part in the suites of two kinds: classes of images, and classes of token sequences.

A new architecture enters these suites by one entry here. Sizes are stated by each suite, since budgets differ.
"""

from collections.abc import Mapping

from experiments.benchmark.suite import Family

CLASSIFICATION = {"name": "classification"}
NEXT_TOKEN = {"name": "language_modeling"}
SEQUENCE = {"name": "seq2seq"}
BOUND = {"name": "variational", "evaluation_samples": 12}

# What is tuned besides the learning rate.
DECAY = ("optimizer.weight_decay", (0.05, 0.3))
BETA = ("objective.beta", (0.001, 0.01))

NO_IMAGE = "reads images, but the data are token sequences"

# What every size of an architecture has in common. A suite adds width, depth and whatever else it chooses.
ENCODER = {"name": "bert", "head": "classification", "norm_order": "pre"}
DECODER = {"name": "gpt"}
# Embeddings are not scaled up to order 1: learned positions start small and would have no effect beside them.
ENCODER_DECODER = {"name": "encoder_decoder", "shared": False, "positions": "learned", "embedding_scale": "none"}
VIT = {"name": "vit"}
PERCEIVER = {"name": "perceiver", "repeats": 2, "sharing": "all"}
BOTTLENECK = {"name": "variational", "likelihood": "categorical", "decoder_depth": 0}
CNN = {"name": "convolutional"}
MLP = {"name": "perceptron"}

Models = Mapping[str, Mapping]  # fields of the model section, by family
Sizes = Mapping[str, Mapping[str, Mapping]]  # `Family.sizes`, by family


def of_images(models: Models, sizes: Sizes) -> dict[str, Family | str]:
    """Returns the families of a suite whose task is the class of an image."""
    return _sequence_families(models, sizes) | {
        "vit": _family("vit", VIT, models, sizes),
        "perceiver": _family("perceiver", PERCEIVER, models, sizes),
        "bottleneck": _family("bottleneck", BOTTLENECK, models, sizes, objective=BOUND, own=BETA),
        "cnn": _family("cnn", CNN, models, sizes, note="yardstick"),
        "mlp": _family("mlp", MLP, models, sizes, note="yardstick"),
    }


def of_tokens(models: Models, sizes: Sizes) -> dict[str, Family | str]:
    """Returns the families of a suite whose task is the class of a token sequence."""
    bottleneck = BOTTLENECK | {"encoder": "bert"}
    return _sequence_families(models, sizes) | {
        "vit": NO_IMAGE,
        "perceiver": _family("perceiver", PERCEIVER, models, sizes),
        "bottleneck": _family(
            "bottleneck", bottleneck, models, sizes, objective=BOUND, own=BETA, data={"form": "class"}
        ),
        "cnn": NO_IMAGE,
        "mlp": NO_IMAGE,
    }  # fmt: skip


def _sequence_families(models: Models, sizes: Sizes) -> dict[str, Family | str]:
    """The families that read an image as a sequence of tokens too."""
    return {
        "encoder": _family("encoder", ENCODER, models, sizes, data={"form": "class"}),
        "decoder": _family("decoder", DECODER, models, sizes, objective=NEXT_TOKEN, data={"form": "next_token"}),
        "encoder_decoder": _family(
            "encoder_decoder", ENCODER_DECODER, models, sizes, objective=SEQUENCE, data={"form": "answer"}
        ),
    }


def _family(
    name: str, model: Mapping, models: Models, sizes: Sizes, *, objective: Mapping = CLASSIFICATION,
    own: tuple[str, tuple] = DECAY, data: Mapping | None = None, note: str = "",
) -> Family:  # fmt: skip
    return Family(
        model={**model, **models[name]}, objective=objective, own=own, data=data or {}, sizes=sizes.get(name, {}),
        note=note,
    )  # fmt: skip
