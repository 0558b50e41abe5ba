"""Noise for evaluation that belongs to the example and the draw, and not to the batch that the example is in."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt

Keys = Key[Array, " batch"]


def keys_of_examples(inputs: Mapping[str, Any]) -> Keys:
    """Returns a random key for each example, which follows from the content of its inputs alone.

    So an example has the same noise in every batch, at every place in it, on every mesh and beside any padding.
    """
    hashes = [_hash(inputs[name]) for name in sorted(inputs) if inputs[name] is not None]
    combined_B = sum((_mixed(x + jnp.uint32(place)) for place, x in enumerate(hashes)), jnp.uint32(0))
    return jax.vmap(lambda number: jax.random.fold_in(jax.random.key(0), number))(combined_B)


def noise_of_examples(
    keys_B: Keys, draw: Int[Array, ""] | int, shape: tuple[int, ...]
) -> Float[Array, "batch ..."]:  # fmt: skip
    """Returns standard normal noise of this shape for each example, for the draw of this number."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, draw), shape))(keys_B)


def _hash(x: Any) -> UInt[Array, " batch"]:
    """A number for each example that follows from the bits of its values and their places."""
    x = jnp.asarray(x)
    values_BX = x.reshape(len(x), -1)
    if jnp.issubdtype(values_BX.dtype, jnp.floating):
        bits_BX = jax.lax.bitcast_convert_type(values_BX.astype(jnp.float32), jnp.uint32)
    else:
        bits_BX = values_BX.astype(jnp.uint32)
    places_X = _mixed(jnp.arange(values_BX.shape[1], dtype=jnp.uint32))
    return _mixed(bits_BX ^ places_X).sum(axis=1, dtype=jnp.uint32)


def _mixed(x: UInt[Array, "*shape"]) -> UInt[Array, "*shape"]:
    """Spreads every bit over all bits: the finaliser of MurmurHash3 (Appleby 2011), a bijection."""
    x = x + jnp.uint32(0x9E3779B9)  # so that 0 does not stay 0
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
