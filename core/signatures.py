"""What a function or class takes, as a section of a config sees it: keywords and their types."""

from collections.abc import Callable
import inspect
import types
import typing
from typing import Annotated, Any


def keywords(target: Callable) -> dict[str, inspect.Parameter]:
    """Returns the keyword-only arguments of a function or class by name."""
    call = target.__init__ if isinstance(target, type) else target  # a metaclass hides the class's own signature
    parameters = inspect.signature(call).parameters
    return {name: p for name, p in parameters.items() if p.kind == inspect.Parameter.KEYWORD_ONLY}


def plain(annotation: Any) -> Any:
    """Returns a type without what `Annotated` says of it and of its parts."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return plain(parts[0])
    if origin in (typing.Union, types.UnionType):
        union = plain(parts[0])
        for part in parts[1:]:
            union = union | plain(part)
        return union
    return tuple[tuple(map(plain, parts))] if origin is tuple else annotation
