"""`report.html`: a benchmark as one self-contained page, with table, figures, protocol, and how to reproduce it."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
import json
from pathlib import Path
import shlex
from string import Template

from core.files import write_text
from experiments.benchmark import suite as suites
from experiments.benchmark import tables
from experiments.benchmark.plots import Picture
from experiments.benchmark.scores import FamilyScores, Scores
from experiments.benchmark.statistics import Comparison
from experiments.benchmark.suite import Suite
from experiments.benchmark.tables import Column, Row

TEMPLATE = Path(__file__).with_name("report.html")


def write_page(scores: Scores, pictures: Sequence[Picture], workdir: Path) -> Path:
    """Writes the page into a folder and returns its path."""
    rules, rows = scores.rules, tables.rows(scores)
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(rules.title),
        about=escape(rules.about),
        summary=escape(_summary(scores)),
        table=_table(rows, rules),
        legend=escape(_legend(rows)),
        comparison="".join(_pairs(among, group, rules) for among, group in scores.comparison.items()),
        figures="\n".join(map(_figure, pictures)),
        protocol=_protocol(scores),
        commands=_commands(scores),
        machine=_machine(scores),
    )
    path = workdir / "report.html"
    write_text(path, page)
    return path


def _summary(scores: Scores) -> str:
    """Who is first, in one sentence per task, and the published scores."""
    rules, sentences = scores.rules, []
    for task, group in scores.comparison.items():
        prefix = f"On {task}: " if task else ""
        first = [standing.family for standing in group.standings if standing.rank == 1]
        if len(first) == 1:
            sentences.append(f"{prefix}{first[0]} is first, with significance.")
        elif first:
            sentences.append(
                f"{prefix}{', '.join(first[:-1])} and {first[-1]} share the first rank: {len(group.seeds)} seeds do "
                "not separate them."
            )
    if rules.published:
        published = (f"{tables.number(score, rules)}, {source}" for source, score in rules.published.items())
        sentences.append(f"Published: {'; '.join(published)}.")
    return " ".join(sentences)


def _table(rows: Sequence[Row], rules: Suite) -> str:
    columns = tables.used(rows)
    head = "".join(
        f'<th scope="col" title="{escape(column.about)}"><button>{escape(tables.heading(column, rules))}</button></th>'
        for column in columns
    )
    body = "".join(_row(row, columns, rules) for row in rows)
    return f'<table class="standings"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'


def _row(row: Row, columns: Sequence[Column], rules: Suite) -> str:
    if row.reason:
        reason = f'<td class="reason" colspan="{len(columns) - 2}">{escape(row.reason)}</td>'
        return f'<tr><td></td><td data-value="{escape(row.family)}">{escape(row.family)}</td>{reason}</tr>\n'
    cells, html = tables.texts(row, rules), []
    for column in columns:
        value = getattr(row, column.key)
        value = value[0] if isinstance(value, tuple) else value
        data = "" if value is None else f' data-value="{escape(str(value))}"'  # what the page sorts by
        html.append(f"<td{data}>{escape(cells[column.key])}</td>")
    return f"<tr>{''.join(html)}</tr>\n"


def _legend(rows: Sequence[Row]) -> str:
    return "; ".join(f"{column.title}: {column.about}" for column in tables.used(rows) if column.about) + "."


def _pairs(task: str, group: Comparison, rules: Suite) -> str:
    if not group.pairs:
        return ""
    rows = "".join(
        f"<tr><td>{escape(pair.a)}</td><td>{escape(pair.b)}</td><td>{_difference(pair.difference, rules)}</td>"
        f"<td>{pair.p:.3g}</td><td>{'significantly better' if pair.sure else 'not significant'}</td></tr>\n"
        for pair in group.pairs
    )
    head = "<tr><th>family</th><th>compared with</th><th>difference</th><th>p, corrected</th><th></th></tr>"
    title = f"All pairs{': ' if task else ''}{escape(task)}"
    return (
        f"<details><summary>{title} ({len(group.pairs)} pairs, {len(group.seeds)} seeds)</summary>\n"
        f'<div class="wide"><table class="words">{head}{rows}</table></div></details>'
    )


def _difference(value: float, rules: Suite) -> str:
    return f"{100 * value:+.2f} points" if rules.percent else f"{value:+.4f}"


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode()
    return (
        f'<figure><h3>{escape(picture.title)}</h3><img src="data:image/svg+xml;base64,{data}" '
        f'alt="{escape(picture.title)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'
    )


def _protocol(scores: Scores) -> str:
    rules, overrides = scores.rules, scores.protocol.overrides
    data = {**rules.data} | {name[5:]: value for name, value in overrides.items() if name.startswith("data.")}
    seeds = sorted({seed for group in scores.comparison.values() for seed in group.seeds})
    trials = len(rules.rates) * max((len(family.own[1]) for family in rules.participants.values()), default=0)
    rates = ", ".join(f"{rate:g}" for rate in rules.rates)
    lines = {
        "data": f"{data['name']}: trained on {data['train']}, tuned on {data['evaluation']}; {rules.test} is read "
        "once, at the end",
        "budget": f"{rules.budget:,} parameters within {rules.tolerance:.0%}; {rules.examples:,} examples seen, "
        f"{rules.batch_size} per step",
        "tuning": f"{trials} runs per family, of {rules.tuning_examples:,} examples each: learning rates {rates}, "
        "times two values of one other field; seed 0",
        "final runs": f"seeds {', '.join(map(str, seeds))}; the parameters after the last step are tested",
        "intervals": "95 %, bootstrap over seeds (percentiles). They show how the score varies with the seed, not how "
        "it would vary with another test split",
        "ranks": "a family is significantly better than another if their intervals do not overlap and the paired "
        "t-test over seeds, corrected by Holm, has p below 0.05. Runs with the same seed see the same examples in the "
        "same order, so they are paired; with 5 seeds a rank test could never become significant. A family shares the "
        "rank of the one above it, unless the first of that rank is significantly better",
        "target": f"{tables.number(rules.target, rules)} on validation data. Examples are counted at the first "
        "evaluation that reaches it; time follows from the speed measured with nothing else running",
        "FLOPs, memory": "as counted and planned by XLA in the compiled programs; the body of a loop counts once",
    }
    if overrides:
        lines["also set"] = ", ".join(f"{name} = {value}" for name, value in overrides.items())
    return _definitions(lines)


def _commands(scores: Scores) -> str:
    rows = "".join(_command_row(name, family, scores) for name, family in scores.participants.items())
    return f'<div class="wide"><table class="words">{rows}</table></div>'


def _command_row(name: str, family: FamilyScores, scores: Scores) -> str:
    suite, rules = scores.protocol.suite, scores.rules
    command = f"python -m experiments.benchmark {suite} --families={name} --workdir=runs/{suite}_{name}"
    command += f" --seeds={max(1, len(family.runs))}{' --sizes' if family.sizes else ''}{' --by' if family.by else ''}"
    if rules.examples != suites.load(suite).examples:
        command += f" --examples={rules.examples}"
    for field, value in scores.protocol.overrides.items():
        text = value if isinstance(value, str) else json.dumps(value)
        command += f" --set {shlex.quote(f'{field}={text}')}"
    setting = ", ".join(f"{field} = {value:g}" for field, value in family.setting.items())
    edge = " (at the edge of the grid)" if family.edge else ""
    first = f"<br><small>its first run: <code>{escape(family.runs[0].command)}</code></small>" if family.runs else ""
    return (
        f"<tr><th>{escape(name)}</th><td>{escape(setting + edge or 'no setting')}<br>"
        f"<code>{escape(command)}</code>{first}</td></tr>\n"
    )


def _machine(scores: Scores) -> str:
    commits, machines = set(), {}
    for name, family in scores.participants.items():
        for run in family.runs:
            commits.add(f"{str(run.git['commit'])[:12]}{' with changes' if run.git['dirty'] else ''}")
        if family.cost:
            e = family.cost.environment
            machine = f"{e['devices']['count']} x {e['devices']['kind']}, {e['platform']}, Python {e['python']}"
            machines.setdefault(machine, []).append(name)
    # Speeds of different machines cannot be compared, so with several each is listed with its families.
    costs = [f"{machine}: {', '.join(names)}" if len(machines) > 1 else machine for machine, names in machines.items()]
    return _definitions({
        "costs measured on": "; ".join(costs) or "not measured",
        "commit of the runs": ", ".join(sorted(commits)) or "none",
        "digest of the code": scores.protocol.code[:16],
        "packages": ", ".join(f"{name} {version}" for name, version in scores.protocol.packages.items()),
    })  # fmt: skip


def _definitions(lines: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>\n" for name, text in lines.items())
    return f'<div class="wide"><table class="words">{rows}</table></div>'
