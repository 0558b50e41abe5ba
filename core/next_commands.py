"""Which commands use a run, by its objective: what a command names when it ends."""

from pathlib import Path
import shlex

OF_OBJECTIVE = {
    "classification": "evaluate --workdir={}",
    "contrastive": "zero_shot --workdir={}",
    "language_modeling": 'generate --workdir={} --prompt="..."',
    "segmentation": "evaluate --workdir={}",
    "seq2seq": 'translate --workdir={} --text="..."',
    "variational": "latent pictures --workdir={}",
}


def next_commands(objective: str, workdir: str | Path) -> list[str]:
    """Returns command lines that use the run in `workdir`, which was trained for `objective`."""
    folder = shlex.quote(str(workdir))
    commands = [OF_OBJECTIVE[objective]] if objective in OF_OBJECTIVE else []
    commands += ["inspect --workdir={}", "plot --workdir={}"]
    return [f"python -m experiments.{command.format(folder)}" for command in commands]
