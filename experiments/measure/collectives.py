"""Reads from the text of a compiled program which data its devices exchange, and how much.

The text is HLO (`experiments.measure.hlo`) after XLA has divided a program among devices. A collective inside a loop
counts as often as the loop runs, where the compiler knows that.
"""

from dataclasses import dataclass
import math
import re

from experiments.measure.hlo import computations, runs, trips

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4,
         "s64": 8, "u64": 8, "f64": 8}  # fmt: skip
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")


@dataclass(frozen=True)
class Collective:
    """A kind of exchange in one step.

    Attributes:
      kind: one of `KINDS`.
      count: how often it runs.
      sent: the bytes that each device sends, if each takes part as in a ring.
    """

    kind: str
    count: float
    sent: float


def collectives(text: str) -> list[Collective]:
    """Returns what each device of a compiled program sends in one run, by kind."""
    counts = runs(text)
    totals: dict[str, tuple[float, float]] = {}
    channels: set[str] = set()
    for name, lines in computations(text).items():
        for line in lines:
            if (match := _OPERATION.search(line)) and (times := counts.get(name, 0.0)):
                # On TPUs an exchange that goes on beside computations is written again in each of them.
                if channel := re.search(r"channel_id=\d+", line):
                    if channel[0] in channels:
                        continue
                    channels.add(channel[0])
                count, sent = totals.get(match[2], (0.0, 0.0))
                totals[match[2]] = (count + times, sent + times * _sent(match[2], match[1], bool(match[3]), line))
    return [Collective(kind, *totals[kind]) for kind in KINDS if kind in totals]


def has_loops(text: str) -> bool:
    """Returns whether a program has a loop that runs more than once."""
    all_lines = computations(text)
    lines = (line for lines in all_lines.values() for line in lines)
    return any(trips(line, all_lines) > 1 for line in lines if " while(" in line)


def _sent(kind: str, shapes: str, start: bool, line: str) -> float:
    """The bytes that a device sends in one collective whose result has these shapes."""
    size, devices = _size(shapes), _group(line)
    if devices < 2:
        return 0.0
    if kind == "collective-permute":
        return size / 2 if start else size  # the start has its operand and its result
    if kind == "all-gather" and start:
        size *= devices / (devices + 1)
    if kind == "reduce-scatter":
        size *= devices  # of the operand
    return size * (devices - 1) / devices * (2 if kind == "all-reduce" else 1)


def _size(shapes: str) -> float:
    """The bytes of arrays such as "(f32[7,11]{1,0}, bf16[13])"."""
    arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shapes)
    return float(sum(BYTES.get(kind, 0) * math.prod(map(int, filter(None, axes.split(",")))) for kind, axes in arrays))


def _group(line: str) -> int:
    """How many devices exchange with one another, in the three ways that HLO writes that."""
    if match := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
        axes = dict(re.findall(r"'([^']+)'=(\d+)", match[1]))
        return math.prod(int(axes[name]) for name in re.findall(r"'([^']+)'", match[2]))
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(match[1])
    if match := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return match[1].count(",") + 1
    return 2 if "source_target_pairs={{" in line else 1
