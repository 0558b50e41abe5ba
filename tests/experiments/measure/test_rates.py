"""The learning-rate range test: what it reads off a curve, and a real one."""

import json

import numpy as np
import pytest

from core.errors import UserError
from experiments.measure import rates
from experiments.measure.rates import analyse, main, measure
from tests import tiny
from train import Run


def test_the_suggestion_is_where_the_average_falls_fastest_and_the_end_where_it_is_lowest():
    tried = np.geomspace(1e-6, 1, 601)
    fall = 1 / (1 + np.exp(4 * (np.log(tried) - np.log(1e-3))))  # steepest at 1e-3
    results = analyse(list(tried), list(1 + fall + 30 * np.maximum(tried - 0.03, 0)))
    assert results.suggestion is not None and 1e-3 <= results.suggestion <= 2e-3  # the average lags behind
    assert 0.029 <= results.lowest <= 0.06
    assert results.smooth[0] == pytest.approx(results.losses[0])


def test_a_loss_that_only_rises_suggests_nothing():
    tried = list(np.geomspace(1e-3, 1, 20))
    assert analyse(tried, [1 + 3 * rate for rate in tried]).suggestion is None


@pytest.mark.medium
def test_the_first_loss_is_that_of_the_run_and_the_test_ends_where_it_diverges():
    config = tiny.get_config("vit").to_dict() | {"accumulate": 1}
    config["optimizer"] = {"name": "sgd", "learning_rate": 1.0}
    results = measure(Run.of(config), low=1e-3, high=1000, steps=60)
    assert 10 <= len(results.losses) < 60 and results.losses[0] == pytest.approx(np.log(10), rel=0.2)
    assert results.rates[-1] < 1000


@pytest.mark.parametrize(
    "settings, words",
    [({"low": 0.1, "high": 0.01}, "expected 0 < low < high"), ({"steps": 3}, "expected 10 to 100,000")],
)
def test_a_range_that_is_none_is_one_line(settings, words):
    with pytest.raises(UserError, match=words):
        measure(Run.of(tiny.get_config("vit")), **settings)


@pytest.mark.medium
def test_the_command_writes_numbers_and_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rates, "use_compilation_cache", lambda: None)
    main([f"--config={tiny.__file__}:vit", f"--workdir={tmp_path}/out", "--steps=12", "--high=0.1"])
    assert len(json.loads((tmp_path / "out/rates.json").read_text())["rates"]) == 12
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"rates.png", "rates_dark.png"}
    *_, falls, _, pictures, next_line = capsys.readouterr().out.splitlines()
    assert pictures == f"pictures {tmp_path}/out: rates (PNG and SVG, light and dark)"
    rate = falls.removeprefix("falls fastest at ")
    command = f"python train.py --config={tiny.__file__}:vit --workdir={tmp_path}/out_run"
    assert next_line == f"next     {command} --config.optimizer.learning_rate={rate}"
