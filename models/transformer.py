"""The transformer block and the stack of blocks that every transformer here is built from."""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp

from models.attention import Attention
from models.layers import GATED, MLP, Dropout, RelativePositions, normalisation, split_key

NO_SOURCE = ("causal", "rotary", "cross", "source_width", "source_norm", "cross_residual", "self_attention")
"""Fields that a model without a source to attend to sets itself, or has no use for (its `decides`)."""


class Block(nnx.Module):
    """Attention, then (where `cross`) attention to a source, then an MLP, each inside a residual connection.

    Args:
      width: D. mlp_width: M, default 4 D (8/3 D for "geglu" and "swiglu", which have three matrices).
      heads, head_size, value_size, kv_heads, rotary, qk_norm, scaled: see `models.attention.Attention`.
      causal: self-attention sees the past only. cross: adds attention to a source, `source_width` wide (default D).
      source_norm: a norm of the source too. cross_residual: False leaves out the residual around that attention.
      self_attention: False leaves it out, as where a Perceiver reads its input.
      norm: "layer" or "rms". norm_order: "pre" (x + f(norm(x))) or "post" (norm(x + f(x)), Vaswani et al. 2017).
      epsilon: added to the variance in the norms.
      activation: see `models.layers.MLP`. bias: biases in projections and norms. qkv_bias: see `Attention`.
      dropout: on attention weights and on what each part adds to the residual.
      dtype: of the computation; parameters stay float32.
    """

    def __init__(
        self, *, width: int, heads: int, mlp_width: int | None = None, head_size: int | None = None,
        value_size: int | None = None, kv_heads: int | None = None, causal: bool = False, cross: bool = False,
        source_width: int | None = None, source_norm: bool = False, cross_residual: bool = True,
        self_attention: bool = True, rotary: bool = False, qk_norm: bool = False, scaled: bool = True,
        norm: str = "layer", norm_order: str = "pre", epsilon: float = 1e-5, activation: str = "gelu",
        bias: bool = True, qkv_bias: bool | None = None, dropout: float = 0.0, dtype: str = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if norm_order not in ("pre", "post"):
            raise ValueError(f"norm_order={norm_order!r}: expected 'pre' or 'post'")
        if mlp_width is None:
            mlp_width = 8 * width // 3 if activation in GATED else 4 * width
        shared = dict(width=width, bias=bias, dtype=dtype, rngs=rngs)
        attention = partial(
            Attention, heads=heads, head_size=head_size, value_size=value_size, kv_heads=kv_heads, qk_norm=qk_norm,
            scaled=scaled, qkv_bias=qkv_bias, dropout=dropout, **shared,
        )  # fmt: skip
        any_norm = partial(normalisation, norm, epsilon=epsilon, bias=bias, dtype=dtype)
        self.new_norm = partial(any_norm, width)
        self.attention = attention(causal=causal, rotary=rotary) if self_attention else None
        self.attention_norm = self.new_norm(rngs) if self_attention else None
        self.cross = attention(source_width=source_width) if cross else None
        self.cross_norm = self.new_norm(rngs) if cross else None
        self.source_norm = any_norm(source_width or width, rngs) if cross and source_norm else None
        self.mlp = MLP(mlp_width=mlp_width, activation=activation, **shared)
        self.mlp_norm = self.new_norm(rngs)
        self.dropout = Dropout(dropout)
        self.pre, self.cross_residual = norm_order == "pre", cross_residual

    def __call__(self, x, *, mask=None, bias=None, source=None, source_mask=None, cache=None, start=0, key=None):
        """`x` and the result are `BTD`, `source` is `BSD`; masks broadcast to `BHTS`. Gives (x, cache).

        `bias`, as broad, is added to the scores of self-attention. `cache` is from `new_cache`, and takes the place of
        the source where it holds one.
        """
        keys = split_key(key, 5)
        past = cache or {}
        source = past["source"] if "source" in past else self._normed(source)

        def attention(h):
            nonlocal cache
            h, own = self.attention(h, mask=mask, bias=bias, cache=past.get("self"), start=start, key=keys[0])
            cache = None if cache is None else past | {"self": own}
            return h

        if self.attention is not None:
            x = self._residual(x, self.attention_norm, attention, keys[1])
        if self.cross is not None:
            look = lambda h: self.cross(h, source, mask=source_mask, key=keys[2])[0]
            x = self._residual(x, self.cross_norm, look, keys[3], self.cross_residual)
        return self._residual(x, self.mlp_norm, self.mlp, keys[4]), cache

    def new_cache(self, batch_size: int, length: int, source=None):
        """An empty cache for up to `length` positions, and the keys and values of `source` where there is one."""
        cache = {"self": self.attention.new_cache(batch_size, length)}
        return cache if source is None else cache | {"source": self.cross.remember(self._normed(source))}

    def _normed(self, source):
        return source if self.source_norm is None else self.source_norm(source)

    def _residual(self, x, norm, part, key, keep: bool = True):
        kept = x if keep else 0
        if self.pre:
            return kept + self.dropout(part(norm(x)), key)
        return norm(kept + self.dropout(part(x), key))


class Stack(nnx.Module):
    """`depth` blocks, one after the other, and a norm after the last where the blocks are pre-norm.

    Args:
      depth: L. width, heads, causal, and `block`: the fields of `Block`. final_norm: False leaves out the last norm.
      relative_buckets: ranges of distances for which scores have a learned bias, `relative_farthest` the start of the
        last one (see `models.layers.RelativePositions`); 0: no bias.
      scan: keep the parameters of all blocks in one array each, with a leading axis L, and compile one block instead
        of L of them; the numbers are the same.
      remat: recompute the inside of a block in the backward pass instead of keeping it (Chen et al. 2016).
    """

    forwards_to = Block

    def __init__(
        self, *, width: int, depth: int, heads: int, causal: bool = False, final_norm: bool = True,
        relative_buckets: int = 0, relative_farthest: int = 128, scan: bool = False, remat: bool = False,
        rngs: nnx.Rngs, **block,
    ):  # fmt: skip
        if depth < 1:
            raise ValueError(f"depth={depth}: expected at least 1 layer")
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

    def __call__(self, x, *, cache=None, key=None, **inputs):
        """`x` and the result are `BTD`; `cache` is from `new_cache`; `inputs` go to every block. Gives (x, cache)."""
        inputs |= self._bias(x, cache, inputs.get("start", 0))
        if self.scan:
            keys = None if key is None else jax.random.split(key, self.depth)
            structure, stacked = nnx.split(self.blocks)
            layer = lambda x, part: self._apply(nnx.merge(structure, part[0]), x, part[1], part[2], inputs)
            x, cache = jax.lax.scan(layer, x, (stacked, cache, keys))
        else:
            caches = [None] * self.depth if cache is None else cache
            cache = []
            for block, old, layer_key in zip(self.blocks, caches, split_key(key, self.depth)):
                x, new = self._apply(block, x, old, layer_key, inputs)
                cache.append(new)
        return x if self.norm is None else self.norm(x), cache

    def outputs(self, x, **inputs) -> list:
        """`x` and what each block gives, first to last: L + 1 arrays `BTD`, of which the last is that of a call."""
        xs, inputs = [x], inputs | self._bias(x, None, 0)
        for layer in range(self.depth):
            xs.append(self._block(layer)(xs[-1], **inputs)[0])
        return xs if self.norm is None else [*xs[:-1], self.norm(xs[-1])]

    def new_cache(self, batch_size: int, length: int, source=None):
        """The cache of every block, see `Block.new_cache`."""
        if not self.scan:
            return [block.new_cache(batch_size, length, source) for block in self.blocks]
        structure, stacked = nnx.split(self.blocks)
        return jax.vmap(lambda state: nnx.merge(structure, state).new_cache(batch_size, length, source))(stacked)

    def reorder(self, cache, rows_B):
        """The cache with the past of sequence rows_B[b], which must have the same source, as that of sequence b."""
        batch_axis = 1 if self.scan else 0
        move = lambda block: block | {"self": jax.tree.map(lambda x: x.take(rows_B, batch_axis), block["self"])}
        return move(cache) if self.scan else [move(block) for block in cache]

    def _bias(self, x, cache, start) -> dict:
        if self.relative is None:
            return {}
        first = cache if cache is None or self.scan else cache[0]
        count = x.shape[1] if cache is None else first["self"]["key"].shape[-3]
        return {"bias": self.relative(start + jnp.arange(x.shape[1]), count).astype(x.dtype)}

    def _block(self, layer: int):
        if not self.scan:
            return self.blocks[layer]
        structure, stacked = nnx.split(self.blocks)
        return nnx.merge(structure, jax.tree.map(lambda x: x[layer], stacked))

    def _apply(self, block, x, cache, key, inputs):
        if not self.remat:
            return block(x, cache=cache, key=key, **inputs)
        structure, state = nnx.split(block)
        again = lambda state, x, cache, key, inputs: nnx.merge(structure, state)(x, cache=cache, key=key, **inputs)
        return jax.checkpoint(again)(state, x, cache, key, inputs)
