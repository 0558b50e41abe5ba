"""The smallest complete runs, with everything that a continued run could get wrong; and how tests start them.

As a config file: --config=tests/tiny.py:gpt, or another name of `get_config`.
"""

from collections.abc import Callable
import json
from pathlib import Path
import subprocess
import sys
import time

from ml_collections import ConfigDict

ROOT = Path(__file__).parents[1]


def get_config(model: str = "vit") -> ConfigDict:
    sizes = {"width": 8, "depth": 2, "heads": 2, "dropout": 0.1}
    config = {
        "vit": {
            "model": {"name": "vit", "patch": 4} | sizes,
            "objective": {"name": "classification", "label_smoothing": 0.1},
            "data": {"name": "digits", "shift": 1, "evaluation": "test[:25%]"},
        },
        "gpt": {
            "model": {"name": "gpt", "context": 7} | sizes,
            "objective": {"name": "language_modeling"},
            "data": {"name": "python_docs", "context": 7, "evaluation": "validation[:1%]"},
        },
        "encoder_decoder": {
            "model": {"name": "encoder_decoder"} | sizes,
            "objective": {"name": "seq2seq"},
            "data": {"name": "reversal", "evaluation": "test[:5%]"},
        },
        "clip": {
            "model": {"name": "clip", "patch": 4, "shared_width": 6} | sizes,
            "objective": {"name": "contrastive"},
            "data": {"name": "digits", "form": "pair", "shift": 1, "evaluation": "test[:25%]"},
            "accumulate": 1,  # a batch cannot be computed in parts
        },
        "vae": {
            "model": {"name": "variational", "latents": 3, "width": 8, "depth": 1},
            "objective": {"name": "variational"},
            "data": {"name": "digits", "targets": "images", "evaluation": "test[:25%]"},
        },
    }[model]
    common = {
        "seed": 3, "steps": 16, "batch_size": 16, "accumulate": 2, "ema": 0.9, "log_every": 1, "eval_every": 7,
        "checkpoint_every": 5, "optimizer": {"learning_rate": 0.01, "warmup": 3, "weight_decay": 0.1, "clip": 1.0},
        "mesh": {"data": -1, "fsdp": 1, "tensor": 1},
    }  # fmt: skip
    return ConfigDict(common | config)


def start(config: str, workdir: Path, *flags: str) -> subprocess.Popen:
    """Starts a run in a process of its own. `config` is a name for `get_config`, or a path."""
    config = config if "/" in config else f"{Path(__file__)}:{config}"
    command = [sys.executable, ROOT / "train.py", f"--config={config}", f"--workdir={workdir}", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen, code: int = 0) -> str:
    """Returns what the run printed. It must end with this exit code, and without a stack trace."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, out + err
    assert "Traceback" not in err, err
    return out + err


def until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Waits for a condition. The run must not end before."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def summary(workdir: Path) -> dict:
    return json.loads((workdir / "summary.json").read_text())


def losses(workdir: Path) -> list[float]:
    """The training loss of each step."""
    records = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["split"] == "train"]


def logged(workdir: Path, step: int) -> Callable[[], bool]:
    """Whether the training loss of `step` is in the log; for `until`."""

    def condition() -> bool:
        try:
            return f'{{"step": {step}, "split": "train"' in (workdir / "metrics.jsonl").read_text()
        except FileNotFoundError:  # not yet there, or just being moved away by a run that begins anew
            return False

    return condition


def saving(workdir: Path) -> Callable[[], bool]:
    """Whether a checkpoint is being written; for `until`."""
    return lambda: any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))
