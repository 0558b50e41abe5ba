"""What a suite of the benchmark says: the work, the budget, and how each architecture family takes part.

A suite is a file in `experiments/suites/` with a `SUITE` and `get_config = SUITE.config`. So it is a config file too,

  python train.py --config=experiments/suites/digits.py:vit --workdir=runs/vit

with one config a family, and every run of the benchmark is such a command with a few fields set.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
import importlib
import json
import math
from pathlib import Path
import re

from ml_collections import ConfigDict

from experiments.sweep.space import Overrides, product

FOLDER = Path(__file__).parents[1] / "suites"


@dataclass(frozen=True, kw_only=True)
class Family:
    """How an architecture takes part.

    Attributes:
      model, objective: sections of its config. data: fields of its data section that are its own, as the form it reads.
      own: the field that is tuned besides the learning rate, and its values.
      sizes: fields of the model for each further size of the scaling curves, by the name of the size.
      metric, factor: what its score is made of, where that is not the metric of the suite: metric times factor.
      note: what must be known to read its score.
      among: families are compared with those that have the same.
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
    """The work, and the rules that are the same for all.

    Attributes:
      title: a line. about: what a reader must know of the task.
      data: the data section that all share; its splits are those of training and of validation. test: the split that
        is read once.
      families: by name; in the place of one that makes no sense here, the reason.
      budget: parameters, to be met within `TOLERANCE`.
      examples: seen by each final run. tuning_examples: by each run of the tuning. batch_size: examples a step.
      rates: learning rates to choose from.
      score: what the table calls it. metric: of the evaluation. better: "max" or "min". percent: how it is shown.
      target: the score whose cost in time and examples is reported.
      optimizer: its section, but for what is tuned.
      published: results of others, by their source.
      by: a field of the data section that makes the work harder, "data.name", and values to try with --by.
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

    def config(self, family: str = "") -> ConfigDict:
        """The config of a family's final runs, before its tuning. Raises ValueError where it takes no part."""
        chosen = self.families.get(family)
        if not isinstance(chosen, Family):
            parts = [name for name, part in self.families.items() if isinstance(part, Family)]
            reason = f": {chosen}" if chosen else ""
            raise ValueError(f"the suite has no family {family!r}{reason}; expected one of {', '.join(parts)}")
        metric = self.measure(family)[0]
        config = ConfigDict(
            {
                "seed": 0,
                "batch_size": self.batch_size,
                "keep": 1,
                "best": "loss" if metric == "loss" else metric,
                "model": dict(chosen.model),
                "objective": dict(chosen.objective),
                "data": {**self.data, **chosen.data},
                "optimizer": {"learning_rate": self.rates[0], "schedule": "cosine", **self.optimizer},
            }
        )
        with config.unlocked():
            for name, value in pace(self.examples // self.batch_size, evaluations=CURVE).items():
                section, _, last = name.rpartition(".")
                (config[section] if section else config)[last] = value
        return config

    def measure(self, family: str) -> tuple[str, float]:
        """The metric that a family's score is made of, and the factor."""
        part = self.families[family]
        return part.metric or self.metric, part.factor

    def grid(self, family: str) -> list[Overrides]:
        """The settings that the tuning tries: as many for each family."""
        name, values = self.families[family].own
        return product({"optimizer.learning_rate": list(self.rates)}, {name: list(values)})

    def protocol(self) -> dict:
        """All that a result depends on, and that two results must share, as plain JSON."""
        families = {n: asdict(f) if isinstance(f, Family) else f for n, f in self.families.items()}
        return json.loads(json.dumps(asdict(self) | {"families": families, "tolerance": TOLERANCE}))

    def check(self) -> None:
        """Raises ValueError where the rules are not the same for all, or the test split is not kept apart."""
        tried = {name: len(self.grid(name)) for name, part in self.families.items() if isinstance(part, Family)}
        if len(set(tried.values())) != 1:
            raise ValueError(f"every family must be tuned with as many trials, not {tried}")
        for name in tried:
            refuse_test(self, {**self.data, **self.families[name].data})
        if self.better not in ("max", "min") or min(self.tuning_examples, self.examples) < self.batch_size:
            raise ValueError(
                f"better = {self.better!r}, examples = {self.examples:,}, in tuning {self.tuning_examples:,}: expected "
                f"max or min, and at least a batch of {self.batch_size}"
            )


TOLERANCE = 0.1  # of the parameter budget
CURVE = 8  # evaluations in a final run


def pace(steps: int, *, evaluations: int) -> Overrides:
    """The fields that follow from the number of steps: all runs warm up over a tenth of them."""
    every = max(1, steps // evaluations)
    return {
        "steps": steps,
        "log_every": every,
        "eval_every": every,
        "checkpoint_every": max(1, steps // 2),
        "optimizer.warmup": steps // 10,
    }


def refuse_test(suite: Suite, data: Mapping) -> None:
    """Raises ValueError where a data section, of a run that learns or is chosen, reads of the test split."""
    for part in ("train", "evaluation"):
        if re.split(r"[\[+]", data[part])[0] == suite.test or f"+{suite.test}" in data[part]:
            raise ValueError(f"data.{part} = {data[part]!r} reads the test split, which is for the end: {suite.test!r}")


def names() -> list[str]:
    """The suites that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str) -> Suite:
    """A suite by its name. Raises ValueError where there is none."""
    if name not in names():
        raise ValueError(f"there is no suite {name!r}: expected one of {', '.join(names())}")
    suite = importlib.import_module(f"experiments.suites.{name}").SUITE
    suite.check()
    return suite


def path(name: str, family: str) -> str:
    """What `train.py` takes as the config of a family."""
    return f"experiments/suites/{name}.py:{family}"


def within_budget(suite: Suite, parameters: int) -> bool:
    return math.isclose(parameters, suite.budget, rel_tol=0, abs_tol=TOLERANCE * suite.budget)
