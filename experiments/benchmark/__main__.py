"""Compares architectures fairly: all are tuned alike, trained alike, and tested once.

python -m experiments.benchmark digits --workdir=runs/compare --jobs=2 [--families=vit,perceiver --seeds=10]

1. Tuning: each family tries the same number of settings on validation data, with the same number of examples.
2. Final: the best setting of each family is trained with all seeds.
3. The test split is read once, and the cost of each family is measured.
4. The results are written into the workdir: `results.json`, a table in three formats, figures, `report.html`.

Both phases of training are sweeps (`experiments.sweep`), so this command takes their flags too. If it is stopped, the
same command continues. The rules: docs/protocol.md.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
import subprocess
import sys

import jax

from core.command import command
from core.errors import Stopped, UserError
from core.files import parse_json, read_json, write_json
from core.processes import with_parent
from experiments.benchmark import plots, protocol, report, scores, tables
from experiments.benchmark import suite as suites
from experiments.benchmark.collect import collect
from experiments.benchmark.phases import Plan, choose, final, tuning
from experiments.benchmark.scores import Scores
from experiments.benchmark.suite import Suite
from experiments.sweep import engine
from experiments.sweep.options import Options
from experiments.sweep.trial_list import TrialList


@command
def main(arguments: list[str]) -> int:
    """The command line. The exit code is 1 if a family failed."""
    args = _parser().parse_args(arguments)
    jax.config.update("jax_platforms", "cpu")  # this process computes nothing: the accelerators are for the runs
    if args.merge:
        if not args.workdir:
            raise UserError("--merge: expected --workdir too, the folder for the merged results")
        publish(scores.merge([scores.read(path) for path in args.merge]), Path(args.workdir))
        return 0
    plan = _plan(args)
    return 0 if run(plan, Options.of(args, plan.workdir)) else 1


def run(plan: Plan, options: Options) -> bool:
    """Does everything that is not done yet. Returns whether all families are done. `options`: those of both sweeps."""
    protocol.begin(plan.workdir, protocol.identity(plan.name, plan.suite, plan.overrides))
    print(f"1 of 3: tuning, {plan.suite.tuning_examples:,} examples per run")
    _train(plan, "tuning", tuning(plan), options)
    if options.dry_run:
        print(f"then {len(plan.families) * plan.seeds} final runs of {plan.suite.examples:,} examples")
        return True
    chosen = choose(plan)
    path = plan.workdir / "chosen.json"
    earlier = read_json(path) if path.exists() else {}  # of other families
    write_json(path, earlier | chosen)
    print(f"2 of 3: final runs, {plan.suite.examples:,} examples each")
    _train(plan, "final", final(plan, chosen), options)
    print("3 of 3: the test split, and the cost of each family", flush=True)
    _examine(plan.workdir)
    outcome = collect(plan.workdir)
    publish(outcome, plan.workdir)
    return all(family.done for family in outcome.participants.values())


def publish(outcome: Scores, workdir: Path) -> None:
    """Writes the results in all forms into a folder, and prints the table."""
    workdir.mkdir(parents=True, exist_ok=True)
    scores.write(outcome, workdir)
    tables.write(outcome, workdir)
    pictures = plots.draw(outcome, workdir)
    page = report.write_page(outcome, pictures, workdir)
    tables.show(outcome)
    print(f"results  {workdir}: results.json, table.csv, table.md, table.tex, {page.name}", flush=True)


def _train(plan: Plan, phase: str, trials: Mapping[str, Mapping], options: Options) -> None:
    """Runs the sweep of a phase. Raises Stopped if some of its trials have not ended."""
    if not trials:
        return
    metric = f"{plan.validation}/{plan.suite.metric}"
    trial_list = TrialList(str(plan.workdir / f"{phase}.json"), metric, plan.suite.better, trials)
    trial_list.write()
    print(f"{phase}: {len(trials)} runs", flush=True)
    options = replace(options, workdir=plan.workdir / phase)
    engine.run(trial_list, options, show=None)
    unfinished = [trial.name for trial in trial_list.trials(options.workdir) if not trial.settled()]
    if unfinished and not options.dry_run:
        raise Stopped(
            f"{len(unfinished)} of {len(trials)} {phase} runs have not ended, such as {unfinished[0]}. The same "
            "command continues them.", 1,
        )  # fmt: skip


def _examine(workdir: Path) -> None:
    """Runs the examination in a process of its own, which may use the accelerators."""
    process = subprocess.run(with_parent([sys.executable, "-m", "experiments.benchmark.examine", str(workdir)]))
    if code := process.returncode:
        raise Stopped(f"the examination ended with exit code {code}, see above. The same command repeats it.", 1)


def _plan(args: argparse.Namespace) -> Plan:
    suite = suites.load(args.suite)
    families = args.families.split(",") if args.families else list(suite.participants)
    for family in families:
        suite.family(family)  # raises with the reason if it takes no part
    if args.seeds < 1:
        raise UserError(f"--seeds={args.seeds}: expected at least 1, and 5 or more for a comparison")
    if args.examples:
        share = args.examples / suite.examples
        tuning_examples = max(suite.batch_size, round(share * suite.tuning_examples))
        suite = replace(suite, examples=args.examples, tuning_examples=tuning_examples)
        suite.check()
    if args.by and not suite.by[0]:
        raise UserError(f"--by: the suite {args.suite} states no field for it; recall does, with data.pairs")
    workdir, overrides = Path(args.workdir or f"runs/{args.suite}"), _overrides(suite, args.set)
    return Plan(args.suite, suite, workdir, families, args.seeds, overrides, args.sizes, args.by)


def _overrides(suite: Suite, assignments: Sequence[str]) -> dict:
    """The fields that --set sets, checked to leave the test split alone."""
    overrides = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: expected FIELD=VALUE, such as data.pairs=3")
        try:
            overrides[name] = parse_json(text)
        except ValueError:
            overrides[name] = text
    data = {**suite.data, **{name[5:]: value for name, value in overrides.items() if name.startswith("data.")}}
    suites.refuse_test(suite, data)
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmark", description=str(__doc__).splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("suite", help=f"one of {', '.join(suites.names())}")
    parser.add_argument("--workdir", help="folder for the runs and the results (default: runs/<suite>)")
    parser.add_argument("--families", help="those that take part, such as vit,perceiver (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="final runs of each family (default: 5)")
    parser.add_argument("--sizes", action="store_true", help="train further sizes of each family, for scaling curves")
    parser.add_argument("--by", action="store_true", help="train at further difficulties, such as recall of more pairs")
    parser.add_argument("--examples", type=int, help="seen by each final run, for a shorter benchmark by other rules")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of all runs")
    parser.add_argument("--merge", nargs="+", metavar="WORKDIR", help="run nothing: merge the results of these folders")
    Options.add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
