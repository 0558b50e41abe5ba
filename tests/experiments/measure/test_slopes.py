"""Slopes of costs: of the four kinds of attention as theory says, of a step on all axes, and of a wrong theory."""

from dataclasses import replace
import json

import pytest

from experiments.benchmark.families import FAMILIES
from experiments.measure import slopes
from experiments.measure.slope_cases import AXES, LAYERS, Axis, Sizes, Theory, family, theory, with_size
from experiments.measure.slope_points import NOISY, OK, WRONG, Series, measure, of_content
from training.memory import keep_memory

TINY = {
    "length": Axis((128, 192, 256, 320), Sizes(width=8, depth=1, batch=1)),
    "width": Axis((8, 16, 24, 32), Sizes(length=16, depth=1)),
    "depth": Axis((1, 2, 3), Sizes(length=16, width=8)),
    "batch": Axis((2, 4, 6), Sizes(length=16, width=8, depth=1)),
    "members": Axis((1, 2, 4), Sizes(length=16, width=8, depth=1)),
    "devices": Axis((1, 2, 4), Sizes(length=16, width=8, depth=1, batch=4)),
}


@pytest.fixture
def tiny(monkeypatch):
    for axis, values in TINY.items():
        monkeypatch.setitem(AXES, axis, values)
    yield
    keep_memory(False)  # as the command found it


def run(*arguments: str) -> int:
    """Runs the command. Returns its code."""
    try:
        slopes.main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("name, power", [
    ("attention", 2), ("causal attention", 2), ("linear attention", 1), ("window attention", 1),
    ("latents to input", 1),
])  # fmt: skip
def test_attention_costs_what_theory_says(name, power, tiny):
    series = measure(name, "length", rounds=0)
    assert series.exponent == pytest.approx(power, abs=0.01) and series.flops_verdict == OK
    assert series.flops == series.written  # the compiler leaves none out and adds none


def test_plain_attention_has_its_six_products(tiny):
    # Scores and their two derivatives, values and their two: 2 T^2 D each, for a width D of 8.
    assert measure("attention", "length", rounds=0).flops == [6 * 2 * length**2 * 8 for length in TINY["length"].values]


@pytest.mark.medium
@pytest.mark.parametrize("axis", ["length", "width", "depth", "batch", "members"])
def test_a_decoder_costs_what_theory_says_along_every_axis(axis, tiny):
    series = measure("decoder", axis, rounds=0)
    assert series.exponent == pytest.approx(series.expected.power, abs=0.05)


@pytest.mark.medium
def test_the_operations_of_each_device_fall(tmp_path):
    series = slopes._on_many_devices("mlp", tmp_path, 0)
    assert series.exponent == pytest.approx(-1, abs=0.05)
    assert series.flops[0] == pytest.approx(8 * series.flops[3], rel=0.05)


@pytest.mark.medium
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_step_at_every_axis(name):
    for axis in AXES:
        if theory(name, axis):
            function, shapes = family(name, replace(with_size(axis, AXES[axis].values[1]), devices=1))
            assert callable(function) and len(shapes) == 2


def test_the_command_writes_what_it_measured(tiny, tmp_path, capsys):
    run("latents to input", "--axes", "length", "--rounds=1", f"--workdir={tmp_path}")
    content = json.loads((tmp_path / "slopes.json").read_text())
    (series,) = content["series"]
    assert series["theory"] == {"power": 1, "lower": []} and series["exponent"] == pytest.approx(1, abs=0.01)
    assert len(series["rounds"]) == 1 and len(series["rounds"][0]) == 4 and content["environment"]["python"]
    assert of_content(series).flops == series["flops"]
    assert (tmp_path / "layers.png").stat().st_size and (tmp_path / "layers_dark.svg").stat().st_size
    assert "latents to input | length | n | 1.00" in (tmp_path / "table.md").read_text()


def test_a_wrong_theory_makes_the_command_fail_in_one_line(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LAYERS, "latents to input", (Theory(2), LAYERS["latents to input"][1]))
    assert run("latents to input", "--axes", "length", "--rounds=0", f"--workdir={tmp_path}") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    expected = "latents to input along length has FLOPs with the exponent 1.00 instead of 2"
    assert last == f"not as theory says: {expected}"


@pytest.mark.parametrize("arguments, words", [
    (["atention"], "there is no layer or family 'atention': expected some of attention, "),
    (["--axes", "height"], "--axes 'height': expected some of length, width, "),
    (["attention", "--axes", "width"], "nothing is measured of attention along width: layers have a length only"),
    (["attention", "--rounds=-1"], "--rounds=-1: expected 0 to 1000"),
])  # fmt: skip
def test_a_mistake_is_one_line(arguments, words, tmp_path, capsys):
    assert run(*arguments, f"--workdir={tmp_path}") == 1
    assert words in capsys.readouterr().err


def of_times(*rounds: list[float], waited: float = 0.0) -> Series:
    """A series of linear operations with these times."""
    return Series("linear attention", "length", (1, 2, 4), [1, 2, 4], [1, 2, 4], [1, 2, 4], list(rounds), waited)


def test_the_clock_is_judged_by_its_slope_unless_it_is_noisy():
    assert of_times([1, 2, 4], [1, 2, 4.4]).clock_verdict == OK
    quadratic = of_times([1, 4, 16], [1, 4, 17])
    assert quadratic.clock_verdict == WRONG and quadratic.fails
    assert of_times([1, 4, 16], [3, 5, 17]).clock_verdict == NOISY  # rounds of different slopes
    assert of_times([1, 4, 16], [1, 4, 17], waited=0.3).clock_verdict == NOISY
    whole_step = replace(quadratic, name="linear")
    assert whole_step.clock_verdict == WRONG and not whole_step.fails  # the time of a step is not its operations' alone
    assert quadratic.slope("seconds") == pytest.approx(2) and quadratic.clock_range[1] > 2


def test_theory_is_written_as_a_sum():
    assert str(Theory(2, (0, 1))) == "1 + n + n^2" and str(theory("decoder", "devices")) == "1 + n^-1"
    assert theory("cnn", "depth") is None and theory("attention", "width") is None
