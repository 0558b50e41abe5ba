"""Compares the values of one field of a sweep over its seeds: differences with their intervals, and what they prove.

The statistics are those of the benchmark (`experiments.benchmark.statistics`). Trials that differ in further fields are
compared only with those that agree in all of these, and the p-values are corrected for all pairs together.
"""

from collections.abc import Mapping, Sequence
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from core.errors import UserError
from core.files import write_text
from core.markdown import markdown
from core.metrics import refuse_unknown
from experiments.benchmark.statistics import MINIMUM, Comparison, Pair, compare
from experiments.sweep import trials as states
from experiments.sweep.metrics import better_of
from experiments.sweep.outcomes import Outcome, SweepRecord, read_outcomes, swept_fields

HEAD = ["better mean", "compared with", "difference", "95 % interval", "p, corrected", "conclusion"]


def show(workdir: str | Path, field: str, *, metric: str | None = None, better: str | None = None) -> None:
    """Prints the comparison of the values of a field, and writes it to `comparison.md` in the workdir of the sweep.

    Raises:
      UserError: the workdir is not that of a sweep, or no two trials differ in this field, and perhaps the seed, alone.
    """
    record = SweepRecord.read(workdir)
    better = better or (better_of(metric, "--metric") if metric else record.better)
    metric = metric or record.metric
    outcomes = [o for o in read_outcomes(workdir, metric) if o.state == states.DONE]
    metrics = sorted(set().union(*(outcome.metrics for outcome in outcomes)))
    if outcomes:
        refuse_unknown("--metric =", metric, metrics)
    comparisons = compared(outcomes, field, metric, better)
    console = Console(highlight=False, markup=False, soft_wrap=True, width=160)
    sections = []
    for others, comparison in comparisons.items():
        title = f"{field} by {metric}{f', where {others}' if others else ''}"
        body = [_row(pair, comparison) for pair in comparison.pairs]
        means = _means(comparison)
        table = Table(*HEAD, box=None, title=title, title_justify="left")
        for row in body:
            table.add_row(*row)
        console.print(table)
        console.print(means, _design(comparison), "", sep="\n")
        table = markdown(HEAD, body, [False] * len(HEAD))
        sections.append(f"## {title}\n\n{table}\n{means}\n\n{_design(comparison)}\n")
    write_text(Path(workdir) / "comparison.md", "\n".join(sections))
    console.print(f"results  {workdir}: comparison.md")


def compared(outcomes: Sequence[Outcome], field: str, metric: str, better: str) -> dict[str, Comparison]:
    """Returns the comparison of the values of a field for each setting of the other fields.

    Args:
      outcomes: of trials that are done; those whose metric is not finite are left out.
      field: that is compared.
      metric: by which.
      better: "min" or "max", of the metric.
    """
    groups: dict[str, dict[str, dict[int, float]]] = {}
    others = [name for name in swept_fields(outcomes) if name != field]
    for outcome in outcomes:
        value = outcome.metrics.get(metric, math.nan)
        if math.isfinite(value):
            setting = ", ".join(f"{name} = {_text(outcome.overrides, name)}" for name in others)
            values = groups.setdefault(setting, {}).setdefault(_text(outcome.overrides, field), {})
            values[outcome.overrides.get("seed", 0)] = value
    groups = {setting: values for setting, values in groups.items() if len(values) > 1}
    if not groups:
        swept = ", ".join(swept_fields(outcomes)) or "none"
        raise UserError(
            f"--compare={field}: no two trials that are done differ in this field alone, but for the seed. The fields "
            f"that differ: {swept}"
        )
    return {setting: compare(values, better, comparisons=len(groups)) for setting, values in groups.items()}


def _text(overrides: Mapping[str, Any], name: str) -> str:
    if name not in overrides:
        return "not set"
    value = overrides[name]
    return value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _row(pair: Pair, comparison: Comparison) -> list[str]:
    ends = "-" if pair.low is None or pair.high is None else f"{pair.low:+.4g} to {pair.high:+.4g}"
    if pair.sure:
        conclusion = "significantly better"
    elif pair.detectable is None or not comparison.ranked:
        conclusion = f"none: fewer than {MINIMUM} seeds"
    else:
        conclusion = f"not separated; this design finds {pair.detectable:.3g} with 80 % power"
    return [pair.a, pair.b, f"{pair.difference:+.4g}", ends, f"{pair.p:.3g}", conclusion]


def _means(comparison: Comparison) -> str:
    """The mean of each value with its interval, the best first."""
    texts = []
    for standing in comparison.standings:
        ends = "" if standing.low is None else f" ({standing.low:.5g} to {standing.high:.5g})"
        texts.append(f"{standing.family}: {standing.mean:.5g}{ends}")
    return f"means with their 95 % intervals: {'; '.join(texts)}"


def _design(comparison: Comparison) -> str:
    """Which test was used, and what it rests on."""
    seeds = f"{len(comparison.seeds)} seeds"
    if comparison.correlation is None:
        return f"{seeds}; Welch's t-test; p corrected by Holm's method"
    test = "t-test of differences between runs with the same seed" if comparison.paired else "Welch's t-test"
    return (
        f"{seeds}; {test}, because the correlation over seeds is {comparison.correlation:+.2f} (standard error "
        f"{comparison.correlation_error:.2f} if there is none); p corrected by Holm's method"
    )
