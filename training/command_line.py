"""Reads the command line of a run: a config file, and fields of the config that the flags override."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
import re
import sys
import traceback
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from core.errors import UserError, cut, shown
from core.files import find
from core.reading import refuse_special_file
from core.signatures import keywords
from training import together
from training.fields import Fields

SECTIONS = tuple(field.name for field in fields(Fields) if field.type is Mapping)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds the config of a run to the arguments of a command, which takes its fields with `parse_known_args`."""
    parser.add_argument(
        "--config", required=True, metavar="FILE",
        help="config file; --config.FIELD=VALUE sets its fields, which python train.py --help lists",
    )  # fmt: skip


def read_command_line(arguments: Sequence[str]) -> flags.FlagValues:
    """Returns the flags of a run: config (a ConfigDict), workdir, profile, coordinator, processes and process.

    Fields and sections that the config file leaves out can be set too. `settings.check_settings` says which exist.

    Args:
      arguments: without the program's name.

    Raises:
      UserError: says in one line what is wrong with the command line, or with the config file.
    """
    arguments = ["", *arguments]  # absl expects the program's name
    options = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, "File with get_config().", options, lock_config=False, accept_new_attributes=True,
        sys_argv=arguments,
    )  # fmt: skip
    options["config"].parser = _ConfigFile(options["config"].parser, arguments)
    flags.DEFINE_string("workdir", None, "Folder for all that the run leaves.", options)
    flags.DEFINE_string("profile", None, "FIRST:LAST, the steps to trace.", options)
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, or auto.", options)
    bounds = {"upper_bound": 2**20, "flag_values": options}
    flags.DEFINE_integer("processes", None, "Number of processes.", lower_bound=1, **bounds)
    flags.DEFINE_integer("process", None, "Number of this process, from 0.", lower_bound=0, **bounds)
    try:
        _, *positional = options(arguments)
        if not hasattr(options.config or ConfigDict(), "to_dict"):  # this raises if there is no such file
            value = shown(options.config)
            raise UserError(f"the config file is wrong: get_config() gave {value}, not a ConfigDict")
    except flags.Error as error:
        raise UserError(_in_words(error)) from error
    except KeyError as error:  # --config.modle.width=8
        if inside := re.search(r"does not exist and the type .*Attempting to lookup: ([^\s'\"]+)", str(error)):
            section = cut(inside[1].rpartition(".")[0])
            raise UserError(f"--config.{cut(inside[1])} is no field: {section} holds one value, no fields") from error
        raise UserError(f"--config has no section {cut(' '.join(str(error.args[0]).split()), 400)}") from error
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"the config file could not be read: {cut(str(error), 400)}") from error
    except Exception as error:  # of the library, for a name that is none: --config.model.=8
        reason = (str(error).strip() or "it gave no reason").splitlines()[-1].strip()
        raise UserError(
            f"a flag --config.FIELD=VALUE could not be read: {type(error).__name__}: {cut(reason, 400)}"
        ) from error
    if positional:
        raise UserError(f"{shown(positional[0])} is not a flag; flags look like --config=configs/vit.py")
    if options.config is None or not (options.workdir or "").strip():
        raise UserError("say what to train and where: --config=configs/vit.py --workdir=runs/vit")
    return options


def read_run(arguments: Sequence[str], datasets: Mapping[str, Callable]) -> tuple[flags.FlagValues, str]:
    """Returns the flags of a run without fields that the config file has for another data set, and a line on these.

    Args:
      arguments: see `read_command_line`, which says what it raises.
      datasets: what the section `data` may name.
    """
    options = read_command_line(arguments)
    return options, keep_fields_of(options.config, "data", arguments, datasets)


def keep_fields_of(config: ConfigDict, section: str, arguments: Sequence[str], table: Mapping[str, Callable]) -> str:
    """Removes what a config file says about another choice than the one that the command line makes for a section.

    If the command line sets `<section>.name` to another name than the file, fields of the file that the new choice does
    not take are removed, and also its splits of data, which are those of another set. What the command line sets stays.

    Args:
      config: is changed.
      arguments: of the command line.
      table: what the section may name, by name.

    Returns:
      A line that says what was removed, or "".
    """
    prefix = rf"--?(?:no)?config\.{section}\."
    chosen = {match[1] for argument in arguments if (match := re.match(rf"{prefix}(\w+)", argument))}
    if not isinstance(config.get(section), ConfigDict):  # `settings.check_settings` refuses it
        return ""
    settings: Any = config[section]
    name = settings.get("name")
    if "name" not in chosen or name not in table:
        return ""
    file = read_command_line([argument for argument in arguments if not re.match(prefix, argument)]).config
    of_file = file.get(section)
    other = of_file.get("name") if isinstance(of_file, ConfigDict) else None
    if other in (None, name):
        return ""
    fields = keywords(table[name])
    kept = {*chosen, *fields} - ({"train", "evaluation"} - chosen)
    removed = {field: settings[field] for field in settings if field not in kept}
    if not removed:
        return ""
    for field in removed:
        del settings[field]
    listed = ", ".join(f"{field} = {shown(value)}" for field, value in removed.items())
    return f"{section}.name = {name!r}: left out what the config file says for {other!r}: {listed}"


def read_config_file(arguments: Sequence[str]) -> Mapping | None:
    """Returns the fields of the config file that the command line names, with its overrides; None if it names none."""
    about_config = [argument for argument in arguments if re.match(r"--?config\b", argument)]
    if not about_config:
        return None
    return read_command_line([*about_config, "--workdir=none"]).config.to_dict()


def join_processes(options: flags.FlagValues) -> None:
    """Makes this process one of several that train together, if the flags say so.

    Raises:
      UserError: flags are missing or wrong, or the others cannot be reached.
    """
    if not options.coordinator:
        return
    try:
        together.join(options.coordinator, options.processes, options.process)
    except (ValueError, RuntimeError) as error:  # JAX's, for arguments that are missing or wrong, and our own
        names = ("coordinator", "processes", "process")
        raise UserError(f"{', '.join(f'--{name}={options[name].value}' for name in names)}: {error}") from error


class _ConfigFile(flags.ArgumentParser):
    """Reads a config file, and adds the sections that it leaves out and the command line sets a field of."""

    def __init__(self, parser: flags.ArgumentParser, arguments: Sequence[str]):
        self._parser, self._arguments = parser, arguments

    def parse(self, argument: str) -> Any:
        file, colon, choice = argument.partition(":")
        if (path := Path(find(file))).exists():  # a device or a pipe would be read for ever
            refuse_special_file(path)
        sys.modules.pop("config_config", None)  # it would keep the functions of the config file before
        try:
            config = self._parser.parse(f"{path}{colon}{choice}")
        except (Exception, SystemExit) as error:  # a config file is code of the user's: it may fail or end in any way
            raise UserError(_why_it_failed(path, error)) from error
        if isinstance(config, ConfigDict):
            for section in SECTIONS:
                if section not in config and any(re.match(rf"--?config\.{section}\.", a) for a in self._arguments):
                    config[section] = ConfigDict()
        return config

    def flag_type(self) -> str:
        return self._parser.flag_type()


def _why_it_failed(path: Path, error: BaseException) -> str:
    """What a config file raised, with its line. absl puts the file before it."""
    if isinstance(error.__context__, type(error)):  # ml_collections raises some again, with the trace as their message
        error = error.__context__
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    elif isinstance(error, AttributeError) and not lines:
        return "the file has no function get_config()"
    line = f"line {lines[-1]}: " if lines else ""
    reason = (str(error).strip() or "it gave no reason").splitlines()[-1].strip()
    return f"{line}{type(error).__name__}: {cut(reason, 300)}"


def _in_words(error: flags.Error) -> str:
    """The message of a flag that cannot be read, without Python's own words and without a stack trace in it."""
    text = re.sub(
        r"(?s)(invalid literal for int\(\)|Exceeds the limit).*", "expected a whole number", str(error).strip()
    )
    return cut(re.sub("(?s)could not convert string to float.*", "expected a number", text), 400)
