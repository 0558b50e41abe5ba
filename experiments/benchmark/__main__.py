"""Every architecture on the same work, fairly: tuned alike, trained alike, tested once.

python -m experiments.benchmark digits --workdir=runs/compare --jobs=2 [--families=vit,perceiver --seeds=10]

1. Tuning: each family tries the same number of settings on validation data, with as many examples as any other.
2. Final: the best setting of each is trained with all seeds.
3. The test split is read, once, and the cost of each family is measured.
4. The results are written into the workdir: `results.json`, a table in four forms, figures, `report.html`.

Both phases of training are sweeps (`experiments.sweep`), whose flags this command takes too: --jobs, --population,
--launcher=slurm, --retry-failed. However it is stopped, the same command goes on. The rules: docs/protocol.md.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
import json
from pathlib import Path
import subprocess
import sys

import jax

from experiments.benchmark import protocol, standings
from experiments.benchmark import suite as suites
from experiments.benchmark.suite import Family, Suite, pace
from experiments.sweep import __main__ as sweep
from experiments.sweep import runner
from experiments.sweep import trials as states
from experiments.sweep.outcomes import find
from experiments.sweep.trial_list import TrialList
from experiments.sweep.trials import tied
from training.workdir import write_json

TUNING_SEED = 0  # the final runs have the seeds from 1 on


@dataclass(frozen=True)
class Plan:
    """A benchmark to run.

    Attributes:
      families: those that take part this time. seeds: number of final runs of each.
      overrides: fields that every run sets. sizes: further sizes too, for the scaling curves. by: also with the values
        that the suite has of a field of the data.
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
    def split(self) -> str:
        """The validation split."""
        return self.overrides.get("data.evaluation", self.suite.data["evaluation"])

    def trial(self, family: str, overrides: Mapping, *, examples: int, evaluations: int) -> dict:
        """A trial as `TrialList` has it."""
        steps = pace(examples // self.suite.batch_size, evaluations=evaluations)
        config = suites.path(self.name, family)
        return {"config": config, "overrides": {**steps, **self.overrides, **overrides}}


def run(plan: Plan, flags: list[str]) -> bool:
    """Does all that is left to do; whether every family came to its end. `flags`: those of the sweeps."""
    protocol.begin(plan.workdir, protocol.identity(plan.name, plan.suite, plan.overrides))
    print(f"1 of 3: {plan.suite.tuning_examples:,} examples a run")
    _phase(plan, "tuning", tuning(plan), flags)
    if "--dry-run" in flags:
        print(f"then {len(plan.families) * plan.seeds} final runs of {plan.suite.examples:,} examples")
        return True
    chosen = choose(plan)
    path = plan.workdir / "chosen.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}  # other families may have come before
    write_json(path, earlier | chosen)
    print(f"2 of 3: {plan.suite.examples:,} examples a run")
    _phase(plan, "final", final(plan, chosen), flags)
    print("3 of 3: the test split, and what each family costs", flush=True)
    _examine(plan.workdir)
    found = standings.gather(plan.workdir)
    standings.publish(found, plan.workdir)
    return all(family["state"] == "done" for family in found["families"].values() if "state" in family)


def tuning(plan: Plan) -> dict[str, dict]:
    """The trials of the first phase, by name."""
    listed = {}
    for family in plan.families:
        for setting in plan.suite.grid(family):
            words = ",".join(f"{name.split('.')[-1]}={value:g}" for name, value in setting.items())
            overrides = setting | {"seed": TUNING_SEED}
            listed[f"{family},{words}"] = plan.trial(
                family, overrides, examples=plan.suite.tuning_examples, evaluations=1
            )
    return listed


def choose(plan: Plan) -> dict[str, dict]:
    """The setting of each family with the best validation score: {"setting", "score"}, or {"failed": why}.

    Of equal scores the first in the grid, which has the lower learning rate.
    """
    chosen = {}
    for family in plan.families:
        metric, factor = plan.suite.measure(family)
        known = find(plan.workdir / "tuning", f"{plan.split}/{metric}")
        tried = [finding for finding in known if finding.name.split(",")[0] == family]
        done = [(f, f.curve[-1][1] * factor) for f in tried if f.state == states.DONE and f.curve]
        if not done:
            chosen[family] = {"failed": next((f.reason for f in tried if f.reason), "no trial of the tuning is done")}
            continue
        sign = 1 if plan.suite.better == "max" else -1
        best, score = max(done, key=lambda pair: sign * pair[1])
        names = ["optimizer.learning_rate", plan.suite.families[family].own[0]]
        chosen[family] = {"setting": {name: best.overrides[name] for name in names}, "score": score}
    return chosen


def final(plan: Plan, chosen: Mapping[str, Mapping]) -> dict[str, dict]:
    """The trials of the second phase, by name; of families whose tuning failed there are none."""
    listed = {}
    for family in plan.families:
        kinds = {"": {}}
        if plan.sizes:
            kinds |= plan.suite.families[family].sizes
        if plan.by:
            name, values = plan.suite.by
            kinds |= {f"{name}={value}": {name: value} for value in values}
        for kind, fields in kinds.items():
            for seed in range(1, plan.seeds + 1) if "setting" in chosen[family] else ():
                overrides = {**chosen[family]["setting"], **fields, "seed": seed}
                name = f"{family},{kind},seed={seed}" if kind else f"{family},seed={seed}"
                examples = plan.suite.examples
                listed[name] = plan.trial(family, overrides, examples=examples, evaluations=suites.CURVE)
    return listed


def main(arguments: list[str] | None = None) -> None:
    """The command line: exit code 1 where a family failed, and a user's mistake is one line."""
    given, flags = _parser().parse_known_args(arguments)
    jax.config.update("jax_platforms", "cpu")  # this process computes nothing: the accelerators are for the runs
    try:
        if given.merge:
            standings.publish(standings.merge([standings.read(path) for path in given.merge]), Path(given.workdir))
            return
        sys.exit(0 if run(_plan(given), flags) else 1)
    except runner.Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _phase(plan: Plan, name: str, trials: dict[str, dict], flags: list[str]) -> None:
    if not trials:
        return
    metric = f"{plan.split}/{plan.suite.metric}"
    listed = TrialList(str(plan.workdir / f"{name}.json"), metric, plan.suite.better, trials)
    listed.write()
    given = sweep.parser().parse_args([listed.path, f"--workdir={plan.workdir / name}", *flags])
    if given.jobs < 1:
        raise ValueError(f"--jobs={given.jobs}: expected at least 1")
    print(f"{name}: {len(trials)} runs", flush=True)
    sweep.run_list(listed, given, show=lambda workdir: None)
    left = [trial.name for trial in listed.trials(given.workdir) if not trial.settled()]
    if left and not given.dry_run:
        raise ChildProcessError(f"{len(left)} of {len(trials)} runs of the {name} have not come to their end, "
                                f"{left[0]} for one. The same command goes on with them.")  # fmt: skip


def _examine(workdir: Path) -> None:
    """In a process of its own, which may have the accelerators."""
    command = [sys.executable, "-m", "experiments.benchmark.examine", str(workdir)]
    if code := subprocess.run(tied(command)).returncode:
        raise ChildProcessError(f"the examination ended with exit code {code}, see above; the same command goes on")


def _plan(given: argparse.Namespace) -> Plan:
    suite = suites.load(given.suite)
    parts = [name for name, part in suite.families.items() if isinstance(part, Family)]
    families = given.families.split(",") if given.families else parts
    for family in families:
        if family not in parts:
            suite.config(family)  # says why not
    if given.seeds < 1:
        raise ValueError(f"--seeds={given.seeds}: expected at least 1, and 5 for a result")
    if given.examples:
        share = given.examples / suite.examples
        tuning_examples = max(suite.batch_size, round(share * suite.tuning_examples))
        suite = replace(suite, examples=given.examples, tuning_examples=tuning_examples)
        suite.check()
    if given.by and not suite.by[0]:
        raise ValueError(f"--by: the suite {given.suite} has no field to do so; recall has data.pairs")
    workdir, overrides = Path(given.workdir or f"runs/{given.suite}"), _overrides(suite, given.set)
    return Plan(given.suite, suite, workdir, families, given.seeds, overrides, given.sizes, given.by)


def _overrides(suite: Suite, words: list[str]) -> dict:
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"--set {word}: expected FIELD=VALUE, such as data.pairs=3")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    data = {**suite.data, **{name[5:]: value for name, value in found.items() if name.startswith("data.")}}
    suites.refuse_test(suite, data)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmark", description=__doc__.splitlines()[0], allow_abbrev=False,
        epilog="Further flags are those of experiments.sweep: --jobs, --population, --launcher, --retry-failed, ...",
    )  # fmt: skip
    parser.add_argument("suite", help=f"one of {', '.join(suites.names())}")
    parser.add_argument("--workdir", help="folder for the runs and the results (default: runs/<suite>)")
    parser.add_argument("--families", help="those that take part, such as vit,perceiver (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="final runs of each family (default: 5)")
    parser.add_argument("--sizes", action="store_true", help="further sizes of each family, for scaling curves")
    parser.add_argument("--by", action="store_true", help="also easier and harder work: recall by number of pairs")
    parser.add_argument("--examples", type=int, help="seen by each final run, for a shorter benchmark by other rules")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of all runs")
    parser.add_argument("--merge", nargs="+", metavar="WORKDIR", help="run nothing: put these results together")
    return parser


if __name__ == "__main__":
    main()
