"""Every kind of work that the project does, at its smallest: how to start it, and what has to come out of it.

As a program it draws one small figure of a trained model, in place of `python -m experiments.figures`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
import json
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
from typing import Any

from tests import tiny

SWEEP = """
CONFIG = "tests/tiny.py:vit"
METRIC = "test[:25%]/loss"
def sweep():
    return [{"optimizer.learning_rate": rate, "seed": seed} for rate in (0.01, 0.003) for seed in (0, 1)]
"""
SEARCH = """
import optuna
CONFIG = "tests/tiny.py:vit"
METRIC = "test[:25%]/loss"
TRIALS = 4
PRUNER = optuna.pruners.ThresholdPruner(upper=2.6)  # no model that learns is so bad
def search(trial):
    trial.suggest_int("seed", 0, 0)
    poor = trial.number == 2
    return {"seed": trial.number, "optimizer.learning_rate": 1.0 if poor else 0.01, "steps": 100_000 if poor else 16}
"""
FIGURE = "texture_bag"
CONFIG = "experiments/figures/vision/texture_bag.py"


@dataclass(frozen=True)
class Work:
    """A kind of work.

    Attributes:
      commands: the command lines of the processes that do it together, for a folder. They write what they read there.
      outcome: what has come out of it in a folder, without times: the same however often the work was stopped.
      concurrent: whether its processes wait for each other, so that none can be killed before all have begun.
      remade: the files that the work begins by removing, because they say how it ended.
    """

    commands: Callable[[Path], list[list]]
    outcome: Callable[[Path], Any]
    concurrent: bool = False
    remade: Collection[str] = ()

    def start(self, folder: Path) -> list[subprocess.Popen]:
        """Starts the work in a folder, or goes on with it."""
        folder.mkdir(parents=True, exist_ok=True)
        return self.run(self.commands(folder))

    def run(self, lines: list[list]) -> list[subprocess.Popen]:
        """Starts the processes of these command lines."""
        environment = os.environ | {"PYTHONPATH": str(tiny.ROOT), "COLUMNS": "200"}
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return [
            subprocess.Popen([sys.executable, *map(str, line)], cwd=tiny.ROOT, env=environment, **piped)
            for line in lines
        ]

    def finish(self, folder: Path) -> Any:
        """Does the work to its end, and returns what has come out of it."""
        for process in self.start(folder):
            output, _ = process.communicate(timeout=1200)
            assert process.returncode == 0 and "Traceback" not in output, output
        return self.outcome(folder)


def _run(config: str) -> Work:
    line = lambda folder: ["train.py", f"--config=tests/tiny.py:{config}", f"--workdir={folder / 'run'}"]
    return Work(lambda folder: [line(folder)], lambda folder: _ended(folder / "run"))


def _ended(workdir: Path) -> tuple:
    return tiny.summary(workdir)["state_digest"], tiny.losses(workdir)


def _trials(folder: Path) -> dict[str, Any]:
    """What has become of each trial of a sweep or search."""
    states = {}
    for trial in sorted(folder.glob("runs/trials/*")):
        endings = [name for name in ("summary.json", "failed.txt", "pruned.txt") if (trial / name).exists()]
        assert len(endings) == 1, f"{trial}: {endings}"
        states[trial.name] = _ended(trial) if endings == ["summary.json"] else endings
    return states


def _population(folder: Path) -> list[list]:
    members = [{"seed": 5}, {"optimizer.learning_rate": 0.003}, {"optimizer.weight_decay": 0.2}]
    trials = [
        {"config": "tests/tiny.py:vit", "workdir": str(folder / f"member{i}"), "overrides": overrides}
        for i, overrides in enumerate(members)
    ]
    (folder / "trials.json").write_text(json.dumps({"trials": trials}))
    return [["-m", "experiments.population", folder / "trials.json"]]


def _sweep(text: str, *flags: str) -> Callable[[Path], list[list]]:
    def commands(folder: Path) -> list[list]:
        (folder / "file.py").write_text(text)
        return [["-m", "experiments.sweep", folder / "file.py", f"--workdir={folder / 'runs'}", *flags]]

    return commands


def _benchmark(folder: Path) -> list[list]:
    flags = ["digits", "--families=mlp,bottleneck", "--examples=640", "--seeds=2", f"--workdir={folder / 'runs'}"]
    return [["-m", "experiments.benchmark", *flags]]


def _scores(folder: Path) -> dict:
    families = json.loads((folder / "runs" / "results.json").read_text())["families"]
    fields = ("seed", "score", "state_digest", "config_digest", "curve")
    scored = {name: family["runs"] for name, family in families.items() if "runs" in family}
    assert set(scored) == {"mlp", "bottleneck"}
    return {name: [[run[field] for field in fields] for run in runs] for name, runs in scored.items()}


def _figure(folder: Path) -> tuple:
    record = json.loads((folder / f"{FIGURE}.json").read_text())
    return record["criteria"], record["passed"], [_ended(run) for run in sorted(folder.glob(f"trained/{FIGURE}-*"))]


def _two_processes(folder: Path) -> list[list]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    line = ["train.py", "--config=tests/tiny.py:vit", f"--workdir={folder / 'run'}", "--config.steps=40"]
    line += ["--config.checkpoint_every=4", "--config.eval_every=20"]
    return [[*line, f"--coordinator=localhost:{port}", "--processes=2", f"--process={i}"] for i in range(2)]


WORKS = {config: _run(config) for config in ("vit", "gpt", "encoder_decoder", "vae")} | {
    "population": Work(_population, lambda folder: [_ended(member) for member in sorted(folder.glob("member*"))]),
    "sweep": Work(_sweep(SWEEP, "--jobs=2", "--population=off"), _trials),
    "sweep of populations": Work(_sweep(SWEEP), _trials),
    "search": Work(_sweep(SEARCH, "--jobs=2"), _trials),
    "benchmark": Work(_benchmark, _scores),
    "figure": Work(lambda folder: [[__file__, folder]], _figure, remade=(f"{FIGURE}.json", "index.html")),
    "two processes": Work(_two_processes, lambda folder: _ended(folder / "run"), concurrent=True),
}


def copy(folder: Path, to: Path) -> Path:
    """Puts a copy of a folder at a path, in place of what is there."""
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(folder, to, symlinks=True)


def main(folder: str) -> None:
    """Draws the figure into a folder."""
    from experiments.figures import __main__ as command
    from experiments.figures.engine import at_most, load

    figure: Any = load(FIGURE)
    short = {"steps": 60, "eval_every": 20, "checkpoint_every": 10, "log_every": 1}
    figure.run = lambda seed, train: {"loss": train(CONFIG, {"short": short})["short"].metrics["train/loss"]}
    figure.check = lambda results: [at_most("the loss", results["loss"], 100)]
    figure.plot = lambda canvas, results: canvas.subplots().plot([results["loss"]])
    command.main([FIGURE, f"--out={folder}", "--jobs=1"])


if __name__ == "__main__":
    main(sys.argv[1])
