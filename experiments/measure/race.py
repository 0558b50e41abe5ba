"""Runs as one program against the same runs one by one; `python -m experiments.speed population` starts it."""

import json
import os
from pathlib import Path
from statistics import mean
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]


def measure_population(*, steps: int = 3000, members: int = 16, alone: int = 3) -> None:
    """Prints the seconds from command to results of `members` runs as one program and one after the other.

    Seeds x learning rates of the digits ViT at batch 32 and width 64, and of the VAE. Nothing is compiled before: the
    first run by itself and the first population compile, and what they leave serves those that follow. Of the runs one
    after the other `alone` are measured, the others taken to be as long as the second and later ones. A population of 1
    is measured as those are, with everything compiled before. `steps`: of each run.
    """
    if alone < 2 or members < 1:
        raise ValueError(f"--alone={alone}, --members={members}: expected at least 2 runs alone, and 1 member")
    table = Table("runs", box=None)
    for column in ("one by one", "as one", "ratio", "target"):
        table.add_column(column, justify="right")
    for config, overrides in {"vit": {"batch_size": 32, "model.width": 64}, "vae": {}}.items():
        with tempfile.TemporaryDirectory() as folder:
            trials = [
                {
                    "config": str(ROOT / "configs" / f"{config}.py"),
                    "overrides": overrides
                    | {"steps": steps, "seed": i // 4, "optimizer.learning_rate": 1e-3 * 2 ** -(i % 4)},
                    "workdir": f"{folder}/{i}",
                }
                for i in range(members)
            ]
            plain = [_seconds_of(_plain(trials[i % members], f"{folder}/plain{i}"), folder) for i in range(alone)]
            together = _seconds_of(_together(trials, folder), f"{folder}/together")
            ones = [trials[i % members] | {"workdir": f"{folder}/one{i}"} for i in range(alone)]
            ones = [_seconds_of(_together([one], folder), folder) for one in ones]
        later, one = mean(plain[1:]), mean(ones[1:])
        every = plain[0] + (members - 1) * later
        for count, apart, joined, target in ((members, every, together, 2), (1, later, one, 0.95)):
            name, ratio = f"{count} x {config}, {steps:,} steps", apart / joined
            reached = f"at least {target}: {'yes' if ratio >= target else 'NO'}"
            table.add_row(name, f"{apart:.1f} s", f"{joined:.1f} s", f"{ratio:.2f}", reached)
    Console(highlight=False, markup=False).print(table)
    print(f"one by one: {alone} of {members} runs were measured; the others are taken to be as the later ones of these")


def _plain(trial: dict, workdir: str) -> list[str]:
    flags = [f"--config.{name}={value}" for name, value in trial["overrides"].items()]
    return [sys.executable, str(ROOT / "train.py"), f"--config={trial['config']}", f"--workdir={workdir}", *flags]


def _together(trials: list[dict], folder: str) -> list[str]:
    path = Path(folder) / "trials.json"
    path.write_text(json.dumps({"trials": trials}))
    return [sys.executable, "-m", "experiments.population", str(path)]


def _seconds_of(command: list[str], cache: str) -> float:
    """Of a command that must succeed; compiled programs are kept in `cache`."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{cache}/compiled"}
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")
    print(f"{seconds:6.1f} s  {' '.join(command[1:])}", flush=True)  # all of it takes long
    return seconds
