"""Optimizers and learning-rate schedules, all from Optax, behind one set of fields."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, cast

import jax.numpy as jnp
import optax

from core.errors import UserError, shown
from core.ranges import Count, CountOrZero, Epsilon, Nonnegative, Range, Share, ShareBelowAll
from core.traced import Traced, TracedUnlessZero
from training.stacked import per_layer
from training.state import Parameters

OPTIMIZERS = ("adamw", "sgd", "lion", "adafactor", "muon")
SCALABLE = ("adamw", "lion")  # whose updates do not depend on the size of the gradient
SCHEDULES = ("constant", "cosine", "linear", "rsqrt", "wsd")

LearningRate = Annotated[float, Range(0, 1000, open_low=True)]


def make_optimizer(
    rate_factors: Mapping[str, float] = MappingProxyType({}), *, steps: Count, learning_rate: Traced[LearningRate],
    name: str = "adamw", schedule: str = "cosine", warmup: CountOrZero = 0, final: Share = 0.0,
    decay_share: Share = 0.2, weight_decay: Traced[Nonnegative] = 0.0,
    l2: TracedUnlessZero[Nonnegative] = 0.0, clip: TracedUnlessZero[Nonnegative] = 0.0, beta1: ShareBelowAll = 0.9,
    beta2: ShareBelowAll = 0.999, epsilon: Epsilon = 1e-8, momentum: ShareBelowAll = 0.9,
) -> tuple[optax.GradientTransformation, optax.Schedule]:  # fmt: skip
    """Returns an optimizer over flat parameters, and its learning rate as a function of the step.

    Args:
      rate_factors: what the learning rates of some parameters are multiplied by, by path (`Run.rate_factors`). Weight
        decay is not.
      steps: the number of steps of the run.
      learning_rate: the highest learning rate.
      name: "adamw"; "sgd" with Nesterov `momentum`; "lion" (Chen et al. 2023); "adafactor" (Shazeer & Stern 2018); or
        "muon" (Jordan et al. 2024) for the matrices inside blocks, with Nesterov's AdamW for all other parameters.
      schedule: what follows the linear rise over the first `warmup` steps. "cosine" and "linear" fall to `final` times
        the highest rate, "constant" stays, "rsqrt" falls as sqrt(warmup / step), and "wsd" (warm-up, stable, decay; Hu
        et al. 2024) stays, then falls linearly to `final` times the highest rate over the last `decay_share` of the
        steps.
      warmup: the number of steps in which the rate rises; less than `steps`.
      weight_decay: decoupled, times the learning rate, and only for matrices: not for biases, norms and embeddings.
      l2: the classic penalty l2/2 |w|^2 on the same matrices: its gradient is added to that of the loss, so that an
        adaptive optimizer rescales both. 0 leaves it out.
      clip: the largest global norm of the gradient; 0 does not clip.
      beta1, beta2: of AdamW, Lion and Muon's AdamW.
      epsilon: of AdamW.

    Raises:
      UserError: `name` or `schedule` is unknown, `warmup` is out of range, or there are factors for an optimizer that
        they are not for.
    """
    learning_rates = _schedule(learning_rate, steps, schedule, warmup, final, decay_share)
    if name == "adamw":
        scale = optax.scale_by_adam(beta1, beta2, epsilon)
    elif name == "sgd":
        scale = optax.trace(momentum, nesterov=True)
    elif name == "lion":
        scale = optax.scale_by_lion(beta1, beta2)
    elif name == "adafactor":
        # Optax's own ends with a minus. It looks at whole arrays, so scanned layers are taken one by one.
        scale = per_layer(optax.chain(optax.adafactor(learning_rate=None), optax.scale(-1)))
    elif name == "muon":
        scale = _muon(beta1, beta2, epsilon)
    else:
        raise UserError(f"optimizer.name = {shown(name)}: expected one of {', '.join(OPTIMIZERS)}")
    if rate_factors and name not in SCALABLE:
        raise UserError(
            f"model.parametrization = 'mup' has a table for optimizer.name = {' and '.join(map(repr, SCALABLE))}, "
            f"not for {name!r}"
        )
    parts = [
        scale,
        *([_by_factors(rate_factors)] if rate_factors else []),
        optax.add_decayed_weights(weight_decay, decayed),
        optax.scale_by_learning_rate(learning_rates),
    ]
    if not _is_zero(l2):
        parts.insert(0, optax.add_decayed_weights(l2, decayed))
    if not _is_zero(clip):
        parts.insert(0, optax.clip_by_global_norm(clip))
    return optax.chain(*parts), learning_rates


def decayed(parameters: Parameters) -> dict[str, bool]:
    """Returns which parameters decay: the kernels of linear maps."""
    return {path: path.endswith("kernel") for path in parameters}


def _by_factors(factors: Mapping[str, float]) -> optax.GradientTransformation:
    def scale(updates: Any, _: Any) -> Any:
        return {path: x * factors.get(path, 1.0) for path, x in updates.items()}

    return optax.stateless(scale)


def _is_zero(number: float) -> bool:
    """Whether a number is 0, and not one that a population traces."""
    return isinstance(number, (int, float)) and number == 0


def _schedule(peak: float, steps: int, kind: str, warmup: int, final: float, decay_share: float) -> optax.Schedule:
    if kind not in SCHEDULES:
        raise UserError(f"optimizer.schedule = {shown(kind)}: expected one of {', '.join(SCHEDULES)}")
    if not 0 <= warmup < steps:
        raise UserError(f"optimizer.warmup = {warmup}: expected 0 <= warmup < steps, which is {steps}")
    remaining = steps - warmup
    if kind == "cosine":
        after = optax.cosine_decay_schedule(peak, remaining, alpha=final)
    elif kind == "linear":
        after = optax.linear_schedule(peak, final * peak, remaining)
    elif kind == "rsqrt":
        rise = max(warmup, 1)
        after = lambda step: peak * (rise / jnp.maximum(step + rise, 1)) ** 0.5  # called during the rise too
    elif kind == "wsd":
        decay = max(1, round(decay_share * remaining))
        fall = optax.linear_schedule(peak, final * peak, decay)
        after = optax.join_schedules([optax.constant_schedule(peak), fall], [remaining - decay])
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    # Step 0 already has a rate above 0, and step `warmup` - 1 has the highest one.
    return optax.join_schedules([optax.linear_schedule(peak / warmup, peak, max(1, warmup - 1)), after], [warmup])


def _muon(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    def matrices(parameters: Parameters) -> dict[str, optax.contrib.MuonDimensionNumbers | None]:
        # Scanned layers have a further axis in front of their matrices: each layer is orthogonalised on its own.
        matrix = lambda path, x: optax.contrib.MuonDimensionNumbers(x.ndim - 2, x.ndim - 1) if _in_block(path) else None
        return {path: matrix(path, x) for path, x in parameters.items()}

    # 0.2 sqrt(longer side) gives updates as large as Adam's, so that both can have one learning rate (Liu et al. 2025).
    muon = optax.contrib.muon(
        1.0,
        adam_b1=beta1,
        adam_b2=beta2,
        eps=epsilon,
        muon_weight_dimension_numbers=cast(Any, matrices),  # Optax's annotation leaves functions out
        consistent_rms=0.2,
    )
    return optax.chain(muon, optax.scale(-1))  # Optax's own ends with a minus


def _in_block(path: str) -> bool:
    return "blocks." in path and path.endswith("kernel")
