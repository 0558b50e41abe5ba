"""What a suite of the benchmark states: the task, the budget, and how each architecture family takes part.

A suite is a file in `experiments/suites/` with a `SUITE` and `get_config = SUITE.config`. That makes it a config file
too, with one config per family:

  python train.py --config=experiments/suites/digits.py:vit --workdir=runs/vit

Every run of the benchmark is such a command with a few more fields set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
import hashlib
import importlib
import json
import math
from pathlib import Path
import re

from ml_collections import ConfigDict

from core.errors import UserError
from core.metrics import refuse_unknown
from data.splits import split_parts
from experiments.sweep.space import Overrides, product
from objectives import BETTER

FOLDER = Path(__file__).parents[1] / "suites"
CURVE_POINTS = 8  # evaluations in a final run
_LONG = 10**9  # examples


@dataclass(frozen=True, kw_only=True)
class Family:
    """How an architecture takes part.

    Attributes:
      model: the model section of its config.
      objective: the objective section of its config.
      own: the field that is tuned besides the learning rate, and the values to try.
      data: what it adds to the data section of the suite, such as the form in which it reads the examples.
      sizes: further model sizes for the scaling curves: the fields to set, by the name of the size.
      metric: what its score is computed from, if not the metric of the suite.
      factor: the score is metric times factor.
      note: what a reader must know to interpret its score.
      among: the task within the suite. Families are compared only with those that have the same.
    """

    model: Mapping
    objective: Mapping
    own: tuple[str, tuple]
    data: Mapping = field(default_factory=dict)
    sizes: Mapping[str, Mapping] = field(default_factory=dict)
    metric: str = ""
    factor: float = 1.0
    note: str = ""
    among: str = ""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The task, and the rules that are the same for every family.

    Attributes:
      title: one line.
      about: what a reader must know about the task.
      data: the data section that all families share. It names both splits, `train` and, for validation, `evaluation`.
      test: the split that is read once, at the end.
      families: by name. A family that cannot take part has the reason in its place.
      budget: number of parameters.
      examples: seen by each final run.
      tuning_examples: seen by each tuning run.
      batch_size: examples per step.
      rates: learning rates to choose from, at first; see `experiments.benchmark.phases.wider`.
      score: the heading of the score in tables.
      metric: what the score is computed from.
      better: "max" or "min".
      target: the validation score for which the tables report how many examples and seconds it takes.
      percent: whether scores are displayed as percentages.
      optimizer: the optimizer section, without what is tuned.
      published: scores of other authors, by source.
      by: a field of the data section that sets the difficulty, as "data.name", and the values that --by adds.
      tolerance: relative deviation from the budget that is allowed.
    """

    title: str
    about: str
    data: Mapping
    test: str
    families: Mapping[str, Family | str]
    budget: int
    examples: int
    tuning_examples: int
    batch_size: int
    rates: tuple[float, ...]
    score: str
    metric: str
    better: str
    target: float
    percent: bool = False
    optimizer: Mapping = field(default_factory=lambda: {"weight_decay": 0.05, "clip": 1.0})
    published: Mapping[str, float] = field(default_factory=dict)
    by: tuple[str, tuple] = ("", ())
    tolerance: float = 0.1

    @property
    def participants(self) -> dict[str, Family]:
        """The families that take part."""
        return {name: family for name, family in self.families.items() if isinstance(family, Family)}

    @property
    def sign(self) -> int:
        """1 if a larger score is better, -1 if a smaller one is."""
        return 1 if self.better == "max" else -1

    def family(self, name: str) -> Family:
        """Returns a family that takes part. Raises UserError, with the reason, if it does not."""
        family = self.families.get(name)
        if isinstance(family, Family):
            return family
        reason = f": {family}" if family else ""
        raise UserError(f"the suite has no family {name!r}{reason}; expected one of {', '.join(self.participants)}")

    def config(self, family: str = "") -> ConfigDict:
        """Returns the config of a family's final runs, before its tuning. Raises UserError if it takes no part."""
        chosen = self.family(family)
        fields: dict = {
            "seed": 0,
            "batch_size": self.batch_size,
            "keep": 1,
            "keep_best": False,  # the last one is tested
            "best": self.metric_of(family),
            "model": dict(chosen.model),
            "objective": dict(chosen.objective),
            "data": {**self.data, **chosen.data},
            "optimizer": {"learning_rate": self.rates[0], **self.optimizer},
        }
        for name, value in schedule(self.examples // self.batch_size, evaluations=CURVE_POINTS).items():
            section, _, last = name.rpartition(".")
            (fields[section] if section else fields)[last] = value
        return ConfigDict(fields)

    def metric_of(self, family: str) -> str:
        """Returns the metric from which the score of a family is computed."""
        return self.family(family).metric or self.metric

    def grid(self, family: str, rates: Sequence[float] = ()) -> list[Overrides]:
        """Returns the settings that the tuning of a family tries, the same number for each family.

        `rates`: learning rates in place of those of the suite.
        """
        name, values = self.family(family).own
        return product({"optimizer.learning_rate": list(rates or self.rates)}, {name: list(values)})

    def within_budget(self, parameters: int) -> bool:
        """Whether a number of parameters meets the budget, up to the tolerance."""
        return math.isclose(parameters, self.budget, rel_tol=0, abs_tol=self.tolerance * self.budget)

    def to_json(self) -> dict:
        """Returns all fields as plain JSON values. Two results must share them to be comparable."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, fields: Mapping) -> "Suite":
        """Returns the suite of which `to_json` made `fields`. Raises KeyError or TypeError if they are incomplete."""
        families = {
            name: family if isinstance(family, str) else Family(**family | {"own": _field_and_values(family["own"])})
            for name, family in fields["families"].items()
        }
        by, rates = _field_and_values(fields["by"]), tuple(fields["rates"])
        return cls(**{**fields, "families": families, "by": by, "rates": rates})

    def check(self) -> None:
        """Raises UserError if the families are not treated alike, or a run would read the test split."""
        trials = {name: len(self.grid(name)) for name in self.participants}
        if len(set(trials.values())) != 1:
            raise UserError(f"every family must be tuned with as many trials, not {trials}")
        if self.better not in ("max", "min"):
            raise UserError(f"better = {self.better!r}: expected max or min")
        for name, family in self.participants.items():
            refuse_test(self, {**self.data, **family.data})
            metric = self.metric_of(name)
            refuse_unknown(f"{name}: metric =", metric, BETTER)
            if (BETTER[metric] == self.better) != (family.factor > 0):
                raise UserError(
                    f"{name}: better = {self.better!r}, but of {metric} times {family.factor:g} it is the other way"
                )
        if min(self.tuning_examples, self.examples) < self.batch_size:
            raise UserError(
                f"examples = {self.examples:,}, tuning_examples = {self.tuning_examples:,}: expected at least a batch "
                f"of {self.batch_size}"
            )


def schedule(steps: int, *, evaluations: int) -> Overrides:
    """Returns the fields that follow from the number of steps. The learning rate warms up over a tenth of them."""
    interval = max(1, steps // evaluations)
    return {
        "steps": steps,
        "log_every": interval,
        "eval_every": interval,
        "checkpoint_every": max(1, steps // 2),
        "optimizer.warmup": steps // 10,
    }


def refuse_test(suite: Suite, data: Mapping) -> None:
    """Raises UserError if a data section, of a tuning or final run, reads any part of the test split.

    What a split such as "all" or "train + test[:9]" stands for is asked of TFDS, for splits so long that no slice ends
    before its test examples begin.
    """
    specs = [str(data[part]) for part in ("train", "evaluation")]
    names = {name for spec in [*specs, suite.test] for name in re.findall(r"[A-Za-z_][\w.-]*", spec)} - {"all"}

    def rows(spec: str) -> list[tuple[str, slice]]:
        try:
            return split_parts(str(data["name"]), dict.fromkeys(names, _LONG), spec)
        except UserError as error:  # its message would have the invented lengths
            raise UserError(f"{spec!r} is no split: expected slices and sums, such as train[:80%]") from error

    closed = [(name, range(_LONG)[part]) for name, part in rows(suite.test)]
    for part, spec in zip(("train", "evaluation"), specs):
        for name, read in ((name, range(_LONG)[rows_read]) for name, rows_read in rows(spec)):
            if any(name == test and max(read[0], rest[0]) <= min(read[-1], rest[-1]) for test, rest in closed if read):
                raise UserError(
                    f"data.{part} = {data[part]!r} reads the test split, {suite.test!r}, which is read only at the "
                    "end: expected another split"
                )


def names() -> list[str]:
    """Returns the names of all suites."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str) -> Suite:
    """Returns a suite by its name, checked. Raises UserError if there is none."""
    if name not in names():
        raise UserError(f"there is no suite {name!r}: expected one of {', '.join(names())}")
    suite = importlib.import_module(f"experiments.suites.{name}").SUITE
    suite.check()
    return suite


def config_path(name: str, family: str) -> str:
    """Returns what `train.py --config` takes for a family of a suite."""
    return f"experiments/suites/{name}.py:{family}"


def config_digest(config: Mapping) -> str:
    """Returns the SHA-256 of a complete config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _field_and_values(pair) -> tuple[str, tuple]:
    name, values = pair
    return name, tuple(values)
