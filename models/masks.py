"""Masks: which query may attend to which key. Boolean, True where it may, broadcastable to `BHTS`.

Models also take the 0 and 1 that tokenizers give: `boolean` and `padding_mask` turn them into True and False.
"""

from typing import Any, overload

from jax.core import Tracer
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped
import numpy as np

from core.errors import UserError

Mask = Bool[Array, "*#batch_heads_queries_keys"]
Padding = Shaped[Array, "batch keys"]
"""A mask as models take it: True or 1 at tokens, False or 0 at padding."""


@overload
def boolean(mask: None, name: str = "mask") -> None: ...
@overload
def boolean(mask: Shaped[Array, "*shape"] | np.ndarray, name: str = "mask") -> Bool[Array, "*shape"]: ...


def boolean(mask, name="mask"):
    """Returns a mask of True and False, or of 1 and 0, as True and False. `name` is for messages.

    Raises:
      UserError: the mask holds anything else. In a compiled program values cannot be looked at, so floats, which may be
        meant to be added to scores, are refused there.
    """
    if mask is None:
        return None
    mask = mask if hasattr(mask, "dtype") else np.asarray(mask)
    if mask.dtype == bool:
        return mask
    expected = "expected True or 1 where keys may be attended to, and False or 0 elsewhere"
    traced, integers = isinstance(mask, Tracer), jnp.issubdtype(mask.dtype, jnp.integer)
    if traced and not integers:
        raise UserError(f"{name} is {mask.dtype} in a compiled program: {expected}, as booleans or integers")
    if not integers and not jnp.issubdtype(mask.dtype, jnp.floating):
        raise UserError(f"{name} is {mask.dtype}: {expected}")
    if not traced and not np.isin(values := np.asarray(mask), (0, 1)).all():
        raise UserError(f"{name} holds numbers from {values.min():g} to {values.max():g}: {expected}")
    return mask != 0


@overload
def padding_mask(mask: None, shape: tuple[int, ...], name: str = "mask") -> None: ...
@overload
def padding_mask(
    mask: Padding | np.ndarray, shape: tuple[int, ...], name: str = "mask"
) -> Bool[Array, "batch keys"]: ...


def padding_mask(mask, shape, name="mask"):
    """Returns the mask of a batch of sequences of this shape (batch, keys), as `boolean`; one row may serve all.

    Raises:
      UserError: the mask has another shape, or as `boolean`.
    """
    if mask is None:
        return None
    array: Any = mask if hasattr(mask, "dtype") else np.asarray(mask)
    if array.ndim != 2 or array.shape[1] != shape[1] or array.shape[0] not in (1, shape[0]):
        raise UserError(f"{name} has the shape {array.shape}: expected that of the sequences, {tuple(shape[:2])}")
    return boolean(array, name)


@overload
def over_keys(mask_BS: None) -> None: ...
@overload
def over_keys(mask_BS: Bool[Array, "batch keys"]) -> Bool[Array, "batch 1 1 keys"]: ...


def over_keys(mask_BS):
    """Returns a padding mask of the keys (True at tokens, False at padding) with axes for heads and queries."""
    return None if mask_BS is None else mask_BS[:, None, None, :]


@overload
def four_axes(mask: None) -> None: ...
@overload
def four_axes(mask: Mask) -> Bool[Array, "#batch #heads #queries #keys"]: ...


def four_axes(mask):
    """Returns a mask with all the axes of `BHTS`: those that it lacks are added in front, with length 1."""
    return None if mask is None else mask.reshape((1,) * (4 - mask.ndim) + mask.shape)


def up_to(position_T: Int[Array, " queries"], S: int) -> Bool[Array, "queries keys"]:
    """Returns the mask `TS` with which a query at a position sees the keys at positions up to its own."""
    return jnp.arange(S)[None, :] <= position_T[:, None]


@overload
def with_causal(mask: None, causal: bool, T: int, S: int) -> Mask | None: ...
@overload
def with_causal(mask: Mask, causal: bool, T: int, S: int) -> Mask: ...


def with_causal(mask, causal, T, S):
    """Returns the mask with the future hidden too, if `causal`: query t then sees keys 0 to t only."""
    if not causal:
        return mask
    lower_TS = jnp.tril(jnp.ones((T, S), bool))
    return lower_TS if mask is None else mask & lower_TS


def sees(
    back: Int[Array, "*shape"], *, causal: bool, window: int, stride: int | None = None
) -> Bool[Array, "*shape"]:
    """Returns whether a query sees a key that lies `back` positions before it (negative: behind it).

    It sees the keys that are less than `window` positions away, and with `stride` every stride-th one besides; if
    `causal`, none behind it.
    """
    distance = jnp.abs(back)
    seen = distance < window
    seen = seen if stride is None else seen | (distance % stride == 0)
    return seen & (back >= 0) if causal else seen
