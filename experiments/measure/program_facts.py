"""Judges a compiled train step by its text: what devices gather, what is given away, what is computed in which type.

These are facts of a program that was compiled ahead of time for devices that are not here. The text is HLO, see
`experiments.measure.hlo`, in the order in which it runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
import math
import re

from experiments.measure.collectives import BYTES, KINDS
from experiments.measure.hlo import Product, computations, products, runs

_EXCHANGE = re.compile(rf"^\s*(?:ROOT )?%?([\w.-]+) = (.*?) ({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_FUSION = re.compile(r"(?m)^\s*(?:ROOT )?%?([\w.-]+) = .* fusion\(.*\bcalls=%?([\w.-]+)")
_WORK = re.compile(r"= .*? (fusion|convolution|dot|custom-call)\(")


@dataclass(frozen=True)
class Exchange:
    """One exchange of arrays between devices.

    Attributes:
      kind: one of `collectives.KINDS`.
      arrays: type and shape of each result, such as ("bf16", (7, 11)).
      bytes: of all results, as often as it runs.
      overlapped: whether the device computes something while it goes on.
      line: of the program's text.
    """

    kind: str
    arrays: list[tuple[str, tuple[int, ...]]]
    bytes: float
    overlapped: bool
    line: str


def exchanges(text: str) -> list[Exchange]:
    """Returns the exchanges of a program that run, each once.

    XLA for TPUs has two ways to let one go on beside computations. Its start and its end are lines of their own; or it
    is a fusion whose name tells the start, and the computations beside it are fusions that contain it again.
    """
    counts, result, channels = runs(text), [], set()
    callers = {callee: caller for caller, callee in _FUSION.findall(text)}
    for name, lines in computations(text).items():
        if not counts.get(name):
            continue
        for place, line in enumerate(lines):
            if not (match := _EXCHANGE.match(line)):
                continue
            if channel := re.search(r"channel_id=\d+", line):
                if channel[0] in channels:
                    continue
                channels.add(channel[0])
            arrays = [(kind, tuple(map(int, filter(None, axes.split(","))))) for kind, axes in _ARRAY.findall(match[2])]
            arrays = [(kind, shape) for kind, shape in arrays if shape or not match[4]]
            if match[4]:  # the start holds the operands, then the results
                arrays = arrays[len(arrays) // 2 :]
                overlapped = _works_before(f"{match[3]}-done(%{match[1]}", lines[place + 1 :])
            else:
                names = f"{name} {callers.get(name, '')}"
                overlapped = "async-collective-start" in names or "async_collective_fusion" in names
            size = counts[name] * sum(BYTES.get(kind, 0) * math.prod(shape) for kind, shape in arrays)
            result.append(Exchange(match[3], arrays, float(size), overlapped, line.strip()))
    return result


def gathers_of_others(text: str, shapes: Iterable[tuple[int, ...]], smallest: float = 0.0) -> list[Exchange]:
    """Returns the all-gathers of arrays that have none of these shapes, those of the parameters, in any order of axes.

    Args:
      smallest: bytes; smaller ones, such as the tokens of a batch, are left out.
    """
    parameters = {tuple(sorted(shape)) for shape in shapes}
    of_parameters = lambda exchange: all(tuple(sorted(shape)) in parameters for _, shape in exchange.arrays)
    gathers = [each for each in exchanges(text) if each.kind == "all-gather" and each.bytes >= smallest]
    return [each for each in gathers if not of_parameters(each)]


def donated(text: str) -> set[int]:
    """Returns the numbers of the arguments whose memory the results take."""
    header = text.partition("\n")[0]
    start = header.find("input_output_alias={")
    aliases = header[start : header.find("entry_computation_layout", start)] if start >= 0 else ""
    return {int(number) for number in re.findall(r"\}: \((\d+), \{", aliases)}


def wide_products(text: str) -> list[Product]:
    """Returns the products of which a factor is float32."""
    return [product for product in products(text) if "f32" in product.operands]


def square_arrays(text: str, length: int, smallest: float = 1e6) -> list[str]:
    """Returns what is kept in memory with two axes of this length, such as scores of attention that is not fused.

    Only results of the entry are arrays in memory; inside a fusion they are not. Those below `smallest` bytes, such as
    masks that all heads share, are left out.
    """
    entry = re.search(r"(?m)^ENTRY %?([\w.-]+)", text)
    lines = computations(text)[entry[1]] if entry else []
    arrays = []
    for line in lines:
        result = line.partition(" = ")[2].partition(" fusion(")[0] if " fusion(" in line else ""
        for kind, axes in _ARRAY.findall(result):
            sizes = [int(size) for size in axes.split(",") if size]
            if sizes.count(length) >= 2 and BYTES.get(kind, 0) * math.prod(sizes) >= smallest:
                arrays.append(f"{kind}[{axes}]")
    return arrays


def _works_before(end: str, lines: list[str]) -> bool:
    """Whether a line computes something before the line that holds `end`."""
    for line in lines:
        if end in line:
            return False
        if _WORK.search(line):
            return True
    return False
