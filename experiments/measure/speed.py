"""Measures how fast things are: data pipeline, start, attention, the runner of sweeps, populations, training steps.

python -m experiments.speed input [configs/vit.py ...]   the data pipeline against the train step, batches a second
python -m experiments.speed epochs configs/own_images.py the first epoch, in which files are decoded, against later ones
python -m experiments.speed start [configs/vit.py ...]   seconds from command to first step, first and second start
python -m experiments.speed attention                    our attention against jax.nn's, forward and backward
python -m experiments.speed sweep                        CPU time of the runner of a sweep, and its delay between trials
python -m experiments.speed population [--steps=3000 --members=16 --alone=3]   runs as one program, and one by one
python -m experiments.speed peers [vit ...] [--rounds=5 --set width=128]       training steps against PyTorch's

Each prints a table, and writes it as Markdown to `runs/speed`.
"""

import argparse
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
import os
from pathlib import Path
import re
import runpy
import shutil
from statistics import median
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import UserError
from core.files import ROOT
from core.markdown import write_table
from data.pipeline import train_batches
from data.storage import MissingData
from experiments.measure.claim import Claim
from experiments.measure.first_epoch import measure_epochs
from experiments.measure.peers import measure_peers
from experiments.measure.population_speed import measure_population
from experiments.sweep import runner
from experiments.sweep.display import SweepDisplay
from experiments.sweep.sweep_file import Sweep
from experiments.sweep.sweep_file import check as check_trials
from models.fused import attend
from train import Run
from training.step import make_train_step

# (B, T, H, K, causal): nanoGPT's GPU recipe with a small batch, its CPU recipe, ViTs on digits and on MNIST.
SIZES = ((16, 256, 6, 64, True), (12, 64, 4, 32, True), (64, 4, 4, 16, False), (64, 49, 4, 16, False))


def measure_input(configs: list[str], *, seconds: float = 3.0) -> Table:
    """Returns batches a second of the data pipeline alone, steps a second of the compiled step alone, and their ratio.

    On one device; each is measured for `seconds` after a warm-up. The target is a ratio of at least 5.
    """
    table = _table("config", "batches/s", "steps/s", "ratio", "at least 5")
    for config in configs:
        try:
            batches, steps = _rates(config, seconds)
        except MissingData as error:
            table.add_row(Path(config).name, "", "", "", f"skipped: {str(error).split('. ')[0]}")
        else:
            ratio = batches / steps
            enough = "yes" if ratio >= 5 else "NO"
            table.add_row(Path(config).name, f"{batches:,.0f}", f"{steps:,.1f}", f"{ratio:.1f}", enough)
    return table


def measure_start(configs: list[str], *, repeats: int = 3) -> Table:
    """Returns the seconds from the command to the end of the first step, without and with a cache of compiled programs.

    The second number is the median of `repeats` starts. Compiled programs go to a temporary folder. Data that is
    prepared on first use should be there already: its preparation would be counted.
    """
    table = _table("config", "first start", "second start")
    with tempfile.TemporaryDirectory() as folder:
        for config in configs:
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"}
            shutil.rmtree(f"{folder}/compiled", ignore_errors=True)
            starts = [_start(config, f"{folder}/run", environment) for _ in range(1 + repeats)]
            table.add_row(Path(config).name, f"{starts[0]:.1f} s", f"{median(starts[1:]):.1f} s")
    return table


def measure_attention(sizes: tuple = SIZES, *, repeats: int = 30) -> Table:
    """Returns median times of forward plus backward. The two run alternately; the ratio is the median of the pairs."""
    table = _table("B x T x H x K", "causal", "ours", "stock", "stock / ours")
    for B, T, H, K, causal in sizes:
        inputs = [jax.random.normal(key, (B, T, H, K)) for key in jax.random.split(jax.random.key(0), 4)]
        ours = _forward_backward(partial(attend, causal=causal))
        stock = _forward_backward(partial(jax.nn.dot_product_attention, is_causal=causal))
        pairs = [(_seconds(ours, inputs), _seconds(stock, inputs)) for _ in range(repeats + 2)][2:]  # 2 to warm up
        ours_ms, stock_ms = (f"{1e3 * median(side):.2f} ms" for side in zip(*pairs))
        ratio = median(stock / ours for ours, stock in pairs)
        table.add_row(f"{B} x {T} x {H} x {K}", "yes" if causal else "no", ours_ms, stock_ms, f"{ratio:.2f}")
    return table


def measure_sweep(*, trials: int = 200, jobs: int = 2, seconds: float = 1.0) -> Table:
    """Returns the CPU time of the runner for trials that sleep for `seconds`, and its delay between two trials.

    The trials note their own start and end; the delay, from the end of one to the start of the next, includes the start
    of a process. The targets are below 5 % of one core, and below 0.2 s.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.py"
        file.write_text(_SWEEP.format(rates=[1e-3 * (1 + i) for i in range(trials)]))
        sweep = Sweep.read(file)
        began = time.perf_counter()
        pending = sweep.trials(folder)
        check_trials(pending, sweep.metric)
        check_seconds = time.perf_counter() - began
        steps = str(pending[0].read_config()["steps"])
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            display = SweepDisplay(metric=sweep.metric, better=sweep.better, total=trials, before=0, jobs=jobs)
            wall, used = time.perf_counter(), time.process_time()
            with display:
                states = runner.run(
                    runner.Groups([[trial] for trial in pending]), display, environments=[{}] * jobs,
                    command=lambda group: ["/bin/sh", "-c", _TRIAL, str(group[0].folder), str(seconds), steps],
                )  # fmt: skip
            wall, used = time.perf_counter() - wall, time.process_time() - used
        if set(states.values()) != {"done"}:
            raise RuntimeError(next(trial for trial in states if states[trial] != "done").reason())
        times = [list(map(float, (trial.folder / "log.txt").read_text().split())) for trial in pending]
    starts, ends = (sorted(column) for column in zip(*times))
    delays = [start - end for start, end in zip(starts[jobs:], ends)]
    table = _table("trials", "check", "runner", "below 5 %", "delay", "longest", "below 0.2 s")
    table.add_row(
        str(trials), f"{check_seconds:.1f} s", f"{used / wall:.1%}",
        "yes" if used / wall < 0.05 else "NO", f"{median(delays):.3f} s", f"{max(delays):.3f} s",
        "yes" if median(delays) < 0.2 else "NO",
    )  # fmt: skip
    return table


@command
def main(arguments: list[str]) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.speed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["input", "epochs", "start", "attention", "sweep", "population", "peers"])
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help="config files (for input and start by default all in configs/ that this machine can run); peers: shapes",
    )
    parser.add_argument("--steps", type=int, default=3000, help="population: steps of each run (default %(default)s)")
    parser.add_argument("--members", type=int, default=16, help="population: number of runs (default %(default)s)")
    parser.add_argument("--alone", type=int, default=3, help="population: single runs to measure (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="peers: in which both sides take turns (default 5)")
    parser.add_argument("--set", action="append", default=[], metavar="NUMBER=VALUE", help="peers: changes the shapes")
    args = parser.parse_args(arguments)
    if args.what == "peers":
        table = measure_peers(args.names, rounds=args.rounds, changes=_numbers(args.set))
    elif absent := [config for config in args.names if not Path(config).is_file()]:
        raise UserError(f"there is no config file {absent[0]}: expected a path such as configs/vit.py")
    elif args.what == "epochs" and not args.names:
        raise UserError("epochs: name the config of a run on files, such as configs/own_images.py")
    elif args.what == "attention":
        table = measure_attention()
    elif args.what == "sweep":
        table = measure_sweep()
    elif args.what == "population":
        table = measure_population(steps=args.steps, members=args.members, alone=args.alone)
    else:
        measure = {"input": measure_input, "epochs": measure_epochs, "start": measure_start}[args.what]
        table = measure(args.names or _runnable())
    show(table)
    path = ROOT / "runs" / "speed" / f"{args.what}.md"
    write_table(path, table)
    print(f"table    {path}")


def _numbers(texts: list[str]) -> dict[str, int]:
    """Returns the numbers that texts such as "width=128" set."""
    numbers = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not value.isdecimal() or not int(value):
            raise UserError(f"--set {text}: expected a name and a whole number above 0, such as width=128")
        numbers[name] = int(value)
    return numbers


def show(table: Table) -> None:
    """Prints a table."""
    Console(highlight=False, markup=False).print(table)


_SWEEP = """
CONFIG = "configs/dib_gaussian.py"
METRIC = "test/loss"
def sweep():
    return [{{"optimizer.learning_rate": rate}} for rate in {rates}]
"""
_TRIAL = """
date +%s.%N; sleep $1; date +%s.%N
echo '{"steps": '$2', "metrics": {}, "seconds": 1}' > "$0/summary.json"
"""


def _runnable() -> list[str]:
    """The configs that this machine has everything for."""
    configs = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").glob("*.py"))]
    missing = {config: Claim.read(ROOT / config).missing() for config in configs}
    for config, needs in missing.items():
        if needs:
            print(f"skipped {config}: no {', '.join(needs)}")
    return [str(ROOT / config) for config in configs if not missing[config]]


def _rates(config: str, seconds: float) -> tuple[float, float]:
    """Batches a second of the data pipeline, and steps a second on one batch."""
    this = Run.of(runpy.run_path(config)["get_config"]())
    fields = this.fields
    batches = train_batches(this.dataset.train, batch_size=fields.batch_size, seed=fields.seed)
    structure, create = this.initialise()
    step = make_train_step(structure, this.objective, this.optimizer, **fields.step_options)
    step = jax.jit(step, donate_argnums=0)
    state, batch = jax.jit(create)(jax.random.key(fields.seed)), jax.device_put(next(batches))

    def train():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return _rate(lambda: next(batches), seconds), _rate(train, seconds)


def _rate(work: Callable, seconds: float) -> float:
    """Calls a second, after a warm-up of a third of the time."""
    _calls_a_second(work, seconds / 3)
    return _calls_a_second(work, seconds)


def _calls_a_second(work: Callable, seconds: float) -> float:
    """Calls a second. Waits for a result only after the next call, as training does."""
    calls, elapsed, last = 0, 0.0, work()
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not calls:
        last, previous = work(), last
        jax.block_until_ready(previous)
        calls += 1
    return calls / elapsed


def _start(config: str, workdir: str, environment: dict) -> float:
    """Seconds from the command to the first line of progress, printed after one step; then the run is killed."""
    shutil.rmtree(workdir, ignore_errors=True)
    command = [sys.executable, str(ROOT / "train.py"), f"--config={config}", f"--workdir={workdir}"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--config.log_every=1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment,
    )  # fmt: skip
    lines = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line)
            if re.match(r"step +1/", line):
                return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
    raise RuntimeError(f"{config} did not come to its first step:\n{''.join(lines)}")


def _forward_backward(attention: Callable) -> Callable:
    def loss(query, key, value, gradient):
        return jnp.vdot(attention(query, key, value), gradient)

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))


def _seconds(program: Callable, inputs: list) -> float:
    began = time.perf_counter()
    jax.block_until_ready(program(*inputs))
    return time.perf_counter() - began


def _table(first: str, *columns: str) -> Table:
    table = Table(first, box=None)
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    main()
