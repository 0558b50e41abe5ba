"""What makes a Vision Transformer: patches are its tokens, and without positions their order has no influence."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import VisionTransformer
from models.positions import interpolate
from models.vit import patches
from training.state import split

FIELDS: dict[str, Any] = dict(image_shape=(15, 10, 3), patch=5, classes=19, width=28, depth=2, heads=7)
IMAGES = jax.random.uniform(jax.random.key(2), (2, 15, 10, 3))


def build(**more: Any) -> Any:
    return VisionTransformer(**(FIELDS | more), rngs=nnx.Rngs(0))


def test_patches_by_hand():
    cut = patches(IMAGES, 5)
    assert cut.shape == (2, 6, 75)
    np.testing.assert_array_equal(cut[1, 3].reshape(5, 5, 3), IMAGES[1, 5:10, 5:10])


def test_patch_embedding_is_a_strided_convolution():
    model = build()
    kernel = model.embedding.kernel[...].reshape(5, 5, 3, 28)
    convolved = jax.lax.conv_general_dilated(
        IMAGES, kernel, (5, 5), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(model.embedding(patches(IMAGES, 5)), convolved.reshape(2, 6, 28), atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_only_positions_know_the_order(pooling):
    shuffled = patches(IMAGES, 5)[:, [3, 0, 5, 1, 4, 2]]
    shuffled = shuffled.reshape(2, 3, 2, 5, 5, 3).transpose(0, 1, 3, 2, 4, 5).reshape(IMAGES.shape)
    difference = {}
    for positions in ("none", "learned"):
        model = build(pooling=pooling, positions=positions)
        model = jax.jit(model)
        difference[positions] = jnp.abs(model(IMAGES) - model(shuffled)).max()
    assert difference["none"] < 1e-5 < 1e-3 < difference["learned"]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_registers_are_seen_by_the_blocks_and_not_read_by_the_head(pooling):
    model = build(pooling=pooling, registers=3)
    x, first = model.features(IMAGES)[-1], 1 if pooling == "cls" else 0
    assert x.shape == (2, first + 3 + 6, 28) and model.registers.shape == (3, 28)
    np.testing.assert_allclose(model(IMAGES), model.head(x[:, 0] if first else x[:, 3:].mean(axis=1)), atol=1e-5)
    before = model(IMAGES)
    model.registers[...] += jax.random.normal(jax.random.key(1), (3, 28))
    assert jnp.abs(model(IMAGES) - before).max() > 1e-3


def test_a_head_reads_the_first_token_and_the_mean_of_the_patches():
    model = build(pooling="cls_mean", registers=2)
    x = model.features(IMAGES)[-1]
    read = jnp.concatenate([x[:, 0], x[:, 3:].mean(axis=1)], axis=-1)
    np.testing.assert_allclose(model(IMAGES), read @ model.head.kernel[...], atol=1e-5)


def test_cubic_interpolation_by_hand():
    """One cell of 11, between twice as many: Keys' kernel with a = -3/4 at distances of 1/4, 3/4, 5/4 and 7/4."""
    one = jnp.zeros((11, 1)).at[5].set(1.0)
    finer = interpolate(one, (11,), (22,), "cubic")[:, 0]
    half = [0.87890625, 0.26171875, -0.10546875, -0.03515625, 0, 0]
    np.testing.assert_allclose(finer[11:17], half, atol=1e-6)
    np.testing.assert_allclose(finer[5:11], half[::-1], atol=1e-6)
    for method in ("linear", "cubic", "cubic_smoothed"):
        constant = interpolate(jnp.full((15, 2), 3.0), (3, 5), (7, 2), method)
        np.testing.assert_allclose(constant, jnp.full((14, 2), 3.0), atol=1e-5)


def test_only_smoothed_interpolation_reads_every_cell_of_a_finer_grid():
    stripes = (-1.0) ** jnp.arange(12)[:, None]
    np.testing.assert_allclose(interpolate(stripes, (12,), (4,), "cubic")[:, 0], [-1, 1, -1, 1], atol=1e-6)
    assert jnp.abs(interpolate(stripes, (12,), (4,), "cubic_smoothed")).max() < 0.4


def test_a_layer_scale_of_zero_leaves_the_embeddings_alone():
    model = build(layer_scale=0.1)
    blocks = model.blocks.blocks
    assert blocks[1].mlp_scale.shape == blocks[0].attention_scale.shape == (28,)
    assert (blocks[0].attention_scale[...] == np.float32(0.1)).all()
    for block in blocks:
        block.attention_scale[...] *= 0
        block.mlp_scale[...] *= 0
    x = model.features(IMAGES)
    np.testing.assert_array_equal(x[0], x[1])
    blocks[0].mlp_scale[3] = 2.0
    after = model.features(IMAGES)[1]
    assert (after[..., 3] != x[0][..., 3]).all() and (after[..., 4] == x[0][..., 4]).all()


def test_both_heads_of_a_distilled_model_count_equally():
    model = build(pooling="cls", registers=2, distilled=True)
    x = model.features(IMAGES)[-1]
    by_hand = 0.5 * (x[:, 0] @ model.head.kernel[...] + x[:, 1] @ model.distilled_head.kernel[...])
    np.testing.assert_allclose(model(IMAGES), by_hand, atol=1e-5)
    same = split(build(pooling="cls", registers=2))[1]
    assert split(model)[1].keys() - same.keys() == {"distilled_head.kernel", "distilled_head.bias"}


def test_sinusoidal_positions_need_a_width_for_two_axes():
    with pytest.raises(ValueError, match="divisible by 4, not 14"):
        build(**{"width": 14, "positions": "sinusoidal"})


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"patch": 4}, "patch=4 must divide"),
        ({"pooling": "max"}, "'cls' or 'mean'"),
        ({"distilled": True, "registers": 1}, "distilled=True needs head='classes', pooling='cls' and registers=1"),
        ({"distilled": True, "pooling": "cls"}, "distilled=True needs .* registers=1 or more"),
        ({"stem": "pool"}, "'patch', 'convolution' or 'resnet'"),
        ({"stem": "convolution"}, "halves the image, so it needs 2, 4"),
    ],
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        build(**wrong)


def test_a_convolutional_stem_gives_a_token_for_each_patch():
    model = build(**{"image_shape": (12, 8, 3), "patch": 4, "stem": "convolution"})
    images = jax.random.uniform(jax.random.key(3), (2, 12, 8, 3))
    assert model.embedding(images).shape == (2, 6, 28)
    sizes = [c.kernel[...].shape for c in model.embedding.convolutions]
    assert sizes == [(3, 3, 3, 14), (3, 3, 14, 28)]
    # Two 3x3 convolutions of stride 2 see 7x7 pixels: more than the patch, unlike a patch embedding.
    felt = jax.jit(jax.grad(lambda x: (model.embedding(x)[:, 0] ** 2).sum()))(images)[0]
    assert felt[:7, :7].any(axis=-1).any() and felt[4:7, :4].any() and not felt[7:].any() and not felt[:, 7:].any()


def test_positions_are_interpolated_to_another_image_size():
    model = build()
    same, larger = model.resized((15, 10, 3)), model.resized((30, 20, 3))
    np.testing.assert_array_equal(jax.jit(same)(IMAGES), jax.jit(model)(IMAGES))
    images = jax.random.uniform(jax.random.key(3), (2, 30, 20, 3))
    assert jax.eval_shape(larger, images).shape == (2, 19)
    assert larger.positions.table[...].shape == (24, 28) and model.positions.table[...].shape == (6, 28)
    fresh = build(**{"image_shape": (30, 20, 3)})
    shapes = lambda model: {path: x.shape for path, x in split(model)[1].items()}
    assert shapes(larger) == shapes(fresh)


def test_sinusoidal_positions_need_no_interpolation():
    fields = {"positions": "sinusoidal", "pooling": "cls"}
    larger = build(**fields).resized((30, 20, 3))
    fresh = build(**fields, image_shape=(30, 20, 3))
    images = jax.random.uniform(jax.random.key(3), (2, 30, 20, 3))
    np.testing.assert_allclose(jax.jit(larger)(images), jax.jit(fresh)(images), atol=1e-6)


def test_only_whole_patches_can_be_resized_to():
    with pytest.raises(ValueError, match="patch=5 must divide the image's sides, 31 x 20"):
        build().resized((31, 20, 3))


def test_a_body_gives_hidden_states_and_what_is_pooled_of_them():
    images = jax.random.uniform(jax.random.key(5), (2, *FIELDS["image_shape"]))
    fields = {"classes": None, "qkv_bias": False, "depth": 1}
    body, model = (build(**fields, head=head) for head in ("none", "pooler"))
    hidden, pooled = jax.jit(model)(images)
    np.testing.assert_array_equal(jax.jit(body)(images), hidden)
    expected = jnp.tanh(hidden.mean(axis=1) @ model.head.kernel[...] + model.head.bias[...])
    np.testing.assert_allclose(pooled, expected, atol=1e-6)
    attention = model.blocks.blocks[0].attention
    assert attention.query.bias is attention.key.bias is attention.value.bias is None and attention.out.bias is not None
    with pytest.raises(ValueError, match="head='classes' needs classes, the number of classes"):
        build(**fields)
    with pytest.raises(ValueError, match="head='features': expected 'classes', 'pooler' or 'none'"):
        build(**fields, head="features")


def test_a_hybrid_reads_the_feature_map_of_a_small_resnet():
    model = build(**{"image_shape": (12, 8, 3), "patch": 4, "stem": "resnet"})
    images = jax.random.uniform(jax.random.key(3), (2, 12, 8, 3))
    assert jax.eval_shape(model.embedding, images).shape == (2, 6, 28)
    assert [block.stride for block in model.embedding.residual] == [2, 2]
    assert jax.eval_shape(model, images).shape == (2, 19)
