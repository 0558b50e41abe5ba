"""The maximal-update parametrization, muP: a learning rate that suits one width suits all (Yang et al. 2022).

In the standard parametrization the best learning rate falls as a model gets wider, because one step of Adam changes
every weight by about the learning rate, and a wider layer adds up more of these changes. muP scales initial weights,
learning rates and some products by the *width ratio* r = width / `base_width`, such that activations change by as much
in every width. At `base_width` both parametrizations are the same. So one tunes a narrow model, and trains a wide one
with what was found.

The table for Adam, by what a dimension of a parameter grows with (the paper's tables 3 and 8; W of shape in x out):

| parameter                                             | initial weights  | learning rate |
|-------------------------------------------------------|------------------|---------------|
| hidden: both dimensions of a kernel grow              | N(0, 1 / in)     | 1 / r         |
| read-out: only the inputs grow                        | N(0, 1 / (r in)) | 1 / r         |
| read-in, embeddings, positions, biases, norms, tokens | as at the base   | 1             |

and by what is done with it:

| product                                               | is multiplied by                            |
|-------------------------------------------------------|---------------------------------------------|
| logits of a tied embedding                            | 1 / r                                       |
| inner products of queries and keys, of K columns      | sqrt(base K) / K in place of 1 / sqrt(K)    |

What grows is not named anywhere: the shapes of a model are compared with those of the same model at the base.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import inspect
from typing import Annotated, Any, TypeVar

from flax import nnx

from core.errors import UserError
from core.parameters import Parameters, split
from core.ranges import OneOf, Size
from core.signatures import keywords
from models.attention import Attention
from models.fields import Semantic
from models.layers import Embedding

Model = TypeVar("Model", bound=type[nnx.Module])
Kind = Annotated[str, OneOf(("standard", "mup"))]


@dataclass(frozen=True, kw_only=True)
class Parametrization:
    """The fields that `scalable` adds to a model.

    Attributes:
      parametrization: "standard" or "mup".
      base_width: the width at which both are the same. Those of the base's other widths, such as `mlp_width`, are in
        proportion, rounded.
      base_heads: the heads of the base (default: the same heads, which grow with the width).
    """

    parametrization: Semantic[Kind] = "standard"
    base_width: Semantic[Size] = 64
    base_heads: Semantic[Size | None] = None


def scalable(model: Model) -> Model:
    """Decorates a model with a field `width`: it then takes those of `Parametrization` too, and has `rate_factors`.

    `rate_factors` are pairs of a parameter's path and the factor of its learning rate, where that is not 1.
    """
    initialise, added = model.__init__, keywords(Parametrization)
    make: Any = model

    def __init__(self, **fields):
        own = Parametrization(**{name: fields.pop(name) for name in added if name in fields})
        initialise(self, **fields)
        self.rate_factors = ()
        if own.parametrization == "mup":
            of_base = _base_fields(fields, own.base_width, own.base_heads)
            base = nnx.eval_shape(lambda: make(**of_base, rngs=nnx.Rngs(0)))
            self.rate_factors = tuple(_rescale(self, base).items())

    signature = inspect.signature(initialise)
    parameters = [*signature.parameters.values(), *added.values()]
    __init__.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess] # PEP 362
    __init__.__wrapped__ = initialise  # pyright: ignore[reportFunctionMemberAccess]
    __init__.__doc__ = initialise.__doc__
    __init__.forwards_to = (*getattr(initialise, "forwards_to", ()), Parametrization)  # pyright: ignore[reportFunctionMemberAccess]
    model.__init__ = __init__
    return model


def _base_fields(fields: Mapping[str, Any], base_width: int, base_heads: int | None) -> dict[str, Any]:
    """The fields of the same model at the base: all widths in proportion."""
    base = {name: value for name, value in fields.items() if name != "rngs"}
    for name, value in base.items():
        if (name == "width" or name.endswith("_width")) and isinstance(value, int):
            base[name] = max(1, round(value * base_width / fields["width"]))
    if base_heads is not None:
        base["heads"] = base_heads
    return base


def _rescale(model: nnx.Module, base: nnx.Module) -> dict[str, float]:
    """Changes a model from the standard parametrization to muP. Returns the factors of learning rates that are not 1.

    Args:
      base: the same model at the base width; its shapes are enough.
    """
    ours, theirs = (dict(nnx.iter_modules(x)) for x in (model, base))
    for path, module in ours.items():
        other = theirs[path]
        if isinstance(module, Attention) and isinstance(other, Attention) and module.kind == "softmax":
            ratio = module.head_size / other.head_size
            module.query_factor = ratio**-0.5 if module.scaled else 1 / ratio
            if not module.scaled:  # such query weights start K^-0.5 smaller, which the factor already does
                module.query.kernel[...] *= ratio**0.5
        elif isinstance(module, Embedding) and isinstance(other, Embedding):
            module.embedding[...] *= other.scale / module.scale
            module.logit_factor = other.embedding.shape[-1] / module.embedding.shape[-1]
        for name in ("input_scale", "output_scale"):
            if hasattr(module, name):
                setattr(module, name, getattr(other, name))
    initial, rates = factors(split(model)[1], split(base)[1])
    kernels: dict[tuple, Any] = ours
    for path, module in kernels.items():
        name = ".".join(map(str, (*path, "kernel")))
        if name in initial:
            module.kernel[...] *= initial[name]
    return rates


def factors(parameters: Parameters, base: Parameters) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the factors of the initial weights and of the learning rates, by path, where they are not 1.

    Args:
      parameters: of the model, with kernels that start from N(0, 1 / inputs).
      base: those of the same model at the base width. Shapes are enough for both.
    """
    initial, rates = {}, {}
    for path, parameter in parameters.items():
        if not path.endswith("kernel"):
            continue
        inputs, outputs = _fans(parameter.shape, base[path].shape)
        if inputs != 1:
            rates[path] = 1 / inputs
            if outputs == 1:
                initial[path] = inputs**-0.5
    return initial, rates


def _fans(shape: tuple[int, ...], base: tuple[int, ...]) -> tuple[float, float]:
    """How many times more inputs and outputs a kernel has than at the base. Axes before the last two do not grow."""
    *_, inputs, outputs = (ours / theirs for ours, theirs in zip(shape, base, strict=True))
    return inputs, outputs


def refuse_scaled(model: nnx.Module, reason: str) -> None:
    """Raises UserError if a model is in muP and is not of its base width."""
    if getattr(model, "rate_factors", ()):
        raise UserError(f"model.parametrization='mup': {reason}; leave parametrization out")
