"""The table of a benchmark, a row a family: in the terminal, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping
import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from experiments.sweep import trials as states
from experiments.sweep.outcomes import whole

PLAIN = 160  # width of what is printed where there is no terminal


@dataclass(frozen=True)
class Column:
    """`key` of a row and the heading; `about` says what it is, `form` how a number is written."""

    key: str
    title: str
    about: str
    form: str = ""


COLUMNS = (
    Column("rank", "rank", "shared with the row above, unless the first of that rank is surely better"),
    Column("family", "family", ""),
    Column("among", "task", "ranks are among the families of one task"),
    Column("score", "score", "mean over seeds on the test split"),
    Column("interval", "95 % interval", "of the mean over seeds, bootstrap"),
    Column("parameters", "parameters", "* marks a row outside the budget", ",.0f"),
    Column("train_flops", "FLOPs/example, training", "counted by XLA in the compiled train step"),
    Column("forward_flops", "FLOPs/example, forward", "counted by XLA in the compiled evaluation"),
    Column("train_speed", "examples/s, training", "examples a second in training, alone on the machine", ",.0f"),
    Column("inference_speed", "examples/s, inference", "examples a second in evaluation, alone on the machine", ",.0f"),
    Column("memory", "memory, MiB", "peak of the train step, as the compiler plans it", ",.1f"),
    Column("examples_to_target", "examples to target", "seen until validation first reaches the target, mean"),
    Column("seconds_to_target", "time to target, s", "these examples at the speed of training"),
    Column("tuning_examples", "tuning, examples", "seen by all trials of the tuning together", ",.0f"),
    Column("tuning_flops", "tuning, FLOPs", "of these examples in training"),
)
LEFT = ("family", "among", "score", "interval")


def rows(found: Mapping) -> list[dict]:
    """A row for each family, numbers as they are: compared ones first, then what failed, then what makes no sense."""
    rules = found["protocol"]["rules"]
    made = {name: _row(name, family, rules) for name, family in found["families"].items()}
    order = []
    for group in found["comparison"].values():
        for standing in group["standings"]:
            name = standing["family"]
            made[name] |= {"rank": standing["rank"], "score": standing["mean"]}
            made[name] |= {"interval": (standing["low"], standing["high"])}
            order.append(name)
    return [made[name] for name in [*order, *(name for name in made if name not in order)]]


def texts(row: Mapping, rules: Mapping) -> dict[str, str]:
    """A row as it is read."""
    if "reason" in row:
        return {"family": row["family"], "score": row["reason"]}
    shown = {}
    for column in COLUMNS:
        value = row.get(column.key)
        if value is None:
            shown[column.key] = "-"
        elif column.key == "score":
            shown[column.key] = number(value, rules)
        elif column.key == "interval":
            low, high = (number(end, rules).removesuffix(" %") for end in value)
            shown[column.key] = f"{low} to {high}"
        elif "flops" in column.key:
            shown[column.key] = prefixed(value)
        elif column.key == "examples_to_target":
            few = "" if row["reached"] == row["seeds"] else f" ({row['reached']} of {row['seeds']} seeds)"
            shown[column.key] = f"{value:,.0f}{few}"
        elif column.key == "seconds_to_target":
            shown[column.key] = f"{value:.3g}"
        else:
            shown[column.key] = format(value, column.form)
    shown["parameters"] += "*" if row.get("outside") else ""
    shown["family"] += f" ({row['note']})" if row.get("note") else ""
    return shown


def write(found: Mapping, workdir: Path) -> None:
    """`table.csv` with numbers as they are, `table.md` and `table.tex` as they are read."""
    rules = found["protocol"]["rules"]
    made = rows(found)
    with whole(workdir / "table.csv") as temporary, temporary.open("w", newline="") as file:
        keys = [column.key for column in COLUMNS if column.key != "interval"]
        writer = csv.writer(file)
        writer.writerow([*keys, "low", "high", "outside_budget", "reason"])
        for row in made:
            low, high = row.get("interval") or ("", "")
            writer.writerow(
                [*(row.get(key, "") for key in keys), low, high, row.get("outside", ""), row.get("reason", "")]
            )
    columns = used(made)
    head = [heading(column, rules) for column in columns]
    left = [column.key in LEFT for column in columns]
    body = [[texts(row, rules).get(column.key, "") for column in columns] for row in made]
    marks = "|".join("---" if some else "---:" for some in left)
    line = lambda cells: f"| {' | '.join(map(_markdown, cells))} |"
    _write(workdir / "table.md", [line(head), f"|{marks}|", *map(line, body)])
    line = lambda cells: " & ".join(map(_latex, cells)) + r" \\"
    wide = rf"\multicolumn{{{len(columns) - 2}}}{{l}}"
    reason = lambda row: rf" & {_latex(row['family'])} & {wide}{{{_latex(row['reason'])}}} \\"
    lines = [reason(row) if "reason" in row else line(cells) for row, cells in zip(made, body)]
    begin = rf"\begin{{tabular}}{{{''.join('l' if some else 'r' for some in left)}}}"
    _write(workdir / "table.tex", [begin, r"\hline", line(head), r"\hline", *lines, r"\hline", r"\end{tabular}"])


def show(found: Mapping) -> None:
    """Prints the table, with as many columns as the terminal has room for, and below it what has no row."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PLAIN
    rules, made = found["protocol"]["rules"], rows(found)
    short = (
        "rank",
        "family",
        "among",
        "score",
        "interval",
        "parameters",
        "train_flops",
        "train_speed",
        "examples_to_target",
    )
    columns = [column for column in used(made) if column.key in short]
    table = _printed(columns, made, rules)
    while table.__rich_measure__(console, console.options).maximum > console.width and len(columns) > 3:
        table = _printed(columns := columns[:-1], made, rules)
    console.print(table)
    for row in made:
        if "reason" in row:
            console.print(f"{row['family']}: {row['reason']}")


def _printed(columns: list[Column], made: list[dict], rules: Mapping) -> Table:
    table = Table(title=rules["title"], box=None, title_justify="left", pad_edge=False)
    for column in columns:
        side = "left" if column.key in ("family", "among") else "right"
        table.add_column(heading(column, rules), justify=side, no_wrap=True)
    for row in made:
        if "reason" not in row:
            shown = texts(row, rules)
            table.add_row(*(shown[column.key] for column in columns))
    return table


def heading(column: Column, rules: Mapping) -> str:
    return rules["score"] if column.key == "score" else column.title


def number(score: float, rules: Mapping) -> str:
    """A score as it is read."""
    return f"{100 * score:.2f} %" if rules["percent"] else f"{score:.4f}"


def prefixed(value: float) -> str:
    """12,300,000 as 12.3 M."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def used(made: list[dict]) -> list[Column]:
    """The columns in which some row has something."""
    return [column for column in COLUMNS if any(row.get(column.key) is not None for row in made)]


def _row(name: str, family: Mapping, rules: Mapping) -> dict:
    if "state" not in family:
        return {"family": name, "reason": family["reason"]}
    if family["state"] != states.DONE:
        return {"family": name, "reason": f"{family['state']}: {family['reason']}".rstrip(": ")}
    cost, runs, tuning = family["cost"], family["runs"], family["tuning"]
    reached = [examples for run in runs if (examples := _first_at(run["curve"], rules)) is not None]
    parameters = runs[0]["parameters"]
    to_target = mean(reached) if reached else None
    return {
        "family": name,
        "among": rules["families"][name]["among"] or None,
        "note": family["note"],
        "seeds": len(runs),
        "parameters": parameters,
        "outside": abs(parameters - rules["budget"]) > rules["tolerance"] * rules["budget"],
        "train_flops": cost["train_flops"],
        "forward_flops": cost["forward_flops"],
        "train_speed": cost["train_speed"],
        "inference_speed": cost["inference_speed"],
        "memory": cost["memory"] / 2**20,
        "reached": len(reached),
        "examples_to_target": to_target,
        "seconds_to_target": to_target and to_target / cost["train_speed"],
        "tuning_examples": tuning["examples"],
        "tuning_flops": tuning["examples"] * cost["train_flops"],
    }


def _first_at(curve: list, rules: Mapping) -> int | None:
    sign = 1 if rules["better"] == "max" else -1
    return next((examples for examples, score in curve if sign * score >= sign * rules["target"]), None)


def _markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;")


def _latex(text: str) -> str:
    return text.translate(_LATEX)


_LATEX = str.maketrans({
    **{letter: rf"\{letter}" for letter in "%_&#${}"}, "*": "$^*$", "\\": r"\textbackslash{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
})  # fmt: skip


def _write(path: Path, lines: list[str]) -> None:
    with whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
