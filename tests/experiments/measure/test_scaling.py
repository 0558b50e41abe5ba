"""A scaling law: planted ones are recovered, intervals hold what they say, a held-out size is predicted."""

import json

import numpy as np
import pytest

from core.errors import UserError
from experiments.measure import scaling
from experiments.measure.scaling import Run, analyse
from experiments.measure.scaling_law import ScalingLaw, bootstrap, fit, interval

TRUTH = ScalingLaw(1.7, 0.4, 0.34, 0.5, 0.28, 1e5, 1e4)
SIZES, EXAMPLES = np.repeat([1e4, 2e4, 4e4, 8e4, 1.6e5], 4), np.tile([2e3, 4e3, 8e3, 1.6e4], 5)


def test_a_planted_law_is_recovered():
    law = fit(SIZES, EXAMPLES, TRUTH(SIZES, EXAMPLES))
    assert law.floor == pytest.approx(1.7, abs=1e-3)
    assert (law.size_exponent, law.data_exponent) == pytest.approx((0.34, 0.28), abs=1e-3)
    # By hand at N = 1e5 / 16 and D = 1e4: 1.7 + 0.4 * 16^0.34 + 0.5
    assert float(law(1e5 / 16, 1e4)) == pytest.approx(2.2 + 0.4 * 16**0.34, abs=1e-3)
    assert law.growth == pytest.approx(0.28 / 0.62, abs=1e-3)


def test_what_does_not_differ_has_no_term():
    law = fit(SIZES, np.full(20, 5e3), TRUTH(SIZES, np.full(20, 5e3)))
    assert law.data_factor == 0 and np.isnan(law.data_exponent)
    assert law.size_exponent == pytest.approx(0.34, abs=1e-3)
    assert law.floor == pytest.approx(1.7 + 0.5 * 2**0.28, abs=1e-3)


def test_a_run_that_went_wrong_does_not_bend_the_curve():
    losses = TRUTH(SIZES, EXAMPLES)
    losses[7] *= 1.5
    assert fit(SIZES, EXAMPLES, losses).size_exponent == pytest.approx(0.34, abs=0.05)


def test_no_factor_is_negative():
    """More examples seem to harm: the law says that they do nothing."""
    law = fit(SIZES, EXAMPLES, 2 + 0.1 * (SIZES / 1e5) ** -0.5 + EXAMPLES / 1e6)
    assert law.data_factor == pytest.approx(0, abs=1e-6) and law.size_factor > 0


@pytest.mark.slow
def test_intervals_hold_a_further_run():
    """Of 100 simulated sweeps with 0.4 % of noise, 91 predicted a run of four times the largest size."""
    generator, inside = np.random.default_rng(1), 0
    for draw in range(100):
        losses = TRUTH(SIZES, EXAMPLES) * np.exp(generator.normal(size=20) * 0.004)
        further = float(TRUTH(6.4e5, 1.6e4)) * np.exp(generator.normal() * 0.004)
        laws = bootstrap(fit(SIZES, EXAMPLES, losses), SIZES, EXAMPLES, losses, draws=80, seed=draw)
        low, high = interval([float(law(6.4e5, 1.6e4)) * factor for law, factor in laws])
        inside += low <= further <= high
    assert 85 <= inside <= 99


def runs(noise: float = 0.003, largest: float = 1.0) -> list[Run]:
    generator = np.random.default_rng(2)
    sizes, examples = np.append(SIZES, [3.2e5] * 4), np.append(EXAMPLES, EXAMPLES[:4])
    losses = TRUTH(sizes, examples) * np.exp(generator.normal(size=24) * noise)
    losses[-4:] *= largest
    return [Run(int(size), int(number), float(loss)) for size, number, loss in zip(sizes, examples, losses)]


def test_the_largest_size_is_not_fitted_and_is_predicted():
    results = analyse(runs(), "validation/loss", draws=20)
    assert [each.parameters for each in results.predictions] == [320_000] * 4
    assert all(each.low < each.expected < each.high for each in results.predictions)
    assert all(each.holds for each in results.predictions)
    # Other losses of the largest size change nothing about the law, and are outside of what it predicts.
    other = analyse(runs(largest=1.1), "validation/loss", draws=20)
    assert other.law == results.law and not any(each.holds for each in other.predictions)


def test_too_few_sizes_are_one_line():
    with pytest.raises(
        UserError, match="5 sizes with a finite loss: expected at least 5 to fit a law, and a larger one"
    ):
        analyse(runs()[:20], "loss")


def write_sweep(folder, metric: str = "validation/loss"):
    trials = {f"t{number:02}": run for number, run in enumerate(runs())}
    for name, run in trials.items():
        path = folder / "trials" / name
        path.mkdir(parents=True)
        config = {"steps": run.examples // 8, "batch_size": 8}
        content = {"file": "configs/gpt.py", "base": {}, "overrides": {}, "config": config}
        (path / "trial.json").write_text(json.dumps(content))
        (path / "config.json").write_text(json.dumps(config))
        summary = {"steps": config["steps"], "seconds": 1, "parameters": run.parameters, "metrics": {metric: run.loss}}
        (path / "summary.json").write_text(json.dumps(summary))
    sweep = {"file": "x.py", "metric": metric, "better": "min", "trials": dict.fromkeys(trials, {})}
    (folder / "sweep.json").write_text(json.dumps(sweep))


def test_the_command_writes_numbers_and_pictures(tmp_path, capsys):
    write_sweep(tmp_path)
    scaling.main([f"--workdir={tmp_path}"])
    output = capsys.readouterr().out
    assert "24 runs" in output and output.count("inside") == 4 and "OUTSIDE" not in output
    content = json.loads((tmp_path / "scaling.json").read_text())
    assert content["holds"] and content["law"]["size_exponent"] == pytest.approx(0.34, abs=0.1)
    assert {path.name for path in tmp_path.glob("*.png")} == {"scaling.png", "scaling_dark.png"}


def test_a_metric_of_which_more_is_better_is_refused(tmp_path, capsys):
    write_sweep(tmp_path)
    with pytest.raises(SystemExit):
        scaling.main([f"--workdir={tmp_path}", "--metric=test/accuracy"])
    assert "--metric=test/accuracy: expected a loss" in capsys.readouterr().err
