"""The two phases of training: which runs the tuning and the final phase consist of, and how a setting is chosen.

Each run is labelled in its `trial.json` with

- `family`,
- `kind`: "tuning"; "final"; or of the final phase with --sizes and --by, "size" and "difficulty",
- `variant`: the name of the size, or the field and value of the difficulty, such as "data.pairs=4"; else empty,
- `seed`,
- `study`: of the second study 1 and so on; the first has no such label, see `experiments.benchmark.studies`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import math
from pathlib import Path
from statistics import fmean

from core.signatures import keywords
from experiments.benchmark.studies import final_seed, folder, splits, tuning_seed
from experiments.benchmark.suite import CURVE_POINTS, Suite, config_path, refuse_test, schedule
from experiments.sweep import trials as states
from experiments.sweep.outcomes import Outcome, read_outcomes
from models import MODELS

WIDEST = 3
"""Learning rates that may be added at each end of those of a suite."""


@dataclass(frozen=True)
class Plan:
    """A benchmark to run.

    Attributes:
      name: of the suite.
      families: those that take part this time.
      seeds: number of final runs of each family.
      overrides: fields that every run sets.
      sizes: whether to train further sizes too, for the scaling curves.
      by: whether to train at further difficulties too, see `Suite.by`.
      studies: number of tunings, each with its final runs.
      rates: learning rates that the tuning tries; if empty, those of the suite.
    """

    name: str
    suite: Suite
    workdir: Path
    families: list[str]
    seeds: int
    overrides: Mapping
    sizes: bool
    by: bool = False
    studies: int = 1
    rates: tuple[float, ...] = ()

    @property
    def validation(self) -> str:
        """The validation split of the first study."""
        return self.splits(0)[1]

    def splits(self, study: int) -> tuple[str, str]:
        """Returns the training and validation splits of a study."""
        train, evaluation = (
            self.overrides.get(f"data.{part}", self.suite.data[part]) for part in ("train", "evaluation")
        )
        return splits(train, evaluation, study)

    def tuned_with(self, rates: Sequence[float]) -> "Plan":
        """Returns the same plan with other learning rates."""
        return replace(self, rates=tuple(rates))


def tuning(plan: Plan, study: int = 0) -> dict[str, dict]:
    """Returns the trials of the tuning of a study by name, as `TrialList` has them."""
    trials = {}
    for family in plan.families:
        for setting in plan.suite.grid(family, plan.rates):
            words = ",".join(f"{name.split('.')[-1]}={value:g}" for name, value in setting.items())
            labels = {"family": family, "kind": "tuning", "variant": ""}
            labels |= {"seed": tuning_seed(study)} | _of_study(study)
            examples = plan.suite.tuning_examples
            trials[f"{family},{words}"] = _trial(plan, labels, setting, examples=examples, evaluations=1)
    return trials


def choose(plan: Plan, study: int = 0) -> dict[str, dict]:
    """Returns each family's choice, {"setting", "score", "seconds"}, or {"failed": reason}.

    The score is that of validation, and the seconds are those of the slowest trial, or group of trials. The learning
    rate is the one whose trials have the best score on average, see `_best`.
    """
    chosen = {}
    for family in plan.families:
        part = plan.suite.family(family)
        metric = f"{plan.splits(study)[1]}/{plan.suite.metric_of(family)}"
        tried = plan.rates or plan.suite.rates
        outcomes = [
            outcome
            for outcome in read_outcomes(folder(plan.workdir, "tuning", study), metric)
            if outcome.labels.get("family") == family and outcome.overrides["optimizer.learning_rate"] in tried
        ]
        last = [(o, o.metrics.get(metric, math.nan) * part.factor) for o in outcomes if o.state == states.DONE]
        scores = [(outcome, score) for outcome, score in last if math.isfinite(score)]
        if not scores:
            reasons = (outcome.reason for outcome in outcomes if outcome.reason)
            none = f"{metric} is not finite in any trial of the tuning" if last else "no trial of the tuning is done"
            chosen[family] = {"failed": next(reasons, none)}
            continue
        best, score = _best(scores, len(part.own[1]), plan.suite.sign)
        setting = {name: best.overrides[name] for name in ("optimizer.learning_rate", part.own[0])}
        chosen[family] = {"setting": setting, "score": score, "seconds": max(outcome.seconds for outcome in outcomes)}
    return chosen


def _best(scores: Sequence[tuple[Outcome, float]], count: int, sign: int) -> tuple[Outcome, float]:
    """Returns the best trial of the learning rate whose `count` trials have the best mean; `sign` is -1 for losses.

    The best of all trials is often a lucky one at a rate that is too high, where other seeds then fail. A rate at which
    a trial failed stands behind all others. Of equal ones, the lowest rate and the first trial are chosen.
    """
    by_rate: dict[float, list[tuple[Outcome, float]]] = {}
    for outcome, score in scores:
        by_rate.setdefault(outcome.overrides["optimizer.learning_rate"], []).append((outcome, score))
    standing = lambda rate: (len(by_rate[rate]) == count, sign * fmean(score for _, score in by_rate[rate]))
    return max(by_rate[max(sorted(by_rate), key=standing)], key=lambda pair: sign * pair[1])


def wider(rates: Sequence[float], chosen: Sequence[float], suite: Suite) -> tuple[float, ...]:
    """Returns the learning rates with one more at each end at which a chosen one lies, in the steps of the others.

    At most `WIDEST` are added to those of the suite at each end. All families try all of them, so that all are tuned
    with as many trials.
    """
    rates = tuple(sorted(rates))
    if max(rates) in chosen and sum(rate > max(suite.rates) for rate in rates) < WIDEST:
        rates = (*rates, _beyond(rates))
    if min(rates) in chosen and sum(rate < min(suite.rates) for rate in rates) < WIDEST:
        rates = (_beyond(rates[::-1]), *rates)
    return rates


def _beyond(rates: Sequence[float]) -> float:
    """The next number of a series such as 0.001, 0.003, 0.01, whose every second step is the same ratio."""
    *before, last = rates
    if len(before) > 1:
        number = before[-1] * last / before[-2]
    else:
        number = last * last / before[0] if before else 3 * last
    return float(f"{number:.3g}")


def final(plan: Plan, chosen: Mapping[str, Mapping], study: int = 0) -> dict[str, dict]:
    """Returns the trials of the final phase of a study by name. Families whose tuning failed have none.

    Those whose tuning took longest come first, so that no slow one is left alone at the end. Further sizes and
    difficulties are trained in the first study only.
    """
    trials = {}
    slowest_first = sorted(plan.families, key=lambda family: -chosen[family].get("seconds", 0))
    for family in slowest_first:
        if "setting" not in chosen[family]:
            continue
        variants: list[tuple[str, str, Mapping]] = [("final", "", {})]
        if plan.sizes and not study:
            entry = plan.suite.family(family)
            variants += [("size", size, {**_scaled(entry.model), **fields}) for size, fields in entry.sizes.items()]
        if plan.by and not study:
            name, values = plan.suite.by
            variants += [("difficulty", f"{name}={value}", {name: value}) for value in values]
        for kind, variant, fields in variants:
            for seed in (final_seed(study, number) for number in range(1, plan.seeds + 1)):
                name = ",".join([family, *([variant] if variant else []), f"seed={seed}"])
                labels = {"family": family, "kind": kind, "variant": variant, "seed": seed, **_of_study(study)}
                setting = {**chosen[family]["setting"], **fields}
                trials[name] = _trial(
                    plan, labels, setting, examples=plan.suite.examples, evaluations=CURVE_POINTS
                )
    return trials


def _scaled(model: Mapping) -> dict:
    """The fields by which a learning rate that was tuned at one width suits others (muP), for a model that has them."""
    if "parametrization" not in keywords(MODELS[model["name"]]):
        return {}
    return {"model.parametrization": "mup", "model.base_width": model["width"]}


def _of_study(study: int) -> dict[str, int]:
    return {"study": study} if study else {}


def _trial(plan: Plan, labels: Mapping, setting: Mapping, *, examples: int, evaluations: int) -> dict:
    steps = schedule(examples // plan.suite.batch_size, evaluations=evaluations)
    overrides = {**steps, **plan.overrides, **setting, "seed": labels["seed"]}
    if study := labels.get("study", 0):
        train, evaluation = plan.splits(study)
        overrides |= {"data.train": train, "data.evaluation": evaluation}
    data = {name.removeprefix("data."): value for name, value in overrides.items() if name.startswith("data.")}
    refuse_test(plan.suite, {**plan.suite.data, **plan.suite.family(labels["family"]).data, **data})
    return {
        "config": config_path(plan.name, labels["family"]),
        "overrides": overrides,
        "labels": dict(labels),
    }
