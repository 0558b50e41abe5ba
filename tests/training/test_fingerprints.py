"""What tells two states apart."""

import jax.numpy as jnp

from training.fingerprints import digest, fingerprint


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
