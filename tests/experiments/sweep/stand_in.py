"""A stand-in for train.py that counts instead of training, so that the tests of the runner are fast.

It reads the same flags, writes the same files, continues from its last save, and saves and stops on SIGTERM. It adds a
line to `history` in its folder at each start, so that a test can see what a sweep did. If STAND_IN_WAITS is set, trials
with at least that learning rate wait for a signal before their last step, however busy the machine is. As a program it
is the sweep command, with the stand-in instead of train.py.
"""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # without it, the stand-in starts in milliseconds
    from experiments.sweep.trials import Trial

PACE = 0.005  # seconds per step


def until(condition: Callable[[], object]) -> None:
    """Waits for a condition, for at most a minute."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(PACE)


def command(trials: list[Trial]) -> list[str]:
    """Replaces `experiments.sweep.runner.command`."""
    return [sys.executable, "-S", __file__, "count", *(flag for trial in trials for flag in (*trial.flags(), "--"))]


def count(flags: dict[str, str]) -> None:
    """Counts the steps. Exits with an error at learning rate 100, and crashes at 1000."""
    folder, rate = Path(flags["workdir"]), float(flags.get("config.optimizer.learning_rate", "0.01"))
    steps, seed = int(flags["config.steps"]), int(flags.get("config.seed", "0"))
    stop_signals = []
    signal.signal(signal.SIGTERM, lambda *_: stop_signals.append(True))
    saved = folder / "checkpoints"
    first = int(saved.read_text()) if saved.exists() else 0
    with (folder / "history").open("a") as history:
        history.write(f"from {first}{' although complete' if (folder / 'summary.json').exists() else ''}\n")
    (folder / "config.json").write_text("{}")
    with (folder / "metrics.jsonl").open("a" if first else "w") as log:
        for step in range(first + 1, steps + 1):
            time.sleep(PACE)
            if step == steps and rate >= float(os.environ.get("STAND_IN_WAITS", "inf")):
                until(lambda: stop_signals)
            saved.with_suffix(".tmp").write_text(str(step))
            saved.with_suffix(".tmp").rename(saved)
            if rate == 100:
                sys.exit("error: step 1: loss nan")
            if rate == 1000:
                signal.raise_signal(signal.SIGABRT)
            loss = rate + seed / 1000 + 1 / step
            log.write(json.dumps({"step": step, "split": "test", "time": 0.1 * step, "loss": loss}) + "\n")
            log.flush()
            if stop_signals:
                sys.exit(143)
    summary = {"metrics": {"test/loss": rate + seed / 1000 + 1 / steps}, "steps": steps, "seconds": 0.1 * steps}
    (folder / "summary.tmp").write_text(json.dumps(summary))
    (folder / "summary.tmp").rename(folder / "summary.json")


if __name__ == "__main__":
    if sys.argv[1] == "count":
        flags: dict[str, str] = {}
        for word in sys.argv[2:]:
            if word == "--":
                count(flags)
                flags = {}
            else:
                name, _, value = word.removeprefix("--").partition("=")
                flags[name] = value
    else:
        sys.path.insert(0, str(Path(__file__).parents[3]))
        from experiments.sweep import __main__ as sweep
        from experiments.sweep import runner

        runner.command = command
        sweep.main(sys.argv[1:])
