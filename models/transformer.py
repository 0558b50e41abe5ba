"""The transformer block, and the stack of blocks that every transformer here is built from."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Unpack

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, Epsilon, Length, Range, ShareBelowAll, Size
from models.attention import Attention, FeatureMap, Kind
from models.fields import EveryBlockField, Semantic, forwards
from models.layers import GATED, MLP, Dropout, DropoutKey, Norm, normalisation, split_key
from models.masks import Mask
from models.positions import RelativePositions
from models.scores import Bias

Hidden = Float[Array, "batch time width"]
Source = Float[Array, "batch keys source_width"]
LayerScale = Annotated[float, Range(1e-9, 1000)] | None
Cache = Any
"""What `new_cache` returned: a tree of arrays, to be handed back with the next tokens."""


class Block(nnx.Module):
    """Attention, then (with `cross`) attention to a source, then an MLP, each inside a residual connection.

    Args:
      width: D. mlp_width: M (default 4 D, and 8/3 D for "geglu" and "swiglu", which have three matrices).
      heads, head_size, value_size, kv_heads, rotary, qk_norm, scaled, qkv_bias: see `models.attention.Attention`.
      causal: self-attention sees the past only.
      attention, feature_map: the `kind` of all attention and its feature map. window, stride: of self-attention. See
        `models.attention.Attention`.
      cross: adds attention to a source that is `source_width` wide (default D).
      source_norm: normalises the source too. cross_residual: False leaves out the residual around that attention.
      self_attention: False leaves it out, as where a Perceiver reads its input.
      norm: "layer" or "rms". norm_order: "pre" (x + f(norm(x))) or "post" (norm(x + f(x)), Vaswani et al. 2017).
      epsilon: added to the variance in the norms.
      layer_scale: multiplies what each part adds to the residual by a learned vector, which starts at this number
        (LayerScale, Touvron et al. 2021, "Going deeper with image transformers").
      activation: see `models.layers.MLP`. bias: biases in linear maps and norms.
      dropout: on attention weights and on what each part adds to the residual.
      dtype: of the computation; parameters stay float32.
    """

    def __init__(
        self, *, width: Size, heads: Semantic[Size], mlp_width: Size | None = None, head_size: Size | None = None,
        value_size: Size | None = None, kv_heads: Size | None = None, causal: bool = False, cross: bool = False,
        source_width: Size | None = None, source_norm: Semantic[bool] = False, cross_residual: Semantic[bool] = True,
        self_attention: bool = True, rotary: bool = False, qk_norm: bool = False, scaled: Semantic[bool] = True,
        norm: Semantic[str] = "layer", norm_order: Semantic[str] = "pre", epsilon: Semantic[Epsilon] = 1e-5,
        layer_scale: LayerScale = None,
        activation: Semantic[str] = "gelu", bias: bool = True, qkv_bias: bool | None = None,
        attention: Semantic[Kind] = "softmax", feature_map: Semantic[FeatureMap] = "elu",
        window: Semantic[Length | None] = None, stride: Semantic[Length | None] = None,
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if norm_order not in ("pre", "post"):
            raise UserError(f"norm_order={shown(norm_order)}: expected 'pre' or 'post'")
        if mlp_width is None:
            mlp_width = 8 * width // 3 if activation in GATED else 4 * width
        new_attention = partial(
            Attention, width=width, heads=heads, head_size=head_size, value_size=value_size, kv_heads=kv_heads,
            qk_norm=qk_norm, scaled=scaled, bias=bias, qkv_bias=qkv_bias, kind=attention, feature_map=feature_map,
            dropout=dropout, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        any_norm = partial(normalisation, norm, epsilon=epsilon, bias=bias, dtype=dtype)
        self.new_norm: Callable[[nnx.Rngs], Norm] = partial(any_norm, width)
        towards_self = partial(new_attention, causal=causal, rotary=rotary, window=window, stride=stride)
        self.attention = towards_self() if self_attention else None
        self.attention_norm = self.new_norm(rngs) if self_attention else None
        self.cross = new_attention(source_width=source_width) if cross else None
        self.cross_norm = self.new_norm(rngs) if cross else None
        self.source_norm = any_norm(source_width or width, rngs) if cross and source_norm else None
        self.mlp = MLP(width=width, mlp_width=mlp_width, activation=activation, bias=bias, dtype=dtype, rngs=rngs)
        self.mlp_norm = self.new_norm(rngs)
        scale = lambda part: None if layer_scale is None or part is None else nnx.Param(jnp.full(width, layer_scale))
        self.attention_scale, self.cross_scale = scale(self.attention), scale(self.cross)
        self.mlp_scale = scale(self.mlp)
        self.dropout = Dropout(dropout)
        self.pre, self.cross_residual = norm_order == "pre", cross_residual

    def __call__(
        self, x: Hidden, *, mask: Mask | None = None, bias: Bias | None = None, source: Source | None = None,
        source_mask: Mask | None = None, cache: Cache = None, start=0, key: DropoutKey = None,
    ) -> tuple[Hidden, Cache]:  # fmt: skip
        """Returns the output and the new cache.

        `bias` is added to the scores of self-attention. `cache` is from `new_cache`; where it holds a source, that one
        is attended to.
        """
        keys = split_key(key, 5)
        past = cache or {}
        source = past["source"] if "source" in past else self._normed(source)
        if (attention := self.attention) is not None:

            def attend(h: Hidden) -> Hidden:
                nonlocal cache
                h, new = attention(h, mask=mask, bias=bias, cache=past.get("self"), start=start, key=keys[0])
                cache = None if cache is None else past | {"self": new}
                return h

            x = self._residual(x, self.attention_norm, attend, self.attention_scale, keys[1])
        if (cross := self.cross) is not None:
            attend_to_source = lambda h: cross(h, source, mask=source_mask, key=keys[2])[0]
            x = self._residual(x, self.cross_norm, attend_to_source, self.cross_scale, keys[3], self.cross_residual)
        return self._residual(x, self.mlp_norm, self.mlp, self.mlp_scale, keys[4]), cache

    def new_cache(self, batch_size: int, length: int, source: Source | None = None) -> Cache:
        """Returns an empty cache for up to `length` positions, with the keys and values of `source` if there is one."""
        assert self.attention is not None
        cache = {"self": self.attention.new_cache(batch_size, length)}
        if source is None:
            return cache
        assert self.cross is not None
        return cache | {"source": self.cross.remember(self._normed(source))}

    def _normed(self, source):
        return source if self.source_norm is None else self.source_norm(source)

    def _residual(self, x: Hidden, norm, part: Callable, scale, key: DropoutKey, keep: bool = True) -> Hidden:
        residual = x if keep else 0
        scaled = (lambda h: h) if scale is None else (lambda h: h * scale[...].astype(h.dtype))
        if self.pre:
            return residual + self.dropout(scaled(part(norm(x))), key)
        return norm(residual + self.dropout(scaled(part(x)), key))


class Stack(nnx.Module):
    """`depth` blocks, one after the other, and a norm after the last one if the blocks are pre-norm.

    Args:
      depth: L. width, heads, causal, block: the fields of `Block`.
      final_norm: False leaves out the norm after the last block.
      relative_buckets: the number of ranges of distances for which scores have a learned bias, 0 for none.
      relative_farthest: the start of the last range. See `models.positions.RelativePositions` for both.
      scan: keeps the parameters of all blocks in one array each, with a leading axis L, and compiles one block instead
        of L of them; the numbers are the same.
      remat: recomputes the inside of a block in the backward pass instead of keeping it in memory (Chen et al. 2016).
    """

    @forwards(Block)
    def __init__(
        self, *, width: Size, depth: Depth, heads: Semantic[Size], causal: bool = False,
        final_norm: Semantic[bool] = True, relative_buckets: Annotated[int, Range(0, 2**17)] = 0,
        relative_farthest: Semantic[Length] = 128,
        scan: bool = False, remat: bool = False, rngs: nnx.Rngs, **block: Unpack[EveryBlockField],
    ):  # fmt: skip
        if depth < 1:
            raise UserError(f"depth={depth}: expected at least 1 layer")
        all_scores = block.get("attention", "softmax") == "softmax" and not (block.get("window") or block.get("stride"))
        if relative_buckets and not all_scores:
            raise UserError(
                f"relative_buckets={relative_buckets}: a bias for every distance needs the scores of all queries with "
                "all keys, which attention='linear', a window and a stride avoid"
            )
        blocks = [Block(width=width, heads=heads, causal=causal, **block, rngs=rngs) for _ in range(depth)]
        self.norm = blocks[0].new_norm(rngs) if blocks[0].pre and final_norm else None
        relative = partial(RelativePositions, heads, relative_buckets, relative_farthest, causal=causal, rngs=rngs)
        self.relative = relative() if relative_buckets else None
        if scan:
            stacked = jax.tree.map(lambda *layers: jnp.stack(layers), *(nnx.state(b) for b in blocks))
            self.blocks = nnx.merge(nnx.graphdef(blocks[0]), stacked)
        else:
            self.blocks = nnx.List(blocks)
        self.depth, self.scan, self.remat = depth, scan, remat

    def __call__(
        self, x: Hidden, *, cache: Cache = None, key: DropoutKey = None, **inputs: Any
    ) -> tuple[Hidden, Cache]:  # fmt: skip
        """Returns the output and the new cache; `inputs` go to every block, see `Block.__call__`."""
        inputs |= self._bias(x, cache, inputs.get("start", 0))
        if self.scan:
            keys = None if key is None else jax.random.split(key, self.depth)
            structure, stacked = nnx.split(self.prototype)
            layer = lambda x, part: self._apply(nnx.merge(structure, part[0]), x, part[1], part[2], inputs)
            x, cache = jax.lax.scan(layer, x, (stacked, cache, keys))
        else:
            caches = [None] * self.depth if cache is None else cache
            cache = []
            for number, (old, layer_key) in enumerate(zip(caches, split_key(key, self.depth))):
                x, new = self._apply(self.block(number), x, old, layer_key, inputs)
                cache.append(new)
        return x if self.norm is None else self.norm(x), cache

    def layer(self, number: int, x: Hidden, *, key: DropoutKey = None) -> Hidden:
        """Returns the output of the block of one layer for `x`, for models that do something between the blocks."""
        return self._apply(self.block(number), x, None, key, self._bias(x, None, 0))[0]

    def outputs(self, x: Hidden, **inputs: Any) -> list[Hidden]:
        """Returns `x` and the output of each block in turn, L + 1 arrays, of which the last is that of a call."""
        xs, inputs = [x], inputs | self._bias(x, None, 0)
        for layer in range(self.depth):
            xs.append(self.block(layer)(xs[-1], **inputs)[0])
        return xs if self.norm is None else [*xs[:-1], self.norm(xs[-1])]

    def new_cache(self, batch_size: int, length: int, source: Source | None = None) -> Cache:
        """Returns the cache of every block, see `Block.new_cache`."""
        if isinstance(self.blocks, nnx.List):
            return [block.new_cache(batch_size, length, source) for block in self.blocks]
        structure, stacked = nnx.split(self.prototype)
        return jax.vmap(lambda state: nnx.merge(structure, state).new_cache(batch_size, length, source))(stacked)

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which sequence b has the past of sequence rows_B[b]; both must have the same source."""
        batch_axis = 1 if self.scan else 0
        move = lambda block: block | {"self": jax.tree.map(lambda x: x.take(rows_B, batch_axis), block["self"])}
        return move(cache) if self.scan else [move(block) for block in cache]

    @property
    def prototype(self) -> Block:
        """The first block, to ask for its settings; if scanned, its parameters are those of all blocks, stacked."""
        return self.blocks[0] if isinstance(self.blocks, nnx.List) else self.blocks

    def block(self, layer: int) -> Block:
        """Returns the block of a layer."""
        if isinstance(self.blocks, nnx.List):
            return self.blocks[layer]
        structure, stacked = nnx.split(self.prototype)
        return nnx.merge(structure, jax.tree.map(lambda x: x[layer], stacked))

    def _bias(self, x: Hidden, cache: Cache, start) -> dict[str, Bias]:
        if self.relative is None:
            return {}
        if cache is None:
            count = x.shape[1]
        else:
            count = (cache if self.scan else cache[0])["self"]["key"].shape[-3]
        return {"bias": self.relative(start + jnp.arange(x.shape[1]), count)}

    def _apply(self, block: Block, x: Hidden, cache: Cache, key: DropoutKey, inputs: dict) -> tuple[Hidden, Cache]:
        if not self.remat:
            return block(x, cache=cache, key=key, **inputs)
        structure, state = nnx.split(block)
        again = lambda state, x, cache, key, inputs: nnx.merge(structure, state)(x, cache=cache, key=key, **inputs)
        return jax.checkpoint(again)(state, x, cache, key, inputs)
