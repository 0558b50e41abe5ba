"""Which commands use a run, by its model and its objective: what a command names when it ends."""

from collections.abc import Sequence
from pathlib import Path
import shlex

OF_MODEL = {"captioner": "caption --workdir={}"}  # where it reads something else than the objective expects
OF_OBJECTIVE = {
    "classification": "evaluate --workdir={}",
    "contrastive": "zero_shot --workdir={}",
    "language_modeling": 'generate --workdir={} --prompt="..."',
    "segmentation": "evaluate --workdir={}",
    "seq2seq": 'translate --workdir={} --text="..."',
    "variational": "latent pictures --workdir={}",
}


def next_commands(model: str, objective: str, workdir: str | Path) -> list[str]:
    """Returns command lines that use the run in `workdir`, whose model was trained for `objective`."""
    folder = shlex.quote(str(workdir))
    first = OF_MODEL.get(model) or OF_OBJECTIVE.get(objective)
    commands = [first] if first else []
    commands += ["inspect --workdir={}", "plot --workdir={}"]
    return [f"python -m experiments.{command.format(folder)}" for command in commands]


def show_next(commands: Sequence[str]) -> None:
    """Prints the command lines below one another, after the word "next"."""
    for number, line in enumerate(commands):
        print(f"{'' if number else 'next':8} {line}", flush=True)
