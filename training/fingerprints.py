"""The arrays of a state by path, and what tells two states apart: descriptions, fingerprints and a digest.

A state is any pytree of JAX arrays, random keys included.
"""

from functools import cache
import hashlib
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jaxtyping import Array, Shaped, UInt32
import numpy as np

from training.compilation import quickly_compiled

Arrays = dict[str, Shaped[Array, "..."]]

_PART = 2**20  # words that NumPy looks at together, so that temporary arrays stay small


def digest(state: Any) -> str:
    """Returns the SHA-256, in hex, of path, dtype, shape and bytes of every array of a state, in order of the paths.

    It is the same however the arrays are sharded. Every process must call this function.
    """
    sha = hashlib.sha256()
    descriptions = {path: describe(leaf) for path, leaf in by_path(state).items()}
    for path, array in plain_arrays(state).items():
        if not (array.is_fully_addressable or array.is_fully_replicated):
            array = multihost_utils.process_allgather(array, tiled=True)
        sha.update(f"{path} {descriptions[path]}\n".encode())
        sha.update(np.asarray(array).tobytes())
    return sha.hexdigest()


def by_path(state: Any) -> dict[str, Any]:
    """Returns the leaves of a state by their paths, as in "parameters/head.kernel"."""
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def plain_arrays(state: Any) -> Arrays:
    """Returns the arrays of a state by path, in order of the paths. Random keys become the integers they consist of."""
    leaves = sorted(by_path(state).items())
    return {path: jax.random.key_data(leaf) if is_key(leaf) else leaf for path, leaf in leaves}


def is_key(leaf: Any) -> bool:
    """Returns whether an array, or the shape of one, holds random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def describe(leaf: Any) -> str:
    """Returns dtype and shape of an array, as in "float32[7,11]"."""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def examine(arrays: Arrays) -> tuple[dict[str, int], dict[str, bool]]:
    """Returns the fingerprint of every array, and whether all its numbers are finite."""
    if all(array.is_fully_addressable and _on_cpu(array) for array in arrays.values()):
        # NumPy looks at them where they are; the program below would have to be compiled first.
        on_host = {path: np.asarray(array) for path, array in arrays.items()}
        return (
            {path: fingerprint_on_host(array) for path, array in on_host.items()},
            {path: _finite_on_host(array) for path, array in on_host.items()},
        )
    fingerprints, finite = map(np.asarray, _examination()(arrays))
    return dict(zip(arrays, fingerprints.tolist())), dict(zip(arrays, finite.tolist()))


def fingerprint(x: Shaped[Array, "..."]) -> UInt32[Array, ""]:
    """Returns the sum of the array's words, each multiplied by an odd number that depends on its position, modulo 2^32.

    A sum has no order, so it is the same for every sharding. An odd factor loses no bit, so one changed word always
    changes the sum.
    """
    if x.dtype == bool:
        x = x.astype(jnp.uint8)
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag])
    words = jax.lax.bitcast_convert_type(x, f"uint{8 * min(x.dtype.itemsize, 4)}").astype(jnp.uint32)
    position = jnp.uint32(0)
    for axis, size in enumerate(words.shape):
        position = position * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words * (2 * position + 1), dtype=jnp.uint32)


def fingerprint_on_host(x: np.ndarray) -> int:
    """Returns `fingerprint` of an array of NumPy, a part at a time."""
    if np.iscomplexobj(x):
        x = np.stack([np.real(x), np.imag(x)])
    words = np.ascontiguousarray(x).reshape(-1).view(f"uint{8 * min(x.dtype.itemsize, 4)}")
    factors, total = 2 * np.arange(min(words.size, _PART), dtype=np.uint32) + np.uint32(1), 0
    for start in range(0, words.size, _PART):
        part = words[start : start + _PART].astype(np.uint32)
        total += int(part @ factors[: part.size]) + 2 * start * int(part.sum(dtype=np.uint64))
    return total % 2**32


def _finite_on_host(x: np.ndarray) -> bool:
    inexact, flat = jnp.issubdtype(x.dtype, jnp.inexact), np.ascontiguousarray(x).reshape(-1)
    starts = range(0, x.size, _PART) if inexact else ()
    return all(bool(np.isfinite(flat[start : start + _PART]).all()) for start in starts)


def _on_cpu(array: Array) -> bool:
    return all(device.platform == "cpu" for device in array.devices())


@cache
def _examination():
    return quickly_compiled(_examine)


def _examine(arrays: Arrays):
    values = [arrays[path] for path in sorted(arrays)]
    finite = [jnp.isfinite(x).all() if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.array(True) for x in values]
    return jnp.stack([fingerprint(x) for x in values]), jnp.stack(finite)
