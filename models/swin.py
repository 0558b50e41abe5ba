"""Swin Transformer: attention inside windows of an image, which every second block shifts by half a window.

Liu et al. 2021. A window is a short sequence, so windows are just a longer batch for the block that every transformer
here has: norms and MLP look at one token anyway, and attention then sees one window. The cost grows linearly with the
number of pixels. Between stages, four neighbours are merged into one token of twice the width.
"""

from functools import lru_cache, partial
from typing import Unpack

from einops import rearrange
from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
import numpy as np

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, ImageShape, ShareBelowAll, Side, Size, Vocabulary
from models.convolution import Images
from models.fields import BlockFields, Semantic, forwards
from models.layers import Dropout, DropoutKey, linear, normalisation, read_out, split_key
from models.parametrization import scalable
from models.transformer import Block
from models.vit import patch_grid, patches

Grid = tuple[int, int]


@scalable
class SwinTransformer(nnx.Module):
    """Reads images; returns the logits of classes, which are linear in the mean over the last tokens.

    Args:
      image_shape: (rows, columns, channels). patch: side of a patch in pixels.
      head: "classes" returns logits `BC`; "none" the last tokens, row by row, as `BSD`.
      classes: C, for the head "classes".
      window: side of a window in patches. It divides the grid of each stage, or is at least as large.
      width: of the tokens of the first stage; doubled from stage to stage.
      depths: the number of blocks of each stage. heads: of the first stage; doubled from stage to stage.
      dropout: on the patch embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      block: further fields of `models.transformer.Block`.
    """

    @forwards(Block)
    def __init__(
        self, *, image_shape: ImageShape, patch: Semantic[Side], head: str = "classes",
        classes: Vocabulary | None = None, window: Semantic[Side], width: Size, depths: tuple[Depth, ...] = (2, 2),
        heads: Semantic[Size], dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
        **block: Unpack[BlockFields],
    ):  # fmt: skip
        if head not in ("classes", "none"):
            raise UserError(f"head={shown(head)}: expected 'classes' or 'none'")
        if head == "classes" and classes is None:
            raise UserError("head='classes' needs classes, the number of classes")
        if not depths:
            raise UserError("depths=(): expected the number of blocks of each stage, such as (2, 2)")
        grid = patch_grid(image_shape, patch)
        any_norm = partial(normalisation, "layer", bias=True, dtype=dtype)
        self.embedding = linear(patch * patch * image_shape[2], width, dtype=dtype, rngs=rngs)
        self.embedding_norm = any_norm(width, rngs, epsilon=1e-5)
        self.dropout = Dropout(dropout)
        stages = []
        for number, depth in enumerate(depths):
            merge = bool(number)
            grid = halved(grid, number) if merge else grid
            stages.append(Stage(
                grid=grid, window=window, merge=merge, depth=depth, width=width << number, heads=heads << number,
                dropout=dropout, dtype=dtype, rngs=rngs, **block,
            ))  # fmt: skip
        self.stages = nnx.List(stages)
        last_width = width << len(depths) - 1
        self.norm = any_norm(last_width, rngs, epsilon=block.get("epsilon", 1e-5))
        outputs = classes if head == "classes" else None
        self.head = None if outputs is None else read_out(last_width, outputs, dtype=dtype, rngs=rngs)
        self.image_shape, self.patch, self.window = image_shape, patch, window
        if outputs is not None:
            self.classes = outputs

    def __call__(
        self, images: Images, *, key: DropoutKey = None
    ) -> Float[Array, "batch classes"] | Float[Array, "batch tokens width"]:  # fmt: skip
        """Returns the logits of `images`, or without a head the last tokens."""
        x_BTD = self.norm(self._stages(images, key)[-1])
        return x_BTD.astype(jnp.float32) if self.head is None else self.head(x_BTD.mean(axis=1))

    def features(self, images: Images) -> list[Float[Array, "batch tokens width"]]:
        """Returns the embeddings and the output of each stage in turn, row by row."""
        return self._stages(images, None)

    def _stages(self, images: Images, key: DropoutKey) -> list[Float[Array, "batch tokens width"]]:
        first_key, *keys = split_key(key, len(self.stages) + 1)
        outputs = [self.dropout(self.embedding_norm(self.embedding(patches(images, self.patch))), first_key)]
        for stage, stage_key in zip(self.stages, keys):
            outputs.append(stage(outputs[-1], stage_key))
        return outputs


class Stage(nnx.Module):
    """Merges four neighbours into one token where `merge` is set, then attends in windows, `depth` times."""

    def __init__(
        self, *, grid: Grid, window: int, merge: bool, depth: int, width: int, heads: int, dropout: float, dtype: str,
        rngs: nnx.Rngs, **block: Unpack[BlockFields],
    ):  # fmt: skip
        self.sides: Grid = (min(window, grid[0]), min(window, grid[1]))
        if grid[0] % self.sides[0] or grid[1] % self.sides[1]:
            raise UserError(f"window={window} must divide the {grid[0]} x {grid[1]} patches of a stage")
        # Neighbours are 2 x 2 tokens of half the width.
        norm = partial(normalisation, "layer", epsilon=1e-5, bias=True, dtype=dtype)
        self.merge_norm = norm(2 * width, rngs) if merge else None
        self.merge = linear(2 * width, width, bias=False, dtype=dtype, rngs=rngs) if merge else None
        make = partial(Block, width=width, heads=heads, dropout=dropout, dtype=dtype, rngs=rngs, **block)
        self.blocks = nnx.List([make() for _ in range(depth)])
        self.positions = nnx.List([WindowPositions(self.sides, heads, rngs=rngs) for _ in range(depth)])
        self.grid = grid

    def __call__(
        self, x_BTD: Float[Array, "batch tokens width"], key: DropoutKey
    ) -> Float[Array, "batch merged_tokens merged_width"]:  # fmt: skip
        """Returns the tokens of this stage for those of the stage before."""
        if self.merge_norm is not None and self.merge is not None:
            rows, columns = self.grid
            merged = rearrange(x_BTD, "b (r i c j) d -> b (r c) (i j d)", r=rows, c=columns, i=2, j=2)
            x_BTD = self.merge(self.merge_norm(merged))
        keys = split_key(key, len(self.blocks))
        for number, (block, positions) in enumerate(zip(self.blocks, self.positions)):
            shift = self.shift(number)
            x_NTD = into_windows(x_BTD, self.grid, self.sides, shift)
            mask = shifted_mask(self.grid, self.sides, shift)
            if mask is not None:
                mask = jnp.tile(mask, (len(x_BTD), 1, 1, 1))
            x_NTD, _ = block(x_NTD, mask=mask, bias=positions(), key=keys[number])
            x_BTD = out_of_windows(x_NTD, self.grid, self.sides, shift)
        return x_BTD

    def shift(self, number: int) -> Grid:
        """Returns by how many patches block `number` shifts its windows; an axis with one window is not shifted."""
        half = lambda side, length: side // 2 if number % 2 and side < length else 0
        return half(self.sides[0], self.grid[0]), half(self.sides[1], self.grid[1])


class WindowPositions(nnx.Module):
    """A learned bias on the scores for each head and each offset between two patches of a window."""

    def __init__(self, sides: Grid, heads: int, *, rngs: nnx.Rngs):
        offsets = (2 * sides[0] - 1) * (2 * sides[1] - 1)
        self.table = nnx.Param(0.02 * jax.random.normal(rngs.params(), (offsets, heads)))
        self.sides = sides

    def __call__(self) -> Float[Array, "1 heads queries keys"]:
        """Returns the bias of every pair of patches."""
        row, column = (index.ravel() for index in np.indices(self.sides))
        down, right = row[:, None] - row + self.sides[0] - 1, column[:, None] - column + self.sides[1] - 1
        return jnp.moveaxis(self.table[...][down * (2 * self.sides[1] - 1) + right], -1, 0)[None]


def into_windows(
    x_BTD: Float[Array, "batch tokens width"], grid: Grid, sides: Grid, shift: Grid
) -> Float[Array, "batch_windows window_tokens width"]:
    """Returns the windows of the images, shifted up and left, as a batch; what leaves the grid comes in again."""
    x = jnp.roll(x_BTD.reshape(len(x_BTD), *grid, -1), (-shift[0], -shift[1]), axis=(1, 2))
    return rearrange(x, "b (r i) (c j) d -> (b r c) (i j) d", i=sides[0], j=sides[1])


def out_of_windows(
    x_NTD: Float[Array, "batch_windows window_tokens width"], grid: Grid, sides: Grid, shift: Grid
) -> Float[Array, "batch tokens width"]:
    """Returns the images of these windows: the inverse of `into_windows`."""
    rows, columns = grid[0] // sides[0], grid[1] // sides[1]
    x = rearrange(x_NTD, "(b r c) (i j) d -> b (r i) (c j) d", r=rows, c=columns, i=sides[0], j=sides[1])
    return jnp.roll(x, shift, axis=(1, 2)).reshape(len(x), grid[0] * grid[1], -1)


@lru_cache
def shifted_mask(grid: Grid, sides: Grid, shift: Grid) -> Bool[np.ndarray, "windows 1 queries keys"] | None:
    """Returns which patches of a shifted window may attend to each other: those that were neighbours before the shift.

    The last windows hold patches from opposite sides of the image. None without a shift: all patches may.
    """
    if shift == (0, 0):
        return None

    behind_seam = [np.arange(length) >= length - step for length, step in zip(grid, shift)]
    parts = 2 * behind_seam[0][:, None] + behind_seam[1]
    windows = rearrange(parts, "(r i) (c j) -> (r c) (i j)", i=sides[0], j=sides[1])
    return (windows[:, :, None] == windows[:, None, :])[:, None]


def halved(grid: Grid, stage: int) -> Grid:
    """Returns the grid of the next stage. Raises UserError if a side is odd."""
    if grid[0] % 2 or grid[1] % 2:
        raise UserError(f"depths: stage {stage + 1} cannot merge {grid[0]} x {grid[1]} patches two by two")
    return grid[0] // 2, grid[1] // 2
