"""Training steps against PyTorch's: the same models, parameters and batches, on the same cores.

PyTorch runs eagerly, with the models of transformers, in a process of its own (`peers_torch.py`) and in the environment
of requirements-reference.txt. It makes each model and writes it in its published format, from which ours is read. So
both have the same parameters and the same first loss, which is checked. Both train in float32 with AdamW, and clip the
gradient's norm at 1. They take turns in rounds of several steps; the time of a round is that of its fastest step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from statistics import median
import subprocess
import tempfile
import time
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table
from safetensors.numpy import load_file

from core.errors import UserError
from core.files import ROOT
from core.huge_pages import default_environment
from core.parameters import split
from models import MODELS, pretrained
from objectives import OBJECTIVES
from training.optimizer import make_optimizer
from training.state import TrainState
from training.step import Objective, make_train_step

PYTHON = ROOT / ".venv-reference" / "bin" / "python"
SCRIPT = Path(__file__).with_name("peers_torch.py")
SAME = 2e-3  # largest difference of the first losses, in nats
SECONDS = 2.0  # of a round, about

SHAPES: dict[str, dict[str, Any]] = {
    "gpt": {"kind": "gpt", "vocab": 65, "width": 384, "depth": 6, "heads": 6, "length": 256, "batch": 16},
    "gpt_small": {"kind": "gpt", "vocab": 65, "width": 128, "depth": 4, "heads": 4, "length": 64, "batch": 12},
    "bert": {"kind": "bert", "vocab": 8000, "width": 256, "depth": 4, "heads": 4, "length": 128, "batch": 16},
    "encoder_decoder": {"kind": "t5", "vocab": 8000, "width": 256, "depth": 3, "heads": 4, "length": 48, "batch": 16},
    "vit": {"kind": "vit", "image": 32, "patch": 4, "width": 192, "depth": 6, "heads": 3, "batch": 64},
    "perceiver": {
        "kind": "perceiver", "vocab": 262, "width": 256, "depth": 4, "heads": 4, "latents": 64, "length": 512,
        "batch": 8,
    },
    "vae": {"kind": "vae", "pixels": 784, "width": 400, "latents": 20, "batch": 128},
}  # fmt: skip


@dataclass(frozen=True)
class Times:
    """Milliseconds of a step on both sides, one number for each round."""

    shape: Mapping[str, Any]
    parameters: tuple[int, int]
    theirs: Sequence[float]
    ours: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """PyTorch's time by ours of each round: above 1, ours is faster."""
        return [theirs / ours for theirs, ours in zip(self.theirs, self.ours)]


def measure_peers(
    names: Sequence[str] = (), *, rounds: int = 5, changes: Mapping[str, int] | None = None, python: Path = PYTHON
) -> Table:  # fmt: skip
    """Returns the times of all or some shapes, the median of the rounds' ratios, and their range.

    Args:
      names: of `SHAPES` (default: all).
      changes: numbers of the shapes to set, such as {"width": 128}.
      python: of the environment that has PyTorch.

    Raises:
      UserError: there is no such shape, number or environment.
    """
    if not python.exists():
        raise UserError(f"there is no {python}: make .venv-reference/installed makes the environment with PyTorch")
    if unknown := [name for name in names if name not in SHAPES]:
        raise UserError(f"there is no shape {unknown[0]!r}: expected some of {', '.join(SHAPES)}")
    table = Table("shape", box=None)
    for column in ("parameters", "PyTorch, ms", "here, ms", "PyTorch / here", "range"):
        table.add_column(column, justify="right")
    for name in names or SHAPES:
        if unused := [field for field in changes or {} if field not in SHAPES[name]]:
            raise UserError(f"{unused[0]!r} is no number of {name}: expected some of {', '.join(SHAPES[name])}")
        times = measure(SHAPES[name] | dict(changes or {}), rounds, python)
        print(f"measured {name}: {median(times.ratios):.2f}", flush=True)
        text = ", ".join(f"{field} {value}" for field, value in times.shape.items() if field != "kind")
        theirs, ours = (f"{median(side):.1f}" for side in (times.theirs, times.ours))
        limits = f"{min(times.ratios):.2f} to {max(times.ratios):.2f}"
        table.add_row(
            f"{name}: {text}", f"{times.parameters[1]:,}", theirs, ours, f"{median(times.ratios):.2f}", limits
        )
    return table


def measure(shape: Mapping[str, Any], rounds: int, python: Path) -> Times:
    """Returns the times of one shape.

    Raises RuntimeError: PyTorch failed, or the two do not compute the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [str(python), str(SCRIPT), folder, json.dumps(shape)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=default_environment(),
        )  # fmt: skip
        commands, answers = process.stdin, process.stdout
        assert commands and answers and process.stderr
        try:
            if not (text := answers.readline()):
                raise RuntimeError(f"PyTorch failed:\n{process.stderr.read()[-2000:]}")
            about = json.loads(text)
            run, loss, parameters = _ours(shape, Path(folder))
            if shape["kind"] != "vae" and abs(loss - about["loss"]) > SAME:
                raise RuntimeError(f"{shape}: the first loss is {about['loss']:.5f} there and {loss:.5f} here")

            def their_run(steps: int) -> float:
                commands.write(f"{steps}\n")
                commands.flush()
                return float(answers.readline())

            sides = (their_run, run)
            warm = [side(3) for side in sides]
            counts = [max(3, round(1000 * SECONDS / milliseconds)) for milliseconds in warm]
            times = [[side(count) for side, count in zip(sides, counts)] for _ in range(rounds)]
        finally:
            process.kill()
            process.wait()
    theirs, ours = zip(*times)
    return Times(shape, (about["parameters"], parameters), theirs, ours)


def _ours(shape: Mapping[str, Any], folder: Path) -> tuple[Callable[[int], float], float, int]:
    """The function that trains so many steps, the first loss, and the number of parameters."""
    arrays = load_file(folder / "batch.safetensors")
    model, inputs, targets, objective = _model(shape, folder, arrays)
    weights = jnp.ones(targets.shape if targets.dtype == jnp.int32 else targets.shape[:1])
    batch = {"inputs": inputs, "targets": targets, "weights": weights}
    optimizer, _ = make_optimizer(steps=10**6, learning_rate=1e-4, schedule="constant", weight_decay=0.1, clip=1.0)
    structure, parameters = split(model)
    count = sum(x.size for x in parameters.values())
    step = jax.jit(make_train_step(structure, objective, optimizer), donate_argnums=0)
    state = TrainState(jnp.zeros((), jnp.int32), parameters, None, optimizer.init(parameters), jax.random.key(0))
    state, metrics = step(state, batch)
    total, number = jax.device_get(metrics["loss"])

    def run(steps: int) -> float:
        nonlocal state
        fastest = float("inf")
        for _ in range(steps):
            began = time.perf_counter()
            state, metrics = step(state, batch)
            jax.block_until_ready(metrics)
            fastest = min(fastest, time.perf_counter() - began)
        return 1000 * fastest

    return run, float(total / number), count


def _model(
    shape: Mapping[str, Any], folder: Path, arrays: Mapping[str, np.ndarray]
) -> tuple[nnx.Module, dict[str, jax.Array], jax.Array, Objective]:
    """Our model, its inputs, the targets and the objective."""
    kind = shape["kind"]
    if kind == "vae":
        images = jnp.asarray(arrays["images"]).reshape(-1, 28, shape["pixels"] // 28, 1)
        sizes: dict[str, Any] = dict.fromkeys(("image_shape", "target_shape"), images.shape[1:])
        sizes |= {"latents": shape["latents"], "width": shape["width"], "depth": 1}
        model = MODELS["variational"](**sizes, rngs=nnx.Rngs(0))
        return model, {"images": images}, images, OBJECTIVES["variational"]
    model = pretrained.load(folder / "model", dropout=0.0)
    targets = jnp.asarray(arrays["targets"], jnp.int32)
    if kind == "vit":
        images = jnp.asarray(arrays["images"]).transpose(0, 2, 3, 1)
        return model, {"images": images}, targets, OBJECTIVES["classification"]
    names = {"tokens": "tokens", "source": "source"}
    inputs = {ours: jnp.asarray(arrays[theirs], jnp.int32) for theirs, ours in names.items() if theirs in arrays}
    return model, inputs, targets, OBJECTIVES["seq2seq" if kind == "t5" else "language_modeling"]
