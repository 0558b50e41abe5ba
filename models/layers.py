"""The parts between the attentions: linear maps, norms, embeddings, dropout, the MLP."""

from collections.abc import Sequence
from functools import partial
import math

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from core.errors import UserError, shown


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns x Phi(x), where Phi is the distribution function of N(0, 1) (Hendrycks & Gimpel 2016).

    It is computed from erf: for float32 a rational function on a CPU, where erfc takes an exponential and a division.
    """
    return 0.5 * x * (1 + jax.lax.erf(x * np.float32(math.sqrt(0.5)).astype(x.dtype)))



def gelu_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns x sigmoid(1.702 x), which is close to `gelu` (Hendrycks & Gimpel 2016, section 2)."""
    return x * nnx.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_sigmoid": gelu_sigmoid,
    "gelu_tanh": partial(nnx.gelu, approximate=True),
    "relu": nnx.relu,
    "silu": nnx.silu,
    "geglu": partial(nnx.gelu, approximate=True),
    "swiglu": nnx.silu,
}
GATED = ("geglu", "swiglu")

DropoutKey = Key[Array, ""] | None
"""The random key of a call; None, as in evaluation, turns dropout off."""


class Linear(nnx.Linear):
    """A linear map of rows: all axes but the last are one in the product.

    The gradient of the weights is then a product over one axis, for which a CPU needs no copy of its operands (1.5
    times as fast for 64 x 65 rows of 192 and 768 columns).
    """

    def __call__(self, inputs: Float[Array, "*batch inputs"], out_sharding=None) -> Float[Array, "*batch outputs"]:
        """Returns x W + b."""
        return super().__call__(_rows(inputs), out_sharding=out_sharding).reshape(*inputs.shape[:-1], -1)


def linear(inputs: int, outputs: int, *, bias: bool = True, dtype: str = "float32", rngs: nnx.Rngs) -> nnx.Linear:
    """Returns the map x W + b from `inputs` to `outputs` columns.

    W starts from N(0, 1 / inputs), truncated at two standard deviations (LeCun et al. 1998), and b from 0.
    """
    return Linear(inputs, outputs, use_bias=bias, dtype=jnp.dtype(dtype), rngs=rngs)


class ReadOut(nnx.Linear):
    """A linear map that ends a model: products of `dtype` are added up in float32, and so is the bias.

    Rounding what has been added up to bfloat16 would leave logits 8 bits, too few to tell the best tokens apart.
    """

    def __call__(self, inputs: Float[Array, "*batch inputs"], out_sharding=None) -> Float[Array, "*batch outputs"]:
        """Returns x W + b in float32."""
        y = _wide_product(inputs.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return y if self.bias is None else y + self.bias[...]


def read_out(inputs: int, outputs: int, *, bias: bool = True, dtype: str = "float32", rngs: nnx.Rngs) -> ReadOut:
    """Returns the map of `linear` with the same initial parameters, but with results in float32."""
    return ReadOut(inputs, outputs, use_bias=bias, dtype=jnp.dtype(dtype), rngs=rngs)


def _rows(x: Float[Array, "*batch width"]) -> Float[Array, "rows width"]:
    return x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x


def _wide_product(x: Float[Array, "*batch inputs"], kernel: Float[Array, "inputs outputs"]):
    product = _wide if x.dtype == jnp.float32 else _wide_with_narrow_gradient
    return product(_rows(x), kernel).reshape(*x.shape[:-1], -1)


def _wide(x, kernel):
    return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=jnp.float32)


@jax.custom_vjp
def _wide_with_narrow_gradient(x, kernel):
    """The product in float32. Its gradient is rounded before the two products backward, which would be of float32."""
    return _wide(x, kernel)


def _narrow_gradient(factors, gradient):
    _, backward = jax.vjp(lambda x, kernel: jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ()))), *factors)
    return backward(gradient.astype(factors[0].dtype))


_wide_with_narrow_gradient.defvjp(lambda *factors: (_wide(*factors), factors), _narrow_gradient)


Norm = nnx.LayerNorm | nnx.RMSNorm


def normalisation(kind: str, width: int, rngs: nnx.Rngs, *, epsilon: float, bias: bool, dtype: str) -> Norm:
    """Returns a "layer" norm (Ba et al. 2016) or an "rms" norm (Zhang & Sennrich 2019) over the last axis."""
    if kind == "layer":
        return nnx.LayerNorm(width, epsilon=epsilon, use_bias=bias, dtype=jnp.dtype(dtype), rngs=rngs)
    if kind == "rms":
        return nnx.RMSNorm(width, epsilon=epsilon, dtype=jnp.dtype(dtype), rngs=rngs)
    raise UserError(f"norm={shown(kind)}: expected 'layer' or 'rms'")


class Embedding(nnx.Module):
    """A table of `count` learned vectors: looked up, and where tied used for the logits too (Press & Wolf 2017)."""

    def __init__(self, count: int, width: int, *, scale: float = 0.02, dtype: str = "float32", rngs: nnx.Rngs):
        self.embedding = nnx.Param(scale * jax.random.normal(rngs.params(), (count, width)))
        self.scale, self.dtype = scale, dtype
        self.logit_factor = 1.0  # see `models.parametrization`

    def __call__(self, indices: Int[Array, "*indices"]) -> Float[Array, "*indices width"]:
        """Returns the vector of each index."""
        return self.embedding[...].astype(self.dtype)[indices]

    def attend(self, x_BTD: Float[Array, "*batch width"]) -> Float[Array, "*batch count"]:
        """Returns the inner products with every vector of the table, added up in float32."""
        x_BTD = x_BTD if self.logit_factor == 1 else x_BTD * self.logit_factor
        return _wide_product(x_BTD.astype(self.dtype), self.embedding[...].astype(self.dtype).T)


class Dropout(nnx.Module):
    """Sets entries to 0 with probability `rate` and divides the others by 1 - rate (Srivastava et al. 2014).

    `rate` is an ordinary attribute: a program that trains several rates at once may put `nnx.data` of a traced number
    there.
    """

    def __init__(self, rate: float):
        if isinstance(rate, (int, float)) and not 0 <= rate < 1:
            raise UserError(f"dropout={rate}: expected a probability, 0 <= dropout < 1")
        self.rate = rate

    def active(self, key: DropoutKey) -> bool:
        """Returns whether a call with this key changes anything."""
        return key is not None and not (isinstance(self.rate, (int, float)) and self.rate == 0)

    def __call__(self, x: Float[Array, "*shape"], key: DropoutKey) -> Float[Array, "*shape"]:
        if key is None or not self.active(key):
            return x
        keep = jax.random.bernoulli(key, 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


def split_key(key: DropoutKey, count: int) -> Sequence[DropoutKey]:
    """Returns `count` new keys, or `count` times None if dropout is off."""
    return [None] * count if key is None else list(jax.random.split(key, count))


class MLP(nnx.Module):
    """A layer of `mlp_width` hidden units; "geglu" and "swiglu" multiply it by a second, linear one (Shazeer 2020)."""

    def __init__(
        self, *, width: int, mlp_width: int, activation: str = "gelu", bias: bool = True, dtype: str = "float32",
        rngs: nnx.Rngs,
    ):  # fmt: skip
        if activation not in ACTIVATIONS:
            raise UserError(f"activation={shown(activation)}: expected one of {', '.join(sorted(ACTIVATIONS))}")
        project = partial(linear, bias=bias, dtype=dtype, rngs=rngs)
        self.up = project(width, mlp_width)
        self.linear = project(width, mlp_width) if activation in GATED else None
        self.down = project(mlp_width, width)
        self.activation = activation

    def __call__(self, x_BTD: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        h_BTM = ACTIVATIONS[self.activation](self.up(x_BTD))
        return self.down(h_BTM if self.linear is None else h_BTM * self.linear(x_BTD))
