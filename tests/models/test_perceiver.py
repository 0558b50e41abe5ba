"""What makes a Perceiver: latents that read a set at linear cost, rounds that share weights, output queries."""

from typing import Any, cast

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models import Perceiver
from models.positions import fourier_features
from objectives.masked_language_modeling import masked_language_modeling
from tests.tiers import first_fast
from training.state import Parameters, merge, split

IMAGES = jax.random.uniform(jax.random.key(2), (2, 7, 5, 3))
TOKENS = jax.random.randint(jax.random.key(1), (8, 11), 0, 23)
SIZES: dict[str, Any] = dict(latents=3, width=14, depth=2, heads=7)


def of_images(**fields: Any) -> Any:
    fields = {"image_shape": (7, 5, 3), "classes": 19} | fields
    return Perceiver(**SIZES | fields, rngs=nnx.Rngs(0))


def of_tokens(**fields: Any) -> Any:
    fields = {"vocab_size": 23, "context": 13, "classes": 19} | fields
    return Perceiver(**SIZES | fields, rngs=nnx.Rngs(0))


def test_fourier_features_by_hand():
    features = fourier_features((3, 5), 2)
    assert features.shape == (15, 10)
    # Row 2, column 4 is the corner (1, 1): frequencies 1 and 1.5 on an axis of 3, 1 and 2.5 on an axis of 5.
    np.testing.assert_allclose(features[14], [1, 0, -1, -1, 0, 1, 0, 1, -1, 0], atol=1e-6)
    # Row 1, column 1 is at (0, -1/2).
    angles = np.pi * np.array([-0.5, -1.25])
    np.testing.assert_allclose(features[6], [0, 0, 0, 1, 1, -0.5, *np.sin(angles), *np.cos(angles)], atol=1e-6)


def test_the_array_is_pixels_beside_their_positions():
    array = of_images(bands=2).array(IMAGES)
    np.testing.assert_array_equal(array[1, 11, :3], IMAGES[1, 2, 1])
    np.testing.assert_array_equal(array[1, 11, 3:], fourier_features((7, 5), 2)[11])


@pytest.mark.parametrize("positions, columns", [("fourier", 17), ("sinusoidal", 14), ("learned", 14), ("none", 0)])
def test_the_array_is_tokens_beside_their_positions(positions, columns):
    model = of_tokens(positions=positions)
    array = model.array(tokens=TOKENS)
    assert array.shape == (8, 11, 14 + columns)
    np.testing.assert_array_equal(array[..., :14], model.embedding(TOKENS))
    np.testing.assert_array_equal(array[0, :, 14:], array[1, :, 14:])


def test_cost_is_linear_in_the_input():
    def flops(side):
        make = lambda: of_images(image_shape=(side, side, 3))
        structure, state = nnx.split(nnx.eval_shape(make))
        images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        cost: Any = jax.jit(lambda s, x: nnx.merge(structure, s)(x)).lower(state, images).compile().cost_analysis()
        return cost["flops"]

    counts = np.array([flops(side) for side in (32, 64, 128)])
    slopes = np.diff(np.log(counts)) / np.log(4)
    np.testing.assert_allclose(slopes, 1, atol=0.02)


def test_pixels_may_come_in_any_order_if_their_positions_come_along():
    model = of_images()
    order = jax.random.permutation(jax.random.key(5), 35)
    array = model.array(IMAGES)
    read = model.read(array)
    assert jnp.abs(model.read(array[:, order]) - read).max() < 1e-5
    pixels_only = array.at[:, :, :3].set(array[:, order, :3])
    assert jnp.abs(model.read(pixels_only) - read).max() > 1e-3


def test_without_positions_the_order_is_not_seen():
    difference = {}
    for positions in ("none", "fourier"):
        model = of_tokens(positions=positions)
        difference[positions] = jnp.abs(model(tokens=TOKENS) - model(tokens=TOKENS[:, ::-1])).max()
    assert difference["none"] < 1e-5 < 1e-3 < difference["fourier"]


@pytest.mark.parametrize("sharing, different", [("all", (1, 1)), ("after first", (2, 1)), ("none", (3, 3))])
def test_rounds_share_weights(sharing, different):
    model = of_images(repeats=3, sharing=sharing)
    assert (len(model.crosses), len(model.towers)) == different
    array = model.array(IMAGES)
    x = jnp.broadcast_to(model.latents[...], (2, 3, 14))
    crosses, towers = (list(parts) + [parts[-1]] * 2 for parts in (model.crosses, model.towers))
    for cross, tower in zip(crosses[:3], towers):
        x = tower(cross(x, source=array)[0])[0]
    np.testing.assert_allclose(model.read(array), x, atol=1e-6)


def test_only_the_first_rounds_need_to_read_the_input():
    model = of_images(repeats=3, reads=1, sharing="all")
    x, _ = model.crosses[0](jnp.broadcast_to(model.latents[...], (2, 3, 14)), source=model.array(IMAGES))
    for _ in range(3):
        x, _ = model.towers[0](x)
    np.testing.assert_allclose(model.read(model.array(IMAGES)), x, atol=1e-6)


def test_features_are_those_of_every_round():
    model = of_tokens(repeats=2, sharing="none")
    mask = jnp.arange(11) < jnp.array([11, 7, 1, 5, 3, 2, 11, 4])[:, None]
    layers = jax.jit(lambda: model.features(tokens=TOKENS, mask=mask))()
    assert len(layers) == 2 * 3
    np.testing.assert_allclose(layers[-1], model.read(model.array(tokens=TOKENS), mask), atol=1e-5)


def test_images_of_any_size_are_read_if_a_resolution_fixes_the_frequencies():
    model = of_images(resolution=13)
    np.testing.assert_array_equal(model.array(IMAGES)[0, :, 3:], fourier_features((7, 5), 8, 13))
    wide = jnp.concatenate([IMAGES, IMAGES], axis=2)
    np.testing.assert_array_equal(model.array(wide)[0, :, 3:], fourier_features((7, 10), 8, 13))
    assert jax.jit(lambda: model(wide))().shape == (2, 19)


def test_a_stem_convolves_and_keeps_the_largest_of_each_neighbourhood():
    model = of_images(image_shape=(11, 13, 3), stem="convolution", channels=4, bands=2)
    images = jnp.ones((1, 11, 13, 3)).at[:, 4, 6].set(jnp.array([5.0, -7.0, 2.0]))
    array = np.asarray(model.array(images))[0]
    assert array.shape == (2 * 3, 4 + 10)
    np.testing.assert_array_equal(array[:, 4:], fourier_features((2, 3), 2))
    # By hand: the first of 2 x 3 elements is the maximum over 3 x 3 squares of 7 x 7 pixels, 2 pixels apart.
    padded = np.pad(np.asarray(images)[0], ((3, 3), (3, 3), (0, 0)))
    kernel, bias = np.asarray(model.pixels.kernel[...]), np.asarray(model.pixels.bias[...])
    squares = [padded[r : r + 7, c : c + 7] for r in (0, 2, 4) for c in (0, 2, 4)]
    expected = np.max([np.einsum("rcd,rcde->e", square, kernel) + bias for square in squares], axis=0)
    np.testing.assert_allclose(array[0, :4], np.maximum(expected, 0), atol=1e-5)


def test_with_a_stem_too_images_of_any_size_are_read():
    model = of_images(image_shape=(11, 13, 3), stem="convolution", resolution=5)
    wide = model.array(jnp.ones((2, 11, 29, 3)))
    assert wide.shape == (2, 2 * 7, 14 + 34)  # by default as wide as the latents
    np.testing.assert_array_equal(wide[0, :, 14:], fourier_features((2, 7), 8, 5))


def test_positions_are_added_to_what_an_element_holds():
    model = of_tokens(channels=6, positions="learned", position_width=6, project_positions=True, join="added")
    projection = model.projection
    positions = model.positions.table[...][:11] @ projection.kernel[...] + projection.bias[...]
    np.testing.assert_allclose(model.array(tokens=TOKENS), model.embedding(TOKENS) + positions, atol=1e-5)


def test_pixels_may_be_mapped_to_channels():
    model = of_images(channels=6)
    expected = IMAGES[1, 2, 1] @ model.pixels.kernel[...] + model.pixels.bias[...]
    np.testing.assert_allclose(model.array(IMAGES)[1, 11, :6], expected, atol=1e-6)


def test_tied_logits_are_products_with_the_embeddings():
    fields = dict(output="dense", dense_queries="learned", channels=6, query_width=6, tied=True, decoder_heads=3)
    model = of_tokens(**fields, decoder_residual=False, decoder_head_size=5, decoder_value_size=2, source_norm=True)
    assert model.query.shape == (13, 6) and model.decoder.cross.query.kernel.shape == (6, 15)
    latents = model.read(model.array(tokens=TOKENS))
    queries = jnp.broadcast_to(model.query[...][:11], (8, 11, 6))
    block = model.decoder
    x, _ = block.cross(block.cross_norm(queries), block.source_norm(latents))
    x = x + block.mlp(block.mlp_norm(x))
    logits = x @ model.embedding.embedding[...].T + model.bias[...]
    np.testing.assert_allclose(jax.jit(lambda: model(tokens=TOKENS))(), logits, atol=1e-4)


def test_one_round_has_nothing_to_share():
    sizes = {sum(x.size for x in split(of_images(sharing=sharing))[1].values()) for sharing in ("all", "none")}
    assert len(sizes) == 1


@pytest.mark.parametrize("output", first_fast(["mean", "query", "dense"]))
def test_padding_is_not_read(output):
    model = of_tokens(output=output, repeats=2)
    mask = jnp.arange(11) < jnp.array([11, 7, 1, 5, 3, 2, 11, 4])[:, None]
    array = model.array(tokens=TOKENS)
    gradient = jax.jit(jax.grad(lambda array: (model.answer(model.read(array, mask), 11) ** 2).sum()))(array)
    np.testing.assert_array_equal((gradient != 0).any(-1), mask)
    short = model(tokens=TOKENS[1:2, :7])
    masked = model(tokens=TOKENS, mask=mask)[1:2]
    np.testing.assert_allclose(masked[:, :7] if output == "dense" else masked, short, atol=1e-5)


@pytest.mark.medium
def test_an_input_of_padding_alone_gives_finite_numbers_and_gradients():
    loss = lambda model: (model(tokens=TOKENS, mask=jnp.zeros((8, 11), bool)) ** 2).sum()
    value, gradient = nnx.value_and_grad(loss)(of_tokens(repeats=2))
    assert jnp.isfinite(value) and all(jnp.isfinite(g).all() for g in split(gradient)[1].values())


def test_output_queries_give_one_answer_each():
    assert of_tokens(output="query")(tokens=TOKENS).shape == (8, 19)
    dense = of_tokens(output="dense", classes=None)
    logits = dense(tokens=TOKENS)
    assert logits.shape == (8, 11, 23) and logits.dtype == jnp.float32
    # Each position has a query of its own, and its answer depends on every token before and after it.
    array = dense.array(tokens=TOKENS)
    influence = jax.grad(lambda array: dense.answer(dense.read(array), 11)[:, 5].sum())(array)
    assert (influence != 0).any(-1).all()
    assert jnp.abs(logits[:, 5] - logits[:, 6]).max() > 1e-3


@pytest.mark.medium
def test_hidden_tokens_are_predicted_from_the_others():
    # Each sequence counts upwards modulo 13, so that one visible token determines all others; 0 and 1 are special.
    batches = 2 + (jax.random.randint(jax.random.key(7), (400, 32, 1), 0, 13) + jnp.arange(11)) % 13
    settings = dict(mask_id=1, vocab_size=15, special_below=2)
    as_batch = lambda tokens: {"inputs": {"tokens": tokens}, "targets": tokens, "weights": jnp.ones(tokens.shape)}
    fields = dict(output="dense", vocab_size=15, context=11, width=28, cross_heads=4)
    structure, parameters = split(of_tokens(**fields))
    optimizer = optax.adam(5e-3)

    @jax.jit
    def fit(parameters):
        def step(carry, inputs):
            parameters, state = carry
            tokens, key = inputs
            loss = lambda p: masked_language_modeling(merge(structure, p), as_batch(tokens), key, **settings)[0]
            updates, state = optimizer.update(jax.grad(loss)(parameters), state)
            return (cast(Parameters, optax.apply_updates(parameters, updates)), state), None

        keys = jax.random.split(jax.random.key(8), len(batches))
        (parameters, _), _ = jax.lax.scan(step, (parameters, optimizer.init(parameters)), (batches, keys))
        examples = as_batch(batches[:20].reshape(-1, 11))
        return masked_language_modeling(merge(structure, parameters), examples, None, **settings)[1]

    right, hidden = fit(parameters)["accuracy"]
    assert hidden > 1000 and right / hidden > 0.9


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"output": "sum"}, "output='sum': expected 'mean', 'query' or 'dense'"),
        ({"sharing": "some"}, "sharing='some': expected 'all', 'after first' or 'none'"),
        (dict(repeats=2, reads=3), "reads=3: there are only repeats=2 rounds"),
        ({"join": "before"}, "join='before': expected 'beside' or 'added'"),
        ({"join": "added"}, "join='added' to 3 channels: the positions are 34 wide"),
        ({"tied": True}, "tied=True gives the logits of tokens: expected output='dense', not 'mean'"),
        (dict(resolution=7, positions="learned"), "resolution is for images with positions='fourier'"),
        ({"stem": "patch"}, "stem='patch': expected 'pixel' or 'convolution'"),
        (dict(stem="convolution", image_shape=(7, 4, 3)), "needs images of at least 5 x 5 pixels, got 7 x 4"),
        (dict(stem="convolution", image_shape=None, vocab_size=23, context=13), "is for images"),
        ({"cross_heads": 3}, "cross_heads=3 must divide the width of the queries, 14"),
        ({"classes": None}, "set classes"),
        ({"output": "dense"}, "gives the logits of tokens"),
        ({"image_shape": None}, "one of the two"),
        ({"vocab_size": 23}, "one of the two"),
        ({"image_shape": None, "vocab_size": 23}, "vocab_size and context belong together"),
        (dict(image_shape=None, vocab_size=23, context=13, output="dense", positions="none"), "leaves it none"),
    ],
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        of_images(**wrong)


def test_inputs_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"images of shape \(5, 7, 3\): this model is built for \(7, 5, 3\)"):
        of_images()(IMAGES.swapaxes(1, 2))
    with pytest.raises(ValueError, match="built for images: expected the input images"):
        of_images()(tokens=TOKENS)
    with pytest.raises(ValueError, match="a sequence of 22 is longer than the 13 positions"):
        of_tokens()(tokens=jnp.tile(TOKENS, 2))
