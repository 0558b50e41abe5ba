"""Which commands use a model that was evaluated, or written as a published one."""

from pathlib import Path
import shlex

from core.errors import UserError
from core.next_commands import next_commands
from experiments.use.opened import Opened
from models import pretrained

PREDICTIONS = {"images": "--images FOLDER", "texts": '--text="..."'}  # by what a model reads


def after_evaluation(opened: Opened) -> list[str]:
    """Returns command lines that use a run, and one that exports it if a published format can express its model."""
    assert opened.run is not None
    folder = shlex.quote(opened.folder)
    lines = [_usage(opened, f"--workdir={folder}")]
    try:
        pretrained.table(opened.model)
    except UserError:
        pass
    else:
        lines.append(f"python -m experiments.export --workdir={folder} --out=published")
    return list(dict.fromkeys(lines))


def after_export(opened: Opened, out: str | Path) -> list[str]:
    """Returns command lines that use the published form of a run, the folder `out`."""
    return [_usage(opened, f"--weights={shlex.quote(str(out))}")]


def _usage(opened: Opened, folder: str) -> str:
    assert opened.run is not None
    name, objective = (opened.run.config[section]["name"] for section in ("model", "objective"))
    if objective in ("language_modeling", "seq2seq"):
        return next_commands(name, objective, "FOLDER")[0].replace("--workdir=FOLDER", folder)
    if opened.classes and opened.reading:
        return f"python -m experiments.predict {folder} {PREDICTIONS[opened.reading.kind]}"
    if opened.classes and folder.startswith("--workdir"):
        return f"python -m experiments.predict {folder} --split={opened.run.dataset.evaluation_name}"
    return f"python -m experiments.inspect {folder}"
