"""Re-runs what configs claim, and compares the results with the claims.

python -m experiments.claims [configs/vit.py ...] [--seeds=5] [--set steps=10]

The docstring of a config has one line of each of these kinds (Needs is optional, Reaches may occur several times):

  Command: python train.py --config=configs/vit.py --workdir=runs/vit
  Time:    25 s on 2 CPU cores
  Needs:   mnist, gpu
  Reaches: test/accuracy >= 0.98

The command runs in a temporary workdir, and the metrics in its `summary.json` are compared with the claims. A config
is skipped if this machine lacks a data set or device that it needs, or if it says "not measured" instead of a number.
The exit code is 1 if a claim does not hold.

What was measured is kept in `runs/claims/<config>.json`, and `runs/claims/table.md` shows it for all configs. Runs with
fields that were set are not kept.
"""

import argparse
import ast
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
import operator
from pathlib import Path
import re
import shlex
from statistics import mean, stdev
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import UserError
from core.files import ROOT, read_json, write_json
from core.markdown import write_table
from data.storage import MissingData, open_official
from training.workdir import environment

RECORDS = ROOT / "runs" / "claims"
COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Goal:
    """One line "Reaches:": the value that a metric must reach, and from which side."""

    metric: str
    sign: str
    value: float

    def met_by(self, measured: float) -> bool:
        """Returns whether a measured value reaches the goal; the value of the goal itself does."""
        return COMPARE[self.sign](measured, self.value)

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.value:g}"


@dataclass(frozen=True)
class Claim:
    """What the docstring of a config claims.

    Attributes:
      config: path of the config file.
      command: the words of "python train.py --config=... --workdir=...".
      time: such as "25 s on 2 CPU cores", or "not measured" and the reason.
      needs: names of TFDS sets that must be on disk, paths (with a "/") from the root of the project, "gpu", "tpu".
      goals: the lines "Reaches:"; none if it says "not measured" there.
    """

    config: str
    command: list[str]
    time: str
    needs: list[str]
    goals: list[Goal]

    @classmethod
    def read(cls, path: str | Path) -> "Claim":
        """Reads a config file. Raises UserError that names the line of the docstring that is missing or malformed."""
        lines: dict[str, list[str]] = {"Command": [], "Time": [], "Needs": [], "Reaches": []}
        for name, text in _LINE.findall(ast.get_docstring(ast.parse(Path(path).read_text())) or ""):
            lines[name].append(text.strip())
        for name, form in _FORMS.items():
            if not lines[name] or (name != "Reaches" and len(lines[name]) > 1):
                raise UserError(f"{path}: its docstring has {len(lines[name])} lines {name!r}, expected one: {form}")
            for text in lines[name]:
                if not re.fullmatch(_PATTERNS[name], text):
                    raise UserError(f"{path}: {name}: {text!r}, expected a line like: {form}")
        needs = [need.strip() for text in lines["Needs"] for need in text.split(",")]
        measured = [text.split() for text in lines["Reaches"] if not text.startswith("not measured")]
        goals = [Goal(metric, sign, float(value)) for metric, sign, value in measured]
        return cls(str(path), shlex.split(lines["Command"][0]), lines["Time"][0], needs, goals)

    def missing(self) -> list[str]:
        """Returns those of its needs that this machine does not have."""
        return [need for need in self.needs if not _available(need)]


@dataclass(frozen=True)
class Record:
    """What was measured for a claim.

    Attributes:
      metrics: the last metrics of each run, one run for each seed from 0 on.
      seconds: wall-clock seconds of each run.
      environment: commit, packages and devices, as `training.workdir.environment` gives them, and the date.
    """

    metrics: list[dict[str, float | None]]
    seconds: list[float]
    environment: dict[str, Any]

    def values(self, metric: str) -> list[float]:
        """Returns the values of a metric, one for each run that reported it; null in the file stands for NaN."""
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


def check(configs: Sequence[str], *, seeds: int = 1, overrides: Sequence[str] = ()) -> bool:
    """Runs configs, prints a table, and returns whether every claim that could be tested holds.

    With several seeds the mean over the seeds is compared with the claim.
    """
    claims = [Claim.read(config) for config in configs]
    console = Console(highlight=False, markup=False)
    table = Table("config", "claimed", "measured", "time claimed", "time", "result", box=None)
    all_hold = True
    for claim in claims:
        if not claim.goals:
            table.add_row(claim.config, "not measured yet", "", claim.time, "", "skipped")
            continue
        if missing := claim.missing():
            for goal in claim.goals:
                table.add_row(claim.config, str(goal), "", claim.time, "", f"skipped: no {', '.join(missing)}")
            continue
        try:
            runs = []
            for seed in range(seeds):
                console.print(f"running {claim.config}" + (f", seed {seed}" if seeds > 1 else ""))
                runs.append(measure(claim, [*overrides, *([f"seed={seed}"] if seeds > 1 else [])]))
        except RuntimeError as error:
            console.print(f"{claim.config}: {error}")
            table.add_row(claim.config, "runs", "", claim.time, "", "FAILED")
            all_hold = False
            continue
        metrics, seconds = zip(*runs)
        record = Record(list(metrics), list(seconds), environment() | {"date": date.today().isoformat()})
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


def recorded() -> Table:
    """Returns a table of all configs: what each claims, and what was last measured here."""
    table = Table("config", "what", "claim", "measured", "time", "commit", box=None)
    for config in _configs():
        claim = Claim.read(ROOT / config)
        about = (ast.get_docstring(ast.parse((ROOT / config).read_text())) or "").splitlines()[0]
        path = _record_path(config)
        record = Record(**read_json(path)) if path.exists() else None
        for goal in claim.goals or [None]:
            cells = ["", "", ""]
            if record and goal:
                holds, measured = record.judge(goal)
                commit = (record.environment["git"]["commit"] or "")[:7]
                cells = [measured + ("" if holds else " (FAILED)"), f"{mean(record.seconds):.0f} s", commit]
            table.add_row(Path(config).stem, about, str(goal) if goal else "not measured yet", *cells)
    return table


@command
def main(arguments: list[str]) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("configs", nargs="*", help="config files (default: all in configs/)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each config, with seeds 0, 1, ...")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of the configs")
    args = parser.parse_args(arguments)
    if args.seeds < 1:
        raise UserError(f"--seeds={args.seeds}: expected at least 1")
    if absent := [config for config in args.configs if not Path(config).is_file()]:
        raise UserError(f"there is no config file {absent[0]}: expected a path such as configs/vit.py")
    all_hold = check(args.configs or _configs(), seeds=args.seeds, overrides=args.set)
    write_table(RECORDS / "table.md", recorded())
    print(f"table    {RECORDS / 'table.md'}")
    return 0 if all_hold else 1


_LINE = re.compile(r"^(Command|Time|Needs|Reaches):(.*)$", re.MULTILINE)
_FORMS = {
    "Command": "python train.py --config=configs/vit.py --workdir=runs/vit",
    "Time": "25 s on 2 CPU cores",
    "Reaches": "test/accuracy >= 0.98",
}
_PATTERNS = {
    "Command": r"python train\.py (?=.*--config=\S).*--workdir=\S+.*",
    "Time": r"\d+(\.\d+)? (s|min|h) on .+|not measured.*",
    "Reaches": r"\S+ (>=|<=) -?\d+(\.\d+)?|not measured.*",
}


def _configs() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").glob("*.py"))]


def _record_path(config: str) -> Path:
    return RECORDS / f"{Path(config).stem}.json"


def _available(need: str) -> bool:
    if need in ("gpu", "tpu"):
        return jax.default_backend() == need
    if "/" in need and (ROOT / need).exists():
        return True
    try:
        open_official(need)
    except MissingData:
        return False
    return True


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{mean(values):.4f} +- {stdev(values):.4f} ({len(values)} seeds)"


if __name__ == "__main__":
    main()
