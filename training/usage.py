"""The text of `train.py --help`: its flags, and the fields that a config may set, with defaults and meanings.

Both come from the signatures and docstrings of what a config names, so the text lists what a run accepts.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import inspect
import re
import shutil
import textwrap
from typing import Any

from core.errors import shown
from core.signatures import keywords
from training.fields import Fields
from training.mesh import make_mesh
from training.optimizer import make_optimizer
from training.settings import named

COLUMN = 34  # where the meaning of a field begins
# Arguments that are no fields: sections have fields of their own, and some come from the run.
SUPPLIED = {"": ("model", "objective", "data", "optimizer", "mesh"), "optimizer": ("steps",), "model": ("rngs",)}
FLAGS = {
    "--config=FILE": "a file with get_config(); --config=FILE:TEXT gives it an argument",
    "--workdir=FOLDER": "for all that the run leaves; a run that is there is continued",
    "--config.FIELD=VALUE": "sets a field of the config, see below",
    "--profile=FIRST:LAST": "writes a trace of these steps to profile/ in the workdir, for XProf and Perfetto",
    "--coordinator=HOST:PORT": "of process 0 where several processes train one model; auto finds it",
    "--processes=N --process=I": "how many processes there are, and the number of this one, from 0",
    "--traceback": "shows where in the code an error was raised",
    "--help": "shows this text; with --config=FILE, also the fields of its model, objective and data",
}


def usage(about: str, tables: Mapping[str, Mapping[str, Callable]], config: Mapping | None) -> str:
    """Returns the help of `train.py`.

    Args:
      about: what the command does.
      tables: what the sections "model", "objective" and "data" may name.
      config: the fields of a config file, whose values are then shown as the defaults; None for no file.

    Raises:
      UserError: a section of the config names nothing that there is.
    """
    config = config or {}
    parts = [about.strip(), "", "Flags:", *(_entry(flag, text) for flag, text in FLAGS.items())]
    sections: dict[str, Callable] = {"": Fields, "optimizer": make_optimizer, "mesh": make_mesh}
    for section, table in tables.items():
        if config:
            sections[section], _ = named(section, config.get(section) or {}, table)
    parts += ["", "Fields of a config, with their defaults" + (", or values of this file" if config else "") + ":"]
    for section, target in sections.items():
        parts += [""] if section else []
        parts += _fields(section, target, config.get(section, {}) if section else config)
    if not config:
        parts += ["", "What the sections may name; add --config=FILE for the fields of those that it names:"]
        parts += [_entry(f"{section}.name", ", ".join(sorted(table))) for section, table in tables.items()]
    return "\n".join(parts)


def _fields(section: str, target: Callable, values: Mapping) -> Iterator[str]:
    """An entry for each field of a section."""
    meanings, defaults = _meanings(target), _new_defaults(target)
    if section and "name" in values and "name" not in keywords(target):
        yield _entry(f"{section}.name = {shown(values['name'])}", _first_sentence(target))
    for name, parameter in keywords(target).items():
        if name in SUPPLIED.get(section, SUPPLIED["model"]):
            continue
        full = f"{section}.{name}" if section else name
        value: Any = values.get(name, defaults.get(name, parameter.default))
        has_default = value is not inspect.Parameter.empty and not callable(value)
        yield _entry(f"{full} = {shown(value)}" if has_default else full, meanings.get(name, ""))


def _new_defaults(target: Callable) -> dict[str, Any]:
    """The defaults of a dataclass that are made anew for each object. Its signature has only a sign for them."""
    fields = dataclasses.fields(target) if dataclasses.is_dataclass(target) else ()
    return {field.name: field.default_factory() for field in fields if callable(field.default_factory)}


def _entry(name: str, meaning: str) -> str:
    width = max(shutil.get_terminal_size((120, 24)).columns, 80)
    lines = textwrap.wrap(meaning, width - COLUMN) or [""]
    first = f"  {name:<{COLUMN - 3}} " if len(name) <= COLUMN - 3 else f"  {name}\n{' ' * COLUMN}"
    return (first + f"\n{' ' * COLUMN}".join(lines)).rstrip()


def _meanings(target: Callable) -> dict[str, str]:
    """What docstrings say of each argument, or attribute, by its name.

    An entry is "name, other: text" on lines of its own, or follows the sentence of another one. Of fields that a model
    passes on (`models.fields.forwards`), the docstring of what takes them is read.
    """
    meanings: dict[str, str] = {}
    for inner in reversed(getattr(getattr(target, "__init__", None), "forwards_to", ())):
        meanings |= _meanings(inner)
    section = re.search(r"(?ms)^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", inspect.cleandoc(target.__doc__ or ""))
    for entry in re.split(r"(?m)(?:^  |(?<=\. ))(?=(?:[a-z_0-9]+, )*[a-z_0-9]+: )", section[1] if section else ""):
        names, colon, text = entry.partition(": ")
        if colon and not text.startswith(("see ", "the fields of ")):
            meanings |= dict.fromkeys((name.strip() for name in names.split(",")), " ".join(text.split()))
    return meanings


def _first_sentence(target: Callable) -> str:
    text = " ".join(inspect.cleandoc(target.__doc__ or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", text)[0]
