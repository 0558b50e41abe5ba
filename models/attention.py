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
| linear                      | `kind="linear"`: weights phi(q) . phi(k), summed over keys first                |
| sliding window, strided     | `window`, `stride`: a mask by distance, computed block by block                 |

The functions that score, weigh and mix are in `models.scores`; the last two rows, whose cost does not grow with the
square of the length, are in `models.linear_attention` and `models.sparse_attention`.

Sources: Bahdanau et al. 2015 (additive); Vaswani et al. 2017, eq. 1 (scaled dot product, heads).
"""

from functools import partial
import math
from typing import Annotated

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError, shown
from core.ranges import Dtype, Length, Nonnegative, OneOf, ShareBelowAll, Size
from models.fields import Semantic
from models.fused import attend, repeat_heads
from models.layers import Dropout, DropoutKey, linear
from models.linear_attention import FEATURE_MAPS, empty_state, linear_attention, linear_weights
from models.masks import Mask, boolean, four_axes, sees, up_to, with_causal
from models.positions import rotate
from models.scores import Bias, additive, dot_product, hardargmax, mix, softargmax
from models.sparse_attention import block_size, sparse_attention

Cache = dict[str, jax.Array]
Kind = Annotated[str, OneOf(("softmax", "linear"))]
FeatureMap = Annotated[str, OneOf(tuple(FEATURE_MAPS))]


class AttentionWeights(nnx.Intermediate):
    """The weights `BHTS` of every attention in a model, collected by `nnx.capture(model, AttentionWeights)`."""


class Attention(nnx.Module):
    """Multi-head attention with its projections (Vaswani et al. 2017, section 3.2.2).

    Args:
      width: D, of the queries and of the output.
      heads: H, the number of heads. Each has `head_size` K columns of queries and keys (default D / H), and
        `value_size` columns of values (default K).
      kv_heads: G, heads of keys and values; H is a multiple of it (default H).
      source_width: width of what keys and values come from (default D).
      causal: position t sees positions up to t only.
      kind: "softmax", or "linear" with the `feature_map` "elu", "relu" or "taylor", see `models.linear_attention`. It
        has no scores, and so no `rotary` and no dropout, which would drop weights.
      window: a query sees the keys less than this many positions away only. stride: and every stride-th key besides;
        the window is then as long by default. See `models.sparse_attention`.
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
        beta: Nonnegative = 1.0, gated: bool = False, kind: Semantic[Kind] = "softmax",
        feature_map: Semantic[FeatureMap] = "elu", window: Semantic[Length | None] = None,
        stride: Semantic[Length | None] = None, dropout: ShareBelowAll = 0.0, bias: bool = True,
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
        if kind != "softmax" or window or stride:
            other = {"score": score, "weigh": weigh, "beta": beta}
            _refuse(kind, feature_map, window or stride, rotary=rotary, scaled=scaled, **other)
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
        self.query_factor = 1.0  # see `models.parametrization`
        self.weigh, self.beta = weigh, beta
        self.kind, self.feature_map, self.window, self.stride = kind, feature_map, window or stride, stride

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
        if bias is not None and (self.kind == "linear" or self.window is not None):
            raise UserError("a bias is for all scores, which attention='linear' and a window do not compute")
        if source_BSD is not None and self.window is not None:
            raise UserError("a window is for self-attention: positions of a source are not those of the queries")
        query_BTHK = self._split(self.query(x_BTD), self.heads, self.query_norm)
        factor = self.query_factor if self.scaled else self.query_factor * math.sqrt(self.head_size)
        if factor != 1:  # for unscaled products it undoes the division by sqrt(K) in all kernels
            query_BTHK = query_BTHK * factor
        source_BSD = x_BTD if source_BSD is None else source_BSD
        remembered = source_BSD if isinstance(source_BSD, dict) else self.remember(source_BSD)
        key_BSGK, value_BSGK = remembered["key"], remembered["value"]
        if self.rotary:
            query_BTHK = rotate(query_BTHK, start + jnp.arange(query_BTHK.shape[1]))
            key_BSGK = rotate(key_BSGK, start + jnp.arange(key_BSGK.shape[1]))
        first = start  # the place of the first query among the keys
        causal = self.causal or cache is not None
        if self.kind == "linear":
            mixed_BTHK, cache = self._mix_linearly(query_BTHK, key_BSGK, value_BSGK, mask, causal, cache)
        else:
            if cache is None:
                first = 0
            elif self.slides:
                key_BSGK, value_BSGK, mask, cache = _slide(cache, key_BSGK, value_BSGK, mask, start)
                first = key_BSGK.shape[1] - x_BTD.shape[1]
            else:
                write = lambda old, new: jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (0, start, 0, 0))
                cache = {"key": write(cache["key"], key_BSGK), "value": write(cache["value"], value_BSGK)}
                key_BSGK, value_BSGK = cache["key"], cache["value"]
                if self.window is None:  # the cache beyond a query's position is empty or holds the future
                    visible = up_to(start + jnp.arange(x_BTD.shape[1]), key_BSGK.shape[1])
                    mask, causal = visible if mask is None else mask & visible, False
            mixed_BTHK = self._mix(query_BTHK, key_BSGK, value_BSGK, mask, causal, bias, first, key)
        y_BTD = self.out(mixed_BTHK.reshape(*x_BTD.shape[:-1], -1))
        return y_BTD if self.gate is None else jnp.tanh(self.gate[...]).astype(y_BTD.dtype) * y_BTD, cache

    def remember(self, source_BSD: Float[Array, "batch keys source_width"]) -> Cache:
        """Returns the keys and values of a source."""
        key_BSGK = self._split(self.key(source_BSD), self.kv_heads, self.key_norm)
        return {"key": key_BSGK, "value": self._split(self.value(source_BSD), self.kv_heads)}

    def new_cache(self, batch_size: int, length: int) -> Cache:
        """Returns an empty cache for up to `length` positions: keys and values, or sums over them if linear."""
        if self.kind == "linear":
            sizes = self.heads, self.head_size, self.value_size
            return {"state": empty_state(batch_size, *sizes, self.feature_map)}
        if self.window is not None and self.slides:
            length = min(length, self.window - 1)
        empty = lambda size: jnp.zeros((batch_size, length, self.kv_heads, size), self.dtype)
        return {"key": empty(self.head_size), "value": empty(self.value_size)}

    def _split(self, x_BTX, heads: int, norm=None):
        x_BTHK = x_BTX.reshape(*x_BTX.shape[:-1], heads, -1)
        return x_BTHK if norm is None else norm(x_BTHK)

    @property
    def slides(self) -> bool:
        """Whether the cache holds the last positions only: all that a window without strides can see."""
        return self.window is not None and self.stride is None

    @property
    def _watched(self) -> bool:
        return hasattr(self, "__captures__")  # set by nnx.capture, so only then is the T x S matrix kept

    def _mix(self, query_BTHK, key_BSGK, value_BSGK, mask, causal, bias, first, key):
        T, S = query_BTHK.shape[1], key_BSGK.shape[1]
        if self.window is not None:
            block = block_size(self.window, self.stride)
            per_query = mask is not None and four_axes(mask).shape[2] > 1  # a mask that is T x S itself
            if T > block and S > 2 * block and not self._watched and not per_query:
                return sparse_attention(
                    query_BTHK, *(repeat_heads(x, self.heads) for x in (key_BSGK, value_BSGK)), causal=causal,
                    window=self.window, stride=self.stride, mask=mask, start=first,
                    drop=self.dropout if self.dropout.active(key) else None, key=key,
                )  # fmt: skip
            back_TS = first + jnp.arange(T)[:, None] - jnp.arange(S)
            seen_TS = sees(back_TS, causal=causal, window=self.window, stride=self.stride)
            mask, causal = seen_TS if mask is None else mask & seen_TS, False
        plain = self.vector is None and self.weigh == "soft" and isinstance(self.beta, float) and self.beta == 1.0
        if plain and not self._watched and not self.dropout.active(key):
            return attend(query_BTHK, key_BSGK, value_BSGK, mask=mask, causal=causal, bias=bias)
        key_BSHK, value_BSHK = (repeat_heads(x, self.heads) for x in (key_BSGK, value_BSGK))
        score = dot_product if self.vector is None else partial(additive, vector_HK=self.vector[...])
        scores_BHTS = score(query_BTHK, key_BSHK) + (0 if bias is None else bias)
        weigh = {"soft": softargmax, "hard": hardargmax}[self.weigh]
        weights_BHTS = weigh(scores_BHTS, with_causal(mask, causal, T, S), beta=self.beta)
        if self._watched:
            self.sow(AttentionWeights, "weights", weights_BHTS)
        return mix(self.dropout(weights_BHTS, key), value_BSHK)

    def _mix_linearly(self, query_BTHK, key_BSGK, value_BSGK, mask, causal, cache):
        settings = {"feature_map": self.feature_map, "causal": causal, "mask": mask}
        key_BSHK, value_BSHK = (repeat_heads(x, self.heads) for x in (key_BSGK, value_BSGK))
        if self._watched and cache is None:  # of what is in a cache only the sums are left
            self.sow(AttentionWeights, "weights", linear_weights(query_BTHK, key_BSHK, **settings))
        past = None if cache is None else cache["state"]
        mixed_BTHV, state = linear_attention(query_BTHK, key_BSHK, value_BSHK, **settings, state=past)
        return mixed_BTHV, None if cache is None else {"state": state}


# ---- private parts --------------------------------------------------------------------------------------------------


def _refuse(kind: str, feature_map: str, window: int | None, *, rotary, scaled, **fields) -> None:
    """Raises UserError if fields of `Attention` do not go together with linear attention or with a window."""
    if kind not in ("softmax", "linear"):
        raise UserError(f"attention={shown(kind)}: expected 'softmax' or 'linear'")
    if feature_map not in FEATURE_MAPS:
        raise UserError(f"feature_map={shown(feature_map)}: expected one of {', '.join(FEATURE_MAPS)}")
    if kind == "linear" and window:
        raise UserError("attention='linear' sums over all keys: it takes no window and no stride")
    if kind == "linear" and rotary:
        raise UserError("attention='linear' has no inner products for rotary positions to act on: choose other ones")
    if kind == "linear" and not scaled:
        raise UserError("scaled=False is for dot products: attention='linear' has no scale")
    for name, value in {"score": "dot", "weigh": "soft", "beta": 1.0}.items():
        if fields[name] is not value and fields[name] != value:
            raise UserError(f"{name}={shown(fields[name])} needs attention='softmax' without window and stride")


def _slide(cache: Cache, key_BTGK, value_BTGK, mask, start):
    """The keys and values in a cache of the last N positions and behind it, which of them there are, the new cache."""
    if mask is not None:
        raise UserError("with a cache, attention with a window takes no mask: the cache holds the last positions only")
    N = cache["key"].shape[1]
    new = {"key": key_BTGK, "value": value_BTGK}
    joined = {name: jnp.concatenate([cache[name], new[name].astype(cache[name].dtype)], axis=1) for name in new}
    there_S = jnp.arange(N + key_BTGK.shape[1]) >= N - start
    return *joined.values(), there_S[None, None, None], {name: x[:, x.shape[1] - N :] for name, x in joined.items()}
