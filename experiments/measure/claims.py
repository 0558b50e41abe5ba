"""Do the configs still reach the numbers that they claim?

python -m experiments.claims [configs/vit.py ...] [--seeds=5] [--set steps=10]

The docstring of a config holds one line for each of these (Needs may be absent, Reaches may come several times):

  Command: python train.py --config=configs/vit.py --workdir=runs/vit
  Time:    25 s on 2 CPU cores
  Needs:   mnist, gpu
  Reaches: test/accuracy >= 0.98

The command runs in a temporary workdir, and the metrics of its `summary.json` are compared with the claim. What needs
a data set or a device that is not here is skipped, and so is what says "not measured" instead of a number. The exit
code is 1 where a claim does not hold.
"""

import argparse
import ast
from dataclasses import dataclass
import json
import operator
from pathlib import Path
import re
import shlex
from statistics import mean, stdev
import subprocess
import sys
import tempfile
import time

import jax
from rich.console import Console
from rich.table import Table

from data.storage import MissingData, open_official

ROOT = Path(__file__).resolve().parents[2]
COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Goal:
    """One line "Reaches:"."""

    metric: str
    sign: str
    value: float

    def met_by(self, measured: float) -> bool:
        return COMPARE[self.sign](measured, self.value)

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.value:g}"


@dataclass(frozen=True)
class Claim:
    """What the docstring of a config says.

    Attributes:
      command: its words, "python train.py --config=... --workdir=...".
      time: such as "25 s on 2 CPU cores", or "not measured" and why.
      needs: names of TFDS sets that must be on disk, paths (with a "/" in them), and "gpu" or "tpu".
    """

    config: str
    command: list[str]
    time: str
    needs: list[str]
    goals: list[Goal]

    @classmethod
    def read(cls, path: str | Path) -> "Claim":
        """Raises ValueError that names the line of the docstring which is missing or not as expected."""
        lines: dict[str, list[str]] = {"Command": [], "Time": [], "Needs": [], "Reaches": []}
        for name, text in _LINE.findall(ast.get_docstring(ast.parse(Path(path).read_text())) or ""):
            lines[name].append(text.strip())
        for name, form in _FORMS.items():
            if not lines[name] or (name != "Reaches" and len(lines[name]) > 1):
                raise ValueError(f"{path}: its docstring has {len(lines[name])} lines {name!r}, expected one: {form}")
            for text in lines[name]:
                if not re.fullmatch(_PATTERNS[name], text):
                    raise ValueError(f"{path}: {name}: {text!r}, expected such as: {form}")
        needs = [need.strip() for text in lines["Needs"] for need in text.split(",")]
        goals = [text.split() for text in lines["Reaches"] if not text.startswith("not measured")]
        goals = [Goal(metric, sign, float(value)) for metric, sign, value in goals]
        return cls(str(path), shlex.split(lines["Command"][0]), lines["Time"][0], needs, goals)

    def missing(self) -> list[str]:
        """What it needs and this machine does not have."""
        return [need for need in self.needs if not _here(need)]


def measure(claim: Claim, overrides: list[str]) -> tuple[dict[str, float], float]:
    """The metrics and the wall-clock seconds of one run of the command, with config fields set such as "steps=10".

    Raises RuntimeError with the end of what the run printed, where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable if word == "python" else word for word in claim.command]
        words = [f"--workdir={folder}/run" if word.startswith("--workdir=") else word for word in words]
        words += [f"--config.{override}" for override in overrides]
        began = time.monotonic()
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}\n{done.stdout.strip()[-1000:]}")
        return json.loads((Path(folder) / "run" / "summary.json").read_text())["metrics"], seconds


def check(configs: list[str], *, seeds: int = 1, overrides: list[str] = ()) -> bool:
    """Runs and prints all; whether every claim that could be tested holds. With several seeds the mean is judged."""
    claims = [Claim.read(config) for config in configs]
    console = Console(highlight=False, markup=False)
    table = Table("config", "claimed", "measured", "time claimed", "time", "result", box=None)
    holds = True
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
            holds = False
            continue
        took = f"{mean(seconds for _, seconds in runs):.0f} s"
        for goal in claim.goals:
            values = [metrics.get(goal.metric) for metrics, _ in runs]
            reported = None not in values  # null stands for NaN
            met = reported and goal.met_by(mean(values))
            holds &= met
            shown = _spread(values) if reported else f"only {', '.join(sorted(runs[0][0]))}"
            table.add_row(claim.config, str(goal), shown, claim.time, took, "passed" if met else "FAILED")
    console.print(table)
    return holds


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.claims", description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", help="config files (default: all in configs/)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each config, with seeds 0, 1, ...")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="set a field of the configs")
    given = parser.parse_args(arguments)
    configs = given.configs or [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").glob("*.py"))]
    try:
        if given.seeds < 1:
            raise ValueError(f"--seeds={given.seeds}: expected at least 1")
        sys.exit(0 if check(configs, seeds=given.seeds, overrides=given.set) else 1)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


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


def _here(need: str) -> bool:
    if need in ("gpu", "tpu"):
        return jax.default_backend() == need
    if "/" in need:
        return (ROOT / need).exists()
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
