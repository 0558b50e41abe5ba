"""The sweep as a function: runs all trials of a sweep, here or on Slurm, or continues where it was stopped.

    run(Sweep.read("experiments/sweeps/decoder_width.py"), Options(workdir="runs/decoder_width", jobs=2))
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
import os
from pathlib import Path
from statistics import mean
from typing import Any

from core.errors import Stopped, UserError
from core.files import write_json
from experiments.measure.preflight import stand_in
from experiments.sweep import population, results, runner
from experiments.sweep import trials as states
from experiments.sweep.cost import flops_of_trials, times_of_trials
from experiments.sweep.display import SweepDisplay
from experiments.sweep.options import Options
from experiments.sweep.progress import clock
from experiments.sweep.sweep_file import Sweep, check
from experiments.sweep.trial_list import TrialList
from experiments.sweep.trials import Trial, begun, claim_folder

Show = Callable[[str | Path], Any]


def run(sweep: Sweep | TrialList, options: Options, show: Show | None = results.show) -> bool:
    """Runs the trials of a sweep. Returns whether it is complete.

    A sweep of listed trials is complete if all of them, or those that `options.only` names, are done. A search is
    complete if it has tried as many as it may, and none failed.

    Args:
      show: is called with the workdir at the end, also if the sweep is stopped. None shows nothing.

    Raises:
      UserError: a trial cannot run, or an option does not fit; nothing was started.
      Stopped: a signal asked to stop; all runs have saved and ended.
    """
    show = show or (lambda workdir: None)
    if options.topology:
        stand_in(options.topology)
    if isinstance(sweep, Sweep) and sweep.search:
        return _run_search(sweep, options, show)
    return _run_list(sweep, options, show)


def _run_list(sweep: Sweep | TrialList, options: Options, show: Show) -> bool:
    trials = sweep.trials(options.workdir)
    check(trials, sweep.metric)
    chosen = [trial for trial in trials if not options.only or any(_matches(trial, text) for text in options.only)]
    if not chosen:
        raise UserError(f"--only={' '.join(options.only)} matches no trial; the first of them is {trials[0].name}")
    if options.dry_run:
        print(_dry_run(chosen, options.topology))
        return True
    _write_record(sweep, options.workdir, trials)
    for trial in chosen:
        if options.retry_failed and trial.settled() == states.FAILED:
            trial.forget(states.FAILED)
    _begin_again(chosen)
    left = sum(not trial.settled() for trial in chosen)
    if options.launcher == "slurm":
        _run_on_slurm(sweep, options, show, lambda: chosen, total=len(chosen), left=left)
    else:
        groups = runner.Groups(_groups(chosen, options))
        _run_here(groups, sweep, options, show, total=len(chosen), before=len(chosen) - left)
    return all(trial.settled() == states.DONE for trial in chosen)


def _run_search(sweep: Sweep, options: Options, show: Show) -> bool:
    from experiments.sweep.search import Search  # nothing else needs Optuna

    if options.only or options.retry_failed:
        raise UserError("--only and --retry_failed are for a sweep(): what a search has tried stays as it is")
    search = Search(sweep, options.workdir, options.storage)
    if options.dry_run:
        print(_dry_run(list(begun(options.workdir)), options.topology), f"of {search.total} that the search may begin")
        return True
    _write_record(sweep, options.workdir, [])
    with search.storing():
        search.open()
        if options.launcher == "slurm":
            left = search.total - search.settled()
            trials = lambda: list(begun(options.workdir))
            _run_on_slurm(sweep, options, show, trials, total=search.total, left=left)
        else:
            _run_here(search, sweep, options, show, total=search.total, before=search.settled())
    ended = [trial.settled() for trial in begun(options.workdir)]
    return len(ended) >= search.total and set(ended) <= {states.DONE, states.PRUNED}


def _run_here(
    queue: runner.Queue, sweep: Sweep | TrialList, options: Options, show: Show, *, total: int, before: int
) -> None:
    """Runs what the queue gives as processes of this machine."""
    display = SweepDisplay(metric=sweep.metric, better=sweep.better, total=total, before=before, jobs=options.jobs)
    environments = runner.environments(options.jobs)
    try:
        with display:
            runner.run(queue, display, environments=environments, command=runner.command, wait=options.wait)
    except Stopped:
        show(options.workdir)
        raise
    show(options.workdir)


def _run_on_slurm(
    sweep: Sweep | TrialList, options: Options, show: Show, trials: Callable[[], list[Trial]], *, total: int, left: int
) -> None:
    """Has Slurm run what is left, and waits for it."""
    from experiments.sweep import slurm

    flags = [sweep.path, f"--workdir={options.workdir}", f"--population={options.population}"]
    flags += [f"--storage={options.storage}", *(["--only", *options.only] if options.only else [])]
    if left:
        workers = min(options.jobs, left)
        ids = slurm.submit(flags, options.workdir, workers=workers, resources=options.slurm)
        slurm.watch(trials, total, ids)
    show(options.workdir)


def _dry_run(trials: list[Trial], topologies: Sequence[str]) -> str:
    """The trials with what would become of them, and their cost: steps, examples, FLOPs and, if some are done, time.

    Of accelerators that are named, the least time there too.
    """
    table = "\n".join(f"{_WOULD[trial.state()]:14} {trial.name}" for trial in trials)
    configs = [trial.read_config() for trial in trials]
    steps = sum(config["steps"] for config in configs)
    examples = sum(config["steps"] * config["batch_size"] for config in configs)
    done = [trial for trial in trials if trial.settled() == states.DONE]
    flops = f", {flops_of_trials(trials):.3g} FLOPs" if trials else ""
    cost = f"{len(trials)} trials, {steps:,} steps, {examples:,} examples{flops}"
    if done:
        seconds = mean(trial.read_summary()["seconds"] for trial in done)
        cost += f"; {clock(seconds * len(trials))} one after the other, at the pace of the {len(done)} that are done"
    return "\n".join([table, cost, *times_of_trials(trials, topologies)])


_WOULD = {
    states.WAITING: "would begin", states.STOPPED: "would continue", states.RUNNING: "is running",
    states.DONE: "is done", states.FAILED: "has failed", states.PRUNED: "was pruned",
}  # fmt: skip


def _begin_again(trials: Sequence[Trial]) -> None:
    """Writes what the sweep now asks of trials that were begun, such as more steps.

    A trial that another runner works on has what that runner asks.
    """
    for trial in trials:
        if (trial.folder / "trial.json").exists() and (claim := claim_folder(trial.folder)) is not None:
            trial.begin()
            os.close(claim)


def _write_record(sweep: Sweep | TrialList, workdir: str | Path, trials: Sequence[Trial]) -> None:
    """Writes `sweep.json`; see `outcomes.SweepRecord`."""
    Path(workdir).mkdir(parents=True, exist_ok=True)
    overrides = {trial.name: trial.overrides for trial in trials}
    content = {"file": sweep.path, "metric": sweep.metric, "better": sweep.better, "trials": overrides}
    write_json(Path(workdir) / "sweep.json", content)


def _groups(trials: list[Trial], options: Options) -> list[list[Trial]]:
    """The trials of each job: one, or those that can be trained as one program, at most `options.population`."""
    limit = options.population
    if limit == 1:
        return [[trial] for trial in trials]
    by_folder = {str(trial.folder): trial for trial in trials}
    groups, kinds = [], population.groups([runner.request(trial) for trial in trials])
    for kind in kinds:
        alike = [by_folder[request["workdir"]] for request in kind]
        # One kind is divided among jobs only if there are too few kinds to keep all jobs at work.
        parts = max(-(-len(alike) // limit), min(-(-options.jobs // len(kinds)), len(alike)))
        groups += [alike[i::parts] for i in range(parts)]
    return groups


def _matches(trial: Trial, text: str) -> bool:
    return text in trial.name or fnmatch(trial.name, text)
