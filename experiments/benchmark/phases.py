"""The two phases of training: which runs the tuning and the final phase consist of, and how a setting is chosen.

Each run is labelled in its `trial.json` with

- `family`,
- `kind`: "tuning"; "final"; or of the final phase with --sizes and --by, "size" and "difficulty",
- `variant`: the name of the size, or the field and value of the difficulty, such as "data.pairs=4"; else empty,
- `seed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import math
from pathlib import Path

from experiments.benchmark.suite import CURVE_POINTS, Suite, config_path, refuse_test, schedule
from experiments.sweep import trials as states
from experiments.sweep.outcomes import read_outcomes

TUNING_SEED = 0  # the final runs have the seeds from 1 on


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
    """

    name: str
    suite: Suite
    workdir: Path
    families: list[str]
    seeds: int
    overrides: Mapping
    sizes: bool
    by: bool = False

    @property
    def validation(self) -> str:
        """The validation split."""
        return self.overrides.get("data.evaluation", self.suite.data["evaluation"])


def tuning(plan: Plan) -> dict[str, dict]:
    """Returns the trials of the tuning by name, as `TrialList` has them."""
    trials = {}
    for family in plan.families:
        for setting in plan.suite.grid(family):
            words = ",".join(f"{name.split('.')[-1]}={value:g}" for name, value in setting.items())
            labels = {"family": family, "kind": "tuning", "variant": "", "seed": TUNING_SEED}
            examples = plan.suite.tuning_examples
            trials[f"{family},{words}"] = _trial(plan, labels, setting, examples=examples, evaluations=1)
    return trials


def choose(plan: Plan) -> dict[str, dict]:
    """Returns each family's setting with the best validation score: {"setting", "score"}, or {"failed": reason}.

    Of equal scores the first in the grid is chosen, which has the lowest learning rate.
    """
    chosen = {}
    for family in plan.families:
        part = plan.suite.family(family)
        outcomes = [
            outcome
            for outcome in read_outcomes(plan.workdir / "tuning", f"{plan.validation}/{plan.suite.metric_of(family)}")
            if outcome.labels.get("family") == family
        ]
        metric = f"{plan.validation}/{plan.suite.metric_of(family)}"
        last = [(o, o.metrics.get(metric, math.nan) * part.factor) for o in outcomes if o.state == states.DONE]
        scores = [(outcome, score) for outcome, score in last if math.isfinite(score)]
        if not scores:
            reasons = (outcome.reason for outcome in outcomes if outcome.reason)
            none = f"{metric} is not finite in any trial of the tuning" if last else "no trial of the tuning is done"
            chosen[family] = {"failed": next(reasons, none)}
            continue
        best, score = max(scores, key=lambda pair: plan.suite.sign * pair[1])
        names = ["optimizer.learning_rate", part.own[0]]
        chosen[family] = {"setting": {name: best.overrides[name] for name in names}, "score": score}
    return chosen


def final(plan: Plan, chosen: Mapping[str, Mapping]) -> dict[str, dict]:
    """Returns the trials of the final phase by name. Families whose tuning failed have none."""
    trials = {}
    for family in plan.families:
        if "setting" not in chosen[family]:
            continue
        variants: list[tuple[str, str, Mapping]] = [("final", "", {})]
        if plan.sizes:
            variants += [("size", size, fields) for size, fields in plan.suite.family(family).sizes.items()]
        if plan.by:
            name, values = plan.suite.by
            variants += [("difficulty", f"{name}={value}", {name: value}) for value in values]
        for kind, variant, fields in variants:
            for seed in range(1, plan.seeds + 1):
                name = ",".join([family, *([variant] if variant else []), f"seed={seed}"])
                labels = {"family": family, "kind": kind, "variant": variant, "seed": seed}
                setting = {**chosen[family]["setting"], **fields}
                trials[name] = _trial(
                    plan, labels, setting, examples=plan.suite.examples, evaluations=CURVE_POINTS
                )
    return trials


def _trial(plan: Plan, labels: Mapping, setting: Mapping, *, examples: int, evaluations: int) -> dict:
    steps = schedule(examples // plan.suite.batch_size, evaluations=evaluations)
    overrides = {**steps, **plan.overrides, **setting, "seed": labels["seed"]}
    data = {name.removeprefix("data."): value for name, value in overrides.items() if name.startswith("data.")}
    refuse_test(plan.suite, {**plan.suite.data, **plan.suite.family(labels["family"]).data, **data})
    return {
        "config": config_path(plan.name, labels["family"]),
        "overrides": overrides,
        "labels": dict(labels),
    }
