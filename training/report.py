"""What a run prints before its first step and after its last one."""

from collections.abc import Mapping
from pathlib import Path

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from core.next_commands import next_commands, next_text
from training.state import Parameters


def start_report(
    parameters: Parameters, compiled: jax.stages.Compiled, flops: float, mesh: Mesh, workdir: str | Path,
    start_step: int,
) -> None:  # fmt: skip
    """Prints parameters by part, FLOPs and memory of the compiled step, devices, mesh, and where results go."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None)
    table.add_column("part")
    table.add_column("parameters", justify="right")
    table.add_column("MiB", justify="right")
    for part, (count, size) in _parts(parameters).items():
        table.add_row(part, f"{count:,}", f"{size / 2**20:.2f}")
    console.print(table)
    console.print(f"devices   {_devices(mesh)}")
    size = f"about {memory(compiled) / 2**20:,.0f} MiB" + (" per device" if mesh.size > 1 else "")
    console.print(f"one step  {flops / 1e9:,.3g} GFLOP, {size}")
    console.print(f"workdir   {workdir}" + (f", continued after step {start_step:,}" if start_step else ""))


def complete_text(summary: Mapping) -> str:
    """Returns what a run says that has nothing left to do, with the flag that makes it go on."""
    steps = summary["steps"]
    if summary.get("stopped_early"):
        return f"The run is complete: it stopped early, after {steps:,} steps. To train further: --config.patience=0"
    return f"The run is complete. To train further, ask for more than {steps:,} steps: --config.steps={2 * steps}"


def summary_table(summary: dict, workdir: str | Path, config: Mapping) -> None:
    """Prints the summary of a run, as in its `summary.json`, what its numbers are of, where its results are, and which
    commands use them.
    """
    table = Table(show_header=False, box=None)
    for name, value in summary["metrics"].items():
        table.add_row(name, "not finite" if value is None else f"{value:.5g}")  # JSON has no NaN
    table.add_row(f"best {summary['best']['metric']}", best_text(summary["best"]))
    table.add_row("steps", f"{summary['steps']:,} in {summary['seconds']:,} s")
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    # Not in the table, which would cut a long path off.
    for note in notes(config):
        console.print(f"note      {note}")
    places = ["summary.json", "metrics.jsonl", "checkpoints/"]
    places += ["tensorboard/"] if "tensorboard" in config["loggers"] else []
    console.print(f"results   {workdir}: {', '.join(places)}")
    console.print(next_text(next_commands(config["model"]["name"], config["objective"]["name"], workdir), width=9))


def notes(config: Mapping) -> list[str]:
    """Returns what a reader of the metrics has to know: which parameters they are of, and what the loss holds."""
    lines = []
    if ema := config.get("ema"):
        lines.append(f"evaluated are the averaged parameters (ema = {ema:g}), not those of the last step")
    if smoothing := config["objective"].get("label_smoothing"):
        lines.append(f"the loss holds the label smoothing of {smoothing:g}, in evaluation too")
    return lines


def best_text(best: Mapping) -> str:
    """Returns the best value of a summary and its step as text."""
    if best["value"] is None:
        return "none was finite"
    return f"{best['value']:.5g} at step {best['step']:,}"


def flops(compiled: jax.stages.Compiled) -> float:
    """Returns the floating-point operations of a compiled program. XLA counts the body of a loop once."""
    cost = compiled.cost_analysis() or {}
    return float(cost.get("flops", float("nan")))


def memory(compiled: jax.stages.Compiled) -> int:
    """Returns the bytes that a compiled program takes on a device: arguments, results and temporary arrays.

    Donated arguments are counted once. 0 if the backend does not tell.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    outside = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return outside + sizes.temp_size_in_bytes


def _devices(mesh: Mesh) -> str:
    """The number and kind of the devices, and how they are laid out and divided among processes."""
    kind = jax.devices()[0].device_kind
    kind = kind.upper() if kind.islower() else kind  # "cpu"
    text = f"{mesh.size} {kind}"
    if mesh.size > 1:
        text += ", " + " x ".join(f"{name} {size}" for name, size in mesh.shape.items() if size > 1)
    return text + (f", in {jax.process_count()} processes" if jax.process_count() > 1 else "")


def _parts(parameters: Parameters) -> dict[str, tuple[int, int]]:
    """The number of parameters and of bytes, by the first name in the path, and in total."""
    parts: dict[str, tuple[int, int]] = {}
    for path, x in parameters.items():
        for part in (path.split(".")[0], "total"):
            count, size = parts.get(part, (0, 0))
            parts[part] = (count + x.size, size + x.nbytes)
    parts["total"] = parts.pop("total")
    return parts
