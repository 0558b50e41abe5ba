"""A config says what it chooses, and nothing else: no default, and no placeholder for what the data decides."""

from collections.abc import Mapping
import importlib
from pathlib import Path

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder
import pytest

from data import DATASETS
from models import MODELS
from objectives import OBJECTIVES
from training.fields import Fields
from training.mesh import make_mesh
from training.optimizer import make_optimizer
from training.settings import accepted

ROOT = Path(__file__).resolve().parents[2]
TABLES = {"model": MODELS, "objective": OBJECTIVES, "data": DATASETS}
FUNCTIONS = {"optimizer": make_optimizer, "mesh": make_mesh}


def unnecessary(config: Mapping) -> list[str]:
    """Returns the assignments of a config that change nothing: "model.dropout = 0.0"."""
    defaults = {name: field.default for name, field in Fields.__dataclass_fields__.items()}
    lines = [f"{name} = {value!r}" for name, value in config.items() if value is None or value == defaults.get(name)]
    for section, fields in config.items():
        if isinstance(fields, Mapping) and section != "init_parts":  # its keys are parts of the model
            function = FUNCTIONS.get(section) or TABLES[section][fields["name"]]
            parameters = {name: parameter.default for name, parameter in accepted(function).items()}
            lines += [
                f"{section}.{name} = {value!r}"
                for name, value in fields.items()
                if value is None or (name in parameters and value == parameters[name])
            ]
    return lines


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs").glob("*.py")))
def test_no_assignment_repeats_a_default_or_holds_a_placeholder(name):
    module = importlib.import_module(f"configs.{name}")
    assert unnecessary(module.get_config().to_dict()) == []


SUITES = sorted(path.stem for path in (ROOT / "experiments" / "suites").glob("*.py"))
FIGURES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "experiments" / "figures").rglob("*.py")
    if "def get_config" in path.read_text()
)


@pytest.mark.parametrize("name", SUITES)
def test_no_suite_repeats_a_default(name):
    # A suite states its splits, whatever the defaults of the data set are, and the layers of graph networks, which it
    # compares; the protocol derives the last two.
    states = {"data.train", "data.evaluation", "model.layer", "best", "log_every"}
    suite = importlib.import_module(f"experiments.suites.{name}").SUITE
    for family in suite.families:
        if not isinstance(suite.families[family], str):
            assert {line.split(" = ")[0] for line in unnecessary(suite.config(family).to_dict())} <= states


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_repeats_a_default(name):
    # The numbers that a figure checks depend on the sizes of its data, so it states them.
    states = {f"data.{size}" for size in ("length", "modulus", "context", "symbols", "side")}
    module = importlib.import_module(name)
    assert {line.split(" = ")[0] for line in unnecessary(module.get_config().to_dict())} <= states


def test_the_check_sees_defaults_and_placeholders():
    config = ConfigDict(
        {
            "steps": 10,
            "keep": 2,
            "model": {"name": "gpt", "depth": 2, "dropout": 0.0, "context": placeholder(int)},
            "optimizer": {"name": "adamw", "warmup": 5},
            "mesh": {"fsdp": 2},
        }
    )
    names = {line.split(" = ")[0] for line in unnecessary(config.to_dict())}
    assert names == {"keep", "model.dropout", "model.context", "optimizer.name"}
