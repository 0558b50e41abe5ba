"""The fields that models pass on to the blocks they are built from, as types that editors and checkers follow.

A model takes its own fields as keywords and passes the others on, as in

    @forwards(Stack)
    def __init__(self, *, vocab_size: int, width: int, ..., rngs: nnx.Rngs, **stack: Unpack[StackFields]):

`StackFields` says which ones those are, to a reader and to a type checker. Their meanings, defaults and ranges stand
once, where `Stack` and `Block` take them; `forwards` puts them into the signature of the model, so that `help(GPT)`
shows them all, and so that `training/settings.py` can check a config against the signature alone.
"""

from collections.abc import Callable, Mapping
import inspect
from typing import Annotated, Any, TypedDict, TypeVar, cast, get_args, get_type_hints

from core.signatures import keywords, plain

T = TypeVar("T")
Initialiser = TypeVar("Initialiser", bound=Callable[..., None])
Group = TypeVar("Group", bound=Mapping)

SEMANTIC = "semantic"
Semantic = Annotated[T, SEMANTIC]
"""The type of a field that changes what is computed from parameters of the same paths and shapes, as in
`heads: Semantic[int]`.

Weights alone do not show its value. A model that starts from published weights must have the value that they were
trained with (`models.pretrained.load_for`). Other fields change the paths or shapes of the parameters, or change only
how the same numbers are computed.
"""


class LayerFields(TypedDict, total=False):
    """What every model with blocks passes on to them; see `models.transformer.Block`."""

    mlp_width: int | None
    head_size: int | None
    value_size: int | None
    qk_norm: bool
    scaled: bool
    norm: str
    layer_scale: float | None
    bias: bool
    qkv_bias: bool | None


class BlockFields(LayerFields, total=False):
    """What a model passes on that has no defaults of its own for these three."""

    norm_order: str
    activation: str
    epsilon: float


class AttentionFields(TypedDict, total=False):
    """Which attention blocks have; see `models.attention.Attention`, whose `kind` is `attention` here."""

    attention: str
    feature_map: str
    window: int | None
    stride: int | None


class TowerFields(AttentionFields, total=False):
    """How blocks are stacked; see `models.transformer.Stack`."""

    kv_heads: int | None
    final_norm: bool
    relative_buckets: int
    relative_farthest: int
    scan: bool
    remat: bool


class StackFields(BlockFields, TowerFields, total=False):
    """What a model without a source passes on to `Stack`. It sets `causal`, `rotary` and `dropout` itself."""


class SourceFields(TypedDict, total=False):
    """What a model passes on whose blocks attend to a source too."""

    source_norm: bool
    cross_residual: bool


class EveryBlockField(BlockFields, SourceFields, AttentionFields, total=False):
    """All fields of a block but the three that `Stack` names itself."""

    kv_heads: int | None
    cross: bool
    source_width: int | None
    self_attention: bool
    rotary: bool
    dropout: float
    dtype: str


def forwards(*targets: Callable) -> Callable[[Initialiser], Initialiser]:
    """Decorates an `__init__` that passes `**fields: Unpack[SomeFields]` on to `targets`.

    Its signature then has each of these fields as a keyword, with the annotation and the default of the first target
    that takes it. Raises TypeError if no target takes a field, or takes it with another type. The attribute
    `forwards_to` of the function has the targets, whose docstrings say what the fields mean.
    """

    def decorate(function: Initialiser) -> Initialiser:
        signature = inspect.signature(function)
        (group,) = (p for p in signature.parameters.values() if p.kind == inspect.Parameter.VAR_KEYWORD)
        parameters: dict[str, inspect.Parameter] = {}
        for target in reversed(targets):
            parameters |= keywords(target)
        passed = {}
        for name, kind in get_type_hints(*get_args(group.annotation)).items():
            if name not in parameters or plain(parameters[name].annotation) != kind:
                raise TypeError(f"{function.__qualname__} passes {name}: {kind} on, which no target takes so")
            passed[name] = parameters[name]
        own = {name: p for name, p in signature.parameters.items() if p is not group}
        receiver = own.pop("self")
        ordered = {name: parameters[name] for name in parameters if name in passed or name in own}
        function.__signature__ = signature.replace(parameters=[receiver, *(ordered | own).values()])  # pyright: ignore[reportFunctionMemberAccess] # PEP 362: what inspect.signature reads
        function.forwards_to = targets  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return decorate


def semantic_fields(model: Callable) -> list[str]:
    """Returns the names of the fields of a model that are marked as `Semantic`."""
    return [name for name, p in keywords(model).items() if SEMANTIC in get_args(p.annotation)[1:]]


def expect_only(group: type[Mapping], fields: Mapping[str, Any]) -> None:
    """Raises TypeError, as Python does for an unexpected keyword argument, if one of `fields` is not in a group."""
    if unexpected := [name for name in fields if name not in get_type_hints(group)]:
        raise TypeError(f"got an unexpected keyword argument {unexpected[0]!r}")


def select(group: type[Group], fields: Mapping[str, Any]) -> Group:
    """Returns those of `fields` that belong to a group."""
    return cast(Group, {name: fields[name] for name in get_type_hints(group) if name in fields})
