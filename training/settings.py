"""Checks a section of a config against the function it is for, before anything runs.

The fields of a section are the keyword arguments of the function or class that it is for, with their types, ranges
(`core.ranges`) and defaults, as `inspect.signature` shows them.
"""

from collections.abc import Callable, Iterable, Mapping
import difflib
import inspect
import types
import typing
from typing import TypeVar

from core.errors import UserError, cut, shown
from core.ranges import refuse_outside
from core.signatures import keywords, plain

T = TypeVar("T")

LONGEST_TEXT = 1024  # characters of a field, of which paths are the longest


def resolve(
    section: str, settings: Mapping, table: Mapping[str, Callable], *, supplied: Iterable[str] = (),
    facts: Mapping = types.MappingProxyType({}), source: str = "",
) -> tuple[Callable, dict]:  # fmt: skip
    """Returns what a section names in `table`, and all arguments for it (see `complete`).

    `facts` are what the data called `source` decides: they fill in the fields that the section leaves open (None).
    Raises UserError if the name is not in the table, if a field contradicts a fact, and as `check_settings` does.
    """
    target, settings = named(section, settings, table)
    for name in facts.keys() & accepted(target).keys():
        value, fact = settings.get(name), facts[name]
        if value is not None and _plain(value) != _plain(fact):
            raise UserError(
                f"{section}.{name} = {shown(value)}, but the data ({source}) has {fact}: leave it out, or set that"
            )
        settings[name] = fact
    return target, complete(section, settings, target, supplied=supplied)


def named(section: str, settings: Mapping, table: Mapping[str, T]) -> tuple[T, dict]:
    """Returns what a section names in `table`, and its other fields. Raises UserError if the table has no such name."""
    name = settings.get("name")
    if not isinstance(name, str) or name not in table:
        raise UserError(f"{section}.name = {shown(name)}: expected one of {', '.join(sorted(table))}")
    return table[name], {field: value for field, value in settings.items() if field != "name"}


def complete(section: str, settings: Mapping, target: Callable, *, supplied: Iterable[str] = ()) -> dict:
    """Checks a section with `check_settings`, and returns it with the defaults filled in."""
    check_settings(section, settings, target, supplied=supplied)
    empty = inspect.Parameter.empty
    fields = {name: field for name, field in accepted(target).items() if name not in supplied}
    return {name: field.default for name, field in fields.items() if field.default is not empty} | dict(settings)


def check_settings(section: str, settings: Mapping, target: Callable, *, supplied: Iterable[str] = ()) -> None:
    """Checks the fields of a section with `check_values`, and that none is missing.

    Raises:
      UserError: names the fields that `target` needs and does not get, or as `check_values` does.
    """
    check_values(section, settings, target, supplied=supplied)
    empty = inspect.Parameter.empty
    fields = {name: field for name, field in keywords(target).items() if name not in supplied}
    if missing := [name for name, field in fields.items() if field.default is empty and name not in settings]:
        raise UserError(f"{section} lacks {', '.join(missing)}")


def check_values(section: str, settings: Mapping, target: Callable, *, supplied: Iterable[str] = ()) -> None:
    """Checks each field of a section by itself.

    Args:
      supplied: arguments that come from elsewhere than the config.

    Raises:
      UserError: `target` does not take a field, or takes another type, or the value is outside its range. The message
        names the field, the value and what is expected.
    """
    fields = {name: field for name, field in keywords(target).items() if name not in supplied}
    for name, value in settings.items():
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UserError(
                f"{section}.{cut(name)} is not a field.{hint} The fields of {section} are {', '.join(sorted(fields))}"
            )
        expected = plain(fields[name].annotation)
        if not _is_a(value, expected):
            reason = f"expected {_words(expected)}, not {type(value).__name__}"
            raise UserError(f"{section}.{name} = {shown(value)}: {reason}")
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise UserError(f"{section}.{name} = {shown(value)}: expected at most {LONGEST_TEXT:,} characters")
        if isinstance(value, str) and "\0" in value:
            raise UserError(f"{section}.{name} = {shown(value)}: expected a text without the character 0")
    refuse_outside(target, settings, f"{section}.")


def inherit(section: str, settings: Mapping, theirs: Mapping, target: Callable, source: str) -> Mapping:
    """Returns a section with the fields of `theirs` that it leaves open (None, 0 or not there).

    `theirs` is what the same section of `source` has, for fields that belong together: if the section sets the first
    one, all stay as they are. Raises UserError if `target` does not take the first one, and `theirs` has a value.
    """
    first, fields = next(iter(theirs), ""), accepted(target)
    if first not in fields and theirs.get(first):
        name = settings.get("name")
        raise UserError(f"{source} has {section}.{first} = {theirs[first]}, a field that {section} {name!r} lacks")
    if settings.get(first) is not None:
        return settings
    return {**settings, **{name: value for name, value in theirs.items() if name in fields and not settings.get(name)}}


def accepted(target: Callable) -> dict[str, inspect.Parameter]:
    """Returns the keyword arguments of a function or class by name; annotations without what `Annotated` adds."""
    return {name: field.replace(annotation=plain(field.annotation)) for name, field in keywords(target).items()}


def _is_a(value, expected) -> bool:
    if expected is inspect.Parameter.empty or expected is typing.Any:
        return True
    if isinstance(expected, types.UnionType):
        return any(_is_a(value, option) for option in expected.__args__)
    if typing.get_origin(expected) is tuple:
        items = typing.get_args(expected)
        if not isinstance(value, (tuple, list)):
            return False
        if items[-1] is Ellipsis:
            return all(_is_a(v, items[0]) for v in value)
        return len(value) == len(items) and all(map(_is_a, value, items))
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, (int, float) if expected is float else expected)


def _words(expected) -> str:
    return str(expected) if not isinstance(expected, type) or typing.get_args(expected) else expected.__name__


def _plain(value):
    return list(value) if isinstance(value, (tuple, list)) else value
