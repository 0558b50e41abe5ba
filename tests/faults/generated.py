"""Inputs that hypothesis makes up for the tests of what a user may write, and how a rejection has to look.

EXAMPLES is the number for each property: few by default, `make test-generated EXAMPLES=1000` for many.
"""

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
import copy
import io
import math
import os
import time
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("EXAMPLES", "8"))
SECONDS = 10  # of the processor, within which an input is refused
_SLOW_IS_FINE = [
    HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture
]  # fmt: skip
# Without the variable the same inputs are drawn in each run, so that a change is not blamed for what was there before.
properties = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=_SLOW_IS_FINE,
    derandomize="EXAMPLES" not in os.environ,
)  # fmt: skip

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**30, 1e308, -0.0, math.inf, math.nan])
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "../x", "/dev/zero", "\x1b[2J", "x" * 5000, "test/loss", "$(id)", "\n", "a\tb"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


class Accepted(Exception):
    """The input is right: the work would begin now."""


def accept(*_: Any, **__: Any) -> None:
    raise Accepted


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all values in nested lists and dictionaries."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, child in items for inner in places(child, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, original: Any) -> Any:
    """JSON that differs from the original in one place: another value, nothing, or one more key."""
    path = draw(st.sampled_from(places(original)))
    if not path:
        return draw(VALUES)
    value = copy.deepcopy(original)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    way = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if way == "replace":
        parent[path[-1]] = draw(VALUES)
    elif way == "remove":
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent[draw(TEXTS)] = draw(VALUES)
    else:
        parent.append(draw(VALUES))
    return value


@st.composite
def spoiled(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of a file of which a part is cut out, doubled, or replaced by others."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, len(content)))
    part = content[start:end]
    marks = [b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\r", b"[" * 3000]
    other = draw(st.binary(max_size=8) | st.sampled_from(marks))
    return content[:start] + draw(st.sampled_from([b"", part * 2, other])) + content[end:]


def rejection(command: Callable[[list[str]], Any], *arguments: object) -> str | None:
    """The message with which a command refuses its arguments, or None if it accepts them.

    Any other end than an error of one line, within `SECONDS`, fails the test.
    """
    start = time.process_time()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        try:
            command([str(argument) for argument in arguments])
        except Accepted:
            return None
        except SystemExit as end:
            if not end.code:
                return None
        else:
            return None
    notes, mark, message = errors.getvalue().partition("error: ")  # notes say how a data set is read
    message = mark + message
    assert message and len(message) < 1500 and (not notes or notes.endswith("\n")), errors.getvalue()
    first, *more = message.rstrip("\n").split("\n")
    assert all(line.startswith("  ") for line in more), message  # a list of differences
    assert time.process_time() - start < SECONDS, message
    return first
