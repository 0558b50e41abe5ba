"""What makes a Swin Transformer: attention in windows is attention to all patches with a mask, and shifts join them."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models.swin import Stage, SwinTransformer, into_windows, out_of_windows, shifted_mask
from models.transformer import Block

GRID = (6, 9)
SIDES = (2, 3)
ROW, COLUMN = (index.ravel() for index in np.indices(GRID))


@pytest.mark.parametrize("shift", [(0, 0), (1, 1), (0, 2)])
def test_windows_and_back(shift):
    x = jax.random.normal(jax.random.key(0), (5, 54, 7))
    windows = into_windows(x, GRID, SIDES, shift)
    assert windows.shape == (5 * 9, 6, 7)
    np.testing.assert_array_equal(out_of_windows(windows, GRID, SIDES, shift), x)


@pytest.mark.parametrize("shift", [(1, 1), (0, 2), (1, 0)])
def test_a_shifted_window_joins_patches_that_are_near_each_other_in_the_image(shift):
    numbers = jnp.arange(54.0)[None, :, None]
    patches = np.asarray(into_windows(numbers, GRID, SIDES, shift))[..., 0].astype(int)  # of each window
    near = lambda axis, side: np.abs(axis[patches][:, :, None] - axis[patches][:, None, :]) < side
    mask = shifted_mask(GRID, SIDES, shift)
    assert mask is not None
    np.testing.assert_array_equal(mask[:, 0], near(ROW, SIDES[0]) & near(COLUMN, SIDES[1]))
    assert shifted_mask(GRID, SIDES, (0, 0)) is None


@pytest.fixture(scope="module")
def stage() -> Any:
    return Stage(
        grid=(6, 4), window=2, merge=False, depth=2, width=14, heads=7, dropout=0.0, dtype="float32", rngs=nnx.Rngs(0)
    )


@pytest.mark.parametrize("number", [0, 1])
def test_attention_in_windows_is_attention_to_all_patches_with_a_mask_and_a_bias(stage, number):
    block: Block = stage.blocks[number]
    row, column = (index.ravel() for index in np.indices((6, 4)))
    shift = number  # by half a window of 2 in the second block
    window = (row + shift) // 2 * 10 + (column + shift) // 2  # shifted windows without the seam
    down, right = row[:, None] - row, column[:, None] - column
    same = window[:, None] == window
    bias = np.asarray(stage.positions[number].table[...])[np.where(same, (down + 1) * 3 + right + 1, 0)]
    x = jax.random.normal(jax.random.key(1), (2, 24, 14))
    expected, _ = block(x, mask=jnp.asarray(same), bias=jnp.moveaxis(bias, -1, 0)[None])
    windows = into_windows(x, (6, 4), (2, 2), stage.shift(number))
    mask = shifted_mask((6, 4), (2, 2), stage.shift(number))
    mask = None if mask is None else jnp.tile(mask, (2, 1, 1, 1))
    out, _ = block(windows, mask=mask, bias=stage.positions[number]())
    out = out_of_windows(out, (6, 4), (2, 2), stage.shift(number))
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_the_second_block_carries_information_across_the_border_of_a_window(stage):
    x = jax.random.normal(jax.random.key(1), (1, 24, 14))

    def seen(patch: int, depth: int) -> set[int]:
        def value(x):
            blocks, positions = stage.blocks, stage.positions
            for number in range(depth):
                windows = into_windows(x, (6, 4), (2, 2), stage.shift(number))
                windows, _ = blocks[number](
                    windows, mask=shifted_mask((6, 4), (2, 2), stage.shift(number)), bias=positions[number]()
                )
                x = out_of_windows(windows, (6, 4), (2, 2), stage.shift(number))
            return x[0, patch].sum()

        return {int(i) for i in np.flatnonzero(np.abs(jax.jit(jax.grad(value))(x)[0]).sum(-1))}

    assert seen(0, 1) == {0, 1, 4, 5}  # the window of the corner
    assert seen(5, 2) == {*range(16)}  # (1, 1) joins the four windows whose corners meet there
    assert seen(0, 2) == {0, 1, 4, 5}  # nothing comes in from the opposite side


def test_an_axis_that_is_one_window_is_not_shifted():
    stage = Stage(
        grid=(2, 6), window=3, merge=False, depth=2, width=14, heads=7, dropout=0.0, dtype="float32", rngs=nnx.Rngs(0)
    )
    assert stage.sides == (2, 3) and stage.shift(0) == (0, 0) and stage.shift(1) == (0, 1)


def test_merging_halves_the_grid_and_doubles_the_width():
    model = SwinTransformer(
        image_shape=(12, 8, 3), patch=1, classes=5, window=2, width=14, depths=(2, 1), heads=7, rngs=nnx.Rngs(0)
    )
    images = jax.ShapeDtypeStruct((2, 12, 8, 3), jnp.float32)
    assert [x.shape for x in jax.eval_shape(model.features, images)] == [(2, 96, 14), (2, 96, 14), (2, 24, 28)]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"window": 5}, "window=5 must divide the 12 x 8 patches of a stage"),
        ({"depths": ()}, "the number of blocks of each stage"),
        ({"depths": (1, 1, 1, 1), "window": 1}, "stage 4 cannot merge 3 x 2 patches two by two"),
        ({"patch": 5}, "patch=5 must divide"),
        ({"heads": 5}, "heads=5 must divide width=14"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    fields: dict[str, Any] = {"image_shape": (12, 8, 3), "patch": 1, "classes": 5, "window": 2, "width": 14, "heads": 7}
    with pytest.raises(UserError, match=words):
        SwinTransformer(**fields | wrong, rngs=nnx.Rngs(0))
