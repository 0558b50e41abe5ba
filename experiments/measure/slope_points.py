"""Measures one layer or family along one axis: operations and memory of its compiled programs, and their time."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
import time
from typing import Any

import jax

from experiments.measure.exponents import leading_exponent, slope
from experiments.measure.hlo import products
from experiments.measure.slope_cases import AXES, LAYERS, Theory, arrays, family, layer, theory, with_size
from training.flops import of_jaxpr
from training.report import memory

SECONDS, CALLS = 0.1, 3  # a round calls a program for so long and so often at least
FLOPS_TOLERANCE = 0.05  # of the exponent of the operations
CLOCK_TOLERANCE = 0.35  # of the slope of the time, which has to be that of the operations
WAITING = 0.15  # the largest share of a call in which this process may have waited for a core
OK, WRONG, NOISY, NOT_ASKED = "ok", "WRONG", "noisy", ""


@dataclass(frozen=True)
class Series:
    """What was measured along an axis.

    Attributes:
      name: of the layer or family.
      axis, values: what was varied.
      flops: of the products in each compiled program, on each device, loops in full.
      written: the same in the program before it was compiled, on all devices.
      memory: bytes of each compiled program on a device: arguments, results and the most that it keeps meanwhile.
      rounds: for each round the seconds of each program, the fastest of several calls; none if they were not measured.
      waited: the largest share of the fastest calls in which this process did not run: something else did.
    """

    name: str
    axis: str
    values: tuple[int, ...]
    flops: list[float]
    written: list[float]
    memory: list[float]
    rounds: list[list[float]]
    waited: float = 0.0

    @property
    def seconds(self) -> list[float]:
        """The shortest time of each program."""
        return [min(times) for times in zip(*self.rounds)]

    @property
    def exponent(self) -> float:
        """The exponent of the leading term of the operations."""
        expected = self.expected
        return leading_exponent(self.values, self.flops, expected.lower, falls=expected.power < 0)

    @property
    def expected(self) -> Theory:
        """What theory says of the operations."""
        expected = theory(self.name, self.axis)
        assert expected is not None
        return expected

    def slope(self, what: str) -> float:
        """Returns the slope of the "flops", the "memory" or the "seconds"."""
        return slope(self.values, getattr(self, what))

    @property
    def clock_range(self) -> tuple[float, float]:
        """The lowest and the highest slope of the time, each of one round."""
        slopes = [slope(self.values, times) for times in self.rounds]
        return min(slopes), max(slopes)

    @property
    def flops_verdict(self) -> str:
        """Whether the exponent of the operations is that of the theory."""
        return OK if abs(self.exponent - self.expected.power) <= FLOPS_TOLERANCE else WRONG

    @property
    def clock_verdict(self) -> str:
        """Whether the time grows as the operations do, where theory says so: of layers, whose time they take.

        The time of a small train step is also that of starting its kernels, and devices on one machine share its cores.
        """
        if not self.rounds or self.axis == "devices":
            return NOT_ASKED
        low, high = self.clock_range
        if abs(self.slope("seconds") - self.slope("flops")) <= CLOCK_TOLERANCE:
            return OK
        return NOISY if high - low > CLOCK_TOLERANCE or self.waited > WAITING else WRONG

    @property
    def fails(self) -> bool:
        """Whether the theory is contradicted: by the operations, or by the clock of a layer."""
        return self.flops_verdict == WRONG or (self.name in LAYERS and self.clock_verdict == WRONG)

    def content(self) -> dict[str, Any]:
        """Returns everything as JSON holds it."""
        clock = {"clock_range": self.clock_range, "clock_slope": self.slope("seconds")} if self.rounds else {}
        return asdict(self) | {
            "theory": asdict(self.expected), "exponent": self.exponent, "flops_slope": self.slope("flops"),
            "memory_slope": self.slope("memory"), "flops_verdict": self.flops_verdict,
            "clock_verdict": self.clock_verdict,
        } | clock  # fmt: skip


def measure(name: str, axis: str, *, rounds: int = 3) -> Series:
    """Compiles a layer or family for each value of an axis, and measures it in so many rounds over all values."""
    flops, written, sizes, calls = [], [], [], []
    for value in AXES[axis].values:
        function, shapes = (layer if name in LAYERS else family)(name, with_size(axis, value))
        traced = jax.jit(function, donate_argnums=() if name in LAYERS else 0).trace(*shapes)
        compiled = traced.lower().compile()
        flops.append(sum(product.flops * product.runs for product in products(compiled.as_text() or "")))
        written.append(of_jaxpr(traced.jaxpr).products)
        sizes.append(float(memory(compiled)))
        if rounds:
            calls.append(_caller(compiled, shapes, trains=name not in LAYERS))
    times = [[_fastest(call) for call in calls] for _ in range(rounds)]
    shortest = [min(calls_of_one) for calls_of_one in zip(*times)]
    waited = max((1 - used / elapsed for elapsed, used in shortest), default=0.0)
    elapsed = [[pair[0] for pair in of_round] for of_round in times]
    return Series(name, axis, AXES[axis].values, flops, written, sizes, elapsed, max(0.0, waited))


def _caller(compiled: Callable, shapes: Any, *, trains: bool) -> Callable[[], None]:
    """A function that runs a program once and waits for it. A train step goes on from its last state."""
    first, *others = arrays(shapes)

    def call() -> None:
        nonlocal first
        results = compiled(first, *others)
        if trains:
            first = results[0]
        jax.block_until_ready(results)

    call()
    return call


def _fastest(call: Callable[[], None]) -> tuple[float, float]:
    """The seconds of the fastest call of a round, and those that this process computed for in it, on all cores."""
    times: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(times) < CALLS or time.perf_counter() - began < SECONDS:
        start, used = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - start, time.process_time() - used))
    return min(times)


def of_content(content: dict[str, Any]) -> Series:
    """Returns the measurement that `Series.content` wrote."""
    names: Sequence[str] = ("name", "axis", "flops", "written", "memory", "rounds", "waited")
    return Series(values=tuple(content["values"]), **{name: content[name] for name in names})
