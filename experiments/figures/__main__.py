"""Makes the figures of the lectures, and checks what each of them shows.

  python -m experiments.figures               lists all figures with their state
  python -m experiments.figures krr ancestral makes these
  python -m experiments.figures --all         makes all that are missing, failed or out of date

Each figure leaves <id>.png and <id>.svg for light slides, the same with _dark for dark slides, and <id>.json with what
was measured. index.html shows all of them. Models that are trained for figures are kept in trained/, each run with its
config and log. If the command is stopped, the same command continues. With --all, figures whose data set is not on disk
are skipped. The exit code is 1 if a criterion does not hold.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
import multiprocessing
import os
import signal
import sys

from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import Stopped, UserError
from experiments.figures.engine import begin_process, caption, load, make, make_in_process, missing, names, state
from experiments.figures.gallery import write_page
from training.compilation import use_compilation_cache
from training.loop import Interrupted
from training.noise import silence_failed_writes


@command
def main(arguments: list[str]) -> int:
    """Runs the command; the exit code is 1 if a figure failed."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.figures", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("figures", nargs="*", help="ids of figures to make, up to date or not")
    parser.add_argument("--all", action="store_true", help="make all that are not up to date")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    parser.add_argument("--out", default="runs/figures", help="folder for the figures (default %(default)s)")
    args = parser.parse_args(arguments)
    every = names()
    if unknown := [name for name in args.figures if name not in every]:
        raise UserError(f"there is no figure {', '.join(unknown)}: expected some of {', '.join(every)}")
    if args.jobs < 1:
        raise UserError(f"--jobs={args.jobs}: expected at least 1")
    if args.all and args.figures:
        raise UserError("figures and --all exclude each other: name figures, or give --all")
    if not args.all and not args.figures:
        _list(every, args.out)
        return 0
    chosen = _out_of_date(every, args.out, args.seed) if args.all else _named(args.figures)
    try:
        failed = _make(chosen, args.out, args.seed, args.jobs)
    except (KeyboardInterrupt, Interrupted):
        raise Stopped("stopped; to go on, give --all again", 130) from None
    print(write_page(args.out))
    return 1 if failed else 0


def _named(figures: list[str]) -> list[str]:
    chosen = list(dict.fromkeys(figures))
    if reasons := dict.fromkeys(reason for name in chosen if (reason := missing(name))):
        raise UserError("\n  ".join(reasons))
    return chosen


def _out_of_date(every: list[str], folder: str, seed: int) -> list[str]:
    """The figures to make for --all, with a line on those that are up to date and those that cannot be made."""
    chosen = [name for name in every if state(name, folder, seed)[0] != "passed"]
    if len(chosen) < len(every):
        print(f"{len(every) - len(chosen)} of {len(every)} figures are up to date in {folder}", flush=True)
    if skipped := {name: reason for name in chosen if (reason := missing(name))}:
        print(f"skipped: {', '.join(skipped)}", *dict.fromkeys(skipped.values()), sep="\n", flush=True)
    return [name for name in chosen if name not in skipped]


def _make(chosen: list[str], folder: str, seed: int, jobs: int) -> list[str]:
    """Makes figures and prints a line for each; returns those that failed."""
    failed = []
    for number, (name, record) in enumerate(_records(chosen, folder, seed, jobs), 1):
        outcome = "passed" if record["passed"] else "FAILED"
        path = f"{folder}/{name}.png"
        print(f"{number:3}/{len(chosen)}  {outcome}  {name:24} {record['seconds']:6.1f} s  {path}", flush=True)
        if record["traceback"]:
            print(record["traceback"], file=sys.stderr, flush=True)
        for line in record["failures"] + ([record["error"]] if record["error"] else []):
            print(f"{name}: {line}", file=sys.stderr, flush=True)
        if not record["passed"]:
            failed.append(name)
    if failed:
        print(f"{len(failed)} of {len(chosen)} failed: {', '.join(failed)}", file=sys.stderr)
    return failed


def _records(chosen: list[str], folder: str, seed: int, jobs: int) -> Iterator[tuple[str, dict]]:
    """The figures with their records, in the order in which they are ready."""
    jobs = min(jobs, len(chosen))
    if jobs <= 1:
        silence_failed_writes()
        use_compilation_cache()
        for name in chosen:
            yield name, make(name, folder, seed)
        return
    # Forked processes would share the threads of JAX, which forks do not survive.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=begin_process) as pool:
        futures = {pool.submit(make_in_process, name, folder, seed): name for name in chosen}
        try:
            for future in as_completed(futures):
                yield futures[future], _record(future)
        except (KeyboardInterrupt, Interrupted):
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _record(future) -> dict:
    try:
        if (record := future.result()) is None:
            raise KeyboardInterrupt
        return record
    except BrokenProcessPool:
        error = "the process was killed before this figure was made, perhaps for lack of memory; try fewer --jobs"
        return {"passed": False, "seconds": 0.0, "failures": [], "error": error, "traceback": None}


def _list(every: list[str], folder: str) -> None:
    """Prints a table of all figures with their states."""
    table = Table(box=None, pad_edge=False)
    for column in ("figure", "state", "seed", "seconds", "shows"):
        table.add_column(
            column, justify="right" if column in ("seed", "seconds") else "left", no_wrap=column != "shows"
        )
    for name in every:
        word, record = state(name, folder)
        word += f" (needs {', '.join(load(name).NEEDS)})" if missing(name) else ""
        table.add_row(name, word, str(record.get("seed", "")), str(record.get("seconds", "")), caption(name)["title"])
    Console(highlight=False, markup=False).print(table)


def _interrupt(number, frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)  # like Ctrl-C: training saves before it stops
    main()
