"""Scaled dot-product attention in its fastest form, by the platform that a program is compiled for."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from models.blockwise import blockwise
from models.flash import fits, flash
from models.masks import Mask, boolean, four_axes, with_causal
from models.scores import Bias, Queries, dot_product, mix, softargmax


def attend(
    query_BTHK: Queries, key_BSGK: Float[Array, "batch keys groups size"],
    value_BSGK: Float[Array, "batch keys groups value_size"], *, mask: Mask | None = None, causal: bool = False,
    bias: Bias | None = None,
) -> Float[Array, "batch queries heads value_size"]:  # fmt: skip
    """Returns scaled dot-product attention in its fastest form: mix(softargmax(dot_product(q, k) + bias), v).

    G key heads serve H query heads, H / G each (grouped queries, Ainslie et al. 2023). A query that the mask allows no
    key gives zeros. The T x S matrix is not kept in memory where a fused kernel exists.
    """
    return _by_platform(query_BTHK, key_BSGK, value_BSGK, boolean(mask), bias, causal=causal)


def repeat_heads(
    x_BSGK: Float[Array, "batch keys groups size"], heads: int
) -> Float[Array, "batch keys heads size"]:
    """Returns keys or values of G heads as often as it takes to have one for each of H query heads."""
    groups = x_BSGK.shape[2]
    return x_BSGK if groups == heads else jnp.repeat(x_BSGK, heads // groups, axis=2)


# ---- private parts --------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnames="causal", inline=True)  # outside jax.jit, calls would compile their branches anew
def _by_platform(query_BTHK, key_BSGK, value_BSGK, mask, bias, *, causal):
    size = query_BTHK.shape[-1]
    stock = partial(_stock, causal=causal)
    kernels = {}
    if bias is None and query_BTHK.shape[1] * key_BSGK.shape[1] > 256:  # below that the stock function is faster
        kernels["cpu"] = partial(_on_cpu, causal=causal)
    if bias is None and fits(query_BTHK, key_BSGK, value_BSGK, mask, causal=causal):
        kernels["tpu"] = partial(_on_tpu, causal=causal)
    half = query_BTHK.dtype in (jnp.bfloat16, jnp.float16) and size % 8 == 0
    # JAX asks for cuDNN's version when it traces, which has an answer only on a machine with a GPU.
    if half and size <= 128 and value_BSGK.shape[-1] == size and jax.default_backend() == "gpu":
        kernels["cuda"] = partial(stock, implementation="cudnn")
    if not kernels:
        return stock(query_BTHK, key_BSGK, value_BSGK, mask, bias)
    return jax.lax.platform_dependent(query_BTHK, key_BSGK, value_BSGK, mask, bias, **kernels, default=stock)


def _on_cpu(query_BTHK, key_BSGK, value_BSGK, mask, bias, *, causal):
    per_query_head = (repeat_heads(x, query_BTHK.shape[2]) for x in (key_BSGK, value_BSGK))
    return blockwise(causal, query_BTHK, *per_query_head, mask)


def _on_tpu(query_BTHK, key_BSGK, value_BSGK, mask, bias, *, causal):
    key_BSHK, value_BSHK = (repeat_heads(x, query_BTHK.shape[2]) for x in (key_BSGK, value_BSGK))
    return flash(query_BTHK, key_BSHK, value_BSHK, mask, causal=causal)


def _stock(
    query_BTHK, key_BSGK, value_BSGK, mask, bias, *, causal, implementation: Literal["xla", "cudnn"] = "xla"
):  # fmt: skip
    T, S = query_BTHK.shape[1], key_BSGK.shape[1]
    if value_BSGK.shape[-1] != key_BSGK.shape[-1]:  # the stock function expects one size
        key_BSHK, value_BSHK = (repeat_heads(x, query_BTHK.shape[2]) for x in (key_BSGK, value_BSGK))
        scores_BHTS = dot_product(query_BTHK, key_BSHK) + (0 if bias is None else bias)
        return mix(softargmax(scores_BHTS, with_causal(mask, causal, T, S)), value_BSHK)
    if implementation == "cudnn" and bias is not None:
        bias = bias.astype(query_BTHK.dtype)  # its kernel takes no other
    out_BTHK = jax.nn.dot_product_attention(
        query_BTHK, key_BSGK, value_BSGK, bias=bias, mask=four_axes(mask), is_causal=causal,
        implementation=implementation,
    )  # fmt: skip
    if mask is None:
        return out_BTHK
    # The stock kernels give the mean of all values for a query without any allowed key, so padding would leak.
    allowed: Any = four_axes(with_causal(mask, causal, T, S))
    return jnp.where(allowed.any(-1).swapaxes(1, 2)[..., None], out_BTHK, 0)
