"""Floating-point operations, counted by hand and in the program."""

import jax
import jax.numpy as jnp
import pytest

from training.flops import count

A, B = jax.ShapeDtypeStruct((7, 11), jnp.float32), jax.ShapeDtypeStruct((11, 11), jnp.float32)
ONE = 2 * 7 * 11 * 11


def test_a_product_of_matrices():
    assert count(lambda a, b: a @ b, A, B).products == ONE


def test_a_batched_product():
    shape = jax.ShapeDtypeStruct((5, 3, 7, 11), jnp.float32)
    assert count(lambda q: jnp.einsum("bhqk,bhsk->bhqs", q, q), shape).products == 5 * 3 * 2 * 7 * 7 * 11


@pytest.mark.parametrize(
    "loop",
    [
        lambda a, b: jax.lax.scan(lambda x, _: (x @ b, None), a, None, length=13)[0],
        lambda a, b: jax.lax.fori_loop(0, 13, lambda _, x: x @ b, a),
        lambda a, b: jax.lax.map(lambda _: a @ b, jnp.arange(13)),
        lambda a, b: jax.jit(jax.checkpoint(lambda a: jax.lax.fori_loop(2, 15, lambda _, x: x @ b, a)))(a),
        lambda a, b: jax.lax.scan(lambda x, _: (x @ b, None), a, None, length=13, unroll=13)[0],
    ],
    ids=["scan", "fori", "map", "jit and checkpoint", "unrolled"],
)  # fmt: skip
def test_a_loop_counts_as_often_as_it_runs(loop):
    assert count(loop, A, B).products == 13 * ONE


def test_a_program_of_each_device_counts_as_often_as_there_are_devices():
    axis = jax.sharding.PartitionSpec("x")
    mesh = jax.sharding.AbstractMesh((3,), ("x",))
    rows = jax.ShapeDtypeStruct((3 * 7, 11), jnp.float32)
    each = jax.shard_map(lambda a, b: a @ b, mesh=mesh, in_specs=(axis, jax.sharding.PartitionSpec()), out_specs=axis)
    assert count(each, rows, B).products == 3 * ONE


def test_loops_in_loops_multiply():
    inner = lambda b: lambda _, x: jax.lax.fori_loop(0, 3, lambda _, x: x @ b, x)
    assert count(lambda a, b: jax.lax.fori_loop(0, 5, inner(b), a), A, B).products == 15 * ONE


def test_of_a_condition_the_dearer_branch_counts():
    choose = lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b @ b, lambda: a @ b)
    assert count(choose, A, B).products == 2 * ONE


def test_what_nobody_reads_does_not_count():
    def wasteful(a, b):
        _ = a @ b @ b
        return a @ b

    assert count(wasteful, A, B).products == ONE


def test_a_gradient_has_two_products_for_one():
    loss = lambda a, b: (a @ b).sum()
    assert count(lambda a, b: jax.grad(loss, argnums=(0, 1))(a, b), A, B).products == 2 * ONE
    assert count(lambda a, b: jax.value_and_grad(lambda a, b: ((a @ b) ** 2).sum(), (0, 1))(a, b), A, B).products == (
        3 * ONE
    )


def test_a_convolution():
    images, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 13, 13, 3), (5, 5, 3, 7)))
    numbers = ("NHWC", "HWIO", "NHWC")
    convolve = lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "VALID", dimension_numbers=numbers)
    assert count(convolve, images, kernel).products == 2 * (2 * 9 * 9 * 7) * (5 * 5 * 3)


def test_elementwise_operations_count_once_for_each_element():
    assert count(lambda a, b: jnp.exp(a) + 1.0, A, B).elementwise == 2 * 7 * 11
    assert count(lambda a, b: b.sum() + a.T.reshape(7, 11).astype(jnp.int32), A, B).elementwise >= 121


def test_of_a_choice_by_platform_the_branch_for_this_one_counts():
    here, elsewhere = jax.default_backend(), "tpu" if jax.default_backend() != "tpu" else "cpu"
    x = jax.ShapeDtypeStruct((5, 5), jnp.float32)
    one, two = (lambda x: x @ x), (lambda x: x @ x @ x)
    for kernels, products in (({here: one}, 1), ({elsewhere: one}, 2), ({elsewhere: two, here: one}, 1)):
        chosen = lambda x, kernels=kernels: jax.lax.platform_dependent(x, **kernels, default=two)
        assert count(chosen, x).products == products * 2 * 5**3
