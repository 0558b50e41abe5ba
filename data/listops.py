"""ListOps: nested lists of MIN, MAX, MED and SM over digits, such as [MAX 2 9 [MIN 4 7 ] 0 ], whose value is a digit.

Nangia & Bowman 2018; the long variant and its rules are those of Long Range Arena (Tay et al. 2021,
https://github.com/google-research/long-range-arena, lra_benchmarks/data/listops.py).
"""

from functools import lru_cache
import math
from typing import Annotated

import numpy as np

from core.errors import UserError, shown
from core.ranges import Length, Range
from data.dataset import Dataset
from data.forms import in_form
from data.sequences import Sequences, sequence_dataset

SYMBOLS = ("[PAD]", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "X")  # X closes a list, as in Long Range Arena
FIRST_DIGIT, FIRST_OPERATOR, END = SYMBOLS.index("0"), SYMBOLS.index("[MIN"), SYMBOLS.index("X")


def listops(
    *, train: str = "train", evaluation: str = "validation", max_depth: Annotated[int, Range(1, 1024)] = 10,
    max_args: Annotated[int, Range(2, 100)] = 10, longer_than: Annotated[int, Range(0, 2**17)] = 500,
    shorter_than: Length = 2000, examples: Annotated[int, Range(1, 10**6)] = 96_000, form: str = "plain",
) -> Dataset:  # fmt: skip
    """Returns expressions and their values, which are 10 classes.

    The expressions are generated at each start, always the same ones, and all are different. The defaults are those of
    Long Range Arena; generating these takes about 15 seconds, once per process. Splits train (`examples`), validation
    (2,000) and test (2,000).

    Args:
      max_depth: each argument is a list with probability 1/4, else a digit; at this depth it is always a digit. The
        expression itself is at depth 1.
      max_args: a list has 2 to this many arguments.
      longer_than, shorter_than: exclusive bounds of the length in tokens; a list has 2 tokens besides its arguments.
      form: see `data.forms`.

    Raises UserError where hardly any expression has such a length.
    """
    if longer_than >= shorter_than - 1:
        raise UserError(
            f"longer_than = {longer_than}, shorter_than = {shorter_than}: expected longer_than < shorter_than - 1."
        )
    growth = (2 + max_args) / 2 / 4  # a quarter of all arguments are lists
    if math.log(_ROOTS) + (max_depth - 1) * math.log(max(growth, 1)) > math.log(1e8):
        raise UserError(
            f"max_depth = {max_depth}, max_args = {max_args}: each level has {growth:g} times as many lists as the one "
            "above, which is too many. Choose a smaller max_depth or max_args."
        )
    expressions = _expressions(
        examples + 2 * _HELD_OUT, max_depth=max_depth, max_args=max_args, longer_than=longer_than,
        shorter_than=shorter_than,
    )  # fmt: skip
    sizes = {"validation": _HELD_OUT, "test": _HELD_OUT, "train": examples}
    dataset = sequence_dataset(
        "listops", expressions, sizes, train, evaluation, encode=_encode, names="0123456789",
        context=shorter_than - 1, classes=10, vocab_size=len(SYMBOLS),
    )  # fmt: skip
    return in_form(dataset, form)


# ---- private parts --------------------------------------------------------------------------------------------------


def _encode(texts: list[str]) -> list[np.ndarray]:
    """Returns the tokens of expressions, in which ] may stand for X."""
    numbers = {"]": END} | {symbol: number for number, symbol in enumerate(SYMBOLS) if number}
    rows = [text.split() for text in texts]
    for text, row in zip(texts, rows):
        if unknown := [symbol for symbol in row if symbol not in numbers]:
            raise UserError(f"{shown(text)}: {shown(unknown[0])} is no symbol; expected some of {' '.join(numbers)}")
    return [np.array([numbers[symbol] for symbol in row], np.uint8) for row in rows]


_HELD_OUT = 2_000
_ROOTS = 20_000  # expressions generated at a time; 8 % of them have the length that Long Range Arena asks for


@lru_cache(maxsize=2)  # the members of a population share them
def _expressions(count: int, **shape) -> Sequences:
    """Returns the first `count` different expressions. Callers share the arrays and must not write to them."""
    generator = np.random.default_rng(0)
    expressions, targets, seen = [], [], set()
    while len(expressions) < count:
        before = len(expressions)
        tokens, lengths, values = grow(generator, _ROOTS, **shape)
        for expression, value in zip(np.split(tokens, lengths.cumsum()[:-1]), values.tolist()):
            content = expression.tobytes()
            if content not in seen:
                seen.add(content)
                expressions.append(expression)
                targets.append(value)
        if len(expressions) < min(count, before + count // 500 + 1):
            raise UserError(
                f"{len(expressions):,} different expressions have such lengths, {count:,} are needed, and hardly any "
                "more turn up. Move longer_than and shorter_than apart, raise max_depth or max_args, or lower examples."
            )
    return Sequences.of(expressions[:count], targets[:count])


def grow(
    generator: np.random.Generator, roots: int, *, max_depth: int, max_args: int, longer_than: int, shorter_than: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Generates `roots` random expressions, and returns those of fitting length.

    All expression trees grow at once, level by level. The children of a node are adjacent, in the order of the nodes.

    Returns:
      The tokens of all expressions, one after the other, uint8 (T,); their lengths, (N,); and their values, (N,).
    """
    levels, size = [], roots
    for depth in range(1, max_depth + 1):
        is_list = (generator.random(size, np.float32) < 0.25) & (depth < max_depth)
        symbol = np.where(is_list, generator.integers(4, size=size), generator.integers(10, size=size))
        arguments = generator.integers(2, max_args + 1, is_list.sum())
        levels.append((is_list, symbol, arguments))
        size = arguments.sum()

    # Upwards: the value and the length of a list follow from those of its arguments.
    values, lengths, lengths_by_level = np.empty(0, np.int64), np.empty(0, np.int64), []
    for is_list, symbol, arguments in reversed(levels):
        below = values, lengths
        values, lengths = symbol.copy(), np.ones(len(symbol), np.int64)
        if len(arguments):
            first = arguments.cumsum() - arguments
            values[is_list] = _apply(symbol[is_list], below[0], first, arguments)
            lengths[is_list] = 2 + np.add.reduceat(below[1], first)
        lengths_by_level.append(lengths)

    # Downwards: an argument starts where the one before it ends, and the first one after its operator.
    fits = (lengths > longer_than) & (lengths < shorter_than)
    tokens = np.zeros(lengths[fits].sum(), np.uint8)
    result = tokens, lengths[fits], values[fits]
    starts = np.where(fits, (lengths * fits).cumsum() - lengths, -1)  # -1: in a tree that does not fit
    lengths_by_level.reverse()
    none_below = np.empty(0, np.int64)  # the deepest level has no lists
    for (is_list, symbol, arguments), lengths, below in zip(
        levels, lengths_by_level, [*lengths_by_level[1:], none_below]
    ):
        kept, lists = starts >= 0, is_list & (starts >= 0)
        tokens[starts[kept]] = (symbol + np.where(is_list, FIRST_OPERATOR, FIRST_DIGIT))[kept]
        tokens[starts[lists] + lengths[lists] - 1] = END
        if len(arguments):
            first = arguments.cumsum() - arguments
            before = below.cumsum() - below
            offset = np.repeat(starts[is_list] + 1 - before[first], arguments)
            starts = np.where(np.repeat(kept[is_list], arguments), before + offset, -1)
    return result


def _apply(operators, values, first, counts):
    """Returns the value of each operator; its arguments are `counts` of `values`, from index `first` on."""
    ordered = np.sort(np.repeat(np.arange(len(counts)), counts) * 10 + values) % 10
    median = (ordered[first + (counts - 1) // 2] + ordered[first + counts // 2]) // 2
    last = first + counts - 1
    return np.choose(operators, [ordered[first], ordered[last], median, np.add.reduceat(values, first) % 10])
