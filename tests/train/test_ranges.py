"""Every number that a config can set has a range, and a value outside it is one message before anything is computed."""

from collections.abc import Callable, Mapping
import importlib
import math
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import pytest

from core.errors import UserError
from core.ranges import Range, numbers
from core.signatures import keywords, plain
from data import DATASETS
from experiments.benchmark import suite as suites
from experiments.sweep.sweep_file import Sweep
from models import MODELS
from objectives import OBJECTIVES
from tests import tiny
from training.fields import Fields
from training.mesh import make_mesh
from training.optimizer import make_optimizer
from training.settings import check_settings, complete

TABLES = {"model": MODELS, "objective": OBJECTIVES, "data": DATASETS}
FUNCTIONS = {"config": Fields, "optimizer": make_optimizer, "mesh": make_mesh}
TARGETS: list[tuple[str, str, Callable]] = [
    *((section, name, target) for section, table in TABLES.items() for name, target in table.items()),
    *((section, section, target) for section, target in FUNCTIONS.items()),
]
NUMERIC = [
    pytest.param(section, target, field, id=f"{section}-{name}-{field}")
    for section, name, target in TARGETS
    for field, parameter in keywords(target).items()
    if any(True for _ in numbers(parameter.annotation))
]


@pytest.mark.parametrize("section, target, field", NUMERIC)
def test_every_number_that_a_config_can_set_has_a_range(section, target, field):
    for kind, range_ in numbers(keywords(target)[field].annotation):
        assert range_ is not None, f"say the range of {section}.{field} where it is defined, see core/ranges.py"
        assert math.isfinite(range_.low) and math.isfinite(range_.high)
        assert kind is float or range_.high < 2**32, "JAX computes with 32 bits"


def outside(kind: type, range_: Range) -> st.SearchStrategy:
    """Numbers of a type that are not in a range."""
    if kind is int:
        low, high = math.ceil(range_.low), math.floor(range_.high)
        numbers_ = st.integers(max_value=low - 1) | st.integers(min_value=high + 1)
        return numbers_.filter(lambda value: value != range_.also)
    below = st.floats(max_value=range_.low, exclude_max=not range_.open_low, allow_nan=False)
    above = st.floats(min_value=range_.high, exclude_min=not range_.open_high, allow_nan=False)
    return below | above | st.just(math.nan) | st.integers(max_value=math.ceil(range_.low) - 1)


@pytest.mark.parametrize("section, target, field", NUMERIC)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_value_outside_the_range_is_one_line_that_names_the_field(section, target, field, data):
    annotation = keywords(target)[field].annotation
    wrong = [data.draw(outside(kind, range_)) for kind, range_ in numbers(annotation) if range_]
    value = wrong if "tuple" in str(plain(annotation)) else wrong[0]
    with pytest.raises(UserError) as error:
        check_settings(section, {field: value}, target)
    message = str(error.value)
    assert message.startswith(f"{section}.{field} = ") and "expected" in message
    assert "\n" not in message and len(message) < 500


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_float_that_is_accepted_is_inside_as_a_float32_too(value):
    """0.99999999999 would be 1, and an average that never forgets divides by 0."""
    try:
        check_settings("optimizer", {"learning_rate": value, "beta1": value}, make_optimizer, supplied=["steps"])
    except UserError:
        return
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    assert 0 < rounded < 1


@given(st.integers(0, 2**32 - 1), st.integers(-(2**40), 2**40).filter(bool))
def test_seeds_that_would_give_the_same_random_numbers_are_refused(seed, wraps):
    """Random keys are made of 32 bits."""
    with pytest.raises(UserError, match="config.seed = "):
        check_settings("config", {"seed": seed + 2**32 * wraps}, Fields)


@pytest.mark.parametrize("section, target, field", NUMERIC)
def test_every_default_lies_in_its_range(section, target, field):
    default = keywords(target)[field].default
    if default is not keywords(target)[field].empty:
        try:
            check_settings(section, {field: default}, target)
        except UserError as error:
            assert "lacks" in str(error)


def refusal(config: Mapping) -> str | None:
    """Returns the message for the first value of a config that lies outside its range, or None."""
    try:
        _check_config(config)
    except UserError as error:
        return str(error)
    return None


def _check_config(config: Mapping) -> None:
    check_settings("config", config, Fields)
    for section, table in TABLES.items():
        fields = dict(config[section])
        target = table[fields.pop("name")]
        check_settings(section, fields | _missing(fields, target), target, supplied=["rngs"])
    complete("optimizer", config["optimizer"], make_optimizer, supplied=["steps"])
    complete("mesh", config.get("mesh", {}), make_mesh)


def _missing(fields: Mapping, target: Callable) -> dict:
    """Arguments of a model or an objective that a config leaves to the data."""
    required = {name: p for name, p in keywords(target).items() if p.default is p.empty and name != "rngs"}
    examples = {int: 7, float: 0.5, str: "text", tuple[int, int, int]: (7, 5, 3)}
    return {name: examples[plain(p.annotation)] for name, p in required.items() if name not in fields}


def _modules(folder: str) -> list[str]:
    return sorted(path.stem for path in (tiny.ROOT / folder).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", _modules("configs"))
def test_the_values_of_every_config_lie_in_their_ranges(name):
    config = importlib.import_module(f"configs.{name}").get_config().to_dict()
    assert refusal(config) is None
    assert "config.steps = -1" in str(refusal(config | {"steps": -1}))


@pytest.mark.parametrize("name", _modules("experiments/sweeps"))
def test_the_values_of_every_sweep_lie_in_their_ranges(name, tmp_path):
    sweep = Sweep.read(tiny.ROOT / "experiments" / "sweeps" / f"{name}.py")
    assert [refusal(trial.read_config()) for trial in sweep.trials(tmp_path)] == [None] * len(sweep.trials(tmp_path))


@pytest.mark.parametrize("name", _modules("experiments/suites"))
def test_the_values_of_every_suite_lie_in_their_ranges(name):
    suite = suites.load(name)
    for family in suite.participants:
        for overrides in [*suite.grid(family), *({suite.by[0]: value} for value in suite.by[1])]:
            config = suite.config(family)
            config.update_from_flattened_dict(overrides)
            assert refusal(config.to_dict()) is None
