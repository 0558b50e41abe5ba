"""Attention: score, weigh, mix.

Compare every query with every key (score), turn each row of scores into weights (weigh), and average the values with
these weights (mix). The variants differ only in where queries and keys come from, which query may attend to which key,
and how scores become weights:

| variant                     | what changes                                                                    |
|-----------------------------|---------------------------------------------------------------------------------|
| self / cross                | where keys and values come from: `Attention(x)` or `Attention(x, source)`       |
| causal, padding, windows    | the mask: boolean, True = may attend, see `models.masks`                        |
| soft / hard                 | `softargmax` with inverse temperature beta, or `hardargmax`                     |
| Bahdanau                    | `additive` scores                                                               |
| relative positions (T5)     | a bias added to the scores: `models.positions.RelativePositions`                |
| Perceiver                   | the queries are a learned latent array                                          |
| Flamingo                    | `gated=True`: the output passes a tanh gate that starts at 0                    |
| graph convolution           | the scores are the weights, the mask is the adjacency: `as_given`               |
| kernel smoother             | `gaussian` scores and `softargmax`                                              |
| kernel ridge regression     | `ridge`: the weights are K(x, X) (K + lambda I)^-1                              |

Sources: Bahdanau et al. 2015 (additive); Vaswani et al. 2017, eq. 1 (scaled dot product, heads).
"""

from functools import partial
import math
from typing import Protocol

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError, shown
from core.ranges import Dtype, Nonnegative, ShareBelowAll, Size
from models.blockwise import blockwise
from models.fields import Semantic
from models.layers import Dropout, DropoutKey, linear
from models.masks import Mask, boolean, four_axes, up_to, with_causal
from models.positions import rotate

Queries = Float[Array, "batch queries heads size"]
Keys = Float[Array, "batch keys heads size"]
Values = Float[Array, "batch keys heads value_size"]
Scores = Float[Array, "*batch_heads queries keys"]
Bias = Float[Array, "#batch #heads #queries #keys"]
Cache = dict[str, jax.Array]
_wide = partial(jnp.promote_types, jnp.float32)  # sums of bfloat16 are float32


class Weigh(Protocol):
    """A way to make weights from scores."""

    def __call__(self, scores_BHTS: Scores, mask: Mask | None = None) -> Scores: ...


class AttentionWeights(nnx.Intermediate):
    """The weights `BHTS` of every attention in a model, collected by `nnx.capture(model, AttentionWeights)`."""


# ---- score: how well each query meets each key ----------------------------------------------------------------------


def dot_product(query_BTHK: Queries, key_BSHK: Keys, *, scale: float | None = None) -> Scores:
    """Returns the scaled inner products. The scale 1 / sqrt(K) keeps their variance at 1 for random inputs."""
    factor = query_BTHK.shape[-1] ** -0.5 if scale is None else scale
    return jnp.einsum("bthk,bshk->bhts", query_BTHK * factor, key_BSHK, preferred_element_type=_wide(query_BTHK.dtype))


def additive(query_BTHK: Queries, key_BSHK: Keys, *, vector_HK: Float[Array, "heads size"]) -> Scores:
    """Returns v . tanh(q + k) for every pair (Bahdanau et al. 2015, appendix A.1.2)."""
    pair_BTSHK = jnp.tanh(query_BTHK[:, :, None] + key_BSHK[:, None, :])
    return jnp.einsum("btshk,hk->bhts", pair_BTSHK, vector_HK, preferred_element_type=_wide(pair_BTSHK.dtype))


def gaussian(query_BTHK: Queries, key_BSHK: Keys, *, bandwidth: float) -> Scores:
    """Returns -|q - k|^2 / (2 h^2): the softargmax is the Nadaraya-Watson kernel smoother, the exp the kernel."""
    difference_BTSHK = query_BTHK[:, :, None] - key_BSHK[:, None, :]
    wide = _wide(difference_BTSHK.dtype)
    squared_BHTS = jnp.einsum("btshk,btshk->bhts", difference_BTSHK, difference_BTSHK, preferred_element_type=wide)
    return -squared_BHTS / (2 * bandwidth**2)


# ---- weigh: from a row of scores to a row of weights ----------------------------------------------------------------


def softargmax(scores_BHTS: Scores, mask: Mask | None = None, *, beta=1.0) -> Scores:
    """Returns exp(beta s) / sum exp(beta s) over the keys that the mask allows; zeros, not NaN, if it allows none."""
    where = None if mask is None else jnp.broadcast_to(boolean(mask), scores_BHTS.shape)
    return jax.nn.softmax(beta * scores_BHTS, axis=-1, where=where)


def hardargmax(scores_BHTS: Scores, mask: Mask | None = None, *, beta=1.0) -> Scores:
    """Returns a one-hot weight on the best key, with the gradient of `softargmax` (straight-through)."""
    mask = boolean(mask)
    soft = softargmax(scores_BHTS, mask, beta=beta)
    best = jnp.argmax(soft if mask is None else jnp.where(mask, scores_BHTS, -jnp.inf), axis=-1)
    hard = jax.nn.one_hot(best, scores_BHTS.shape[-1], dtype=soft.dtype)
    hard = hard if mask is None else hard * mask
    return soft + jax.lax.stop_gradient(hard - soft)


def as_given(scores_BHTS: Scores, mask: Mask | None = None) -> Scores:
    """Returns the scores as weights, zero where the mask forbids: graph convolution with a fixed adjacency."""
    return scores_BHTS if mask is None else jnp.where(boolean(mask), scores_BHTS, 0.0)


def ridge(gram_SS: Float[Array, "keys keys"], strength) -> Weigh:
    """Returns kernel ridge regression as a way to weigh: k(x, X) (K + lambda I)^-1, lambda being `strength`.

    The weights may be negative and need not sum to 1.
    """

    def weigh(scores_BHTS, mask=None):
        if mask is not None:
            raise ValueError("kernel ridge regression solves for all keys at once and takes no mask")
        return jnp.linalg.solve(gram_SS + strength * jnp.eye(gram_SS.shape[-1]), scores_BHTS.mT).mT

    return weigh


# ---- mix: weighted averages of the values ---------------------------------------------------------------------------


def mix(
    weights_BHTS: Float[Array, "batch heads queries keys"], value_BSHK: Values
) -> Float[Array, "batch queries heads value_size"]:
    """Returns the values averaged with the weights."""
    return jnp.einsum("bhts,bshk->bthk", weights_BHTS.astype(value_BSHK.dtype), value_BSHK)


def attend(
    query_BTHK: Queries, key_BSGK: Float[Array, "batch keys groups size"],
    value_BSGK: Float[Array, "batch keys groups value_size"], *, mask: Mask | None = None, causal: bool = False,
    bias: Bias | None = None,
) -> Float[Array, "batch queries heads value_size"]:  # fmt: skip
    """Returns scaled dot-product attention in its fastest form: mix(softargmax(dot_product(q, k) + bias), v).

    G key heads serve H query heads, H / G each (grouped queries, Ainslie et al. 2023). A query that the mask allows no
    key gives zeros. The T x S matrix is not kept in memory where a fused kernel exists.
    """
    T, S, mask = query_BTHK.shape[1], key_BSGK.shape[1], boolean(mask)
    per_query_head = lambda: (_repeat_heads(x, query_BTHK.shape[2]) for x in (key_BSGK, value_BSGK))
    if jax.default_backend() == "cpu" and bias is None and T * S > 256:  # below that the stock function is faster
        return blockwise(causal, query_BTHK, *per_query_head(), mask)
    if value_BSGK.shape[-1] != key_BSGK.shape[-1]:  # the stock function expects one size
        key_BSHK, value_BSHK = per_query_head()
        scores_BHTS = dot_product(query_BTHK, key_BSHK) + (0 if bias is None else bias)
        return mix(softargmax(scores_BHTS, with_causal(mask, causal, T, S)), value_BSHK)
    half = query_BTHK.dtype in (jnp.bfloat16, jnp.float16) and query_BTHK.shape[-1] % 8 == 0
    cudnn = half and jax.default_backend() == "gpu" and query_BTHK.shape[-1] <= 128
    if cudnn and bias is not None:
        bias = bias.astype(query_BTHK.dtype)  # its kernel takes no other
    out_BTHK = jax.nn.dot_product_attention(
        query_BTHK, key_BSGK, value_BSGK, bias=bias, mask=four_axes(mask), is_causal=causal,
        implementation="cudnn" if cudnn else "xla",
    )  # fmt: skip
    if mask is None:
        return out_BTHK
    # The stock kernels give the mean of all values for a query without any allowed key, so padding would leak.
    allowed = four_axes(with_causal(mask, causal, T, S))
    return jnp.where(allowed.any(-1).swapaxes(1, 2)[..., None], out_BTHK, 0)


class Attention(nnx.Module):
    """Multi-head attention with its projections (Vaswani et al. 2017, section 3.2.2).

    Args:
      width: D, of the queries and of the output.
      heads: H, the number of heads. Each has `head_size` K columns of queries and keys (default D / H), and
        `value_size` columns of values (default K).
      kv_heads: G, heads of keys and values; H is a multiple of it (default H).
      source_width: width of what keys and values come from (default D).
      causal: position t sees positions up to t only.
      rotary: rotates queries and keys by their positions (Su et al. 2021).
      qk_norm: an RMS norm on queries and keys (Henry et al. 2020).
      scaled: divides dot products by sqrt(K). Without it the initial query weights are that much smaller (Raffel et
        al. 2020).
      score: "dot" or "additive". weigh: "soft" or "hard", with inverse temperature `beta`.
      gated: multiplies the output by tanh(gate), where the gate starts at 0 (Alayrac et al. 2022).
      dropout: probability of dropping a weight.
      bias: biases in the four projections. qkv_bias: in those of queries, keys and values (default: `bias`).
      dtype: of the computation; parameters stay float32.
    """

    def __init__(
        self, *, width: Size, heads: Semantic[Size], head_size: Size | None = None, value_size: Size | None = None,
        kv_heads: Size | None = None, source_width: Size | None = None, causal: bool = False, rotary: bool = False,
        qk_norm: bool = False, scaled: Semantic[bool] = True, score: str = "dot", weigh: str = "soft",
        beta: Nonnegative = 1.0, gated: bool = False, dropout: ShareBelowAll = 0.0, bias: bool = True,
        qkv_bias: bool | None = None, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        kv_heads = heads if kv_heads is None else kv_heads
        if head_size is None and width % heads:
            raise UserError(f"heads={heads} must divide width={width} (or set head_size)")
        if heads % kv_heads:
            raise UserError(f"kv_heads={kv_heads} must divide heads={heads}")
        if score not in ("dot", "additive"):
            raise UserError(f"score={shown(score)}: expected 'dot' or 'additive'")
        if not scaled and score == "additive":
            raise UserError("scaled=False is for dot products: additive scores have no scale")
        if weigh not in ("soft", "hard"):
            raise UserError(f"weigh={shown(weigh)}: expected 'soft' or 'hard'")
        head_size = width // heads if head_size is None else head_size
        value_size = head_size if value_size is None else value_size
        if rotary and head_size % 2:
            raise UserError(f"rotary positions need an even head size, not {head_size}")
        source_width = width if source_width is None else source_width
        project = partial(linear, bias=bias if qkv_bias is None else qkv_bias, dtype=dtype, rngs=rngs)
        self.query = project(width, heads * head_size)
        if not scaled:
            self.query.kernel[...] *= head_size**-0.5
        self.key = project(source_width, kv_heads * head_size)
        self.value = project(source_width, kv_heads * value_size)
        self.out = project(heads * value_size, width, bias=bias)
        self.query_norm = nnx.RMSNorm(head_size, dtype=dtype, rngs=rngs) if qk_norm else None
        self.key_norm = nnx.RMSNorm(head_size, dtype=dtype, rngs=rngs) if qk_norm else None
        self.vector = nnx.Param(jax.random.normal(rngs.params(), (heads, head_size))) if score == "additive" else None
        self.gate = nnx.Param(jnp.zeros(())) if gated else None
        self.dropout = Dropout(dropout)
        self.heads, self.kv_heads, self.head_size, self.value_size = heads, kv_heads, head_size, value_size
        self.causal, self.rotary, self.scaled, self.dtype = causal, rotary, scaled, dtype
        self.weigh, self.beta = weigh, beta

    def __call__(
        self, x_BTD: Float[Array, "batch time width"],
        source_BSD: Float[Array, "batch keys source_width"] | Cache | None = None, *, mask: Mask | None = None,
        bias: Bias | None = None, cache: Cache | None = None, start=0, key: DropoutKey = None,
    ) -> tuple[Float[Array, "batch time width"], Cache | None]:  # fmt: skip
        """Attends from `x_BTD` to `source_BSD` (by default to itself). Returns the output and the new cache.

        The source may also be what `remember` returned for it, so that many calls project it once. `cache` (from
        `new_cache`) holds the keys and values of the `start` positions before: the T new ones are written behind them,
        and each query attends to all positions up to its own.
        """
        mask = boolean(mask)
        query_BTHK = self._split(self.query(x_BTD), self.heads, self.query_norm)
        if not self.scaled:
            query_BTHK = query_BTHK * math.sqrt(self.head_size)  # undoes the division in all kernels
        source_BSD = x_BTD if source_BSD is None else source_BSD
        remembered = source_BSD if isinstance(source_BSD, dict) else self.remember(source_BSD)
        key_BSGK, value_BSGK = remembered["key"], remembered["value"]
        if self.rotary:
            query_BTHK = rotate(query_BTHK, start + jnp.arange(query_BTHK.shape[1]))
            key_BSGK = rotate(key_BSGK, start + jnp.arange(key_BSGK.shape[1]))
        causal = self.causal
        if cache is not None:
            write = lambda old, new: jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (0, start, 0, 0))
            cache = {"key": write(cache["key"], key_BSGK), "value": write(cache["value"], value_BSGK)}
            key_BSGK, value_BSGK = cache["key"], cache["value"]
            # Beyond a query's own position the cache is empty or holds the future: one mask hides both.
            visible = up_to(start + jnp.arange(x_BTD.shape[1]), key_BSGK.shape[1])
            mask, causal = visible if mask is None else mask & visible, False
        mixed_BTHK = self._mix(query_BTHK, key_BSGK, value_BSGK, mask, causal, bias, key)
        y_BTD = self.out(mixed_BTHK.reshape(*x_BTD.shape[:-1], -1))
        return y_BTD if self.gate is None else jnp.tanh(self.gate[...]).astype(y_BTD.dtype) * y_BTD, cache

    def remember(self, source_BSD: Float[Array, "batch keys source_width"]) -> Cache:
        """Returns the keys and values of a source."""
        key_BSGK = self._split(self.key(source_BSD), self.kv_heads, self.key_norm)
        return {"key": key_BSGK, "value": self._split(self.value(source_BSD), self.kv_heads)}

    def new_cache(self, batch_size: int, length: int) -> Cache:
        """Returns an empty cache for up to `length` positions."""
        empty = lambda size: jnp.zeros((batch_size, length, self.kv_heads, size), self.dtype)
        return {"key": empty(self.head_size), "value": empty(self.value_size)}

    def _split(self, x_BTX, heads: int, norm=None):
        x_BTHK = x_BTX.reshape(*x_BTX.shape[:-1], heads, -1)
        return x_BTHK if norm is None else norm(x_BTHK)

    def _mix(self, query_BTHK, key_BSGK, value_BSGK, mask, causal, bias, key):
        watched = hasattr(self, "__captures__")  # set by nnx.capture, so only then is the T x S matrix kept
        plain = self.vector is None and self.weigh == "soft" and isinstance(self.beta, float) and self.beta == 1.0
        if plain and not watched and not self.dropout.active(key):
            return attend(query_BTHK, key_BSGK, value_BSGK, mask=mask, causal=causal, bias=bias)
        key_BSHK, value_BSHK = (_repeat_heads(x, self.heads) for x in (key_BSGK, value_BSGK))
        score = dot_product if self.vector is None else partial(additive, vector_HK=self.vector[...])
        scores_BHTS = score(query_BTHK, key_BSHK) + (0 if bias is None else bias)
        weigh = {"soft": softargmax, "hard": hardargmax}[self.weigh]
        weights_BHTS = weigh(scores_BHTS, with_causal(mask, causal, *scores_BHTS.shape[-2:]), beta=self.beta)
        if watched:
            self.sow(AttentionWeights, "weights", weights_BHTS)
        return mix(self.dropout(weights_BHTS, key), value_BSHK)


# ---- private parts --------------------------------------------------------------------------------------------------


def _repeat_heads(x_BSGK, heads: int):
    groups = x_BSGK.shape[2]
    return x_BSGK if groups == heads else jnp.repeat(x_BSGK, heads // groups, axis=2)
