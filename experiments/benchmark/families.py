"""How each architecture takes part in the suites of two kinds: classes of images, and classes of token sequences.

A new architecture enters these suites by one entry in `FAMILIES`, and by its size in each suite, since budgets differ.
Where a suite states no size for it, it takes no part, and the table says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.benchmark.suite import Family

CLASSIFICATION = {"name": "classification"}
NEXT_TOKEN = {"name": "language_modeling"}
SEQUENCE = {"name": "seq2seq"}
BOUND = {"name": "variational", "evaluation_samples": 12}

# What is tuned besides the learning rate.
DECAY = ("optimizer.weight_decay", (0.05, 0.3))
BETA = ("objective.beta", (0.001, 0.01))

NO_IMAGE = "reads images, but the data are token sequences"
NO_SIZE = "has no size in this suite: add its fields to `models` in the file of the suite"

# What every size of an architecture has in common. A suite adds width, depth and whatever else it chooses.
ENCODER = {"name": "bert", "head": "classification", "norm_order": "pre"}
DECODER = {"name": "gpt"}
# Decoders whose attention does not compare all tokens with one another.
LINEAR, WINDOW = DECODER | {"attention": "linear"}, DECODER | {"window": 8}
# Embeddings are not scaled up to order 1: learned positions start small and would have no effect beside them.
ENCODER_DECODER = {"name": "encoder_decoder", "shared": False, "positions": "learned", "embedding_scale": "none"}
GRU = {"name": "recurrent"}
LSTM = {"name": "recurrent", "cell": "lstm"}
RECURRENT = {"name": "recurrent_encoder_decoder", "shared": False}  # GRUs with additive attention


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How an architecture answers with a class.

    Attributes:
      model: the fields of its model section that all sizes have in common.
      objective: the objective section of its config.
      own: the field that is tuned besides the learning rate, and the values to try.
      images: what it adds to the data section to classify images, or the reason why it cannot.
      tokens: the same for token sequences.
      tokens_model: further fields of its model section for token sequences.
      note: what a reader must know to interpret its score.
    """

    model: Mapping
    objective: Mapping = field(default_factory=lambda: CLASSIFICATION)
    own: tuple[str, tuple] = DECAY
    images: Mapping | str = field(default_factory=dict)
    tokens: Mapping | str = field(default_factory=dict)
    tokens_model: Mapping = field(default_factory=dict)
    note: str = ""


AS_CLASS, AS_NEXT_TOKEN, AS_ANSWER = {"form": "class"}, {"form": "next_token"}, {"form": "answer"}
FAMILIES = {
    "encoder": Entry(model=ENCODER, images=AS_CLASS, tokens=AS_CLASS),
    "decoder": Entry(model=DECODER, objective=NEXT_TOKEN, images=AS_NEXT_TOKEN, tokens=AS_NEXT_TOKEN),
    "encoder_decoder": Entry(model=ENCODER_DECODER, objective=SEQUENCE, images=AS_ANSWER, tokens=AS_ANSWER),
    "gru": Entry(model=GRU, objective=NEXT_TOKEN, images=AS_NEXT_TOKEN, tokens=AS_NEXT_TOKEN),
    "lstm": Entry(model=LSTM, objective=NEXT_TOKEN, images=AS_NEXT_TOKEN, tokens=AS_NEXT_TOKEN),
    "recurrent": Entry(model=RECURRENT, objective=SEQUENCE, images=AS_ANSWER, tokens=AS_ANSWER),
    "linear": Entry(model=LINEAR, objective=NEXT_TOKEN, images=AS_NEXT_TOKEN, tokens=AS_NEXT_TOKEN),
    "window": Entry(model=WINDOW, objective=NEXT_TOKEN, images=AS_NEXT_TOKEN, tokens=AS_NEXT_TOKEN),
    "vit": Entry(model={"name": "vit"}, tokens=NO_IMAGE),
    "hybrid": Entry(model={"name": "vit", "stem": "resnet"}, tokens=NO_IMAGE),
    "swin": Entry(model={"name": "swin"}, tokens=NO_IMAGE),
    "resnet": Entry(model={"name": "resnet"}, tokens=NO_IMAGE),
    "perceiver": Entry(model={"name": "perceiver", "repeats": 2, "sharing": "all"}),
    "bottleneck": Entry(
        model={"name": "variational", "likelihood": "categorical", "decoder_depth": 0}, objective=BOUND, own=BETA,
        tokens=AS_CLASS, tokens_model={"encoder": "bert"},
    ),
    "cnn": Entry(model={"name": "convolutional"}, tokens=NO_IMAGE, note="yardstick"),
    "mlp": Entry(model={"name": "perceptron"}, tokens=NO_IMAGE, note="yardstick"),
}  # fmt: skip

STACKS = ("encoder", "decoder", "linear", "window")  # one stack of blocks each, so they can have the same fields

Models = Mapping[str, Mapping]  # fields of the model section, by family
Sizes = Mapping[str, Mapping[str, Mapping]]  # `Family.sizes`, by family


def of_images(models: Models, sizes: Sizes) -> dict[str, Family | str]:
    """Returns the families of a suite whose task is the class of an image."""
    return {name: _family(name, entry, entry.images, {}, models, sizes) for name, entry in FAMILIES.items()}


def of_tokens(models: Models, sizes: Sizes) -> dict[str, Family | str]:
    """Returns the families of a suite whose task is the class of a token sequence."""
    return {
        name: _family(name, entry, entry.tokens, entry.tokens_model, models, sizes) for name, entry in FAMILIES.items()
    }


def of_decoders(models: Models, sizes: Sizes) -> dict[str, Family]:
    """Returns the decoders and recurrent networks of a suite whose task is to predict tokens from those before them.

    The data need no form: the examples are tokens, and the targets are the next ones.
    """
    return {
        name: Family(
            model={**entry.model, **models[name]}, objective=entry.objective, own=entry.own, sizes=sizes.get(name, {})
        )
        for name, entry in FAMILIES.items()
        if entry.objective == NEXT_TOKEN and name in models
    }


def others(families: Mapping[str, Family | str], reason: str, *, images: str = "") -> dict[str, Family | str]:
    """Returns the families of a suite that states each of them itself, and a reason for all that it does not name.

    Args:
      families: by name.
      reason: why all others take no part.
      images: the reason for those that read images only; by default the same.
    """
    absent = {name: images if images and entry.tokens == NO_IMAGE else reason for name, entry in FAMILIES.items()}
    return {**families, **{name: text for name, text in absent.items() if name not in families}}


def _family(
    name: str, entry: Entry, data: Mapping | str, model: Mapping, models: Models, sizes: Sizes
) -> Family | str:
    if isinstance(data, str):
        return data
    if name not in models:
        return NO_SIZE
    return Family(
        model={**entry.model, **model, **models[name]}, objective=entry.objective, own=entry.own, data=data,
        sizes=sizes.get(name, {}), note=entry.note,
    )  # fmt: skip
