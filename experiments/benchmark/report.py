"""`report.html`: a benchmark as one self-contained page, with table, figures, protocol, and how to reproduce it."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
import json
from pathlib import Path
import shlex
from string import Template

from core.files import write_text
from experiments.benchmark import plots, tables
from experiments.benchmark import suite as suites
from experiments.benchmark.phases import WIDEST
from experiments.benchmark.plots import Picture
from experiments.benchmark.scores import FamilyScores, Scores
from experiments.benchmark.statistics import MINIMUM, Comparison, Pair
from experiments.benchmark.suite import Suite
from experiments.benchmark.tables import Column, Row

TEMPLATE = Path(__file__).with_name("report.html")


def write_page(scores: Scores, pictures: Sequence[Picture], workdir: Path) -> Path:
    """Writes the page into a folder and returns its path."""
    rules, rows = scores.rules, tables.rows(scores)
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(rules.title),
        about=escape(rules.about),
        banner="".join(f'<p class="banner">{escape(line)}</p>\n' for line in tables.warnings(scores)),
        summary=escape(_summary(scores)),
        table=_table(rows, rules),
        legend=escape(_legend(rows)),
        comparison="".join(_pairs(among, group, rules) for among, group in scores.comparison.items()),
        sources=_sources(scores),
        families=_key(scores) if pictures else "",
        figures="\n".join(_figure(picture) for picture in pictures),
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
        first = [standing.family for standing in group.standings if standing.rank and standing.rank[0] == 1]
        if len(first) == 1:
            sentences.append(f"{prefix}{first[0]} is first, with significance.")
        elif first:
            ties = [pair.detectable for pair in group.pairs if {pair.a, pair.b} <= set(first) and pair.detectable]
            sentences.append(
                f"{prefix}{', '.join(first[:-1])} and {first[-1]} share the first rank: {group.units} "
                f"{_units(scores, group)} do not separate them."
            )
            if ties and not (rules.percent and min(ties) > 1):
                smallest = tables.difference(min(ties), rules, sign="")
                sentences.append(f"A difference of {smallest} or more would be found with 80 % power.")
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
        mark = ' class="edge"' if column.key == "rate" and row.edge else ""
        html.append(f"<td{data}{mark}>{escape(cells[column.key])}</td>")
    return f"<tr>{''.join(html)}</tr>\n"


def _legend(rows: Sequence[Row]) -> str:
    return "; ".join(f"{column.title}: {column.about}" for column in tables.used(rows) if column.about) + "."


def _pairs(task: str, group: Comparison, rules: Suite) -> str:
    if not group.pairs:
        return ""
    rows = "".join(
        f"<tr><td>{escape(pair.a)}</td><td>{escape(pair.b)}</td><td>{tables.difference(pair.difference, rules)}</td>"
        f"<td>{_ends(pair, rules)}</td><td>{pair.p:.3g}</td><td>{_verdict(pair, group, rules)}</td></tr>\n"
        for pair in group.pairs
    )
    head = (
        "<tr><th>family</th><th>compared with</th><th>difference</th><th>95 % interval of the pair alone</th>"
        "<th>p, corrected</th><th>conclusion</th></tr>"
    )
    title = f"Pairwise comparisons{': ' if task else ''}{escape(task)}"
    return (
        f"<details><summary>{title} ({len(group.pairs)} pairs)</summary>\n<p>{escape(_design(group))}</p>"
        f'<div class="wide"><table class="words">{head}{rows}</table></div></details>'
    )


def _ends(pair: Pair, rules: Suite) -> str:
    if pair.low is None or pair.high is None:
        return "-"
    return f"{tables.difference(pair.low, rules).removesuffix(' points')} to {tables.difference(pair.high, rules)}"


def _verdict(pair: Pair, group: Comparison, rules: Suite) -> str:
    """What the evidence says of a pair, with the smallest difference that would have been found where it is a tie."""
    if pair.sure:
        return "significantly better"
    if pair.detectable is None or not group.ranked:
        return "too few runs for a conclusion"
    return f"not separated; this design finds {tables.detectable_text(pair.detectable, rules)} with 80 % power"


def _design(group: Comparison) -> str:
    """Which test was used, and why."""
    test = (
        "Scores with the same seed vary together, so the test is the t-test of their differences"
        if group.paired else "The test is Welch's t-test"
    )  # fmt: skip
    measured = ""
    if group.correlation is not None:
        measured = (
            f"; the correlation of two families' scores over the seeds is {group.correlation:+.2f} on average, with a "
            f"standard error of {group.correlation_error:.2f} if there is none"
        )
    return f"{test}{measured}. p is corrected for {len(group.pairs)} pairs by Holm's method."


def _units(scores: Scores, group: Comparison) -> str:
    studies = {run.study for s in group.standings for run in scores.participants[s.family].runs}
    return "studies" if len(studies) > 1 else "seeds"


def _sources(scores: Scores) -> str:
    """The standard error of each mean by source of variation."""
    rules, rows = scores.rules, []
    text = lambda error: "not measured" if error is None else tables.difference(error, rules, sign="")
    for group in scores.comparison.values():
        for standing in group.standings:
            cells = (standing.sources.seeds, standing.sources.tuning, standing.sources.test)
            rows.append(
                f"<tr><td>{escape(standing.family)}</td>{''.join(f'<td>{text(error)}</td>' for error in cells)}</tr>\n"
            )
    if not rows:
        return ""
    head = "<tr><th>family</th><th>seeds</th><th>tuning</th><th>test examples</th></tr>"
    return (
        "<details><summary>Sources of variation</summary>\n<p>The standard error of the mean score by source. The "
        "interval contains those that were measured. Tuning is measured by --studies. In a difference of two families "
        "the part of the test examples is smaller than here, as far as the same examples are hard for both.</p>"
        f'<div class="wide"><table class="words">{head}{"".join(rows)}</table></div></details>'
    )


def _key(scores: Scores) -> str:
    """The legend of all figures."""
    entries = "".join(
        f'<li><svg viewBox="-1.2 -1.2 2.4 2.4" aria-hidden="true"><path d="{marker}" fill="{colour}"/></svg>'
        f"{escape(name)}</li>"
        for name, colour, marker in plots.key(scores)
    )
    return f'<ul class="key" aria-label="families in the figures">{entries}</ul>'


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
    tried = scores.rates or rules.rates
    trials = len(tried) * max((len(family.own[1]) for family in rules.participants.values()), default=0)
    rates = ", ".join(f"{rate:g}" for rate in tried)
    studies = max((1 + len(family.studies) for family in scores.participants.values()), default=1)
    lines = {
        "data": f"{data['name']}: trained on {data['train']}, selected on {data['evaluation']}; {rules.test} is "
        "read once, at the end",
        "budget": f"{rules.budget:,} parameters within {rules.tolerance:.0%}; {rules.examples:,} examples seen, "
        f"{rules.batch_size} per step",
        "tuning": f"{trials} runs per family, of {rules.tuning_examples:,} examples each: learning rates {rates}, "
        "times two values of one other field; seed 0. The grid grows until no family is best at its edge, by at most "
        f"{WIDEST} rates at each end{f'. {studies} studies, with other seeds and validation data' * (studies > 1)}",
        "final runs": f"seeds {', '.join(map(str, seeds))}; the parameters after the last step are tested",
        "intervals": "95 %, by Student's t. Their variance is that of runs (of the means of studies, where there are "
        "several) plus that of the mean over test examples, see docs/protocol.md",
        "ranks": "a family is significantly better than another if the test of the pair, corrected by Holm, has p "
        "below 0.05. The range of ranks goes from one more than the families that are significantly better, to "
        f"the number of those that are not significantly worse. With fewer than {MINIMUM} seeds there are no ranks",
        "target": f"{tables.number(rules.target, rules)} on validation data. Examples are counted at the first "
        "evaluation that reaches it; time follows from the speed measured with nothing else running",
        "FLOPs": "two for each multiplication with its addition in matrix products and convolutions, of the program as "
        f"it is written; the body of a loop counts as often as it runs.{_elementwise(scores)}",
        "memory": "as XLA plans it for the compiled train step",
    }
    if overrides:
        lines["also set"] = ", ".join(f"{name} = {value}" for name, value in overrides.items())
    return _definitions(lines)


def _elementwise(scores: Scores) -> str:
    """How many operations the table does not count."""
    costs = [family.cost for family in scores.participants.values() if family.cost and family.cost.train_flops]
    if not costs:
        return ""
    shares = [cost.elementwise / cost.train_flops for cost in costs]
    return f" Other operations, element by element, come to {min(shares):.0%} to {max(shares):.0%} of these"


def _commands(scores: Scores) -> str:
    rows = "".join(_command_row(name, family, scores) for name, family in scores.participants.items())
    return f'<div class="wide"><table class="words">{rows}</table></div>'


def _command_row(name: str, family: FamilyScores, scores: Scores) -> str:
    suite, rules = scores.protocol.suite, scores.rules
    command = f"python -m experiments.benchmark {suite} --families={name} --workdir=runs/{suite}_{name}"
    studies = 1 + len(family.studies)
    command += f" --seeds={max(1, len(family.runs) // studies)}"
    command += f" --studies={studies}" if studies > 1 else ""
    command += f"{' --sizes' if family.sizes else ''}{' --by' if family.by else ''}"
    if scores.rates and sorted(scores.rates) != sorted(rules.rates):
        command += f" --rates={','.join(f'{rate:g}' for rate in scores.rates)}"
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
        "environment of the costs": "; ".join(costs) or "not measured",
        "commit of the runs": ", ".join(sorted(commits)) or "none",
        "digest of the code": scores.protocol.code[:16],
        "packages": ", ".join(f"{name} {version}" for name, version in scores.protocol.packages.items()),
    })  # fmt: skip


def _definitions(lines: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>\n" for name, text in lines.items())
    return f'<div class="wide"><table class="words">{rows}</table></div>'
