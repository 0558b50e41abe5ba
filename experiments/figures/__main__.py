"""Figures of lectures, each with a check of what it shows.

  python -m experiments.figures               lists all, with their state
  python -m experiments.figures krr ancestral makes these
  python -m experiments.figures --all         makes all that are not there, failed, or are out of date

Each leaves <id>.png and <id>.svg, for light slides and (with _dark) for dark ones, and <id>.json with what was
measured; index.html shows all. What is trained for them is in trained/, each run with its config and log. Stopped at
any moment, the same command goes on. A figure of a set that is not on disk is skipped. The exit code is 1 where a
criterion does not hold.
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

from experiments.figures.engine import begin_process, caption, load, make, make_in_process, missing, names, state
from experiments.figures.gallery import write_page
from training.compilation import use_compilation_cache
from training.loop import Interrupted


def main(arguments: list[str] | None = None) -> None:
    """The command line: an error of the user's is one line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.figures", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("figures", nargs="*", help="ids of figures to make, up to date or not")
    parser.add_argument("--all", action="store_true", help="make all that are not up to date")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--folder", default="runs/figures", help="where figures go (default %(default)s)")
    given = parser.parse_args(arguments)
    known = names()
    if unknown := [name for name in given.figures if name not in known]:
        _refuse(f"there is no figure {', '.join(unknown)}: expected some of {', '.join(known)}")
    if given.jobs < 1:
        _refuse(f"--jobs={given.jobs}: expected at least 1")
    if given.all and given.figures:
        _refuse("give figures, or --all")
    if not given.all and not given.figures:
        _list(known, given.folder)
        return
    wanted = list(dict.fromkeys(given.figures))
    lacking = {name: said for name in (known if given.all else wanted) if (said := missing(name))}
    if lacking and not given.all:
        _refuse("\n".join(dict.fromkeys(lacking.values())))
    if given.all:
        wanted = [name for name in known if state(name, given.folder, given.seed)[0] != "passed"]
        if current := len(known) - len(wanted):
            print(f"{current} of {len(known)} figures are up to date in {given.folder}", flush=True)
        if skipped := [name for name in wanted if name in lacking]:
            said = dict.fromkeys(lacking[name] for name in skipped)
            print(f"skipped: {', '.join(skipped)}", *said, sep="\n", flush=True)
            wanted = [name for name in wanted if name not in skipped]
    try:
        failed = _make_all(wanted, given)
    except (KeyboardInterrupt, Interrupted):
        print("stopped; to go on, give --all again", file=sys.stderr)
        sys.exit(130)
    print(write_page(given.folder))
    sys.exit(1 if failed else 0)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def _make_all(wanted: list[str], given: argparse.Namespace) -> list[str]:
    failed = []
    for number, (name, record) in enumerate(_records(wanted, given), 1):
        word = "passed" if record["passed"] else "FAILED"
        place = f"{given.folder}/{name}.png"
        print(f"{number:3}/{len(wanted)}  {word}  {name:24} {record['seconds']:6.1f} s  {place}", flush=True)
        for line in record["failures"] + ([record["error"]] if record["error"] else []):
            print(f"{name}: {line}", file=sys.stderr, flush=True)
        if not record["passed"]:
            failed.append(name)
    if failed:
        print(f"{len(failed)} of {len(wanted)} failed: {', '.join(failed)}", file=sys.stderr)
    return failed


def _records(wanted: list[str], given: argparse.Namespace) -> Iterator[tuple[str, dict]]:
    """The figures in the order in which they are ready."""
    jobs = min(given.jobs, len(wanted))
    if jobs <= 1:
        use_compilation_cache()
        for name in wanted:
            yield name, make(name, given.folder, given.seed)
        return
    # Forked processes would share the threads of JAX, which forks do not survive.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=begin_process) as pool:
        futures = {pool.submit(make_in_process, name, given.folder, given.seed): name for name in wanted}
        try:
            for future in as_completed(futures):
                yield futures[future], _result(future)
        except (KeyboardInterrupt, Interrupted):
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _result(future) -> dict:
    try:
        if (record := future.result()) is None:
            raise KeyboardInterrupt
        return record
    except BrokenProcessPool:
        error = "a process was killed before this figure was made; for want of memory? Fewer --jobs need less"
        return {"passed": False, "seconds": 0.0, "failures": [], "error": error}


def _list(known: list[str], folder: str) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("figure", "state", "seed", "seconds", "shows"):
        table.add_column(
            column, justify="right" if column in ("seed", "seconds") else "left", no_wrap=column != "shows"
        )
    for name in known:
        word, record = state(name, folder)
        word += f" (needs {', '.join(load(name).NEEDS)})" if missing(name) else ""
        table.add_row(name, word, str(record.get("seed", "")), str(record.get("seconds", "")), caption(name)["title"])
    Console(highlight=False, markup=False).print(table)


def _refuse(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: runs save
    main()
