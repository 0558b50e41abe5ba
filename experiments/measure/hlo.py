"""Reads the text of a compiled program: its computations, how often each runs, and its products of matrices.

The text is HLO, XLA's language, after all of its optimisations: what `compiled.as_text()` returns. XLA's own count of
operations takes the inside of a loop once; here it counts as often as the loop runs, where the compiler knows that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
import math
import re

_CALL = re.compile(r"\b(body|calls|to_apply|async_computation)=%?([\w.-]+)")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{\s*$")
_RESULT = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (\w+)\[([\d,]*)\]")
_PRODUCT = re.compile(r"= \w+\[[\d,]*\]\S* (dot|convolution)\(([^)]*)\)")


@dataclass(frozen=True)
class Product:
    """A product of matrices or a convolution in a compiled program.

    Attributes:
      line: of the program's text.
      operands: the types of what is multiplied, such as ("bf16", "bf16").
      flops: operations of one run; a multiplication with its addition is two.
      runs: how often it runs.
    """

    line: str
    operands: tuple[str, str]
    flops: float
    runs: float


def computations(text: str) -> dict[str, list[str]]:
    """Returns the lines of each computation, by its name."""
    return dict(_computations(text))


def runs(text: str) -> dict[str, float]:
    """Returns how often each computation runs; those that nothing calls are left out."""
    all_lines = computations(text)
    entry = re.search(r"(?m)^ENTRY %?([\w.-]+)", text)
    counts: dict[str, float] = {}
    pending = [(entry[1], 1.0)] if entry else []
    while pending:
        name, times = pending.pop()
        counts[name] = counts.get(name, 0.0) + times
        for line in all_lines.get(name, ()):
            for role, callee in _CALL.findall(line):
                pending.append((callee, times * (trips(line, all_lines) if role == "body" else 1.0)))
    return counts


def trips(line: str, all_lines: dict[str, list[str]]) -> float:
    """Returns how often the loop of a line runs.

    XLA for CPUs and GPUs says so; for TPUs it is what the condition of the loop compares with, over what the counter
    grows by in each round: 2 in loops that XLA has unrolled once.
    """
    if match := re.search(r'known_trip_count"?:\{"n":"(\d+)"', line):
        return float(match[1])
    condition = re.search(r"condition=%?([\w.-]+)", line)
    lines = "\n".join(all_lines.get(condition[1], ())) if condition else ""
    bounds = re.findall(r"= [su]32\[\]\S* constant\((\d+)\)", lines)
    if len(bounds) != 1 or "direction=LT" not in lines:
        return 1.0
    counter = re.search(r"get-tuple-element\(.*\), index=(\d+)", lines)
    body = re.search(r"body=%?([\w.-]+)", line)
    growth = _growth(all_lines.get(body[1], ()), int(counter[1])) if counter and body else 1
    return float(-(-int(bounds[0]) // growth))


def products(text: str) -> list[Product]:
    """Returns the products of matrices and the convolutions of a program that run."""
    counts, result = runs(text), []
    for name, lines in computations(text).items():
        if not counts.get(name):
            continue
        arrays = {match[1]: (match[2], _axes(match[3])) for line in lines if (match := _RESULT.match(line))}
        for line in lines:
            if match := _PRODUCT.search(line):
                left, right = (arrays[operand.split("%")[-1].strip()] for operand in match[2].split(", %"))
                out = _RESULT.match(line)
                assert out is not None
                flops = 2.0 * math.prod(_axes(out[3])) * _depth(match[1], line, left[1], right[1])
                result.append(Product(line.strip(), (left[0], right[0]), flops, counts[name]))
    return result


def _computations(text: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            name, lines = match[1], []
        elif line.startswith("}"):
            yield name, lines
        else:
            lines.append(line)


def _growth(lines: Iterable[str], place: int) -> int:
    """What the counter at a place of a loop's state grows by in a round; 1 if that is not a written addition."""
    text = "\n".join(lines)
    root = re.search(r"ROOT .*? tuple\(([^)]*)\)", text)
    name = root[1].replace(" ", "").split(",")[place].split("*/")[-1] if root else ""
    added = re.search(rf"{re.escape(name)} = .*? add\(%?[\w.-]+, (%?[\w.-]+)\)", text) if name else None
    number = re.search(rf"{re.escape(added[1])} = .*? constant\((\d+)\)", text) if added else None
    return max(1, int(number[1])) if number else 1


def _axes(text: str) -> list[int]:
    """The sizes of an array's axes, written as in "7,11"."""
    return [int(size) for size in text.split(",") if size]


def _depth(kind: str, line: str, left: list[int], right: list[int]) -> float:
    """How many multiplications one number of the result takes. What a dilated array has between its numbers is none."""
    if kind == "dot":
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)
        return math.prod(left[axis] for axis in _axes(contracted[1] if contracted else ""))
    labels = re.search(r"dim_labels=\w+_(\w+)->", line)
    assert labels is not None
    dilation = re.search(r"lhs_dilate=([\dx]+)", line)
    skipped = math.prod(map(int, dilation[1].split("x"))) if dilation else 1
    return math.prod(right) / right[labels[1].index("o")] / skipped
