"""Evaluates a run on a split: all metrics; for classes also confusion, precision, recall, calibration, worst examples.

python -m experiments.evaluate --workdir=runs/vit --split=test

It writes `<split>.json` and pictures to `evaluate/` in the workdir, or to `--out`. The definitions are scikit-learn's,
and the calibration error that of Guo et al. 2017.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import re
import sys
from typing import Any

import jax
from matplotlib.figure import Figure
import numpy as np
from rich.console import Console
from rich.table import Table

from core import files
from core.command import command, print_foreign
from core.errors import UserError, cut
from core.next_commands import next_text
from core.ranges import Size, refuse_outside
from data.dataset import Source
from data.pipeline import evaluation_batches
from experiments.figures.style import draw, drawn, grid, ink, matrix
from experiments.use.answers import answers
from experiments.use.class_scores import BINS, ClassScores
from experiments.use.inputs import SplitNames
from experiments.use.next_uses import after_evaluation
from experiments.use.opened import Opened, describe, open_folder, open_split, step_of
from training.loop import evaluate as means_of
from training.state import split as split_model
from training.step import make_evaluation_step

MOST_NUMBERS, MOST_NAMES = 20, 60  # a larger confusion matrix is drawn without its numbers, or without names
MOST_ROWS = 30  # of the table of classes


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
      metrics: of the objective, over the whole split.
      scores: of the classes; None if the model predicts none.
      source: the examples of the split.
      notes: what the numbers are of, a line each.
    """

    metrics: dict[str, float]
    scores: ClassScores | None
    source: Source
    notes: list[str]


def evaluate(opened: Opened, split: str = "", *, batch_size: Size = 64) -> Evaluation:
    """Measures a run on a split of its data set, without augmentation.

    Args:
      split: in TFDS notation, such as "test[:1000]"; "" for the one that the run was evaluated on.

    Raises:
      UserError: this is no run, or there is no such split.
    """
    refuse_outside(evaluate, {"batch_size": batch_size})
    run = opened.run
    if run is None:
        raise UserError(f"{opened.folder} is a published model, without data and objective: --workdir needs a run")
    source = open_split(run, split or run.dataset.evaluation_name).evaluation
    structure, parameters = split_model(opened.model)
    step = jax.jit(make_evaluation_step(structure, run.objective))
    batches = evaluation_batches(source, batch_size=min(batch_size, len(source)))
    metrics = means_of(step, lambda batch: batch, batches, parameters)
    scores = None
    if opened.classes is not None:
        scores = ClassScores(len(opened.classes))
        for part in answers(opened, source, batch_size=batch_size):
            scores.add(part.values, part.batch["targets"], part.batch["weights"])
    return Evaluation(metrics, scores, source, notes_on(opened))


def notes_on(opened: Opened) -> list[str]:
    """Returns what numbers of a run are of: averaged parameters, and a loss with label smoothing."""
    assert opened.run is not None
    config, notes = opened.run.config, []
    if config["ema"]:
        notes.append(f"the parameters are the moving average of those of training (ema = {config['ema']:g})")
    if smoothing := config["objective"].get("label_smoothing"):
        notes.append(f"the loss holds the label smoothing of {smoothing:g}")
    return notes


def report(opened: Opened, evaluation: Evaluation, split: str, folder: Path) -> list[Path]:
    """Writes an evaluation as JSON, and as pictures in each theme. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem, scores, names = re.sub(r"[^\w.+-]", "_", split), evaluation.scores, opened.classes or ()
    content: dict[str, Any] = {"split": split, "step": step_of(opened.folder), "examples": len(evaluation.source)}
    content |= {"metrics": evaluation.metrics, "notes": evaluation.notes}
    if scores is not None:
        content |= scores.summary(names)
        inputs = SplitNames(evaluation.source, opened.vocabulary)
        for example in content["worst"]:
            example["input"] = inputs[example["example"]]
    paths = [folder / f"{stem}.json"]
    files.write_json(paths[0], content)
    if scores is None or not scores.total:
        return paths
    paths += draw(partial(_confusion, names=names), scores, folder / f"{stem}_confusion")
    paths += draw(_reliability, scores, folder / f"{stem}_reliability")
    first = evaluation.source.examples(np.array([0]))
    if "images" in first["inputs"] and first["targets"].ndim == 1:
        data = opened.run.config["data"] if opened.run else {}
        images = evaluation.source.examples(np.array([x.number for x in scores.worst]))["inputs"]["images"]
        images = images * np.array(data.get("std") or 1) + np.array(data.get("mean") or 0)
        paths += draw(partial(_worst, names=names, images=images), scores, folder / f"{stem}_worst")
    return paths


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the metrics, the classes, the worst examples and the paths of what it wrote."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.evaluate", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="folder of a run; its newest checkpoint is used")
    parser.add_argument("--split", default="", help="such as test or test[:1000] (default: that of the run)")
    parser.add_argument("--out", help="folder for the results (default: evaluate/ in the workdir)")
    parser.add_argument("--batch_size", type=int, default=64, help="examples at once (default %(default)s)")
    args = parser.parse_args(arguments)
    opened = open_folder(args.workdir)
    evaluation = evaluate(opened, args.split, batch_size=args.batch_size)
    assert opened.run is not None
    split = args.split or opened.run.dataset.evaluation_name
    _print(opened, evaluation, split)
    results, *paths = report(opened, evaluation, split, Path(args.out or Path(args.workdir) / "evaluate"))
    print(f"results  {results}")
    if paths:
        print(f"pictures {drawn(results.parent, paths)}")
    print(next_text(after_evaluation(opened)))


def _print(opened: Opened, evaluation: Evaluation, split: str) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table(show_header=False, box=None)
    scores, names = evaluation.scores, opened.classes or ()
    for name, value in evaluation.metrics.items():
        table.add_row(f"{split}/{name}", f"{value:.5g}")
    if scores is not None:
        table.add_row("expected calibration error", f"{scores.calibration_error():.4f}")
    console.print(table)
    for line in evaluation.notes:
        console.print(f"note: {line}")
    print(describe(opened), file=sys.stderr)
    if scores is None:
        return
    by_class = scores.by_class()
    order = np.argsort(by_class["recall"], kind="stable") if len(names) > MOST_ROWS else np.arange(len(names))
    table = Table(box=None)
    for column in ("class", *by_class):
        table.add_column(column, justify="left" if column == "class" else "right")
    for number in order[:MOST_ROWS]:
        values = [f"{x[number]:.4f}" if x.dtype.kind == "f" else f"{x[number]:,}" for x in by_class.values()]
        table.add_row(cut(names[int(number)], 40), *values)
    console.print(table)
    if len(names) > MOST_ROWS:
        console.print(f"the {MOST_ROWS} of {len(names):,} classes with the lowest recall")
    inputs = SplitNames(evaluation.source, opened.vocabulary)
    console.print("worst examples: loss, label -> prediction, example")
    for example in scores.worst[:5]:
        text = inputs[example.number]
        label, predicted = names[example.label], names[example.predicted]
        print_foreign(f"  {example.loss:8.4f}  {label} -> {predicted}  {cut(' '.join(text.split()), 80)}")


# ---- pictures -------------------------------------------------------------------------------------------------------


def _confusion(figure: Figure, scores: ClassScores, names: tuple[str, ...]) -> None:
    """Rows are the labels and sum to 1; the numbers are counts."""
    axes, count = figure.subplots(), len(names)
    shares = scores.confusion / np.maximum(scores.confusion.sum(1, keepdims=True), 1)
    drawn = matrix(axes, shares, vmin=0, vmax=1)
    if count <= MOST_NUMBERS:
        for (row, column), number in np.ndenumerate(scores.confusion):
            colour = "black" if shares[row, column] > 0.6 else "white"
            size = min(12, 160 / count)
            axes.text(column, row, f"{number:,}", ha="center", va="center", color=colour, fontsize=size)
    if count <= MOST_NAMES:
        short = [cut(name, 16) for name in names]
        size = min(13, 400 / count)
        turned = count * max(map(len, short)) > 40
        axes.set_xticks(range(count), short, rotation=45 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(range(count), short)
        axes.tick_params(labelsize=size)
    axes.set(xlabel="predicted", ylabel="label")
    axes.set_title("Which class is taken for which")
    figure.colorbar(drawn, ax=axes, label="share of the label")


def _reliability(figure: Figure, scores: ClassScores) -> None:
    """Above, the share of right answers by confidence; below, how many answers there are."""
    table, middles = scores.reliability(), (np.arange(BINS) + 0.5) / BINS
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.bar(middles, np.nan_to_num(table["accuracy"]), width=0.9 / BINS, color="C0")
    above.plot([0, 1], [0, 1], "--", color=ink(), label="confidence = accuracy")
    above.plot(table["confidence"], table["accuracy"], "C1o", label="mean of the bin")
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    above.set_title(f"Reliability: expected calibration error {scores.calibration_error():.4f}")
    above.legend(loc="upper left")
    below.bar(middles, table["count"] / max(table["count"].sum(), 1), width=0.9 / BINS, color="C2")
    below.set(xlabel="confidence", ylabel="share")
    for axes in (above, below):
        grid(axes, "y")


def _worst(figure: Figure, scores: ClassScores, names: tuple[str, ...], images: np.ndarray) -> None:
    """The images with the highest loss, each with its label and what was predicted."""
    columns = 8
    panels = list(figure.subplots(-(-len(images) // columns), columns, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, example, image in zip(panels, scores.worst, images):
        picture = np.clip(image, 0, 1)
        axes.imshow(picture if picture.shape[-1] == 3 else picture.mean(-1), cmap="gray", vmin=0, vmax=1)
        label, predicted = cut(names[example.label], 12), cut(names[example.predicted], 12)
        axes.set_title(f"{label} \N{RIGHTWARDS ARROW} {predicted}", fontsize=11, loc="center", pad=4)
    figure.suptitle("Worst examples: label and prediction", fontsize=16)


if __name__ == "__main__":
    main()
