"""What a run prints before its first step and after its last one."""

from collections.abc import Mapping
from pathlib import Path

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from training.state import Parameters


def start_report(
    parameters: Parameters, compiled: jax.stages.Compiled, mesh: Mesh, workdir: str | Path, start_step: int
) -> None:
    """Prints parameters by part, FLOPs and memory of the compiled step, devices, mesh, and where results go."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None)
    table.add_column("part")
    table.add_column("parameters", justify="right")
    table.add_column("MiB", justify="right")
    for part, (count, size) in _parts(parameters).items():
        table.add_row(part, f"{count:,}", f"{size / 2**20:.2f}")
    console.print(table)
    devices = jax.devices()
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    console.print(
        f"devices   {len(devices)} {devices[0].device_kind} in {jax.process_count()} process(es); mesh {shape}"
    )
    console.print(f"one step  {flops(compiled) / 1e9:,.3g} GFLOP, about {memory(compiled) / 2**20:,.0f} MiB a device")
    console.print(f"workdir   {workdir}" + (f", continued after step {start_step:,}" if start_step else ""))


def summary_table(summary: dict, workdir: str | Path) -> None:
    """Prints the summary of a run, as in its `summary.json`, and where its results are."""
    table = Table(show_header=False, box=None)
    for name, value in summary["metrics"].items():
        table.add_row(name, "not finite" if value is None else f"{value:.5g}")  # JSON has no NaN
    table.add_row(f"best {summary['best']['metric']}", best_text(summary["best"]))
    table.add_row("steps", f"{summary['steps']:,} in {summary['seconds']:,} s")
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    # Not in the table, which would cut a long path off.
    console.print(f"results   {workdir}: summary.json, metrics.jsonl, checkpoints/, tensorboard/")


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


def _parts(parameters: Parameters) -> dict[str, tuple[int, int]]:
    """The number of parameters and of bytes, by the first name in the path, and in total."""
    parts: dict[str, tuple[int, int]] = {}
    for path, x in parameters.items():
        for part in (path.split(".")[0], "total"):
            count, size = parts.get(part, (0, 0))
            parts[part] = (count + x.size, size + x.nbytes)
    parts["total"] = parts.pop("total")
    return parts
