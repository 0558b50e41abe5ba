"""Compiles the train step for accelerators that are not here: does it fit, what does it need, how long will it take?

python -m experiments.preflight --config=configs/gpt.py --topology v5e:4x4 v6e:2x2 h100:8 [--config.mesh.fsdp=4]

A TPU topology is a version and the layout of its chips. XLA compiles the step for it exactly as it would there; that
needs `pip install -r requirements-tpu.txt`, and no TPU. A GPU topology is a name and a number: its memory, FLOPs and
collectives are those of the program for as many CPUs, which is partitioned alike, but otherwise compiled differently.

The time is that of the roofline (Williams et al. 2009) of `training.peaks`: products at the highest speed, memory or
links at theirs, whichever takes longest. A real step takes longer; a well-filled chip reaches about half of it.
"""

import argparse
from collections.abc import Mapping, Sequence
import contextlib
from dataclasses import dataclass
import importlib.util
import math
import os
from pathlib import Path
import re
import shlex
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import UserError
from core.next_commands import next_text
from experiments.measure.collectives import Collective, collectives, has_loops
from experiments.sweep.progress import clock
from train import Run
from training import mesh as meshes
from training.command_line import add_config, read_command_line
from training.peaks import CHIPS, Chip
from training.programs import Programs, compile_programs

# Without the first three libtpu asks the network what TPU this machine is part of. Without the last one only one
# process of a machine may load it, which is right where it has a TPU.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """What a run of a config needs on a topology.

    Attributes:
      topology: as the command line has it.
      devices: their number.
      memory: bytes on each device, by kind; empty if the compiler says that the program does not fit.
      available: bytes of a device.
      problem: why it does not fit, or "".
      flops: operations of matrix products and convolutions in one step, on all devices.
      touched: bytes that a device reads and writes in one step.
      exchanges: what a device sends in one step.
      seconds: of one step at the least, by what bounds it: "products", "memory", "links".
      steps, batch_size: of the run.
    """

    topology: str
    devices: int
    memory: Mapping[str, float]
    available: float
    problem: str = ""
    flops: float = 0.0
    touched: float = 0.0
    exchanges: Sequence[Collective] = ()
    seconds: Mapping[str, float] | None = None
    steps: int = 0
    batch_size: int = 0

    @property
    def fits(self) -> bool:
        """Whether the memory is enough."""
        return not self.problem and sum(self.memory.values()) <= self.available

    @property
    def step_seconds(self) -> float:
        """The shortest time of a step."""
        return max((self.seconds or {"": math.nan}).values())


def estimate(run: Run, topology: str) -> Estimate:
    """Returns what a run needs on a topology such as "v5e:4x4" or "h100:8".

    Raises:
      UserError: there is no such topology, its compiler is not installed, or the mesh or the batch does not fit it.
    """
    chip, devices, each_chip = devices_of(topology)
    fields = run.fields
    mesh = meshes.make_mesh(devices, **fields.mesh)
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if fields.batch_size % parts:
        raise UserError(f"{topology}: batch_size = {fields.batch_size} must be divisible by data x fsdp = {parts}")
    available = chip.memory / each_chip
    example = run.dataset.train.examples(np.arange(1))
    try:
        programs = compile_programs(
            *run.initialise(), run.objective, run.optimizer, example, fields, mesh, chip.platform
        )
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error) or isinstance(error, UserError):
            raise
        sizes = re.search(r"\(([\d.]+\w)\) exceeds available HBM \(([\d.]+\w)\)", str(error))
        problem = f"needs {sizes[1]} of {sizes[2]}" if sizes else str(error).splitlines()[0]
        return Estimate(topology, mesh.size, {}, available, problem)
    text = programs.step.as_text()
    cost = programs.step.cost_analysis() or {}
    exchanges = collectives(text)
    touched = float(cost.get("bytes accessed", math.nan))
    if has_loops(text) and cost.get("flops"):
        # XLA counts the inside of a loop once. Bytes are taken to grow as operations do.
        touched *= max(1.0, programs.flops.total / mesh.size / float(cost["flops"]))
    dtype = run.config["model"].get("dtype", "float32")
    seconds = {
        "products": programs.flops.products * each_chip / mesh.size / chip.flops(dtype),
        "memory": touched * each_chip / chip.bandwidth,
    }
    if chip.link and exchanges:
        seconds["links"] = sum(each.sent for each in exchanges) * each_chip / chip.link
    return Estimate(
        topology, mesh.size, memory_by_kind(programs), available, "", programs.flops.products, touched, exchanges,
        seconds, fields.steps, fields.batch_size,
    )  # fmt: skip


def devices_of(topology: str) -> tuple[Chip, Sequence[Any], int]:
    """Returns the chip of a topology, its devices, and how many of them are a chip: the cores of TPU v3 and v4.

    The devices of a TPU are those of its compiler; for GPUs they are as many CPUs.

    Raises:
      UserError: there is no such topology, or its compiler is not installed.
    """
    name, _, layout = topology.partition(":")
    if name not in CHIPS or not re.fullmatch(r"\d+(x\d+)*", layout):
        raise UserError(f"--topology={topology}: expected v5e:4x4, h100:8 or the like, of {', '.join(CHIPS)}")
    chip, sides = CHIPS[name], [int(side) for side in layout.split("x")]
    count = math.prod(sides)
    if not 1 <= count <= 4096:
        raise UserError(f"--topology={topology}: expected 1 to 4,096 chips")
    if chip.platform != "tpu":
        if len(jax.devices("cpu")) < count:
            raise UserError(f"--topology={topology}: this process has only {len(jax.devices('cpu'))} devices")
        return chip, jax.devices("cpu")[:count], 1
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(f"--topology={topology} needs the compiler for TPUs: pip install -r requirements-tpu.txt")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    host = tuple(min(2, side) for side in [*sides, 1, 1][:2]) + (1,)
    try:
        devices = topologies.get_topology_desc(topology, platform="tpu", chips_per_host_bounds=host).devices
    except Exception as error:  # of libtpu, for layouts that do not exist
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"--topology={topology}: the compiler for TPUs has no such topology: {reason}") from error
    return chip, devices, len(devices) // count


def stand_in(topologies: Sequence[str]) -> None:
    """Gives this process as many CPUs as the largest of the GPU topologies has GPUs.

    It has to come before JAX starts. Afterwards it changes nothing, and `devices_of` refuses what is larger.
    """
    counts = [int(match[1]) for name in topologies if (match := re.fullmatch(r"\w+:(\d{1,4})", name))]
    jax.config.update("jax_platforms", "cpu")  # nothing is computed, only compiled
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", max([1, *counts]))


def memory_by_kind(programs: Programs) -> dict[str, float]:
    """Returns the bytes on each device: of the state, of the batch, and of everything that a step keeps meanwhile."""
    state = programs.shapes
    size = lambda tree: float(sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    ))  # fmt: skip
    sizes = programs.step.memory_analysis()
    memory = {"parameters": size(state.parameters), "optimizer": size(state.optimizer)}
    memory |= {"average": size(state.average)} if state.average is not None else {}
    return memory | {"batch": size(programs.batch), "activations": float(sizes.temp_size_in_bytes)}


@command
def main(arguments: list[str]) -> int:
    """Prints the estimates side by side. Returns 1 if the run fits nowhere, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.preflight", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    add_config(parser)
    parser.add_argument("--topology", nargs="+", required=True, help="such as v5e:4x4, v6e:2x2 or h100:8")
    args, others = parser.parse_known_args(arguments)
    topologies = [name for text in args.topology for name in text.split(",")]
    flags = [f"--config={args.config}", *others]
    config = read_command_line([*flags, "--workdir=none"]).config
    stand_in(topologies)
    run = Run.of(config)
    estimates = [estimate(run, topology) for topology in topologies]
    Console(highlight=False, markup=False, soft_wrap=True).print(table(estimates))
    if any(CHIPS[each.topology.partition(":")[0]].platform != "tpu" for each in estimates):
        print("Of GPUs, activations and memory traffic are those of the program for CPUs: an estimate.")
    print("Times are the least possible, at the published peaks; see docs/devices.md.")
    if not any(each.fits for each in estimates):
        return 1
    print(next_text([f"python train.py {shlex.join(flags)} --workdir=runs/{Path(args.config).stem}"]))
    return 0


def table(estimates: Sequence[Estimate]) -> Table:
    """Returns the estimates as a table with a column for each topology."""
    rows: dict[str, list[str]] = {}
    kinds = dict.fromkeys(kind for each in estimates for kind in each.memory)
    exchanged = dict.fromkeys(exchange.kind for each in estimates for exchange in each.exchanges)
    for each in estimates:
        cells = {"devices": f"{each.devices}", "fits": "yes" if each.fits else f"no: {each.problem}".rstrip(": ")}
        cells |= {f"{kind}, per device": f"{short(each.memory[kind])}B" if each.memory else "" for kind in kinds}
        total = sum(each.memory.values())
        cells["all of it"] = f"{short(total)}B of {short(each.available)}B" if each.memory else ""
        estimated = each.seconds is not None
        cells["FLOPs of a step"] = short(each.flops) if estimated else ""
        cells["memory traffic per device"] = f"{short(each.touched)}B" if estimated else ""
        sent = {exchange.kind: exchange for exchange in each.exchanges}
        for kind in exchanged:
            text = f"{sent[kind].count:.0f} x, {short(sent[kind].sent)}B" if kind in sent else ""
            cells[f"{kind}, sent per device"] = text
        for bound in ("products", "memory", "links"):
            if estimated and bound in (each.seconds or {}):
                cells[f"time for {bound}"] = f"{1000 * (each.seconds or {})[bound]:.3g} ms"
            else:
                cells[f"time for {bound}"] = ""
        cells["step at least"] = f"{1000 * each.step_seconds:.3g} ms" if estimated else ""
        cells["run at least"] = duration(each.steps * each.step_seconds) if estimated else ""
        cells["examples per second at most"] = short(each.batch_size / each.step_seconds) if estimated else ""
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    columns = Table("", *(each.topology for each in estimates), box=None)
    for name, cells in rows.items():
        columns.add_row(name, *cells)
    return columns


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, or seconds with a fraction."""
    return clock(seconds) if seconds >= 60 else f"{seconds:.2g} s"


def short(value: float) -> str:
    """A number with a unit: "1.23 G"."""
    for size, unit in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g} "


if __name__ == "__main__":
    main()
