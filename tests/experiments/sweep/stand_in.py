"""A stand-in for train.py: counts instead of training, so that the tests of the runner take no time.

It reads the same flags, keeps the same files, continues from its last save, and saves and stops on SIGTERM. What is
between it and its folder is written down in `history`, a line for each start, so that a test can see what a sweep did.
Where STAND_IN_WAITS is set, learning rates from there on wait with their last step for a signal, however busy the
machine is. As a main program it is the sweep command itself, with the stand-in in place of train.py.
"""

import json
import os
from pathlib import Path
import signal
import sys
import time

PACE = 0.005  # seconds a step


def until(happens) -> None:
    """Waits, for a minute at the most."""
    end = time.monotonic() + 60
    while not happens() and time.monotonic() < end:
        time.sleep(PACE)


def command(trials) -> list[str]:
    """In place of `experiments.runner.command`."""
    return [sys.executable, "-S", __file__, "count", *trials[0].flags()]


def count(flags: dict[str, str]) -> None:
    """Fails in order at learning rate 100, and crashes at 1000."""
    folder, rate = Path(flags["workdir"]), float(flags.get("config.optimizer.learning_rate", "0.01"))
    steps, seed = int(flags["config.steps"]), int(flags.get("config.seed", "0"))
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    saved = folder / "checkpoints"
    first = int(saved.read_text()) if saved.exists() else 0
    with (folder / "history").open("a") as history:
        history.write(f"from {first}{' although complete' if (folder / 'summary.json').exists() else ''}\n")
    (folder / "config.json").write_text("{}")
    with (folder / "metrics.jsonl").open("a" if first else "w") as log:
        for step in range(first + 1, steps + 1):
            time.sleep(PACE)
            if step == steps and rate >= float(os.environ.get("STAND_IN_WAITS", "inf")):
                until(lambda: asked)
            saved.with_suffix(".tmp").write_text(str(step))
            saved.with_suffix(".tmp").rename(saved)
            if rate == 100:
                sys.exit("error: step 1: loss nan")
            if rate == 1000:
                signal.raise_signal(signal.SIGABRT)
            loss = rate + seed / 1000 + 1 / step
            log.write(json.dumps({"step": step, "split": "test", "time": 0.1 * step, "loss": loss}) + "\n")
            log.flush()
            if asked:
                sys.exit(143)
    summary = {"metrics": {"test/loss": rate + seed / 1000 + 1 / steps}, "steps": steps, "seconds": 0.1 * steps}
    (folder / "summary.tmp").write_text(json.dumps(summary))
    (folder / "summary.tmp").rename(folder / "summary.json")


if __name__ == "__main__":
    if sys.argv[1] == "count":
        count(dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:]))
    else:
        sys.path.insert(0, str(Path(__file__).parents[3]))
        from experiments.sweep import __main__ as sweep
        from experiments.sweep import runner

        runner.command = command
        sweep.main(sys.argv[1:])
