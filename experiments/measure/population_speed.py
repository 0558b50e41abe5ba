"""Compares runs trained as one program with the same runs one by one: `python -m experiments.speed population`."""

import json
import os
from pathlib import Path
from statistics import mean
import subprocess
import sys
import tempfile
import time

from rich.table import Table

from core.errors import UserError
from core.files import ROOT


def measure_population(*, steps: int = 3000, members: int = 16, alone: int = 3) -> Table:
    """Returns the seconds from command to results of `members` runs, as one program and one after the other.

    The runs are seeds x learning rates of the digits ViT (batch 32, width 64), and of the VAE. At the start nothing is
    compiled: the first single run and the first population compile their programs, and later ones reuse them.

    Args:
      steps: training steps of each run.
      members: runs in the population.
      alone: how many of the single runs are measured. The others are assumed to take as long as the mean of all
        measured ones but the first. A population of one member is measured in the same way, everything compiled.
    """
    if alone < 2 or members < 1:
        raise UserError(f"--alone={alone}, --members={members}: expected at least 2 single runs and 1 member")
    table = Table("runs", box=None)
    for column in ("one by one", "as one program", "ratio", "target"):
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
            single = [_seconds_of(_train(trials[i % members], f"{folder}/single{i}"), folder) for i in range(alone)]
            population = _seconds_of(_population(trials, folder), f"{folder}/population")
            ones = [trials[i % members] | {"workdir": f"{folder}/one{i}"} for i in range(alone)]
            one_member = [_seconds_of(_population([one], folder), folder) for one in ones]
        compiled_single, compiled_one = mean(single[1:]), mean(one_member[1:])
        all_single = single[0] + (members - 1) * compiled_single
        for count, apart, as_one, target in (
            (members, all_single, population, 2),
            (1, compiled_single, compiled_one, 0.95),
        ):
            name, ratio = f"{count} x {config}, {steps:,} steps", apart / as_one
            reached = f"at least {target}: {'yes' if ratio >= target else 'NO'}"
            table.add_row(name, f"{apart:.1f} s", f"{as_one:.1f} s", f"{ratio:.2f}", reached)
    print(f"one by one: {alone} of {members} runs were measured; the rest are assumed to take as long as later ones")
    return table


def _train(trial: dict, workdir: str) -> list[str]:
    """The command of one run."""
    flags = [f"--config.{name}={value}" for name, value in trial["overrides"].items()]
    return [sys.executable, str(ROOT / "train.py"), f"--config={trial['config']}", f"--workdir={workdir}", *flags]


def _population(trials: list[dict], folder: str) -> list[str]:
    """The command that trains runs as one program."""
    path = Path(folder) / "trials.json"
    path.write_text(json.dumps({"trials": trials}))
    return [sys.executable, "-m", "experiments.population", str(path)]


def _seconds_of(command: list[str], cache: str) -> float:
    """The seconds that a command takes, which must succeed. Compiled programs are kept in `cache`."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{cache}/compiled"}
    began = time.perf_counter()
    process = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{process.stdout[-2000:]}")
    print(f"{seconds:6.1f} s  {' '.join(command[1:])}", flush=True)  # the whole takes long: show progress
    return seconds
