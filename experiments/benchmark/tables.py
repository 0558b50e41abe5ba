"""The table of a benchmark, one row per family: in the terminal, as CSV, Markdown and LaTeX."""

from collections.abc import Sequence
import csv
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from core.files import replacing, write_text
from core.markdown import markdown
from experiments.benchmark import suite as suites
from experiments.benchmark.scores import FamilyScores, Scores
from experiments.benchmark.statistics import MINIMUM
from experiments.benchmark.suite import Suite

PLAIN_WIDTH = 160  # of what is printed without a terminal


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
      key: the attribute of `Row` that it shows.
      title: its heading.
      about: what it means.
      form: the format of its numbers.
    """

    key: str
    title: str
    about: str
    form: str = ""


COLUMNS = (
    Column("rank", "rank", "the range that the comparison allows: from one more than the families that are "
           f"significantly better to the number of those that are not significantly worse. None below {MINIMUM} seeds"),
    Column("family", "family", ""),
    Column("among", "task", "families are ranked among those of the same task"),
    Column("score", "score", "mean over final runs on the test split"),
    Column("interval", "95 % interval", "of the mean by Student's t, for other seeds and other test examples; with "
           "--studies, for another tuning too"),
    Column("detectable", "detectable", "the smallest difference to the next family, in the order of the table, that "
           "this design finds with 80 % power, where that family is not significantly worse"),
    Column("parameters", "parameters", "* marks a number outside the budget", ",.0f"),
    Column("train_flops", "FLOPs/example, training", "of matrix products and convolutions in the train step"),
    Column("forward_flops", "FLOPs/example, forward", "of matrix products and convolutions in the evaluation"),
    Column("train_speed", "examples/s, training", "measured with nothing else running on the machine", ",.0f"),
    Column("inference_speed", "examples/s, inference", "measured with nothing else running on the machine", ",.0f"),
    Column("memory", "memory, MiB", "peak of the train step, as planned by the compiler", ",.1f"),
    Column("examples_to_target", "examples to target", "seen until validation first reaches the target, mean"),
    Column("seconds_to_target", "time to target, s", "the examples to target at the measured speed of training"),
    Column("tuning_examples", "tuning, examples", "seen by all tuning runs together", ",.0f"),
    Column("tuning_flops", "tuning, FLOPs", "training FLOPs of all tuning runs together"),
    Column("rate", "learning rate", "that the tuning chose; (edge): the lowest or highest of the grid, so a better one "
           "may lie beyond"),
)
LEFT_ALIGNED = ("rank", "family", "among", "score", "interval")
PRINTED = (
    "rank", "family", "among", "score", "interval", "detectable", "parameters", "train_flops", "rate", "train_speed",
    "examples_to_target",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table, with numbers as they are. The attributes up to `rate` are described in `COLUMNS`.

    Attributes:
      edge: whether the learning rate is at the edge of the grid, in any study.
      seeds: number of final runs.
      units: independent scores of the comparison that it is part of; 0 if there is nothing to compare with.
      reached: number of them that reach the target.
      outside: whether the number of parameters is outside the budget.
      reason: why the family has no score; empty if it has one.
    """

    family: str
    rank: tuple[int, int] | None = None
    among: str | None = None
    score: float | None = None
    interval: tuple[float, float] | None = None
    detectable: float | None = None
    parameters: int | None = None
    train_flops: float | None = None
    forward_flops: float | None = None
    train_speed: float | None = None
    inference_speed: float | None = None
    memory: float | None = None
    examples_to_target: float | None = None
    seconds_to_target: float | None = None
    tuning_examples: int | None = None
    tuning_flops: float | None = None
    rate: float | None = None
    edge: bool = False
    note: str = ""
    seeds: int = 0
    units: int = 0
    reached: int = 0
    outside: bool | None = None
    reason: str = ""


def rows(scores: Scores) -> list[Row]:
    """Returns a row per family: ranked ones first, then those that failed, then those that take no part."""
    by_family = {name: _row(name, family, scores.rules) for name, family in scores.families.items()}
    ranked = []
    for group in scores.comparison.values():
        ties = {(pair.a, pair.b): pair.detectable for pair in group.pairs if not pair.sure}
        following = [standing.family for standing in group.standings[1:]] + [""]
        for standing, other in zip(group.standings, following):
            row = by_family.pop(standing.family)
            interval = None if standing.low is None or standing.high is None else (standing.low, standing.high)
            ranked.append(replace(
                row, rank=standing.rank, score=standing.mean, interval=interval,
                detectable=ties.get((standing.family, other)), units=group.units if group.pairs else 0,
            ))  # fmt: skip
    return [*ranked, *by_family.values()]


def texts(row: Row, rules: Suite) -> dict[str, str]:
    """Returns the text of each cell of a row, by the key of its column."""
    if row.reason:
        return {"family": row.family, "score": row.reason}
    cells = {column.key: _text(row, column, rules) for column in COLUMNS}
    cells["parameters"] += "*" if row.outside else ""
    cells["family"] += f" ({row.note})" if row.note else ""
    return cells


def write(scores: Scores, workdir: Path) -> None:
    """Writes `table.csv` with full numbers, and `table.md` and `table.tex` with rounded ones."""
    table, rules = rows(scores), scores.rules
    _write_csv(table, workdir / "table.csv")
    columns = used(table)
    head = [heading(column, rules) for column in columns]
    left = [column.key in LEFT_ALIGNED for column in columns]
    body = [[texts(row, rules).get(column.key, "") for column in columns] for row in table]
    write_text(workdir / "table.md", markdown(head, body, [not is_left for is_left in left]))
    _write_latex(table, head, left, body, workdir / "table.tex")


def show(scores: Scores) -> None:
    """Prints the table with as many columns as fit into the terminal, and below it the families without a score."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    rules, all_rows = scores.rules, rows(scores)
    columns = [column for column in used(all_rows) if column.key in PRINTED]
    table = _printed(columns, all_rows, rules)
    while table.__rich_measure__(console, console.options).maximum > console.width and len(columns) > 3:
        columns = columns[:-1]
        table = _printed(columns, all_rows, rules)
    console.print(table)
    for row in all_rows:
        if row.reason:
            console.print(f"{row.family}: {row.reason}")
    for line in warnings(scores):
        console.print(line)


def warnings(scores: Scores) -> list[str]:
    """Returns what a reader must know before the numbers: a shortened run, too few seeds, an edge of the grid."""
    lines, rules = [], scores.rules
    if rules.examples != (usual := suites.load(scores.protocol.suite).examples):
        lines.append(
            f"{'Shortened' if rules.examples < usual else 'Lengthened'}: {rules.examples:,} examples in each final run "
            f"in place of {usual:,}. These are not the results of the suite."
        )
    for task, group in scores.comparison.items():
        if group.pairs and group.units < MINIMUM:
            lines.append(
                f"No ranks{f' on {task}' if task else ''}: {group.units} independent scores of a family, and fewer "
                f"than {MINIMUM} do not keep false differences below 5 %."
            )
    edge = [name for name, family in scores.participants.items() if family.at_edge]
    if edge:
        lines.append(f"At the edge of the learning rates, so that a better one may lie beyond: {', '.join(edge)}.")
    return lines


def heading(column: Column, rules: Suite) -> str:
    """Returns the heading of a column; that of the score is chosen by the suite."""
    if column.key == "detectable" and rules.percent:
        return f"{column.title}, points"
    return rules.score if column.key == "score" else column.title


def number(score: float, rules: Suite) -> str:
    """Returns a score as text."""
    return f"{100 * score:.2f} %" if rules.percent else f"{score:.4f}"


def difference(value: float, rules: Suite, *, sign: str = "+") -> str:
    """Returns a difference of scores as text."""
    return f"{100 * value:{sign}.2f} points" if rules.percent else f"{value:{sign}.4f}"


def detectable_text(value: float, rules: Suite) -> str:
    """Returns a smallest detectable difference as text. Shares differ by 100 points at most."""
    return "over 100 points" if rules.percent and value > 1 else difference(value, rules, sign="")


def rank_text(rank: tuple[int, int]) -> str:
    """Returns a range of ranks as text: "3", or "3-6"."""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"


def prefixed(value: float) -> str:
    """Returns a number with a prefix: 12,300,000 as 12.3 M."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def used(table: Sequence[Row]) -> list[Column]:
    """Returns the columns that are not empty in every row."""
    return [
        column for column in COLUMNS
        if any(getattr(row, column.key) is not None or (column.key == "rank" and row.units) for row in table)
    ]  # fmt: skip


def _row(name: str, family: FamilyScores | str, rules: Suite) -> Row:
    """The row of a family, without what follows from its comparison with others."""
    if isinstance(family, str):
        return Row(family=name, reason=family)
    if not family.done:
        return Row(family=name, reason=f"{family.state}: {family.reason}".rstrip(": "))
    cost, runs, tuning = family.measured_cost, family.runs, family.tuning
    reached = [examples for run in runs if (examples := _first_at_target(run.curve, rules)) is not None]
    parameters = runs[0].parameters
    to_target = mean(reached) if reached else None
    return Row(
        family=name,
        among=rules.family(name).among or None,
        note=family.note,
        seeds=len(runs),
        parameters=parameters,
        outside=not rules.within_budget(parameters),
        train_flops=cost.train_flops,
        forward_flops=cost.forward_flops,
        train_speed=cost.train_speed,
        inference_speed=cost.inference_speed,
        memory=cost.memory / 2**20,
        reached=len(reached),
        examples_to_target=to_target,
        seconds_to_target=to_target and to_target / cost.train_speed,
        tuning_examples=tuning.examples,
        tuning_flops=tuning.examples * cost.train_flops,
        rate=family.setting.get("optimizer.learning_rate"),
        edge=family.at_edge,
    )


def _first_at_target(curve: Sequence[tuple[int, float]], rules: Suite) -> int | None:
    return next((examples for examples, score in curve if rules.sign * score >= rules.sign * rules.target), None)


def _text(row: Row, column: Column, rules: Suite) -> str:
    value = getattr(row, column.key)
    if column.key == "rank" and value is None and 0 < row.units < MINIMUM:
        return f"none: {row.units} seed{'s' if row.units > 1 else ''}"
    if value is None:
        return "-"
    if column.key == "rank":
        return rank_text(value)
    if column.key == "detectable":
        return detectable_text(value, rules).removesuffix(" points")
    if column.key == "rate":
        return f"{value:g} (edge)" if row.edge else f"{value:g}"
    if column.key == "score":
        return number(value, rules)
    if column.key == "interval":
        low, high = (number(end, rules).removesuffix(" %") for end in value)
        return f"{low} to {high}"
    if "flops" in column.key:
        return prefixed(value)
    if column.key == "examples_to_target":
        return f"{value:,.0f}" + ("" if row.reached == row.seeds else f" ({row.reached} of {row.seeds} seeds)")
    if column.key == "seconds_to_target":
        return f"{value:.3g}"
    return format(value, column.form)


def _write_csv(table: Sequence[Row], path: Path) -> None:
    keys = [column.key for column in COLUMNS if column.key not in ("interval", "rank")]
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["best_rank", "worst_rank", *keys, "low", "high", "outside_budget", "at_edge", "reason"])
        for row in table:
            numbers = [getattr(row, key) for key in keys]
            ends = [*(row.interval or ("", "")), row.outside, row.edge, row.reason]
            writer.writerow([*(row.rank or ("", "")), *numbers, *ends])  # None is an empty cell


def _write_latex(table: Sequence[Row], head: list[str], left: list[bool], body: list[list[str]], path: Path) -> None:
    line = lambda cells: " & ".join(map(_latex, cells)) + r" \\"
    span = rf"\multicolumn{{{len(head) - 2}}}{{l}}"
    reason = lambda row: rf" & {_latex(row.family)} & {span}{{{_latex(row.reason)}}} \\"
    lines = [reason(row) if row.reason else line(cells) for row, cells in zip(table, body)]
    begin = rf"\begin{{tabular}}{{{''.join('l' if is_left else 'r' for is_left in left)}}}"
    latex = [begin, r"\hline", line(head), r"\hline", *lines, r"\hline", r"\end{tabular}"]
    write_text(path, "\n".join(latex) + "\n")


def _latex(text: str) -> str:
    return text.translate(_LATEX)


_LATEX = str.maketrans({
    **{letter: rf"\{letter}" for letter in "%_&#${}"}, "*": "$^*$", "\\": r"\textbackslash{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
})  # fmt: skip


def _printed(columns: list[Column], rows: Sequence[Row], rules: Suite) -> Table:
    table = Table(title=rules.title, box=None, title_justify="left", pad_edge=False)
    for column in columns:
        side = "left" if column.key in ("rank", "family", "among") else "right"
        table.add_column(heading(column, rules), justify=side, no_wrap=True)
    for row in rows:
        if not row.reason:
            cells = texts(row, rules)
            table.add_row(*(cells[column.key] for column in columns))
    return table
