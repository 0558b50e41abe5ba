"""Measures how time and memory grow with length, width, depth, batch, members and devices, beside what theory says.

python -m experiments.slopes [attention decoder ...] [--axes length width] [--rounds=3] [--workdir=runs/slopes]

Layers are attention alone, forward and backward; families are whole train steps of the benchmark's architectures. For
each point a program is compiled. Its operations are those of the products of matrices in the compiled program, loops in
full; its memory is what the compiler plans; its time is the shortest of several calls.

The exponent of the operations is that of their leading term: a whole transformer costs c T + a T^2, and the quadratic
term is the one that is compared with theory, within 0.05. Memory and time have slopes over all sizes, which stand
beside that of the operations. The time of a layer has to grow as its operations do, within 0.35. It is called noisy
instead of wrong if the rounds differ by more than that, or if the process waited for a core. If an exponent is wrong,
the command returns 1. Freed memory is kept in the process, as in a population: otherwise the system would hand out
large arrays page by page at every call, and the time would be that of its kernel.

Writes `slopes.json`, `table.md`, and a picture for the layers and for each axis, as PNG and SVG, light and dark.
"""

import argparse
from collections.abc import Sequence
import os
from pathlib import Path
import subprocess
import sys

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.console import Console
from rich.table import Table

from core import provenance
from core.command import command
from core.errors import UserError, shown
from core.files import ROOT, read_json, write_json
from core.markdown import write_table
from experiments.benchmark.families import FAMILIES
from experiments.figures.style import draw, drawn, grid, ink, visible_viridis
from experiments.measure.slope_cases import AXES, LAYERS, theory
from experiments.measure.slope_points import CLOCK_TOLERANCE, FLOPS_TOLERANCE, NOISY, WRONG, Series, measure, of_content
from training.compilation import use_compilation_cache
from training.memory import keep_memory
from training.workdir import environment

PANELS = {"flops": "FLOPs", "memory": "memory", "seconds": "time"}
MARKERS = "os^DvPX*<>ph"


def table(results: Sequence[Series]) -> Table:
    """Returns the exponents and slopes, a row for each layer or family and axis."""
    rows = Table("layer or family", "axis n", "theory", box=None)
    for column in ("exponent of FLOPs", "slopes: FLOPs", "memory", "clock", "clock in rounds", ""):
        rows.add_column(column, justify="right")
    for each in results:
        clock = ["", ""]
        if each.rounds:
            clock = [f"{each.slope('seconds'):.2f}", "{:.2f} to {:.2f}".format(*each.clock_range)]
        remarks = ["FLOPs WRONG"] if each.flops_verdict == WRONG else []
        if each.clock_verdict in (NOISY, WRONG):
            off = "WRONG" if each.fails else "not as FLOPs"
            remarks.append("clock noisy" if each.clock_verdict == NOISY else f"clock {off}")
        rows.add_row(
            each.name, each.axis, str(each.expected), f"{each.exponent:.2f}", f"{each.slope('flops'):.2f}",
            f"{each.slope('memory'):.2f}", *clock, ", ".join(remarks) or "ok",
        )  # fmt: skip
    return rows


def picture(figure: Figure, results: Sequence[Series]) -> None:
    """Draws operations, memory and time of several layers or families along an axis, relative to the first value."""
    timed = [what for what in PANELS if what != "seconds" or all(each.rounds for each in results)]
    panels = figure.subplots(1, len(timed), squeeze=False)[0]
    colours = visible_viridis()
    for axes, what in zip(panels, timed):
        for number, each in enumerate(results):
            costs = getattr(each, what)
            colour = f"C{number}" if len(results) <= 5 else colours(number / (len(results) - 1))
            axes.plot(each.values, [cost / costs[0] for cost in costs], MARKERS[number % len(MARKERS)] + "-",
                      color=colour, label=each.name, linewidth=2, markersize=6)  # fmt: skip
        values = results[0].values
        for power in sorted({each.expected.power for each in results}):
            axes.plot(values, [(value / values[0]) ** power for value in values], ":", color=ink(), linewidth=1.5,
                      label=f"slope {power:g}" if axes is panels[0] else None)  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=results[0].axis, title=PANELS[what])
        axes.set_xticks(values, map(str, values))
        axes.set_xticks([], minor=True)
        axes.yaxis.set_minor_formatter(NullFormatter())
        grid(axes)
    panels[0].set_ylabel(f"relative to {results[0].axis} {results[0].values[0]}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=12)


@command
def main(arguments: list[str]) -> int:
    """Measures what the command line asks for. Returns 1 if an exponent is wrong, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.slopes", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", help="layers and families (default: all)")
    parser.add_argument("--axes", nargs="+", default=list(AXES), help=f"of {', '.join(AXES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="of timing; 0 leaves the clock out (default %(default)s)")
    parser.add_argument("--workdir", default=str(ROOT / "runs/slopes"), help="for the results (default: runs/slopes)")
    args = parser.parse_args(arguments)
    pairs = _pairs(args.names, args.axes)
    if not 0 <= args.rounds <= 1000:
        raise UserError(f"--rounds={args.rounds}: expected 0 to 1000")
    folder = Path(args.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    use_compilation_cache()
    keep_memory()
    console, results = Console(highlight=False, markup=False, soft_wrap=True), []
    for number, (name, axis) in enumerate(pairs, start=1):
        apart = axis == "devices" and "LECTERN_SLOPES_DEVICES" not in os.environ
        results += [_on_many_devices(name, folder, args.rounds) if apart else measure(name, axis, rounds=args.rounds)]
        print(f"measured {number} of {len(pairs)}: {name}, {axis}", flush=True)
    rows = table(results)
    console.print(rows)
    write_table(folder / "table.md", rows)
    write_json(folder / "slopes.json", {
        "series": [each.content() for each in results],
        "tolerances": {"flops": FLOPS_TOLERANCE, "clock": CLOCK_TOLERANCE},
        "digest": provenance.digest([__file__]), "environment": environment(),
    })  # fmt: skip
    paths = []
    for stem, group in _groups(results).items():
        paths += draw(picture, group, folder / stem)
    print(f"results   {folder}: slopes.json, table.md")
    print(f"pictures  {drawn(folder, paths)}")
    wrong = [f"{each.name} along {each.axis} has {_difference(each)}" for each in results if each.fails]
    if wrong:
        print(f"not as theory says: {'; '.join(wrong)}")
    return 1 if wrong else 0


def _pairs(names: Sequence[str], axes: Sequence[str]) -> list[tuple[str, str]]:
    """What to measure: each layer or family along each axis."""
    everything = [*LAYERS, *FAMILIES]
    for name in names:
        if name not in everything:
            raise UserError(f"there is no layer or family {shown(name)}: expected some of {', '.join(everything)}")
    for axis in axes:
        if axis not in AXES:
            raise UserError(f"--axes {shown(axis)}: expected some of {', '.join(AXES)}")
    pairs = [(name, axis) for axis in axes for name in names or everything if theory(name, axis)]
    if not pairs:
        raise UserError(f"nothing is measured of {', '.join(names)} along {', '.join(axes)}: layers have a length only")
    return pairs


def _on_many_devices(name: str, folder: Path, rounds: int) -> Series:
    """Measures along the axis of devices in a process of its own, in which the CPU counts as many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={max(AXES['devices'].values)}"
    there = folder / "devices_process"
    process = subprocess.run(
        [sys.executable, "-m", "experiments.slopes", name, "--axes", "devices", f"--rounds={rounds}",
         f"--workdir={there}"],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"XLA_FLAGS": flags, "LECTERN_SLOPES_DEVICES": "1"},
    )  # fmt: skip
    if process.returncode not in (0, 1):  # 1 says that an exponent is wrong, which is said here too
        raise RuntimeError(f"{name} on several devices failed:\n{process.stdout[-1000:]}{process.stderr[-2000:]}")
    return of_content(read_json(there / "slopes.json", "series")["series"][0])


def _groups(results: Sequence[Series]) -> dict[str, list[Series]]:
    """The results of each picture, by its name."""
    groups: dict[str, list[Series]] = {}
    for each in results:
        groups.setdefault("layers" if each.name in LAYERS else each.axis, []).append(each)
    return groups


def _difference(each: Series) -> str:
    """What is wrong with a result."""
    if each.flops_verdict == WRONG:
        return f"FLOPs with the exponent {each.exponent:.2f} instead of {each.expected.power:g}"
    return f"a time of slope {each.slope('seconds'):.2f} for FLOPs of slope {each.slope('flops'):.2f}"


if __name__ == "__main__":
    main()
