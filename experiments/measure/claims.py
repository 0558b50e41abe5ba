"""Re-runs what configs claim, and compares the results with the claims.

python -m experiments.claims [configs/vit.py ...] [--seeds=5] [--set steps=10] [--tables]
python -m experiments.claims configs/gcn_cora.py --sweep=runs/gcn_cora_seeds

`experiments/measure/claim.py` describes the lines of a docstring that are read here: what to run, what the run must
reach, and what others have published for it.

The command runs in a temporary workdir, and the metrics in its `summary.json` are compared with the claims. A config
is skipped if this machine lacks a data set or device that it needs, or if it says "not measured" instead of a number.
With `--sweep` nothing runs: the complete runs of a sweep over the seeds of a config are compared.
The exit code is 1 if a claim does not hold.

What was measured is kept in `docs/claims/<config>.json`. Two tables show it for all configs: `runs/claims/table.md`
has what each of them claims, and `runs/claims/published.md` the published numbers beside ours. Runs with fields that
were set are not kept.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
import os
from pathlib import Path
from statistics import mean, stdev
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import UserError
from core.files import ROOT, read_json, write_json
from core.markdown import write_table
from experiments.benchmark.statistics import interval
from experiments.measure.claim import Claim, Goal
from experiments.sweep import trials
from experiments.sweep.outcomes import SweepRecord
from training.command_line import read_command_line
from training.workdir import config_difference, environment

RECORDS = ROOT / "docs" / "claims"
TABLES = ROOT / "runs" / "claims"


@dataclass(frozen=True)
class Record:
    """What was measured for a claim.

    Attributes:
      metrics: the last metrics of each run, one run for each seed from 0 on; null stands for NaN.
      seconds: wall-clock seconds of each run; of the whole program where several runs were trained as one.
      command: what measured it.
      date: of the measurement, as in "2026-01-31".
      commit: of the project; with "+" if files differed from it, None outside a git checkout.
      python: its version.
      packages: the version of each package of requirements.txt.
      devices: such as "2 CPU cores", or the number and kind of accelerators.
    """

    metrics: list[dict[str, float | None]]
    seconds: list[float]
    command: str
    date: str
    commit: str | None
    python: str
    packages: dict[str, str]
    devices: str

    def values(self, metric: str) -> list[float]:
        """Returns the values of a metric, one for each run that reported it."""
        return [value for metrics in self.metrics if (value := metrics.get(metric)) is not None]

    def judge(self, goal: Goal) -> tuple[bool, str]:
        """Returns whether the mean over the seeds reaches a goal, and the mean as text."""
        values = self.values(goal.metric)
        if len(values) < len(self.metrics):
            return False, f"not reported; reported: {', '.join(sorted(self.metrics[0]))}"
        return goal.met_by(mean(values)), _spread(values)


def measure(claim: Claim, overrides: Sequence[str]) -> tuple[dict[str, float], float]:
    """Returns the metrics and the wall-clock seconds of one run of the command.

    Args:
      claim: what to run.
      overrides: fields of the config to set, such as "steps=10".

    Raises:
      RuntimeError: the run failed; the message holds the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable if word == "python" else word for word in claim.command]
        words = [f"--workdir={folder}/run" if word.startswith("--workdir=") else word for word in words]
        words += [f"--config.{override}" for override in overrides]
        began = time.monotonic()
        process = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds = time.monotonic() - began
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}\n{process.stdout.strip()[-1000:]}")
        return read_json(Path(folder) / "run" / "summary.json")["metrics"], seconds


def runs_of_sweep(claim: Claim, workdir: str | Path) -> tuple[list[tuple[dict[str, float], float]], dict]:
    """Returns the metrics and the wall-clock seconds of each run of a sweep, and the environment of one of them.

    Runs are in the order of their seeds. The seconds of runs that were trained as one program are those of the program.

    Raises:
      UserError: there is no sweep; a run is not complete; or it differs from the config in more than its seed.
    """
    SweepRecord.read(workdir)
    expected = read_command_line(claim.command[2:]).config.to_dict()
    runs, facts = {}, {}
    for trial in trials.begun(workdir):
        config = trials.read_trial(trial.folder)["config"]
        if others := config_difference({**config, "seed": 0}, {**expected, "seed": 0}):
            raise UserError(f"{trial.folder} differs from {claim.config}: {others[0]}. Expected other seeds alone.")
        if (state := trial.state()) != trials.DONE:
            raise UserError(f"{trial.folder} is {state}: run the sweep again, until all of its runs are complete")
        summary = trial.read_summary()
        runs[config["seed"]] = summary["metrics"], summary["seconds"]
        facts = read_json(trial.folder / "environment.json", "git", "devices", "python", "packages")
    if not runs:
        raise UserError(f"the sweep in {workdir} has no runs yet: run it first")
    return [runs[seed] for seed in sorted(runs)], facts


def check(configs: Sequence[str], *, seeds: int = 1, overrides: Sequence[str] = (), sweep: str = "") -> bool:
    """Runs configs, prints a table, and returns whether every claim that could be tested holds.

    With several seeds the mean over the seeds is compared with the claim. `sweep` is the workdir of a sweep over the
    seeds of a config, whose runs are taken instead.
    """
    claims = [Claim.read(config) for config in configs]
    console = Console(highlight=False, markup=False)
    table = Table("config", "claimed", "measured", "time claimed", "time", "result", box=None)
    all_hold = True
    for claim in claims:
        if not claim.goals:
            table.add_row(claim.config, "not measured yet", "", claim.time, "", "skipped")
            continue
        if not sweep and (missing := claim.missing()):
            for goal in claim.goals:
                table.add_row(claim.config, str(goal), "", claim.time, "", f"skipped: no {', '.join(missing)}")
            continue
        try:
            runs, facts = runs_of_sweep(claim, sweep) if sweep else ([], environment())
            for seed in range(0 if sweep else seeds):
                console.print(f"running {claim.config}" + (f", seed {seed}" if seeds > 1 else ""))
                runs.append(measure(claim, [*overrides, *([f"seed={seed}"] if seeds > 1 else [])]))
        except RuntimeError as error:
            console.print(f"{claim.config}: {error}")
            table.add_row(claim.config, "runs", "", claim.time, "", "FAILED")
            all_hold = False
            continue
        metrics, seconds = zip(*runs)
        command = f"python -m experiments.sweep {SweepRecord.read(sweep).file}" if sweep else ""
        record = _record(claim, list(metrics), list(seconds), command, facts)
        if not overrides:
            RECORDS.mkdir(parents=True, exist_ok=True)
            write_json(_record_path(claim.config), asdict(record))
        for goal in claim.goals:
            holds, measured = record.judge(goal)
            all_hold &= holds
            duration, result = f"{mean(seconds):.0f} s", "passed" if holds else "FAILED"
            table.add_row(claim.config, str(goal), measured, claim.time, duration, result)
    console.print(table)
    return all_hold


def claims_table() -> Table:
    """Returns a table of all configs: what each claims, and what was last measured."""
    table = Table("config", "what", "claim", "measured", "time", "commit", box=None)
    for claim, record in _recorded():
        for goal in claim.goals or [None]:
            cells = ["", "", ""]
            if record and goal:
                holds, measured = record.judge(goal)
                measured += "" if holds else " (FAILED)"
                cells = [measured, f"{mean(record.seconds):.0f} s", record.commit or ""]
            table.add_row(Path(claim.config).stem, claim.title, str(goal) if goal else "not measured yet", *cells)
    return table


def published_table() -> Table:
    """Returns a table of the numbers that others published for what a config repeats, beside what was measured."""
    table = Table("config", "metric", "published", "source", "measured", "95 % interval", "hardware", "date", box=None)
    for claim, record in _recorded():
        for published in claim.published:
            values = record.values(published.metric) if record else []
            if record and values:
                low, high = interval(values)
                within = "" if low is None or high is None else f"{low:.4f} to {high:.4f}, {len(values)} seeds"
                cells = [f"{mean(values):.4f}", within or "one seed", record.devices, record.date]
            else:
                devices = [need.upper() for need in claim.needs if need in ("gpu", "tpu")]
                cells = [f"needs a {devices[0]}: not run" if devices else "not run", "", "", ""]
            name = Path(claim.config).stem
            table.add_row(name, published.metric, f"{published.value:g}", published.source, *cells)
    return table


@command
def main(arguments: list[str]) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("configs", nargs="*", help="config files (default: all in configs/)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each config, with seeds 0, 1, ...")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of the configs")
    parser.add_argument("--sweep", default="", metavar="WORKDIR", help="take the runs of this sweep over seeds")
    parser.add_argument("--tables", action="store_true", help="run nothing, and write the tables of what was measured")
    args = parser.parse_args(arguments)
    if args.seeds < 1:
        raise UserError(f"--seeds={args.seeds}: expected at least 1")
    if args.sweep and (len(args.configs) != 1 or args.set or args.seeds != 1):
        raise UserError("--sweep expects one config, and neither --set nor --seeds")
    if absent := [config for config in args.configs if not Path(config).is_file()]:
        raise UserError(f"there is no config file {absent[0]}: expected a path such as configs/vit.py")
    all_hold = args.tables or check(args.configs or _configs(), seeds=args.seeds, overrides=args.set, sweep=args.sweep)
    for file, table in (("table.md", claims_table()), ("published.md", published_table())):
        write_table(TABLES / file, table)
        print(f"table    {TABLES / file}")
    print("next     python -m experiments.document    copies the tables into docs/results.md")
    return 0 if all_hold else 1


def _configs() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").glob("*.py"))]


def _recorded() -> Iterator[tuple[Claim, Record | None]]:
    """Yields the claim of each config in configs/, and its record if there is one."""
    for config in _configs():
        path = _record_path(config)
        yield replace(Claim.read(ROOT / config), config=config), Record(**read_json(path)) if path.exists() else None


def _record(
    claim: Claim, metrics: list[dict[str, float | None]], seconds: list[float], command: str, facts: dict
) -> Record:  # fmt: skip
    commit, devices = facts["git"]["commit"], facts["devices"]
    is_cpu = devices["platform"] == "cpu"
    return Record(
        metrics=metrics,
        seconds=[round(value, 1) for value in seconds],
        command=command or f"python -m experiments.claims {claim.config} --seeds={len(metrics)}",
        date=date.today().isoformat(),
        commit=commit and commit[:7] + ("+" if facts["git"]["dirty"] else ""),
        python=facts["python"],
        packages=facts["packages"],
        devices=f"{os.cpu_count()} CPU cores" if is_cpu else f"{devices['count']} {devices['kind']}",
    )


def _record_path(config: str) -> Path:
    return RECORDS / f"{Path(config).stem}.json"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} +- {stdev(values):.4f} ({len(values)} seeds)"


if __name__ == "__main__":
    main()
