"""Compares architectures fairly: all are tuned alike, trained alike, and tested once.

python -m experiments.benchmark digits --workdir=runs/compare --jobs=2 [--families=vit,perceiver --seeds=10]

1. Tuning: each family tries the same number of settings on validation data, with the same number of examples. The grid
   grows until no family is best at its edge.
2. Final: the best setting of each family is trained with all seeds. With --studies, both are done several times.
3. The test split is read once, and the cost of each family is measured.
4. The results are written into the workdir: `results.json`, a table in three formats, figures, `report.html`.

Both phases of training are sweeps (`experiments.sweep`), so this command takes their flags too. If it is stopped, the
same command continues. The rules: docs/protocol.md.

python -m experiments.benchmark summary runs/compare runs/recall   several suites together
python -m experiments.benchmark simulate                           how often a comparison is wrong, and what it finds
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
import math
from pathlib import Path
import shlex
import subprocess
import sys

import jax

from core.command import command
from core.errors import Stopped, UserError
from core.files import parse_json, read_json, write_json
from core.next_commands import next_text
from core.processes import with_parent
from experiments.benchmark import plots, protocol, report, scores, simulate, summary, tables
from experiments.benchmark import suite as suites
from experiments.benchmark.collect import collect
from experiments.benchmark.phases import Plan, choose, final, tuning, wider
from experiments.benchmark.scores import Scores
from experiments.benchmark.studies import folder
from experiments.benchmark.suite import Suite
from experiments.sweep import engine
from experiments.sweep.options import Options
from experiments.sweep.sweep_file import check
from experiments.sweep.trial_list import TrialList


@command
def main(arguments: list[str]) -> int:
    """The command line. The exit code is 1 if a family failed."""
    if arguments and arguments[0] in OTHERS:
        OTHERS[arguments[0]](arguments[1:])
        return 0
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
    if not (plan.workdir / "protocol.json").exists():
        _check(plan)
    protocol.begin(plan.workdir, protocol.identity(plan.name, plan.suite, plan.overrides), dry_run=options.dry_run)
    print(f"1 of 3: tuning, {plan.suite.tuning_examples:,} examples per run")
    path = plan.workdir / "chosen.json"
    earlier = read_json(path) if path.exists() else {}
    plan, chosen = _tune(plan, options, grow=set(earlier) <= set(plan.families))
    if options.dry_run:
        runs = len(plan.families) * plan.seeds * plan.studies
        print(f"then {runs} final runs of {plan.suite.examples:,} examples")
        return True
    write_json(path, earlier | _of_all_studies(chosen))
    print(f"2 of 3: final runs, {plan.suite.examples:,} examples each")
    for study, settings in enumerate(chosen):
        _train(plan, "final", study, final(plan, settings, study), options)
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
    print(next_text(_next(workdir)), flush=True)


def _next(workdir: Path) -> list[str]:
    """Command lines that go on from the results. Merged ones have no runs in their own folder."""
    lines = [f"python -m experiments.benchmark summary {shlex.quote(str(workdir))}"]
    if (finals := folder(workdir, "final", 0)).is_dir():
        lines.append(f"python -m experiments.results --workdir={shlex.quote(str(finals))}")
    return lines


def _tune(plan: Plan, options: Options, *, grow: bool) -> tuple[Plan, list[dict]]:
    """Runs the tuning of all studies, with more learning rates as long as one at the edge is the best of a family.

    Returns the plan with the learning rates that were tried, and for each study what `choose` returns. `grow`: whether
    rates may be added. They may not where the folder holds further families, which were tuned with fewer.
    """
    path = plan.workdir / "rates.json"
    if not plan.rates:
        plan = plan.tuned_with(read_json(path) if path.exists() else plan.suite.rates)
    while True:
        if not options.dry_run:
            write_json(path, list(plan.rates))
        for study in range(plan.studies):
            _train(plan, "tuning", study, tuning(plan, study), options)
        if options.dry_run:
            return plan, []
        chosen = [choose(plan, study) for study in range(plan.studies)]
        best = [c["setting"]["optimizer.learning_rate"] for study in chosen for c in study.values() if "setting" in c]
        rates = wider(plan.rates, best, plan.suite) if grow else plan.rates
        if rates == plan.rates:
            return plan, chosen
        added = ", ".join(f"{rate:g}" for rate in rates if rate not in plan.rates)
        print(f"a family is best at the edge of the grid: all try the learning rates {added} too", flush=True)
        plan = plan.tuned_with(rates)


def _of_all_studies(chosen: Sequence[Mapping[str, Mapping]]) -> dict[str, dict]:
    """What `chosen.json` holds: the choice of the first study, with those of the others, or why one failed."""
    merged = {}
    for family, first in chosen[0].items():
        further = [study[family] for study in chosen[1:]]
        failed = next((choice for choice in (first, *further) if "failed" in choice), None)
        merged[family] = dict(failed) if failed else {**first, "studies": further}
    return merged


def _train(plan: Plan, phase: str, study: int, trials: Mapping[str, Mapping], options: Options) -> None:
    """Runs the sweep of a phase of a study. Raises Stopped if some of its trials have not ended."""
    if not trials:
        return
    place, trial_list = folder(plan.workdir, phase, study), _trial_list(plan, phase, study, trials)
    trial_list.write()
    print(f"{place.name}: {len(trials)} runs", flush=True)
    options = replace(options, workdir=place)
    engine.run(trial_list, options, show=None)
    unfinished = [trial.name for trial in trial_list.trials(options.workdir) if not trial.settled()]
    if unfinished and not options.dry_run:
        raise Stopped(
            f"{len(unfinished)} of {len(trials)} {place.name} runs have not ended, such as {unfinished[0]}. The same "
            "command continues them.", 1,
        )  # fmt: skip


def _check(plan: Plan) -> None:
    """Checks that the tuning can start. A field that is refused must not become part of the rules of a new folder."""
    trials = tuning(plan if plan.rates else plan.tuned_with(plan.suite.rates), 0)
    trial_list = _trial_list(plan, "tuning", 0, trials)
    check(trial_list.trials(folder(plan.workdir, "tuning", 0)), trial_list.metric)


def _trial_list(plan: Plan, phase: str, study: int, trials: Mapping[str, Mapping]) -> TrialList:
    metric = f"{plan.splits(study)[1]}/{plan.suite.metric}"
    return TrialList(f"{folder(plan.workdir, phase, study)}.json", metric, plan.suite.better, trials)


def _examine(workdir: Path) -> None:
    """Runs the examination in a process of its own, which may use the accelerators."""
    examination = [sys.executable, "-m", "experiments.benchmark.examine", f"--workdir={workdir}"]
    process = subprocess.run(with_parent(examination))
    if code := process.returncode:
        raise Stopped(f"the examination ended with exit code {code}, see above. The same command repeats it.", 1)


def _plan(args: argparse.Namespace) -> Plan:
    suite = suites.load(args.suite)
    families = args.families.split(",") if args.families else list(suite.participants)
    for family in families:
        suite.family(family)  # raises with the reason if it takes no part
    if args.seeds < 1:
        raise UserError(f"--seeds={args.seeds}: expected at least 1, and 5 or more for a comparison")
    if args.studies < 1:
        raise UserError(f"--studies={args.studies}: expected at least 1; 3 or more measure how the tuning varies")
    try:
        rates = tuple(sorted({float(text) for text in args.rates.split(",")})) if args.rates else ()
    except ValueError as error:
        raise UserError(f"--rates={args.rates}: expected learning rates, such as 0.001,0.003,0.01") from error
    if any(not 0 < rate < math.inf for rate in rates):
        raise UserError(f"--rates={args.rates}: expected learning rates above 0")
    if args.examples:
        share = args.examples / suite.examples
        tuning_examples = max(suite.batch_size, round(share * suite.tuning_examples))
        suite = replace(suite, examples=args.examples, tuning_examples=tuning_examples)
        suite.check()
    if args.by and not suite.by[0]:
        raise UserError(f"--by: the suite {args.suite} states no field for it; recall does, with data.pairs")
    if args.workdir is not None and not args.workdir.strip():
        raise UserError("--workdir is empty: expected the folder for the runs and the results")
    workdir, overrides = Path(args.workdir or f"runs/{args.suite}"), _overrides(suite, args.set)
    plan = Plan(args.suite, suite, workdir, families, args.seeds, overrides, args.sizes, args.by, args.studies, rates)
    for study in range(plan.studies):
        plan.splits(study)  # raises if there is no such division
    return plan


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
    parser.add_argument("suite", help=f"one of {', '.join(suites.names())}, or a command: {' or '.join(OTHERS)}")
    parser.add_argument("--workdir", help="folder for the runs and the results (default: runs/<suite>)")
    parser.add_argument("--families", help="those that take part, such as vit,perceiver (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="final runs of each family and study (default: 5)")
    parser.add_argument("--studies", type=int, default=1, help="tunings, each with its final runs (default: 1)")
    parser.add_argument("--rates", help="learning rates to start the tuning with (default: those of the suite)")
    parser.add_argument("--sizes", action="store_true", help="train further sizes of each family, for scaling curves")
    parser.add_argument("--by", action="store_true", help="train at further difficulties, such as recall of more pairs")
    parser.add_argument("--examples", type=int, help="seen by each final run, for a shorter benchmark by other rules")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of all runs")
    parser.add_argument("--merge", nargs="+", metavar="WORKDIR", help="run nothing: merge the results of these folders")
    Options.add_flags(parser)
    return parser


OTHERS = {"simulate": simulate.main, "summary": summary.main}

if __name__ == "__main__":
    main()
