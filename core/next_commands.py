"""Which commands use a run, by its model and its objective: what a command names when it ends."""

from collections.abc import Iterable
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


def next_text(lines: Iterable[str], *, width: int = 8) -> str:
    """Returns command lines below one another, behind the word "next" in a column of `width` letters."""
    return "\n".join(f"{'' if number else 'next':{width}} {line}" for number, line in enumerate(lines))


def next_commands(model: str, objective: str, workdir: str | Path, *, done: str = "") -> list[str]:
    """Returns command lines that use the run in `workdir`, whose model was trained for `objective`.

    The command `done`, such as "inspect", is left out.
    """
    folder = shlex.quote(str(workdir))
    first = OF_MODEL.get(model) or OF_OBJECTIVE.get(objective)
    commands = [first] if first else []
    commands += ["inspect --workdir={}", "plot --workdir={}"]
    commands = [command for command in commands if command.split()[0] != done]
    return [f"python -m experiments.{command.format(folder)}" for command in commands]
