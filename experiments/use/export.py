"""Writes a trained model as a published one: weights, settings, tokenizer, names of classes, and a model card.

python -m experiments.export --workdir=runs/reviews --out=published

The folder is in the format of Hugging Face: `--weights` of other commands takes it, and the transformers library loads
it. The model card, README.md, has the measured numbers of the run and of every `experiments.evaluate`, the data, and
the command that trained it.
"""

import argparse
import json
from pathlib import Path
import shlex
from typing import Any

import numpy as np

from core import files
from core.command import command
from core.errors import UserError
from core.markdown import markdown
from core.next_commands import next_text
from data.resizing import RESIZING
from data.subwords import BOS, CLS, EOS, PAD, SEP
from data.tokenizer_files import dumped, tokenizer_files
from experiments.use.evaluate import notes_on
from experiments.use.next_uses import after_export
from experiments.use.opened import Opened, open_folder, step_of
from models import pretrained
from models.protocols import Translator


def export(opened: Opened, out: str | Path) -> list[Path]:
    """Writes the model of a run as a published folder. Returns the paths of its files.

    Raises:
      UserError: this is no run, no published format can express its model or what is done to its images, or the folder
        holds a model already.
    """
    if opened.run is None:
        raise UserError(f"{opened.folder} is a published model already")
    data, out = opened.run.config["data"], Path(out)
    for field, plain in {"pool": 1, "levels": 0}.items():
        if data.get(field, plain) != plain and "image_shape" in opened.run.config["model"]:
            raise UserError(f"data.{field} = {data[field]}: the published format has no place for it")
    contents = {}
    if opened.vocabulary is not None:
        longest = getattr(opened.model, "context", None)
        contents = tokenizer_files(opened.vocabulary, framed=_framed(opened), longest=longest)
    images: dict[str, Any] = {field: data[field] for field in ("mean", "std", *RESIZING) if data.get(field)}
    pretrained.save(
        opened.model, out, classes=opened.classes or (), settings=_special_tokens(opened), **images
    )  # fmt: skip
    for name, content in contents.items():
        files.write_text(out / name, dumped(content))
    files.write_text(out / "README.md", card(opened))
    return sorted(path for path in out.iterdir() if path.is_file())


def card(opened: Opened) -> str:
    """Returns the model card of a run as Markdown: what it is, what was measured, and how it was trained."""
    run = opened.run
    assert run is not None
    workdir, config = Path(opened.folder), run.config
    environment = files.read_json(workdir / "environment.json", "command", "packages")
    kind, data = type(opened.model).__name__, config["data"]
    lines = [
        "---", "library_name: transformers", "tags: [lectern, jax]", "---", "",
        f"# {workdir.absolute().name}: {kind} trained on {data['name']}", "", "## Measured", "",
        _measured(workdir, run.dataset.evaluation_name), *(f"Note: {line}." for line in notes_on(opened)), "",
        "## Trained", "",
        f"On {len(run.dataset.train):,} examples of the split `{data.get('train', 'train')}`, with", "",
        "```bash", _portable(environment["command"]), "```", "",
        f"and jax {environment['packages'].get('jax', '?')}, flax {environment['packages'].get('flax', '?')}, on "
        f"{environment.get('devices', {}).get('kind', 'an unknown device')}. The objective was "
        f"`{config['objective']['name']}`; the data section of the config:", "",
        "```json", json.dumps(data, indent=2), "```",
    ]  # fmt: skip
    if opened.classes:
        lines += ["", "## Classes", "", ", ".join(f"{number}: {name}" for number, name in enumerate(opened.classes))]
    if "images" in run.dataset.train.examples(np.arange(1))["inputs"]:
        shape, file = config["model"]["image_shape"], "preprocessor_config.json"
        lines += ["", "## Images", "", f"Of the shape {shape}; `{file}` has the size, mean and standard deviation."]
    return "\n".join(lines) + "\n"


def _portable(line: str) -> str:
    """A command line without the path of its interpreter, which nobody else has."""
    interpreter, *words = shlex.split(line)
    return shlex.join(["python" if Path(interpreter).name.startswith("python") else interpreter, *words])


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the paths of the files."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.export", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="folder of a run; its newest checkpoint is used")
    parser.add_argument("--out", required=True, help="a new or an empty folder")
    args = parser.parse_args(arguments)
    opened = open_folder(args.workdir)
    print(*export(opened, args.out), sep="\n")
    print(next_text(after_export(opened, args.out)))


def _measured(workdir: Path, split: str) -> str:
    """The metrics of the summary of a run, and of each of its evaluations, as a table."""
    rows: list[tuple[str, str, str]] = []
    if (workdir / "summary.json").is_file():
        summary = files.read_json(workdir / "summary.json", "metrics", "steps")
        for name, value in summary["metrics"].items():
            part, _, metric = name.rpartition("/")
            if part == split and value is not None:
                rows.append((part, metric, f"{value:.5g}"))
    extra = {"expected_calibration_error": "expected calibration error", "macro_f1": "macro F1"}
    for path in sorted((workdir / "evaluate").glob("*.json")):
        content = files.read_json(path, "split", "step", "metrics")
        if content["step"] != step_of(workdir):
            continue  # of an earlier checkpoint
        measured: dict[str, Any] = content["metrics"]
        measured |= {name: content[key] for key, name in extra.items() if key in content}
        if content["split"] == split:
            rows = [row for row in rows if row[0] != split]
        rows += [(content["split"], name, f"{value:.5g}") for name, value in measured.items() if value is not None]
    if not rows:
        return "Nothing was measured.\n"
    return markdown(("split", "metric", "value"), rows, (False, False, True))


def _framed(opened: Opened) -> bool:
    """Whether the run read a text between [CLS] and [SEP]."""
    if opened.reading is None or opened.reading.kind != "texts":
        return False
    inputs = opened.reading.source(["a"]).examples(np.arange(1))["inputs"]
    tokens = inputs["tokens"][inputs["mask"]]
    return bool(len(tokens) > 2 and tokens[0] == CLS and tokens[-1] == SEP)


def _special_tokens(opened: Opened) -> dict[str, int]:
    """The settings of config.json that say which tokens begin, end and fill a text."""
    if not isinstance(opened.model, Translator):
        return {}
    return {"pad_token_id": PAD, "bos_token_id": BOS, "decoder_start_token_id": BOS, "eos_token_id": EOS}


if __name__ == "__main__":
    main()
