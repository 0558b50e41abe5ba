"""Counts the floating-point operations of a program from its jaxpr: what is written, whatever the compiler makes of it.

XLA's own count takes the body of a loop once. Here a loop counts by its trip count, of a condition the most expensive
branch, and of a choice by platform the branch for that one, by default that of this process. A product of matrices
counts two operations for each multiplication with its addition, a convolution likewise, and every other arithmetic
operation one for each element of its largest operand or result. Moving, comparing and converting numbers counts
nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import math
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval

_ARITHMETIC = frozenset({
    "add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "pow", "integer_pow", "square", "sqrt",
    "rsqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "sin", "cos", "tan", "erf", "erfc",
    "erf_inv", "lgamma", "digamma", "floor", "ceil", "round", "add_any", "reduce_sum", "reduce_max", "reduce_min",
    "reduce_prod", "cumsum", "cumprod", "cummax", "cumlogsumexp", "scatter-add", "scatter_add", "reduce_window_sum",
    "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh",
})  # fmt: skip


@dataclass(frozen=True)
class Flops:
    """Operations of a program: those of matrix products and convolutions, and all others."""

    products: float = 0.0
    elementwise: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.products + self.elementwise

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.products + other.products, self.elementwise + other.elementwise)

    def times(self, count: float) -> "Flops":
        """Returns those of the program run `count` times."""
        return Flops(self.products * count, self.elementwise * count)


def count(function: Callable, *arguments: Any) -> Flops:
    """Returns the operations of a function of these arguments, which may be shapes. Nothing is compiled or run."""
    return of_jaxpr(jax.make_jaxpr(function)(*arguments))


def of_jaxpr(closed: Any, platform: str | None = None) -> Flops:
    """Returns the operations of a closed jaxpr, as `jax.jit(function).trace(...).jaxpr` has it.

    What does not contribute to a result is left out, as the compiler does. `platform` is "cpu", "tpu", "cuda" or so.
    """
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return _of(jaxpr, platform or jax.default_backend())


def _of(jaxpr: Any, platform: str) -> Flops:
    return sum((_of_equation(equation, platform) for equation in jaxpr.eqns), Flops())


def _of_equation(equation: Any, platform: str) -> Flops:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return Flops(products=2.0 * depth * math.prod(equation.outvars[0].aval.shape))
    if name == "conv_general_dilated":
        return Flops(products=2.0 * _taps(equation) * math.prod(equation.outvars[0].aval.shape))
    if name == "scan":
        return _of(parameters["jaxpr"].jaxpr, platform).times(parameters["length"])
    if name == "while":
        rounds = _of(parameters["body_jaxpr"].jaxpr, platform) + _of(parameters["cond_jaxpr"].jaxpr, platform)
        return rounds.times(_trips(equation))
    if name == "shard_map":  # its program is that of one device
        return _of(parameters["jaxpr"], platform).times(parameters["mesh"].size)
    if name == "cond":
        if platforms := parameters.get("branches_platforms"):  # of `jax.lax.platform_dependent`; None is the default
            places = [place for place, names in enumerate(platforms) if names is None or platform in names]
            return _of(parameters["branches"][places[0]].jaxpr, platform)
        return max((_of(branch.jaxpr, platform) for branch in parameters["branches"]), key=lambda flops: flops.total)
    if inner := list(_inner(parameters)):
        return sum((_of(jaxpr, platform) for jaxpr in inner), Flops())
    if name in _ARITHMETIC and jax.numpy.issubdtype(equation.outvars[0].aval.dtype, jax.numpy.inexact):
        shapes = [x.aval.shape for x in (*equation.invars, *equation.outvars) if hasattr(x.aval, "shape")]
        if name.startswith("scatter"):  # only what is added is computed with
            shapes = [equation.invars[-1].aval.shape]
        return Flops(elementwise=float(max(map(math.prod, shapes))))
    return Flops()


def _taps(equation: Any) -> int:
    """The multiplications for one number of a convolution's result: the kernel without its output channels."""
    kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
    return math.prod(kernel) // kernel[numbers.rhs_spec[0]]


def _trips(equation: Any) -> float:
    """The trip count of a while loop that counts up to a number that is written in the program, else 1.

    `jax.lax.fori_loop` makes such loops: the condition is `i < n`, with i and n in the state of the loop.
    """
    condition, parameters = equation.params["cond_jaxpr"].jaxpr, equation.params
    if len(condition.eqns) != 1 or condition.eqns[0].primitive.name != "lt":
        return 1
    ends = []
    for x in condition.eqns[0].invars:
        if isinstance(x, core.Literal):
            ends.append(x.val)
            continue
        place = condition.invars.index(x)
        constants = parameters["cond_nconsts"]
        skipped = 0 if place < constants else parameters["body_nconsts"]
        start = equation.invars[place + skipped]
        if not isinstance(start, core.Literal):
            return 1
        ends.append(start.val)
    return max(0.0, float(ends[1] - ends[0]))


def _inner(parameters: dict) -> Iterator[Any]:
    """The jaxprs that an equation calls once, such as that of a `jit`; not the derivatives that come with it."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if (inner := parameters.get(name)) is not None:
            yield getattr(inner, "jaxpr", inner)
            return
