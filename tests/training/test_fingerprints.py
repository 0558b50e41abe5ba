"""What tells two states apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import fingerprints
from training.fingerprints import digest, examine, fingerprint, fingerprint_on_host


def test_fingerprint_by_hand():
    words = jnp.array([[3, 5], [7, 2**32 - 1]], jnp.uint32)
    assert int(fingerprint(words)) == (3 * 1 + 5 * 3 + 7 * 5 - 1 * 7) % 2**32
    assert int(fingerprint(jnp.array([True, False, True]))) == 1 + 5
    assert int(fingerprint(jnp.float32(1))) == 0x3F800000
    assert int(fingerprint(jnp.array([0, 1], jnp.bfloat16))) == 0x3F80 * 3
    assert int(fingerprint(jnp.complex64(1j))) == 0x3F800000 * 3


def test_the_digest_depends_on_value_shape_dtype_and_path():
    trees = [
        {"a": jnp.zeros(6)},
        {"a": jnp.zeros(6).at[5].set(1e-45)},
        {"a": jnp.zeros((2, 3))},
        {"a": jnp.zeros(6, jnp.int32)},
        {"b": jnp.zeros(6)},
        {"a": -jnp.zeros(6)},
    ]
    assert len({digest(tree) for tree in trees}) == len(trees)
    assert digest({"a": jnp.ones(2), "b": jnp.ones(3)}) == digest({"b": jnp.ones(3), "a": jnp.ones(2)})


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "bfloat16", "float16", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (5, 11), (2, 3, 13)])
def test_the_host_finds_the_fingerprint_of_the_program(monkeypatch, dtype, shape):
    monkeypatch.setattr(fingerprints, "_PART", 8)  # so that arrays have several parts, the last one shorter
    x = (100 * jax.random.normal(jax.random.key(len(shape)), shape)).astype(dtype)
    assert fingerprint_on_host(np.asarray(x)) == int(fingerprint(x))
    assert fingerprint_on_host(np.asarray(x).T) == int(fingerprint(x.T))  # not contiguous


def test_what_is_examined_on_the_host_is_what_the_program_examines(monkeypatch):
    values = {"a": [1.0, jnp.nan], "b": [jnp.inf, 2.0], "c": [0.5, -3.0]}
    arrays = {f"{path}.{dtype}": jnp.array(x, dtype) for path, x in values.items() for dtype in ("float32", "bfloat16")}
    arrays = dict(sorted((arrays | {"count": jnp.arange(7), "empty": jnp.zeros((0, 2))}).items()))
    on_host = examine(arrays)
    monkeypatch.setattr(fingerprints, "_on_cpu", lambda _: False)
    assert examine(arrays) == on_host
    assert on_host[1] == {path: path[:2] not in ("a.", "b.") for path in arrays}
