"""`report.html`: a benchmark as one page that needs nothing else: table, figures, protocol, and how to get it again."""

import base64
from collections.abc import Mapping
from html import escape
import json
from pathlib import Path
import shlex
from string import Template

from experiments.benchmark import suite as suites
from experiments.benchmark import tables
from experiments.benchmark.plots import Picture
from experiments.sweep.outcomes import whole

TEMPLATE = Path(__file__).with_name("report.html")


def write_page(found: Mapping, pictures: list[Picture], workdir: Path) -> Path:
    """Writes the page into a folder; gives its path."""
    rules, rows = found["protocol"]["rules"], tables.rows(found)
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(rules["title"]),
        about=escape(rules["about"]),
        summary=escape(_summary(found)),
        table=_table(rows, rules),
        legend=escape(_legend(rows, rules)),
        comparison="".join(_pairs(among, group, rules) for among, group in found["comparison"].items()),
        figures="\n".join(map(_figure, pictures)),
        protocol=_protocol(found),
        commands=_commands(found),
        machine=_machine(found),
    )
    path = workdir / "report.html"
    with whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _summary(found: Mapping) -> str:
    """Who is first, in a sentence for each group that was compared."""
    rules, said = found["protocol"]["rules"], []
    for name, group in found["comparison"].items():
        of = f"Of {name}: " if name else ""
        first = [standing["family"] for standing in group["standings"] if standing["rank"] == 1]
        if len(first) == 1:
            said.append(f"{of}{first[0]} is first, and surely so.")
        elif first:
            said.append(f"{of}{', '.join(first[:-1])} and {first[-1]} share the first rank: {len(group['seeds'])} "
                        "seeds do not tell them apart.")  # fmt: skip
    if published := rules["published"]:
        said.append("Published: " + "; ".join(
            f"{tables.number(score, rules)}, {source}" for source, score in published.items()) + ".")  # fmt: skip
    return " ".join(said)


def _table(rows: list[dict], rules: Mapping) -> str:
    columns = tables.used(rows)
    head = "".join(
        f'<th scope="col" title="{escape(column.about)}"><button>{escape(tables.heading(column, rules))}</button></th>'
        for column in columns
    )
    body = "".join(_row(row, columns, rules) for row in rows)
    return f'<table class="standings"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'


def _row(row: Mapping, columns: list, rules: Mapping) -> str:
    if "reason" in row:
        reason = f'<td class="reason" colspan="{len(columns) - 2}">{escape(row["reason"])}</td>'
        return f'<tr><td></td><td data-value="{escape(row["family"])}">{escape(row["family"])}</td>{reason}</tr>\n'
    shown, cells = tables.texts(row, rules), []
    for column in columns:
        value = row.get(column.key)
        value = value[0] if isinstance(value, (tuple, list)) else value
        given = "" if value is None else f' data-value="{escape(str(value))}"'
        cells.append(f"<td{given}>{escape(shown[column.key])}</td>")
    return f"<tr>{''.join(cells)}</tr>\n"


def _legend(rows: list[dict], rules: Mapping) -> str:
    said = [f"{column.title}: {column.about}" for column in tables.used(rows) if column.about]
    return "; ".join(said) + "."


def _pairs(among: str, group: Mapping, rules: Mapping) -> str:
    if not group["pairs"]:
        return ""
    rows = "".join(
        f"<tr><td>{escape(pair['a'])}</td><td>{escape(pair['b'])}</td><td>{_difference(pair['difference'], rules)}</td>"
        f"<td>{pair['p']:.3g}</td><td>{'surely better' if pair['sure'] else 'not told apart'}</td></tr>\n"
        for pair in group["pairs"]
    )
    head = "<tr><th>family</th><th>against</th><th>difference</th><th>p, corrected</th><th></th></tr>"
    title = f"Each against each{': ' if among else ''}{escape(among)}"
    return (
        f"<details><summary>{title} ({len(group['pairs'])} pairs, {len(group['seeds'])} seeds)</summary>\n"
        f'<div class="wide"><table class="words">{head}{rows}</table></div></details>'
    )


def _difference(value: float, rules: Mapping) -> str:
    return f"{100 * value:+.2f} points" if rules["percent"] else f"{value:+.4f}"


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode()
    return (
        f'<figure><h3>{escape(picture.title)}</h3><img src="data:image/svg+xml;base64,{data}" '
        f'alt="{escape(picture.title)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'
    )


def _protocol(found: Mapping) -> str:
    rules, overrides = found["protocol"]["rules"], found["protocol"]["overrides"]
    data = rules["data"] | {name[5:]: value for name, value in overrides.items() if name.startswith("data.")}
    seeds = sorted({seed for group in found["comparison"].values() for seed in group["seeds"]})
    tried = len(rules["rates"]) * max((len(part["own"][1]) for part in _parts(rules).values()), default=0)
    budget, share = rules["budget"], rules["tolerance"]
    lines = {
        "data": f"{data['name']}: learns from {data['train']}, is chosen by {data['evaluation']}; {rules['test']} is "
        "read once, at the end",
        "budget": f"{budget:,} parameters within {share:.0%}, {rules['examples']:,} examples seen, "
        f"{rules['batch_size']} a step",
        "tuning": f"{tried} trials a family of {rules['tuning_examples']:,} examples: learning rate "
        f"{', '.join(f'{rate:g}' for rate in rules['rates'])}, and two values of a field of its own; seed 0",
        "final runs": f"seeds {', '.join(map(str, seeds))}; the parameters after the last step are tested",
        "intervals": "95 %, bootstrap over seeds (percentiles). They say how the score varies with the seed, not with "
        "what happens to be in the test split",
        "ranks": "a family is surely better where the intervals do not overlap and the paired t-test over seeds, "
        "corrected by Holm, has p below 0.05. The runs of a seed see the same examples in the same order, so they are "
        "paired; with 5 seeds a rank test could not become significant. Down the table, a family shares the rank of "
        "the one above, unless the first of that rank is surely better",
        "target": f"{tables.number(rules['target'], rules)} on validation; examples at the first evaluation that "
        "reaches it, time from the speed that was measured with nothing else at work",
        "FLOPs, memory": "as XLA counts and plans them in the compiled programs; the body of a loop counts once",
    }
    if overrides:
        lines["also set"] = ", ".join(f"{name} = {value}" for name, value in overrides.items())
    return _words(lines)


def _commands(found: Mapping) -> str:
    suite = found["protocol"]["suite"]
    rules, changed = found["protocol"]["rules"], ""
    if rules["examples"] != suites.load(suite).examples:
        changed += f" --examples={rules['examples']}"
    for field, value in found["protocol"]["overrides"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        changed += f" --set {shlex.quote(f'{field}={text}')}"
    lines = {}
    for name, family in found["families"].items():
        if "state" in family:
            setting = ", ".join(f"{field} = {value:g}" for field, value in family["setting"].items())
            edge = " (at the edge of the grid)" if family["edge"] else ""
            again = f"python -m experiments.benchmark {suite} --families={name} --workdir=runs/{suite}_{name}"
            again += f" --seeds={max(1, len(family['runs']))}{' --sizes' if family['sizes'] else ''}"
            again += f"{' --by' if family['by'] else ''}{changed}"
            one = family["runs"][0]["command"] if family["runs"] else ""
            lines[name] = [setting + edge, again, one]
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(setting or 'no setting')}<br><code>{escape(again)}</code>"
        + (f"<br><small>its first run: <code>{escape(one)}</code></small>" if one else "")
        + "</td></tr>\n"
        for name, (setting, again, one) in lines.items()
    )
    return f'<div class="wide"><table class="words">{rows}</table></div>'


def _machine(found: Mapping) -> str:
    commits, machines = set(), {}
    for name, family in found["families"].items():
        for run in family.get("runs", []):
            commits.add(f"{str(run['git']['commit'])[:12]}{' with changes' if run['git']['dirty'] else ''}")
        if family.get("cost"):
            e = family["cost"]["environment"]
            machine = f"{e['devices']['count']} x {e['devices']['kind']}, {e['platform']}, Python {e['python']}"
            machines.setdefault(machine, []).append(name)
    # Speeds of different machines cannot be compared, so it is said which are whose.
    costs = [f"{machine}: {', '.join(names)}" if len(machines) > 1 else machine for machine, names in machines.items()]
    packages = found["protocol"]["packages"]
    return _words({
        "costs measured on": "; ".join(costs) or "not measured",
        "commit of the runs": ", ".join(sorted(commits)) or "none",
        "code": found["protocol"]["code"][:16],
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    })  # fmt: skip


def _words(lines: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>\n" for name, text in lines.items())
    return f'<div class="wide"><table class="words">{rows}</table></div>'


def _parts(rules: Mapping) -> dict:
    return {name: part for name, part in rules["families"].items() if isinstance(part, Mapping)}
