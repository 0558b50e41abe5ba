"""Runs all trials of a sweep file, or goes on where it was stopped.

python -m experiments.sweep experiments/sweeps/decoder_width.py --workdir=runs/decoder_width --jobs=2

Each trial is a run of `train.py` in `<workdir>/trials/<its overrides>`; one that fails is marked and spares the rest.
However it is stopped, the same command goes on: finished trials are not repeated, broken ones resume. Several such
commands, on one machine or on several that share the folder, divide the trials among them. What a sweep file says:
`experiments/sweep/sweep_file.py`.
"""

import argparse
from collections.abc import Callable
from fnmatch import fnmatch
import json
from pathlib import Path
from statistics import mean
import sys

import jax

from experiments.sweep import population, results, runner
from experiments.sweep import trials as states
from experiments.sweep.board import Board
from experiments.sweep.progress import clock
from experiments.sweep.sweep_file import Sweep, check
from experiments.sweep.trial_list import TrialList
from experiments.sweep.trials import Trial, begun
from training.workdir import write_json

AUTO = 16  # members of a population at most, where the user leaves it open


def main(arguments: list[str] | None = None) -> None:
    """The command line: exit code 1 where a trial failed, and a user's mistake is one line."""
    given = parser().parse_args(arguments)
    jax.config.update("jax_platforms", "cpu")  # the runner computes nothing: the accelerators are for the trials
    try:
        sweep = (TrialList if given.file.endswith(".json") else Sweep).read(given.file)
        if given.jobs < 1:
            raise ValueError(f"--jobs={given.jobs}: expected at least 1")
        sys.exit(0 if (run_search if sweep.search else run_list)(sweep, given) else 1)
    except runner.Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def run_list(sweep: Sweep | TrialList, given: argparse.Namespace, show: Callable = results.show) -> bool:
    """Runs the trials of a sweep; whether all of them, or those that --only names, are done.

    `given` is what `parser` reads; `show` is called with the workdir at the end, also of a sweep that was stopped.
    """
    trials = sweep.trials(given.workdir)
    check(trials, sweep.metric)
    chosen = [trial for trial in trials if not given.only or any(_fits(trial, text) for text in given.only)]
    if not chosen:
        raise ValueError(f"--only={' '.join(given.only)} fits no trial; there is for example {trials[0].name}")
    if given.dry_run:
        print(dry_run(chosen))
        return True
    _begin(sweep, given.workdir, {trial.name: trial.overrides for trial in trials})
    for trial in chosen:
        if given.retry_failed and trial.settled() == states.FAILED:
            trial.forget(states.FAILED)
        if (trial.folder / "trial.json").exists():
            trial.begin()  # as many steps as the sweep asks for now
    left = sum(not trial.settled() for trial in chosen)
    if given.launcher == "slurm":
        send(given, lambda: chosen, show, total=len(chosen), left=left)
    else:
        groups = runner.Groups(_groups(chosen, given))
        work(groups, sweep, given, show, total=len(chosen), before=len(chosen) - left)
    return all(trial.settled() == states.DONE for trial in chosen)


def run_search(sweep: Sweep, given: argparse.Namespace) -> bool:
    """Runs the trials that `search(trial)` suggests; whether none failed, and none is left."""
    from experiments.sweep.search import Search

    if given.only or given.retry_failed:
        raise ValueError("--only and --retry-failed are for a sweep(): what a search has tried stays as it was")
    search = Search(sweep, given.workdir, given.storage)
    if given.dry_run:
        print(dry_run([trial for trial in begun(given.workdir)]), f"of {search.total} that the search may try")
        return True
    _begin(sweep, given.workdir, {})
    search.open()
    if given.launcher == "slurm":
        left = search.total - search.settled()
        send(given, lambda: list(begun(given.workdir)), results.show, total=search.total, left=left)
    else:
        work(search, sweep, given, results.show, total=search.total, before=search.settled())
    ended = [trial.settled() for trial in begun(given.workdir)]
    return len(ended) >= search.total and set(ended) <= {states.DONE, states.PRUNED}


def work(
    queue: runner.Queue, sweep: Sweep | TrialList, given: argparse.Namespace, show: Callable, *, total: int, before: int
) -> None:
    """Runs what the queue gives, then writes and shows the results, also of what was stopped."""
    try:
        with Board(metric=sweep.metric, better=sweep.better, total=total, before=before, jobs=given.jobs) as board:
            places = runner.places(given.jobs)
            runner.run(queue, board, places=places, command=runner.command, wait=not given.no_wait)
    except runner.Stopped:
        show(given.workdir)
        raise
    show(given.workdir)


def send(
    given: argparse.Namespace, trials: Callable[[], list[Trial]], show: Callable, *, total: int, left: int
) -> None:
    """Has Slurm run what is left, and waits for it; then as `work`."""
    from experiments.sweep import slurm

    flags = [given.file, f"--workdir={given.workdir}", f"--population={given.population}", f"--storage={given.storage}"]
    flags += ["--only", *given.only] if given.only else []
    try:
        if left:
            workers = min(given.jobs, left)
            ids = slurm.submit(flags, given.workdir, workers=workers, resources=given.slurm)
            slurm.watch(trials, total, ids)
    except KeyboardInterrupt:
        sys.exit(130)
    show(given.workdir)


def dry_run(trials: list[Trial]) -> str:
    """The trials with their states, and what they cost together: in time too, where some are done already."""
    table = "\n".join(f"{trial.state():8} {trial.name}" for trial in trials)
    configs = [trial.read_config() for trial in trials]
    steps = sum(config["steps"] for config in configs)
    examples = sum(config["steps"] * config["batch_size"] for config in configs)
    done = [trial for trial in trials if trial.settled() == states.DONE]
    cost = f"{len(trials)} trials, {steps:,} steps, {examples:,} examples"
    if done:
        took = mean(json.loads((trial.folder / "summary.json").read_text())["seconds"] for trial in done)
        cost += f"; {clock(took * len(trials))} one after the other, at the pace of the {len(done)} that are done"
    return f"{table}\n{cost}"


def _begin(sweep: Sweep | TrialList, workdir: str, trials: dict) -> None:
    Path(workdir).mkdir(parents=True, exist_ok=True)
    said = {"file": sweep.path, "metric": sweep.metric, "better": sweep.better, "trials": trials}
    path = Path(workdir) / "sweep.json"
    if not path.exists() or json.loads(path.read_text()) != json.loads(json.dumps(said)):  # other runners may read it
        write_json(path, said)


def _groups(trials: list[Trial], given: argparse.Namespace) -> list[list[Trial]]:
    """What runs together: trials that differ only in numbers that one program can take, at most so many."""
    limit = {"auto": AUTO, "off": 1}.get(given.population) or int(given.population)
    if limit == 1:
        return [[trial] for trial in trials]
    of = {str(trial.folder): trial for trial in trials}
    found, kinds = [], population.groups([runner.request(trial) for trial in trials])
    for some in kinds:
        alike = [of[request["workdir"]] for request in some]
        # One kind is divided among the jobs only where there are too few kinds to keep all of them at work.
        parts = max(-(-len(alike) // limit), min(-(-given.jobs // len(kinds)), len(alike)))
        found += [alike[i::parts] for i in range(parts)]
    return found


def _fits(trial: Trial, text: str) -> bool:
    return text in trial.name or fnmatch(trial.name, text)


def _population(text: str) -> str:
    if text not in ("auto", "off") and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected auto, off or a number of at least 1")
    return text


def parser() -> argparse.ArgumentParser:
    """The flags of a sweep."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the sweep, such as experiments/sweeps/decoder_width.py")
    parser.add_argument("--workdir", required=True, help="folder for the trials and the results")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one GPU each where there are several")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="the trials with this in their name, such as seed=0")
    parser.add_argument("--dry-run", action="store_true", help="list the trials and what they cost; run nothing")
    parser.add_argument("--retry-failed", action="store_true", help="continue the trials that failed")
    parser.add_argument("--no-wait", action="store_true", help="end when all that is left is run by others")
    parser.add_argument(
        "--population", type=_population, default="auto", metavar="auto|N|off",
        help="trials that one program may train together, where they differ only in numbers (auto: 16)",
    )  # fmt: skip
    parser.add_argument("--storage", default="sqlite", help="of a search: sqlite, journal, or the URL of a database")
    parser.add_argument(
        "--launcher", choices=["local", "slurm"], default="local", help="slurm: an array of --jobs runners"
    )
    parser.add_argument(
        "--slurm", nargs="+", default=[], metavar="NAME=VALUE", help="such as partition=gpu time=60 mem=8GB"
    )
    return parser


if __name__ == "__main__":
    main()
