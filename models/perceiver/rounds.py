"""The rounds of a Perceiver: in each, the latents attend to the input array, then to one another in a tower."""

from functools import partial
from typing import Required, TypedDict, Unpack

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError
from core.ranges import Depth, Dtype, ShareBelowAll, Size
from models.fields import BlockFields, Semantic, forwards
from models.layers import DropoutKey, split_key
from models.masks import Padding, over_keys, padding_mask
from models.perceiver.input_array import expect_one_of
from models.transformer import Block, Hidden, Stack

InputElements = Float[Array, "batch elements array_width"]


class RoundFields(TypedDict, total=False):
    """The fields of `Rounds`."""

    latents: Required[int]
    depth: Required[int]
    heads: Required[int]
    repeats: int
    reads: int | None
    sharing: str
    kv_heads: int | None
    cross_heads: int
    cross_head_size: int | None
    cross_value_size: int | None
    cross_mlp_width: int | None
    cross_residual: bool
    source_norm: bool
    final_norm: bool
    scan: bool
    remat: bool


class Rounds(nnx.Module):
    """Lets a learned array of latents read an input array.

    Args:
      array_width: of the input array.
      latents: N, how many. width: D, of a latent. depth: L, layers of a tower.
      repeats: number of rounds. reads: how many of them have a cross-attention, the first ones (default: all).
      sharing: rounds that share weights: "all", "after first" (all but the first cross-attention, as in Jaegle et al.
        2021a) or "none".
      heads: H, in the towers. kv_heads, final_norm, scan, remat: of the towers, see `models.transformer`.
      cross_heads, cross_head_size, cross_value_size, cross_mlp_width: sizes of the attention to the input (the last
        three by default as in the towers). cross_residual: see `models.transformer.Block`.
      source_norm: a norm of the array that is attended to.
    """

    @forwards(Block)
    def __init__(
        self, *, array_width: Size, latents: Size, width: Size, depth: Depth, repeats: Semantic[Depth] = 1,
        reads: Semantic[Depth | None] = None, sharing: Semantic[str] = "after first", heads: Semantic[Size],
        kv_heads: Size | None = None, cross_heads: Semantic[Size] = 1, cross_head_size: Size | None = None,
        cross_value_size: Size | None = None, cross_mlp_width: Size | None = None,
        cross_residual: Semantic[bool] = True, source_norm: Semantic[bool] = False,
        final_norm: Semantic[bool] = True, scan: bool = False, remat: bool = False, dropout: ShareBelowAll = 0.0,
        dtype: Dtype = "float32", rngs: nnx.Rngs, **block: Unpack[BlockFields],
    ):  # fmt: skip
        reads = repeats if reads is None else reads
        expect_one_of("sharing", sharing, ("all", "after first", "none"))
        if reads > repeats:
            raise UserError(f"reads={reads}: there are only repeats={repeats} rounds")
        cross = partial(
            attention_to, name="cross_heads", width=width, source_width=array_width, heads=cross_heads,
            head_size=cross_head_size, value_size=cross_value_size, mlp_width=cross_mlp_width,
            residual=cross_residual, source_norm=source_norm, dropout=dropout, dtype=dtype, rngs=rngs, block=block,
        )  # fmt: skip
        tower = partial(
            Stack, width=width, depth=depth, heads=heads, kv_heads=kv_heads, final_norm=final_norm, scan=scan,
            remat=remat, dropout=dropout, dtype=dtype, rngs=rngs, **block,
        )  # fmt: skip
        crosses, towers = {"all": (1, 1), "after first": (min(reads, 2), 1), "none": (reads, repeats)}[sharing]
        self.latents = nnx.Param(0.02 * jax.random.normal(rngs.params(), (latents, width)))
        self.crosses = nnx.List([cross() for _ in range(crosses)])
        self.towers = nnx.List([tower() for _ in range(towers)])
        self.repeats, self.reads, self.sharing, self.dtype = repeats, reads, sharing, dtype

    def read(self, array_BSD: InputElements, mask: Padding | None = None, key: DropoutKey = None) -> Hidden:
        """Returns the latents after all rounds. The order of the elements has no influence; `mask` hides some."""
        x, mask = self._initial(len(array_BSD)), padding_mask(mask, array_BSD.shape)
        for (cross, tower), round_key in zip(self._rounds(), split_key(key, self.repeats)):
            cross_key, tower_key = split_key(round_key, 2)
            x = x if cross is None else cross(x, source=array_BSD, source_mask=over_keys(mask), key=cross_key)[0]
            x, _ = tower(x, key=tower_key)
        return x

    def latents_of_layers(self, array_BSD: InputElements, mask: Padding | None = None) -> list[Hidden]:
        """Returns the latents before each tower and behind each of its blocks."""
        x, layers, mask = self._initial(len(array_BSD)), [], padding_mask(mask, array_BSD.shape)
        for cross, tower in self._rounds():
            x = x if cross is None else cross(x, source=array_BSD, source_mask=over_keys(mask))[0]
            layers += tower.outputs(x)
            x = layers[-1]
        return layers

    def _initial(self, batch_size: int) -> Hidden:
        latents_TD = self.latents[...].astype(self.dtype)
        return jnp.broadcast_to(latents_TD, (batch_size, *latents_TD.shape))

    def _rounds(self) -> list[tuple[Block | None, Stack]]:
        """The cross-attention and the tower of each round; where rounds share weights, the same object."""
        crosses, towers = list(self.crosses), list(self.towers)
        crosses += [crosses[-1]] * (self.repeats - len(crosses))
        towers += [towers[-1]] * (self.repeats - len(towers))
        without = [None] * (self.repeats - self.reads)
        return list(zip([*crosses[: self.reads], *without], towers))


def attention_to(
    *, name: str, width: int, source_width: int, heads: int, head_size: int | None, value_size: int | None,
    mlp_width: int | None, residual: bool, source_norm: bool, dropout: float, dtype: str, rngs: nnx.Rngs,
    block: BlockFields,
) -> Block:  # fmt: skip
    """Returns a block without self-attention that attends to a source; sizes that are None are those of `block`.

    Raises UserError, with the field `name` for `heads`, if these do not divide the width.
    """
    fields = block.copy()
    if head_size is not None:
        fields["head_size"] = head_size
    if value_size is not None:
        fields["value_size"] = value_size
    if mlp_width is not None:
        fields["mlp_width"] = mlp_width
    if fields.get("head_size") is None and width % heads:
        raise UserError(f"{name}={heads} must divide the width of the queries, {width} (or set a head size)")
    return Block(
        width=width, source_width=source_width, heads=heads, self_attention=False, cross=True,
        source_norm=source_norm, cross_residual=residual, dropout=dropout, dtype=dtype, rngs=rngs, **fields,
    )  # fmt: skip
