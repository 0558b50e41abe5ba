"""Masks: which query may attend to which key. Boolean, True where it may, broadcastable to `BHTS`."""

from typing import overload

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

Mask = Bool[Array, "*#batch_heads_queries_keys"]


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
