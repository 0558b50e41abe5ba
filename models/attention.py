"""Attention: score, weigh, mix.

Compare every query with every key (score), turn each row of scores into weights (weigh), average the values with
them (mix). The variants differ only in where queries and keys come from, which pairs may meet, and how scores become
weights:

| variant                     | what changes                                                                    |
|-----------------------------|---------------------------------------------------------------------------------|
| self / cross                | where keys and values come from: `Attention(x)` or `Attention(x, source)`       |
| causal, padding, windows    | the mask: boolean, True = may attend, broadcastable to `BHTS`                   |
| soft / hard                 | `softargmax` with inverse temperature beta, or `hardargmax`                     |
| Bahdanau                    | `additive` scores                                                               |
| relative positions (T5)     | a bias added to the scores: `models.layers.RelativePositions`                   |
| Perceiver                   | the queries are a learned latent array                                          |
| Flamingo                    | `gated=True`: the output passes a tanh gate that starts at 0                    |
| graph convolution           | the scores are given, the mask is the adjacency: `as_given`                     |
| kernel smoother             | `gaussian` scores and `softargmax`                                              |
| kernel ridge regression     | `ridge`: the weights are K(x, X) (K + lambda I)^-1                              |

Sources: Bahdanau et al. 2015 (additive); Vaswani et al. 2017, eq. 1 (scaled dot product, heads).
"""

from collections.abc import Callable
from functools import partial
import math

from flax import nnx
import jax
import jax.numpy as jnp

from models.blockwise import blockwise, four_axes, with_causal
from models.layers import Dropout, linear, rotate

Weigh = Callable[[jax.Array, jax.Array | None], jax.Array]
Cache = dict[str, jax.Array]
_wide = partial(jnp.promote_types, jnp.float32)  # sums of bfloat16 are float32


class AttentionWeights(nnx.Intermediate):
    """What `nnx.capture(model, AttentionWeights)` collects: the weights `BHTS` of every attention in the model."""


# ---- score: how well each query meets each key ----------------------------------------------------------------------


def dot_product(query_BTHK, key_BSHK, *, scale: float | None = None):
    """Scaled inner products `BHTS`. The scale is 1 / sqrt(K), which keeps their variance at 1 for random inputs."""
    scale = query_BTHK.shape[-1] ** -0.5 if scale is None else scale
    return jnp.einsum("bthk,bshk->bhts", query_BTHK * scale, key_BSHK, preferred_element_type=_wide(query_BTHK.dtype))


def additive(query_BTHK, key_BSHK, *, vector_HK):
    """v . tanh(q + k) for every pair, `BHTS` (Bahdanau et al. 2015, appendix A.1.2)."""
    pair_BTSHK = jnp.tanh(query_BTHK[:, :, None] + key_BSHK[:, None, :])
    return jnp.einsum("btshk,hk->bhts", pair_BTSHK, vector_HK, preferred_element_type=_wide(pair_BTSHK.dtype))


def gaussian(query_BTHK, key_BSHK, *, bandwidth: float):
    """-|q - k|^2 / (2 h^2), `BHTS`: its softargmax is the Nadaraya-Watson kernel smoother, its exp the kernel."""
    difference_BTSHK = query_BTHK[:, :, None] - key_BSHK[:, None, :]
    return -jnp.einsum("btshk,btshk->bhts", difference_BTSHK, difference_BTSHK) / (2 * bandwidth**2)


# ---- weigh: from a row of scores to a row of weights ----------------------------------------------------------------


def softargmax(scores_BHTS, mask=None, *, beta=1.0):
    """exp(beta s) / sum exp(beta s) over the keys that may be attended; a row without any gives zeros, not NaN."""
    where = None if mask is None else jnp.broadcast_to(mask, scores_BHTS.shape)
    return jax.nn.softmax(beta * scores_BHTS, axis=-1, where=where)


def hardargmax(scores_BHTS, mask=None, *, beta=1.0):
    """One-hot weights on the best key, with the gradient of `softargmax` (straight-through)."""
    soft = softargmax(scores_BHTS, mask, beta=beta)
    best = jnp.argmax(soft if mask is None else jnp.where(mask, scores_BHTS, -jnp.inf), axis=-1)
    hard = jax.nn.one_hot(best, scores_BHTS.shape[-1], dtype=soft.dtype)
    hard = hard if mask is None else hard * mask
    return soft + jax.lax.stop_gradient(hard - soft)


def as_given(scores_BHTS, mask=None):
    """The scores are the weights already, zero where the mask forbids: graph convolution with a given adjacency."""
    return scores_BHTS if mask is None else jnp.where(mask, scores_BHTS, 0.0)


def ridge(gram_SS, strength) -> Weigh:
    """Kernel ridge regression: weights k(x, X) (K + lambda I)^-1. They may be negative and need not sum to 1."""

    def weigh(scores_BHTS, mask=None):
        if mask is not None:
            raise ValueError("kernel ridge regression solves for all keys at once and takes no mask")
        return jnp.linalg.solve(gram_SS + strength * jnp.eye(gram_SS.shape[-1]), scores_BHTS.mT).mT

    return weigh


# ---- mix: weighted averages of the values ---------------------------------------------------------------------------


def mix(weights_BHTS, value_BSHK):
    """The values averaged with the weights, `BTHK`."""
    return jnp.einsum("bhts,bshk->bthk", weights_BHTS.astype(value_BSHK.dtype), value_BSHK)


def attend(query_BTHK, key_BSGK, value_BSGK, *, mask=None, causal: bool = False, bias=None):
    """Scaled dot-product attention in its fastest form: mix(softargmax(dot_product(q, k) + bias), v), `BTHK`.

    G key heads serve H query heads, H / G each (grouped queries, Ainslie et al. 2023). `mask` is boolean, `bias` real,
    both broadcastable to `BHTS`; a row that may attend to nothing gives zeros. The T x S matrix is not kept where a
    fused kernel exists.
    """
    T, S = query_BTHK.shape[1], key_BSGK.shape[1]
    spread = lambda: (_spread(x, query_BTHK.shape[2]) for x in (key_BSGK, value_BSGK))
    if jax.default_backend() == "cpu" and bias is None and T * S > 256:  # for less the stock function is quicker
        return blockwise(causal, query_BTHK, *spread(), mask)
    if value_BSGK.shape[-1] != key_BSGK.shape[-1]:  # the stock function wants one size
        key_BSHK, value_BSHK = spread()
        scores_BHTS = dot_product(query_BTHK, key_BSHK) + (0 if bias is None else bias)
        return mix(softargmax(scores_BHTS, with_causal(mask, causal, T, S)), value_BSHK)
    half = query_BTHK.dtype in (jnp.bfloat16, jnp.float16) and query_BTHK.shape[-1] % 8 == 0
    cudnn = half and jax.default_backend() == "gpu" and query_BTHK.shape[-1] <= 128
    out_BTHK = jax.nn.dot_product_attention(
        query_BTHK, key_BSGK, value_BSGK, bias=bias, mask=four_axes(mask), is_causal=causal,
        implementation="cudnn" if cudnn else "xla",
    )  # fmt: skip
    if mask is None:
        return out_BTHK
    # The stock kernels give the mean of all values for a row without any allowed key, so padding would leak.
    allowed = four_axes(with_causal(mask, causal, T, S))
    return jnp.where(allowed.any(-1).swapaxes(1, 2)[..., None], out_BTHK, 0)


class Attention(nnx.Module):
    """Multi-head attention with its projections (Vaswani et al. 2017, section 3.2.2).

    Args:
      width: D, of the queries and of the output.
      heads: H. `head_size` K, of queries and keys, defaults to D / H, and `value_size` to K.
      kv_heads: G, heads of keys and values; H is a multiple of it (default H).
      source_width: width of what keys and values come from (default D).
      causal: position t sees positions up to t only.
      rotary: rotate queries and keys by their positions (Su et al. 2021).
      qk_norm: RMS-normalise queries and keys (Henry et al. 2020).
      scaled: divide dot products by sqrt(K). Without it the first queries are that much smaller (Raffel et al. 2020).
      score: "dot" or "additive". weigh: "soft" or "hard", with inverse temperature `beta`.
      gated: multiply the output by tanh(gate), gate = 0 at the start (Alayrac et al. 2022).
      dropout: probability of dropping a weight.
      bias: biases in the four projections; `qkv_bias`, if given, in those of queries, keys and values.
      dtype: of the computation; parameters stay float32.
    """

    def __init__(
        self, *, width: int, heads: int, head_size: int | None = None, value_size: int | None = None,
        kv_heads: int | None = None, source_width: int | None = None, causal: bool = False, rotary: bool = False,
        qk_norm: bool = False, scaled: bool = True, score: str = "dot", weigh: str = "soft", beta: float = 1.0,
        gated: bool = False, dropout: float = 0.0, bias: bool = True, qkv_bias: bool | None = None,
        dtype: str = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        kv_heads = heads if kv_heads is None else kv_heads
        if head_size is None and width % heads:
            raise ValueError(f"heads={heads} must divide width={width} (or set head_size)")
        if heads % kv_heads:
            raise ValueError(f"kv_heads={kv_heads} must divide heads={heads}")
        if score not in ("dot", "additive"):
            raise ValueError(f"score={score!r}: expected 'dot' or 'additive'")
        if not scaled and score == "additive":
            raise ValueError("scaled=False is for dot products: additive scores have no scale")
        if weigh not in ("soft", "hard"):
            raise ValueError(f"weigh={weigh!r}: expected 'soft' or 'hard'")
        head_size = width // heads if head_size is None else head_size
        value_size = head_size if value_size is None else value_size
        if rotary and head_size % 2:
            raise ValueError(f"rotary positions need an even head size, not {head_size}")
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
        self, x_BTD, source_BSD=None, *, mask=None, bias=None, cache: Cache | None = None, start=0, key=None
    ):  # fmt: skip
        """Attends from `x_BTD` to `source_BSD` (itself by default); gives (`BTD`, cache).

        The source may also be what `remember` gave for it, so that many calls project it once.
        `cache` (from `new_cache`) holds the keys and values of the `start` positions before: the T new ones are put
        after them and attend to all so far. `key` is the dropout key; None turns dropout off.
        """
        query_BTHK = self._split(self.query(x_BTD), self.heads, self.query_norm)
        if not self.scaled:
            query_BTHK = query_BTHK * math.sqrt(self.head_size)  # what all kernels divide by
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
            # What lies beyond a query's own position is unwritten or the future: one mask hides both.
            position_T = start + jnp.arange(x_BTD.shape[1])
            seen = jnp.arange(key_BSGK.shape[1])[None, :] <= position_T[:, None]
            mask, causal = seen if mask is None else mask & seen, False
        mixed_BTHK = self._mix(query_BTHK, key_BSGK, value_BSGK, mask, causal, bias, key)
        y_BTD = self.out(mixed_BTHK.reshape(*x_BTD.shape[:-1], -1))
        return y_BTD if self.gate is None else jnp.tanh(self.gate[...]).astype(y_BTD.dtype) * y_BTD, cache

    def remember(self, source_BSD) -> Cache:
        """The keys and values of a source."""
        key_BSGK = self._split(self.key(source_BSD), self.kv_heads, self.key_norm)
        return {"key": key_BSGK, "value": self._split(self.value(source_BSD), self.kv_heads)}

    def new_cache(self, batch_size: int, length: int) -> Cache:
        """An empty cache for up to `length` positions."""
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
        key_BSHK, value_BSHK = (_spread(x, self.heads) for x in (key_BSGK, value_BSGK))
        score = dot_product if self.vector is None else partial(additive, vector_HK=self.vector[...])
        scores_BHTS = score(query_BTHK, key_BSHK) + (0 if bias is None else bias)
        weigh = {"soft": softargmax, "hard": hardargmax}[self.weigh]
        weights_BHTS = weigh(scores_BHTS, with_causal(mask, causal, *scores_BHTS.shape[-2:]), beta=self.beta)
        if watched:
            self.sow(AttentionWeights, "weights", weights_BHTS)
        return mix(self.dropout(weights_BHTS, key), value_BSHK)


# ---- private parts --------------------------------------------------------------------------------------------------


def _spread(x_BSGK, heads: int):
    groups = x_BSGK.shape[2]
    return x_BSGK if groups == heads else jnp.repeat(x_BSGK, heads // groups, axis=2)
