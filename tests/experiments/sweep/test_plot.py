"""The curves of runs: which points are drawn, how runs are named, and the error if there is nothing to draw."""

import json
from pathlib import Path

from PIL import Image
import pytest

from experiments.sweep import plot as plots
from experiments.sweep.plot import LOSSES, main, plot
from objectives import OBJECTIVES


def record(folder: Path, *records: dict) -> str:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(folder)


@pytest.fixture
def run(tmp_path):
    return record(
        tmp_path / "a",
        {"step": 2, "split": "train", "time": 0.1, "loss": 3.0, "learning_rate": 0.1},
        {"step": 3, "split": "test", "time": 0.2, "loss": 2.5, "accuracy": 0.25},
        {"step": 5, "split": "train", "time": 0.3, "loss": None, "learning_rate": 0.1},
        {"step": 7, "split": "train", "time": 0.4, "loss": 1.5, "learning_rate": 0.1},
    )


@pytest.fixture
def figures(monkeypatch):
    """The figures that `plot` saves, in a list."""
    saved = []
    save = plots.Figure.savefig

    def keep(self, out, **options):
        saved.append(self)
        save(self, out, **options)

    monkeypatch.setattr(plots.Figure, "savefig", keep)
    return saved


def test_training_and_evaluation_are_drawn_against_steps(run, figures):
    plot([run])
    axes = figures[0].axes[0]
    thin, points = axes.lines
    assert thin.get_xdata().tolist() == [2, 5, 7] and thin.get_ydata()[[0, 2]].tolist() == [3.0, 1.5]
    assert points.get_xydata().tolist() == [[3, 2.5]] and points.get_marker() == "o"
    assert thin.get_linewidth() < points.get_linewidth()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimizer steps", "loss")
    assert axes.get_title(loc="left") == "thin: training batches · points: whole test split"
    assert [text.get_text() for text in axes.texts] == ["a"]


@pytest.mark.medium
def test_one_run_keeps_its_curves_and_several_have_theirs_beside_them(run, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    other = record(tmp_path / "b", {"step": 1, "split": "train", "time": 0.1, "loss": 2.0})
    names = ("curves.png", "curves.svg", "curves_dark.png", "curves_dark.svg")
    assert plot([run]) == [Path(run) / name for name in names]
    assert plot([run, other]) == [tmp_path.resolve() / name for name in names]
    assert not list((tmp_path / "elsewhere").iterdir())
    for out in ("c", "c.png", "c.svg"):
        assert plot([other], tmp_path / out)[0] == tmp_path / "c.png"
    for path in (tmp_path / "a" / "curves.png", tmp_path / "curves_dark.png", tmp_path / "c.png"):
        assert Image.open(path).format == "PNG"
    assert (tmp_path / "curves_dark.svg").read_text().startswith("<?xml")


def of_objective(folder: Path, objective: str, *records: dict) -> str:
    record(folder, *records)
    (folder / "config.json").write_text(json.dumps({"objective": {"name": objective}}))
    return str(folder)


def test_losses_of_different_kinds_and_other_metrics_have_a_panel_each(tmp_path, figures):
    line = {"step": 11, "split": "test", "time": 0.1, "loss": 2.0, "accuracy": 0.25}
    runs = [
        of_objective(tmp_path / name, objective, line | {"loss": loss})
        for name, objective, loss in (
            ("vit", "classification", 2.0), ("gpt", "language_modeling", 3.0), ("cnn", "classification", 5.0),
            ("ebm", "energy", 7.0), ("vae", "variational", 11.0),
        )
    ]  # fmt: skip
    plot(runs, tmp_path / "c", metrics=["loss", "accuracy"])
    panels = {
        axes.get_ylabel(): {text.get_text(): line.get_ydata().tolist() for text, line in zip(axes.texts, axes.lines)}
        for axes in figures[0].axes
    }
    assert panels == {
        "loss (nats per example)": {"vit": [2.0], "cnn": [5.0]},
        "loss (nats per token)": {"gpt": [3.0]},
        "loss (energy)": {"ebm": [7.0]},
        "loss (KL + NLL in nats per example)": {"vae": [11.0]},
        "accuracy (share of correct predictions)": dict.fromkeys(("vit", "gpt", "cnn", "ebm", "vae"), [0.25]),
    }
    # A run has one colour in all panels.
    colours = [{text.get_text(): text.get_color() for text in axes.texts} for axes in figures[0].axes]
    *of_losses, of_accuracies = colours
    assert {pair for panel in of_losses for pair in panel.items()} == set(of_accuracies.items())


@pytest.mark.parametrize("objective", LOSSES)
def test_the_unit_of_a_loss_is_the_one_that_its_objective_documents(objective):
    assert LOSSES[objective] in " ".join((OBJECTIVES[objective].__doc__ or "").split())


def test_the_ticks_of_a_single_step_are_whole_steps(tmp_path, figures):
    plot([record(tmp_path / "run", {"step": 4, "split": "test", "time": 0.1, "loss": 2.0})], tmp_path / "c")
    assert all(tick % 1 == 0 for tick in figures[0].axes[0].get_xticks())


def test_names_stay_within_the_panel_where_all_curves_end_at_the_top(tmp_path, figures):
    lines = [
        [{"step": step, "split": "test", "time": 0.1, "loss": loss} for step, loss in ((1, 0.0), (11, 2 + number / 99))]
        for number in range(13)
    ]
    plot([record(tmp_path / f"run{number}", *each) for number, each in enumerate(lines)], tmp_path / "c")
    figure = figures[0]
    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 13 and boxes[0].y0 >= 0 and boxes[-1].y1 <= figure.bbox.y1
    assert all(below.y1 <= above.y0 for below, above in zip(boxes, boxes[1:]))


def test_the_command_ends_with_where_the_pictures_are_and_what_is_next(run, capsys):
    main(["--workdir", run])
    pictures, more, inspect = capsys.readouterr().out.splitlines()
    assert pictures == f"{run}: curves (PNG and SVG, light and dark)"
    assert more == f"next     python -m experiments.plot --workdir {run} --metric loss accuracy"
    assert inspect.split() == ["python", "-m", "experiments.inspect", f"--workdir={run}"]


def test_an_ending_that_is_not_drawn_is_refused(run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--workdir", run, f"--out={tmp_path / 'c.pdf'}"])
    assert "c.pdf: the pictures are PNG and SVG. Leave the ending out" in capsys.readouterr().err
    assert not list(tmp_path.glob("c*"))


def test_names_of_curves_that_end_together_do_not_overlap(tmp_path, figures):
    loss = [{"step": 11, "split": "test", "time": 0.1, "loss": 2.0 + 1e-4 * number} for number in range(5)]
    plot([record(tmp_path / f"run{number}", line) for number, line in enumerate(loss)], tmp_path / "c.png")
    boxes = sorted((text.get_window_extent() for text in figures[0].axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 5
    assert all(below.y1 <= above.y0 for below, above in zip(boxes, boxes[1:]))


def test_runs_differ_in_colour_or_marker(tmp_path, figures):
    line = {"step": 11, "split": "test", "time": 0.1, "loss": 2.0}
    plot([record(tmp_path / f"run{number}", line) for number in range(11)], tmp_path / "c.png")
    looks = {(line.get_color(), line.get_marker()) for line in figures[0].axes[0].lines}
    assert len(looks) == 11


def test_folders_of_the_same_name_are_called_by_their_path(tmp_path, figures):
    line = {"step": 11, "split": "test", "time": 0.1, "loss": 2.0}
    runs = [record(tmp_path / side / "gpt", line) for side in ("left", "right")]
    plot(runs, tmp_path / "c.png")
    assert [text.get_text() for text in figures[0].axes[0].texts] == runs


def test_an_unknown_metric_and_a_folder_without_run_are_named(run, tmp_path, capsys):
    for arguments, message in [
        (["--workdir", run, "--metric=los"], "expected one of accuracy, learning_rate, loss"),
        (["--workdir", run, "--metric=time"], "--metric time: no metric but a column of the log"),
        (["--workdir", run, "--metric=step"], "--metric step: no metric but a column of the log"),
        (["--workdir", str(tmp_path / "none")], "none/metrics.jsonl does not exist"),
    ]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        error = capsys.readouterr().err
        assert stop.value.code == 1 and message in error and error.count("\n") == 1


def test_a_dollar_in_the_name_of_a_run_is_a_dollar(tmp_path):
    folders = [tmp_path / name for name in (r"a$x^$", r"b$\frac$")]
    for folder in folders:
        folder.mkdir()
        records = ({"step": step, "split": "train", "time": step, "loss": 1 / step} for step in (1, 2, 3))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    plot([str(folder) for folder in folders], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
