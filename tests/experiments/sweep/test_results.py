"""The results of sweeps whose folders are written by hand: the table, the file and the plots."""

import csv
import json
from pathlib import Path

from PIL import Image
import pytest

from core.errors import UserError
from experiments.sweep import results, sweep_plots
from experiments.sweep.outcomes import read_outcomes


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Two widths and two rates with two seeds each; one trial failed, one has not begun."""
    monkeypatch.setenv("COLUMNS", "200")
    trials = {}
    for width in (8, 16):
        for rate in (0.1, 10.0):
            for seed in (0, 1):
                name = f"width={width},rate={rate},seed={seed}"
                overrides = {"width": width, "rate": rate, "seed": seed}
                trials[name] = overrides
                if (width, rate, seed) == (16, 10.0, 1):
                    continue
                folder = tmp_path / "trials" / name
                folder.mkdir(parents=True)
                content = {"file": "x.py", "base": {}, "overrides": overrides, "config": {"steps": 20}}
                (folder / "trial.json").write_text(json.dumps(content))
                loss = 1 / width + rate + seed
                records = [{"step": s, "split": "test", "time": s / 10, "loss": loss + 10 / s} for s in (10, 20)]
                (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
                if (width, rate, seed) == (16, 10.0, 0):
                    (folder / "failed.txt").write_text("exit code 1\nout of memory\n")
                else:
                    summary = {"steps": 20, "metrics": {"test/loss": loss + 0.5}, "seconds": 3.0}
                    (folder / "summary.json").write_text(json.dumps(summary))
    content = {"file": "f.py", "metric": "test/loss", "better": "min", "trials": trials}
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, by the names of their files."""
    saved = {}
    save = sweep_plots.Figure.savefig

    def keep(self, out, **options):
        saved[".".join(Path(out).name.split(".")[1:3])] = self  # out is a temporary path: ".map.png.<process>.tmp"
        save(self, out, **options)

    monkeypatch.setattr(sweep_plots.Figure, "savefig", keep)
    return saved


def test_the_table_has_means_over_seeds_sorted_from_the_best(workdir, capsys):
    results.show(workdir)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["width", "rate", "test/loss", "deviation", "seeds"]
    assert lines[1] == ["16", "0.1", "1.1625", "0.71", "2"]  # 1/16 + 0.1 + (0 + 1)/2 + 0.5
    assert lines[2] == ["8", "0.1", "1.225", "0.71", "2"]
    assert lines[3] == ["8", "10", "11.125", "0.71", "2"]
    assert " ".join(lines[4]) == "failed width=16,rate=10.0,seed=0: out of memory"
    assert " ".join(lines[5]) == "trials 8: 6 done, 1 failed, 1 waiting"
    assert " ".join(lines[7]) == f"pictures {workdir}: fields, curves, map (PNG and SVG, light and dark)"
    assert lines[8][-3:] == ["f.py", f"--workdir={workdir}", "--retry_failed"]
    assert lines[9][-2:] == [f"--workdir={workdir}", "--compare=width"]
    assert lines[10][-2:] == ["--workdir", f"{workdir}/trials/*"]


def test_the_markdown_table_has_every_setting_and_the_spread_over_its_seeds(workdir):
    results.show(workdir)
    lines = (workdir / "table.md").read_text().splitlines()
    assert lines[0] == "| width | rate | seeds | test/loss |"
    assert lines[2] == "| 16 | 0.1 | 2 | 1.1625 ± 0.71 |" and len(lines) == 2 + 3


def test_the_file_has_every_trial(workdir):
    results.show(workdir)
    with (workdir / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["done"] * 6 + ["failed", "waiting"]
    assert rows[0] == {
        "trial": "width=8,rate=0.1,seed=0", "width": "8", "rate": "0.1", "seed": "0", "state": "done",
        "best test/loss": "0.725", "test/loss": "0.725", "step": "20", "seconds": "3.0", "reason": "",
    }  # fmt: skip
    assert rows[6]["reason"] == "out of memory" and rows[7]["test/loss"] == ""


def test_each_field_has_a_panel_with_the_spread_over_seeds(workdir, figures):
    results.show(workdir)
    width, rate = figures["fields.png"].axes
    assert (width.get_xlabel(), rate.get_xlabel(), width.get_ylabel()) == ("width", "rate", "test/loss")
    assert (width.get_xscale(), rate.get_xscale()) == ("linear", "log")
    low, high = (container.lines[0].get_xydata().tolist() for container in width.containers)
    assert low == [[8, pytest.approx(1.225)], [16, pytest.approx(1.1625)]]
    assert high == [[8, pytest.approx(11.125)]]
    (bars,) = width.containers[0].lines[2]
    assert bars.get_segments()[0][:, 1].tolist() == pytest.approx([1.225 - 0.5**0.5, 1.225 + 0.5**0.5])
    assert width.get_legend_handles_labels()[1] == ["rate 0.1", "rate 10"]


def test_curves_are_those_of_all_trials_and_the_best_is_thick(workdir, figures):
    results.show(workdir)
    (axes,) = figures["curves.png"].axes
    thick = [line for line in axes.lines if line.get_linewidth() > 2 and len(line.get_xdata())]
    (points,) = (line.get_xydata().tolist() for line in thick)
    assert points == [[10, pytest.approx(1.1625)], [20, pytest.approx(0.6625)]]
    assert sum(len(line.get_xdata()) > 0 for line in axes.lines) == 7
    assert axes.get_title(loc="left") == "thick: width=16,rate=0.1,seed=0"


def test_two_fields_make_a_map(workdir, figures):
    results.show(workdir)
    axes = figures["map.png"].axes[0]
    assert axes.images[0].get_array().filled(-1).tolist() == [
        pytest.approx([1.225, 11.125]), [pytest.approx(1.1625), -1]
    ]  # fmt: skip
    assert [text.get_text() for text in axes.texts] == ["1.225", "11.12", "1.163"]
    assert axes.patches[0].get_xy() == (-0.5, 0.5)  # the frame around the best
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "16"]
    for name in ("map.png", "map_dark.png", "fields_dark.png", "curves_dark.png"):
        assert Image.open(workdir / name).format == "PNG"
        assert (workdir / name).with_suffix(".svg").exists()


def test_values_of_runs_that_diverged_are_cut_off_and_counted(workdir, figures):
    first = workdir / "trials" / "width=8,rate=0.1,seed=0" / "metrics.jsonl"
    first.write_text(first.read_text() + '{"step": 21, "split": "test", "time": 3, "loss": 1e9}\n')
    results.show(workdir)
    (axes,) = figures["curves.png"].axes
    assert axes.get_ylim()[1] < 20 and axes.get_title(loc="left").endswith("seed=0 · off the scale: 1")


def test_values_that_are_not_numbers_are_drawn_side_by_side(workdir, figures):
    for path in workdir.glob("trials/*/trial.json"):
        content = json.loads(path.read_text())
        content["overrides"]["width"] = {8: "narrow", 16: "wide"}[content["overrides"]["width"]]
        path.write_text(json.dumps(content))
    results.show(workdir)
    labels = [label.get_text() for label in figures["fields.png"].axes[0].get_xticklabels()]
    assert labels == ["narrow", "wide"]


def test_another_metric_can_be_asked_for(workdir, capsys):
    results.show(workdir, better="max")
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["8", "10"]
    with pytest.raises(ValueError, match="'test/accuracy': expected one of test/loss"):
        results.show(workdir, metric="test/accuracy")


def test_an_incomplete_last_line_is_left_out(workdir):
    with next(workdir.glob("trials/*/metrics.jsonl")).open("a") as file:
        file.write('{"step": 30, "spl')
    assert {outcome.step for outcome in read_outcomes(workdir, "test/loss")} == {0, 20}


def test_a_folder_without_a_sweep_gives_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        results.main([f"--workdir={tmp_path}"])
    assert end.value.code == 1
    assert capsys.readouterr().err == f"error: {tmp_path} is not the workdir of a sweep: it has no sweep.json\n"


def change(workdir, name, records, metrics):
    """Replaces the log of a trial, and the metrics of its summary."""
    folder = workdir / "trials" / name
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"metrics": metrics}))


BEST = "width=16,rate=0.1,seed=0"


@pytest.mark.parametrize("better", ["min", "max"])
def test_a_last_value_that_is_not_finite_is_never_ranked(workdir, better, capsys):
    """Also not by a finite value before it. JSON has null for NaN and infinity."""
    records = [{"step": s, "split": "test", "time": s, "loss": loss} for s, loss in ((10, 0.001), (20, None))]
    change(workdir, BEST, records, {"test/loss": None})
    results.show(workdir, better=better)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2:] for line in lines if line.split()[:1] == ["16"]] == [["1.6625", "1"]]
    assert "not in the table: 1 trials whose test/loss is not finite" in lines


@pytest.mark.parametrize("kept", [0, 1])
def test_a_complete_trial_counts_by_its_summary_where_its_log_is_incomplete(workdir, kept, capsys):
    folder = workdir / "trials" / BEST
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:kept]))
    results.show(workdir)
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["16", "0.1", "1.1625", "0.71", "2"]
    assert f"warning  {BEST}: metrics.jsonl ends at step {10 * kept} of 20: its curve is incomplete" in out


def test_a_metric_that_no_trial_has_is_refused_with_the_closest_one(workdir):
    with pytest.raises(UserError, match="--metric = 'test/los': expected one of .* Did you mean 'test/loss'?"):
        results.show(workdir, metric="test/los")
    with pytest.raises(UserError, match="--metric = 'test/accuracy': expected one of test/loss"):
        results.show(workdir, metric="test/accuracy")
