"""Everything that a benchmark measured, as dataclasses; `results.json` is the same as JSON.

`read` and `write` are the only places where the two meet. Each score is stored with its seed, the digests of config and
parameters, the commit, and the packages with which it was made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
import math
from pathlib import Path
from typing import Any

from core.errors import UserError, reason
from core.files import parse_json, write_json
from core.reading import read_text
from experiments.benchmark.cost import Cost
from experiments.benchmark.predictions import decoded
from experiments.benchmark.protocol import Identity, refuse_difference
from experiments.benchmark.statistics import Comparison, Pair, Standing, compare
from experiments.benchmark.suite import Suite
from experiments.benchmark.variation import Runs, Sources
from experiments.sweep import trials as states


@dataclass(frozen=True)
class FinalRun:
    """A final run, trained and tested.

    Attributes:
      score: on the test split.
      test: all metrics on the test split.
      curve: (examples seen, score on validation data).
      seconds: of training.
      git: commit, and whether there were changes.
      devices: that it was trained on.
      command: that trains it on its own.
      study: that it belongs to, from 0 on.
      examples: what each test example contributes to the metric, as `experiments.benchmark.predictions` encodes it.
    """

    seed: int
    score: float
    test: Mapping[str, float]
    curve: list[tuple[int, float]]
    parameters: int
    seconds: float
    config_digest: str
    state_digest: str
    git: Mapping
    devices: Mapping
    command: str
    study: int = 0
    examples: str = ""


@dataclass(frozen=True)
class TuningRun:
    """A run of the tuning. The score is on validation data, None unless `state` is done."""

    setting: Mapping[str, float]
    state: str
    score: float | None
    config_digest: str | None
    study: int = 0


@dataclass(frozen=True)
class Choice:
    """What the tuning of a further study chose: setting, its score on validation data, whether it is at the edge."""

    setting: Mapping[str, float]
    validation: float
    edge: bool


@dataclass(frozen=True)
class Tuning:
    """The tuning of a family.

    Attributes:
      trials: number of runs.
      examples: seen by all of them together.
      failed: number of runs that failed.
      tried: the runs.
    """

    trials: int
    examples: int
    failed: int
    tried: list[TuningRun]


@dataclass(frozen=True)
class FamilyScores:
    """What was measured of a family.

    Attributes:
      state: done, failed or stopped; only families that are done are compared.
      reason: why it is not done.
      note: see `experiments.benchmark.suite.Family`.
      setting: what the tuning chose, in the first study.
      validation: the score of that setting in the tuning.
      edge: whether its learning rate is the lowest or highest that was tried, so that a better one may lie beyond.
      studies: what the tuning of further studies chose.
      runs: by seed.
      sizes, by: final runs at further sizes and difficulties, by the name of the variant.
    """

    state: str
    reason: str
    note: str
    tuning: Tuning
    setting: Mapping[str, float]
    validation: float | None
    edge: bool
    runs: list[FinalRun] = field(default_factory=list)
    sizes: Mapping[str, list[FinalRun]] = field(default_factory=dict)
    by: Mapping[str, list[FinalRun]] = field(default_factory=dict)
    cost: Cost | None = None
    studies: list[Choice] = field(default_factory=list)

    @property
    def at_edge(self) -> bool:
        """Whether the choice of any study is at the edge of the grid."""
        return self.edge or any(choice.edge for choice in self.studies)

    @property
    def done(self) -> bool:
        """Whether all of its final runs are trained and tested."""
        return self.state == states.DONE

    @property
    def measured_cost(self) -> Cost:
        """The cost of a family that is done. Raises ValueError if it was not measured."""
        if self.cost is None:
            raise ValueError("the cost of this family was not measured")
        return self.cost


@dataclass(frozen=True)
class Scores:
    """The outcome of a benchmark.

    Attributes:
      families: what was measured, by family; for families that take no part the reason.
      comparison: families that are done, by the task that they share (`Family.among`).
      rates: learning rates that the tuning tried.
    """

    protocol: Identity
    families: Mapping[str, FamilyScores | str]
    comparison: Mapping[str, Comparison] = field(default_factory=dict)
    rates: tuple[float, ...] = ()

    @property
    def rules(self) -> Suite:
        """The suite."""
        return self.protocol.rules

    @property
    def participants(self) -> dict[str, FamilyScores]:
        """The families that take part."""
        return {name: family for name, family in self.families.items() if isinstance(family, FamilyScores)}

    def compared(self) -> "Scores":
        """Returns the same scores with `comparison` computed from them."""
        groups: dict[str, dict[str, Runs]] = {family.among: {} for family in self.rules.participants.values()}
        for name, family in self.participants.items():
            if family.done and family.runs:
                rule = self.rules.family(name)
                groups[rule.among][name] = _runs(family.runs, rule.factor)
        bounds = (0.0, 1.0) if self.rules.percent else (-math.inf, math.inf)
        comparison = {
            among: compare(runs, self.rules.better, bounds=bounds) for among, runs in groups.items() if runs
        }
        return replace(self, comparison=comparison)

    def to_json(self) -> dict:
        """Returns what `results.json` holds."""
        families: dict[str, Any] = {
            name: asdict(family) | {"cost": asdict(family.cost) if family.cost else {}}
            if isinstance(family, FamilyScores) else {"reason": family}
            for name, family in self.families.items()
        }  # fmt: skip
        comparison = {among: asdict(group) for among, group in self.comparison.items()}
        protocol = self.protocol.to_json()
        return {"protocol": protocol, "rates": list(self.rates), "families": families, "comparison": comparison}

    @classmethod
    def from_json(cls, fields: Mapping) -> "Scores":
        """Returns the scores of which `to_json` made `fields`. Raises KeyError or TypeError if it did not."""
        families = {
            name: _family(family) if "state" in family else str(family["reason"])
            for name, family in fields["families"].items()
        }
        comparison = {
            among: Comparison(**{
                **group,
                "standings": [_standing(standing) for standing in group["standings"]],
                "pairs": [Pair(**pair) for pair in group["pairs"]],
            })
            for among, group in fields["comparison"].items()
        }
        return cls(Identity.from_json(fields["protocol"]), families, comparison, tuple(fields["rates"]))


def read(workdir: str | Path) -> Scores:
    """Returns the scores in `results.json` of a folder. Raises UserError if it is missing or holds something else."""
    path = Path(workdir) / "results.json"
    if not path.exists():
        raise UserError(f"{path} does not exist: expected the workdir of a benchmark that has ended")
    try:
        return Scores.from_json(parse_json(read_text(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no results of a benchmark, or is damaged ({type(error).__name__}: {reason(error)}). The "
            "benchmark command with its --workdir writes it again"
        ) from error


def write(scores: Scores, workdir: Path) -> None:
    """Writes `results.json` into a folder."""
    write_json(workdir / "results.json", scores.to_json())


def merge(results: Sequence[Scores]) -> Scores:
    """Returns one result from several, of other families, seeds, machines or dates.

    Raises UserError if they were made by other rules or code, which it names, or disagree about a score.
    """
    first, *others = results
    families = dict(first.families)
    for other in others:
        message = "results by other rules or code cannot be merged. Merge only results of one version"
        refuse_difference(first.protocol, other.protocol, message, "in the first", "in another")
        if sorted(other.rates) != sorted(first.rates):
            raise UserError(
                f"families were tuned with the learning rates {_numbers(first.rates)} in one of these results, with "
                f"{_numbers(other.rates)} in another. Tune again with --rates, which states the rates to start with"
            )
        for name, family in other.families.items():
            families[name] = _merged(name, families[name], family) if name in families else family
    order = [name for name in first.rules.families if name in families]
    return Scores(first.protocol, {name: families[name] for name in order}, rates=first.rates).compared()


def _family(fields: Mapping) -> FamilyScores:
    runs = lambda listed: [_run(run) for run in listed]
    tuning = fields["tuning"]
    return FamilyScores(**{
        **fields,
        "tuning": Tuning(**tuning | {"tried": [TuningRun(**run) for run in tuning["tried"]]}),
        "studies": [Choice(**choice) for choice in fields["studies"]],
        "runs": runs(fields["runs"]),
        "sizes": {name: runs(listed) for name, listed in fields["sizes"].items()},
        "by": {name: runs(listed) for name, listed in fields["by"].items()},
        "cost": Cost(**fields["cost"]) if fields.get("cost") else None,
    })  # fmt: skip


def _runs(runs: Sequence[FinalRun], factor: float) -> Runs:
    examples = {run.seed: factor * decoded(run.examples) for run in runs if run.examples}
    return Runs({run.seed: run.score for run in runs}, {run.seed: run.study for run in runs}, examples)


def _standing(fields: Mapping) -> Standing:
    rank = None if fields["rank"] is None else tuple(fields["rank"])
    return Standing(**{**fields, "rank": rank, "sources": Sources(**fields["sources"])})


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _run(fields: Mapping) -> FinalRun:
    number = lambda score: math.nan if score is None else score  # JSON has no NaN
    curve = [(examples, number(score)) for examples, score in fields["curve"]]
    return FinalRun(**{**fields, "score": number(fields["score"]), "curve": curve})


def _merged(name: str, one: FamilyScores | str, other: FamilyScores | str) -> FamilyScores | str:
    if isinstance(one, str) or isinstance(other, str):
        return one
    if (one.setting, one.studies) != (other.setting, other.studies):
        raise UserError(
            f"{name} was tuned to {one.setting} in one of these results, to {other.setting} in another: expected the "
            "same setting"
        )
    worse = next((family for family in (one, other) if not family.done), one)
    variants = lambda one, other: {
        variant: _merged_runs(f"{name}, {variant}", one.get(variant, []), other.get(variant, []))
        for variant in [*one, *other]
    }
    return replace(
        worse, runs=_merged_runs(name, one.runs, other.runs), sizes=variants(one.sizes, other.sizes),
        by=variants(one.by, other.by),
    )  # fmt: skip


def _merged_runs(name: str, one: list[FinalRun], other: list[FinalRun]) -> list[FinalRun]:
    runs = {run.seed: run for run in one}
    for run in other:
        same = runs.setdefault(run.seed, run)
        if same.score != run.score and not (math.isnan(same.score) and math.isnan(run.score)):
            raise UserError(f"{name}, seed {run.seed}: the score is {same.score} in one of these results, "
                            f"{run.score} in another: expected the same score")  # fmt: skip
    return [runs[seed] for seed in sorted(runs)]
