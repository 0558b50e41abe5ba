"""Reads the command line, and checks a section of a config against the function it is for, before anything runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import difflib
import inspect
import re
import types
import typing

from absl import flags
from ml_collections import ConfigDict, config_flags


def read_command_line(arguments: Sequence[str]) -> flags.FlagValues:
    """The flags of a run: config (a ConfigDict), workdir, coordinator, processes and process.

    A field that the config file leaves out can be set too; whether it exists is for `check_settings` to say. Raises
    ValueError that says in a line what is wrong with the command line, or with the config file.
    """
    known = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "File with get_config().", known, lock_config=False, accept_new_attributes=True,
        sys_argv=arguments,
    )  # fmt: skip
    flags.DEFINE_string("workdir", None, "Folder for all that the run leaves.", known)
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, or auto.", known)
    flags.DEFINE_integer("processes", None, "Number of processes.", flag_values=known)
    flags.DEFINE_integer("process", None, "Number of this process, from 0.", flag_values=known)
    try:
        _, *rest = known(arguments)
        if not hasattr(known.config or ConfigDict(), "to_dict"):  # for a file that is not there, this raises
            raise TypeError(f"get_config() gave {known.config!r}, not a ConfigDict")
    except flags.Error as error:
        text = re.sub("(?s)Error whilst parsing config file:.*\n(.+)", r"\1", str(error).strip())  # without its trace
        text = re.sub(r"invalid literal for int\(\).*", "expected a whole number", text)
        raise ValueError(re.sub("could not convert string to float.*", "expected a number", text)) from error
    except KeyError as error:  # --config.modle.width=8
        raise ValueError(f"--config has no section {' '.join(str(error.args[0]).split())}") from error
    except Exception as error:  # a config file is code, and may fail in any way
        reason = (str(error).strip() or "it gave no reason").splitlines()[-1].strip()
        raise ValueError(f"the config file could not be read: {type(error).__name__}: {reason}") from error
    if rest:
        raise ValueError(f"{rest[0]!r} is no flag; flags look like --config=configs/vit.py")
    if known.config is None or known.workdir is None:
        raise ValueError("say what to train and where: --config=configs/vit.py --workdir=runs/vit")
    return known


def resolve(
    section: str, settings: Mapping, table: Mapping[str, Callable], *, given: Iterable[str] = (),
    facts: Mapping = types.MappingProxyType({}), source: str = "",
) -> tuple[Callable, dict]:  # fmt: skip
    """What a section names in `table`, and all arguments for it: see `complete`.

    `facts` are what the data (`source`) decides: they fill in what the section leaves open (None), and must not be
    contradicted.
    """
    if settings.get("name") not in table:
        raise ValueError(f"{section}.name = {settings.get('name')!r}: expected one of {', '.join(sorted(table))}")
    target = table[settings["name"]]
    settings = {name: value for name, value in settings.items() if name != "name"}
    for name in facts.keys() & accepted(target).keys():
        value, fact = settings.get(name), facts[name]
        if value is not None and _plain(value) != _plain(fact):
            raise ValueError(
                f"{section}.{name} = {value}, but the data ({source}) has {fact}: leave it out, or set that"
            )
        settings[name] = fact
    return target, complete(section, settings, target, given=given)


def complete(section: str, settings: Mapping, target: Callable, *, given: Iterable[str] = ()) -> dict:
    """A section with the defaults filled in, after `check_settings`."""
    check_settings(section, settings, target, given=given)
    empty = inspect.Parameter.empty
    defaults = {name: f.default for name, f in accepted(target).items() if f.default is not empty and name not in given}
    return defaults | dict(settings)


def check_settings(section: str, settings: Mapping, target: Callable, *, given: Iterable[str] = ()) -> None:
    """Raises ValueError for a field that `target` does not take, lacks, or wants with another type.

    The fields are `target`'s keyword arguments. Where it passes further ones on (`**stack`), its attribute
    `forwards_to` names the function that takes them, and `decides` those that it sets itself. `given` are arguments
    that come from elsewhere than the config.
    """
    fields = {name: field for name, field in accepted(target).items() if name not in given}
    for name, value in settings.items():
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{section}.{name} is not a field.{hint} The fields of {section} are {', '.join(sorted(fields))}"
            )
        expected = fields[name].annotation
        if not _is_a(value, expected):
            raise ValueError(f"{section}.{name} = {value!r}: expected {_words(expected)}, not {type(value).__name__}")
    missing = [n for n, field in fields.items() if field.default is inspect.Parameter.empty and n not in settings]
    if missing:
        raise ValueError(f"{section} lacks {', '.join(missing)}")


def accepted(target: Callable) -> dict[str, inspect.Parameter]:
    """The keyword arguments of a function or class, those that it passes on included."""
    call = target.__init__ if isinstance(target, type) else target  # a metaclass may hide a class's own signature
    parameters = inspect.signature(call).parameters.values()
    own = {p.name: p for p in parameters if p.kind == inspect.Parameter.KEYWORD_ONLY}
    passes_on = any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters)
    further = accepted(target.forwards_to) if passes_on else {}
    return {name: p for name, p in further.items() if name not in getattr(target, "decides", ())} | own


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
