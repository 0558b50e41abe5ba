"""Every documented field can be set on the command line, whatever the config file leaves out."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
import types
import typing

import pytest

from core.errors import UserError
from core.ranges import OneOf, Range
from core.signatures import keywords, plain
from data import DATASETS
from models import MODELS
from objectives import OBJECTIVES
from tests import tiny
from training.command_line import keep_fields_of, read_command_line
from training.fields import Fields
from training.mesh import make_mesh
from training.optimizer import make_optimizer
from training.settings import check_settings

CONFIGS = sorted((tiny.ROOT / "configs").glob("*.py"))


def read(config: Path, *overrides: str):
    return read_command_line([f"--config={config}", "--workdir=none", *overrides]).config


def example(annotation):
    """A value of a type, different from most defaults."""
    if isinstance(annotation, types.UnionType):
        return example(annotation.__args__[0])
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)[-1]
    if typing.get_origin(annotation) is tuple:
        items = typing.get_args(annotation)
        return tuple(example(item) for item in items if item is not Ellipsis)
    return {int: 7, float: 0.5, bool: True, str: "text", tuple: (3, 5)}[annotation]


def choice(annotation) -> str | int | None:
    """A value for a field that takes one of a few names, or whose range lacks the number of `example`; else None."""
    if isinstance(annotation, OneOf):
        return annotation.names[-1]
    if isinstance(annotation, Range) and (annotation.low > 7 or 1 < annotation.high < 7):
        return int(annotation.high)
    return next(filter(None, map(choice, typing.get_args(annotation))), None)


def targets(config) -> dict:
    """The function that each section is for, and the arguments that come from elsewhere."""
    return {
        "model": (MODELS[config.model.name], ("rngs",)),
        "objective": (OBJECTIVES[config.objective.name], ()),
        "data": (DATASETS[config.data.name], ()),
        "optimizer": (make_optimizer, ("steps",)),
        "mesh": (make_mesh, ()),
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_field_of_every_config_can_be_set(path):
    sections = targets(read(path))
    values = {field.name: example(plain(field.type)) for field in fields(Fields) if field.type is not Mapping}
    values["loggers"] = ("mlflow", "trackio")  # texts, of which only some are allowed
    for section, (target, supplied) in sections.items():
        for name, field in keywords(target).items():
            if name not in supplied:
                values[f"{section}.{name}"] = choice(field.annotation) or example(plain(field.annotation))
    config = read(path, *(f"--config.{name}={value}" for name, value in values.items())).to_dict()
    for name, value in values.items():
        *section, field = name.split(".")
        assert (config[section[0]] if section else config)[field] == value, name
    check_settings("config", config, Fields)
    for section, (target, supplied) in sections.items():
        settings = {name: value for name, value in config[section].items() if name != "name" or section == "optimizer"}
        check_settings(section, settings, target, supplied=supplied)


def test_the_sections_are_those_of_the_fields():
    config = read(tiny.ROOT / "configs" / "vit.py", "--config.mesh.fsdp=2", "--config.ema=0.5", "--config.mesh.data=3")
    assert config.mesh.to_dict() == {"fsdp": 2, "data": 3} and config.ema == 0.5
    assert "mesh" not in read(tiny.ROOT / "configs" / "vit.py")  # a section that no flag names is not added
    with pytest.raises(UserError, match="no section 'mush'"):
        read(tiny.ROOT / "configs" / "vit.py", "--config.mush.fsdp=2")


@pytest.mark.parametrize(
    "text, message",
    [
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),  # not taken for the end of the command
        ("def get_config():\n    raise SystemExit", "line 2: SystemExit: it gave no reason"),
        ("def get_config():\n    return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("x = 2\ndef get_config(:", "line 2: SyntaxError"),
        ("def get_config():\n    return {}['modle']", "line 2: KeyError: 'modle'"),
        ("def get_config():\n\n    return int([])", "line 3: TypeError: int"),
        ("config = {}", "no function get_config"),
    ],
)
def test_what_a_config_file_raises_is_told_with_the_file_and_the_line(text, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=f"mine.py: .*{message}"):
        read(tmp_path / "mine.py")


@pytest.mark.parametrize("name", ["model.", ".model", "model..width"])
def test_a_name_that_is_none_is_not_blamed_on_the_config_file(name):
    with pytest.raises(UserError, match="a flag --config.FIELD=VALUE could not be read: .*" + name):
        read(tiny.ROOT / "configs" / "vit.py", f"--config.{name}=3")


def test_a_field_inside_of_a_number_is_refused():
    with pytest.raises(UserError, match="--config.steps.many is no field: steps holds one value"):
        read(tiny.ROOT / "configs" / "vit.py", "--config.steps.many=3")


@pytest.mark.parametrize("flag, value", [("--config.model.bias=false", False), ("--config.model.bias", True)])
def test_a_boolean_may_be_written_as_absl_has_it(flag, value):
    assert read(tiny.ROOT / "configs" / "vit.py", flag).model.bias is value


def kept(tmp_path, *flags: str) -> tuple[dict, str]:
    """The section data of a config file for MNIST after these flags, and the line about it."""
    file = tmp_path / "config.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    data = {'name': 'mnist', 'shift': 2, 'pool': 2, 'evaluation': 'train[:7]'}\n"
        "    return ConfigDict({'seed': 0, 'data': data})\n"
    )
    arguments = [f"--config={file}", "--workdir=none", *flags]
    config = read_command_line(arguments).config
    line = keep_fields_of(config, "data", arguments, DATASETS)
    return config.data.to_dict(), line


def test_fields_of_another_data_set_are_left_out_with_a_line(tmp_path):
    data, line = kept(tmp_path, "--config.data.name=digits", "--config.data.flip=True")
    assert data == {"name": "digits", "shift": 2, "flip": True}
    says = "data.name = 'digits': left out what the config file says for 'mnist': "
    assert line.startswith(says)
    assert sorted(line.removeprefix(says).split(", ")) == ["evaluation = 'train[:7]'", "pool = 2"]


def test_what_the_command_line_sets_stays(tmp_path):
    data, line = kept(tmp_path, "--config.data.name=digits", "--config.data.evaluation=test", "--config.data.pool=4")
    assert data == {"name": "digits", "shift": 2, "evaluation": "test", "pool": 4} and line == ""  # refused later


@pytest.mark.parametrize("flags", [[], ["--config.data.name=mnist"], ["--config.data.shift=1"]])
def test_nothing_is_left_out_of_the_same_data_set(tmp_path, flags):
    data, line = kept(tmp_path, *flags)
    assert data["pool"] == 2 and data["evaluation"] == "train[:7]" and line == ""


def test_an_unknown_data_set_keeps_all(tmp_path):
    assert kept(tmp_path, "--config.data.name=nowhere") == (
        {"name": "nowhere", "shift": 2, "pool": 2, "evaluation": "train[:7]"}, ""
    )  # fmt: skip


def test_configs_of_the_project_are_named_the_same_way_from_any_folder(tmp_path, monkeypatch):
    there = read(Path("configs/vit.py")).to_dict()
    monkeypatch.chdir(tmp_path)
    assert read(Path("configs/vit.py")).to_dict() == there
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "vit.py").write_text(
        "from ml_collections import ConfigDict\ndef get_config():\n  return ConfigDict({'steps': 7})\n"
    )
    assert read(Path("configs/vit.py")).to_dict() == {"steps": 7}  # a file that is here comes first


@pytest.mark.parametrize("data", ["None", "3", "'digits'"])
def test_a_section_that_is_none_is_left_to_the_check_of_settings(tmp_path, data):
    file = tmp_path / "config.py"
    returned = f"ConfigDict({{'data': {data}}})"
    file.write_text(f"from ml_collections import ConfigDict\ndef get_config():\n  return {returned}\n")
    arguments = [f"--config={file}", "--workdir=none"]
    assert keep_fields_of(read_command_line(arguments).config, "data", arguments, DATASETS) == ""
