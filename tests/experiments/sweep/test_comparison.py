"""The comparison of the values of a field of a sweep, whose folders are written by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from experiments.sweep import results
from experiments.sweep.comparison import compared
from experiments.sweep.outcomes import read_outcomes

NOISE = np.random.default_rng(0).normal(size=(2, 2, 5)) / 100
BETTER = {"cosine": 0.0, "constant": 0.3}


def sweep(workdir: Path, *, seeds: int = 5, widths: tuple[int, ...] = (8, 16), shared: float = 0.0) -> Path:
    """Two schedules at each width, with noise over the seeds, of which `shared` is that of both schedules."""
    trials = {}
    for w, width in enumerate(widths):
        for s, (schedule, loss) in enumerate(BETTER.items()):
            for seed in range(seeds):
                name = f"{width},{schedule},{seed}"
                overrides = {"model.width": width, "optimizer.schedule": schedule, "seed": seed}
                trials[name] = overrides
                folder = workdir / "trials" / name
                folder.mkdir(parents=True)
                content = {"file": "x.py", "base": {}, "overrides": overrides, "config": {"steps": 20}}
                (folder / "trial.json").write_text(json.dumps(content))
                value = loss + width + NOISE[w, s, seed] + shared * seed**2
                record = {"step": 20, "split": "test", "time": 1.0, "loss": value}
                (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
                summary = {"steps": 20, "metrics": {"test/loss": value}, "seconds": 3.0}
                (folder / "summary.json").write_text(json.dumps(summary))
    content = {"file": "f.py", "metric": "test/loss", "better": "min", "trials": trials}
    (workdir / "sweep.json").write_text(json.dumps(content))
    return workdir


def test_the_values_of_a_field_are_compared_where_all_other_fields_agree(tmp_path, capsys):
    results.main([f"--workdir={sweep(tmp_path)}", "--compare=optimizer.schedule"])
    out = capsys.readouterr().out
    assert out.count("significantly better") == 2 and "where model.width = 16" in out
    text = (tmp_path / "comparison.md").read_text()
    assert "| cosine | constant | -0.3" in text and "95 % interval" in text and "5 seeds; " in text


def test_a_tie_says_what_would_have_been_found(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BETTER, "constant", 0.0)
    results.main([f"--workdir={sweep(tmp_path)}", "--compare=optimizer.schedule"])
    assert "not separated; this design finds 0.0" in capsys.readouterr().out


def test_p_values_are_corrected_for_all_pairs_that_are_reported(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    single = compared(read_outcomes(sweep(one, widths=(8,)), "test/loss"), "optimizer.schedule", "test/loss", "min")
    both = compared(read_outcomes(sweep(two), "test/loss"), "optimizer.schedule", "test/loss", "min")
    assert list(single) == [""] and list(both) == ["model.width = 8", "model.width = 16"]
    alone, together = single[""].pairs[0], both["model.width = 8"].pairs[0]
    assert together.p == pytest.approx(2 * alone.p) and (together.low, together.high) == (alone.low, alone.high)
    assert together.detectable and alone.detectable and together.detectable > alone.detectable


def test_seeds_that_matter_alike_for_all_values_make_it_a_comparison_in_pairs(tmp_path):
    outcomes = read_outcomes(sweep(tmp_path, widths=(8,), shared=3.0), "test/loss")
    comparison = compared(outcomes, "optimizer.schedule", "test/loss", "min")[""]
    assert comparison.paired and comparison.pairs[0].sure and comparison.pairs[0].a == "cosine"


def test_two_seeds_give_differences_and_no_conclusion(tmp_path, capsys):
    results.main([f"--workdir={sweep(tmp_path, seeds=2)}", "--compare=optimizer.schedule"])
    out = capsys.readouterr().out
    assert out.count("none: fewer than 3 seeds") == 2 and "-0.3" in out


def test_a_field_that_does_not_differ_is_a_mistake(tmp_path):
    outcomes = read_outcomes(sweep(tmp_path), "test/loss")
    with pytest.raises(UserError, match="--compare=model.depth: .* that differ: model.width, optimizer.schedule"):
        compared(outcomes, "model.depth", "test/loss", "min")
