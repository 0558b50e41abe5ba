"""What a run tells before its first step and after its last one."""

import jax
from rich.console import Console
from rich.table import Table

from training.state import Parameters


def start_report(parameters: Parameters, compiled, mesh, workdir, start_step: int) -> None:
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


def summary_table(summary: dict, workdir) -> None:
    """Prints the end of a run."""
    table = Table(show_header=False, box=None)
    for name, value in summary["metrics"].items():
        table.add_row(name, f"{value:.5g}")
    best = summary["best"]
    table.add_row(f"best {best['metric']}", f"{best['value']:.5g} at step {best['step']:,}")
    table.add_row("steps", f"{summary['steps']:,} in {summary['seconds']:,} s")
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    # Not in the table, which would cut a long path.
    console.print(f"results   {workdir}: summary.json, metrics.jsonl, checkpoints/, tensorboard/")


def flops(compiled) -> float:
    """Floating-point operations of a compiled program, as XLA counts them: the body of a loop once."""
    cost = compiled.cost_analysis() or {}
    return float(cost.get("flops", float("nan")))


def memory(compiled) -> int:
    """Bytes on a device: what goes in and out (once where memory is given away), and what lies between."""
    found = compiled.memory_analysis()
    inside = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return inside + found.temp_size_in_bytes


def _parts(parameters: Parameters) -> dict[str, tuple[int, int]]:
    parts: dict[str, tuple[int, int]] = {}
    for path, x in parameters.items():
        for part in (path.split(".")[0], "total"):
            count, size = parts.get(part, (0, 0))
            parts[part] = (count + x.size, size + x.nbytes)
    parts["total"] = parts.pop("total")
    return parts
