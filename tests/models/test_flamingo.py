"""Flamingo: at first exactly its language model; each text sees the image before it; what has a gradient at first."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import Flamingo
from models.flamingo import GatedBlock
from tests.models.rows import FRAMES, ROWS, TOKENS
from training.state import merge, split

FIELDS = ROWS["flamingo"][0]
IMAGE = 5
# Images before the tokens 2 to 5 and 6 to 10; two tokens stand before the first one.
TEXT = jnp.where(jnp.isin(jnp.arange(11), jnp.array([2, 6])), IMAGE, jnp.where(TOKENS == IMAGE, 6, TOKENS))


def build(**more) -> Flamingo:
    return Flamingo(**(FIELDS | more), rngs=nnx.Rngs(0))


@pytest.mark.medium
@pytest.mark.parametrize("vision", ["vit", "resnet"])
def test_it_begins_as_exactly_its_language_model(vision):
    """To the bit, operation by operation; a compiled program rounds as its fusions do."""
    model = build(first_gate=0.0, vision=vision, depth=2, every=2)
    np.testing.assert_array_equal(model(FRAMES, TEXT), model.language(TEXT))


@pytest.mark.parametrize("more", [{"scan": True}, {"remat": True}, {"relative_buckets": 5}], ids=str)
def test_every_way_to_stack_blocks_begins_so(more):
    both = jax.jit(lambda model: (model(FRAMES, TEXT), model.language(TEXT)))
    logits, blind = both(build(first_gate=0.0, **more))
    np.testing.assert_allclose(logits, blind, rtol=0, atol=1e-6)
    logits, blind = both(build(**more))
    assert jnp.abs(logits - blind).max() > 1e-3


@pytest.mark.medium
def test_at_first_the_gates_have_a_gradient_and_what_is_behind_them_has_none():
    structure, parameters = split(build(first_gate=0.0))
    loss = lambda parameters: (merge(structure, parameters)(FRAMES, TEXT) ** 2).sum()
    gradients = jax.jit(jax.grad(loss))(parameters)
    for path, gradient in gradients.items():
        if path.startswith("gated."):
            assert gradient.any() == path.endswith("_gate"), path
        elif path.startswith(("resampler.", "vision.")):
            assert not gradient.any(), path


def test_a_token_attends_to_the_last_image_before_it():
    model = build()
    sees = np.asarray(model._sees(TEXT, 2))  # two latents an image
    assert sees.shape == (8, 11, 4)
    expected = [[False] * 4] * 2 + [[True, True, False, False]] * 4 + [[False, False, True, True]] * 5
    np.testing.assert_array_equal(sees, np.broadcast_to(np.array(expected), sees.shape))
    gated: GatedBlock = model.gated[0]
    x = model.language.embedding(TEXT[:1])
    latents = jax.random.normal(jax.random.key(0), (1, 4, 14))
    output = lambda latents, token: gated(x, latents, jnp.asarray(sees[:1]))[0, token].sum()
    influence = jax.jit(jax.vmap(jax.grad(output), (None, 0)))(latents, jnp.arange(11))
    np.testing.assert_array_equal(np.abs(influence[:, 0]).sum(-1) > 0, sees[0])


def test_no_token_knows_of_an_image_behind_it():
    """Through all blocks: text after the second image may know the first one from the text between."""
    model = build()
    logits = lambda frames, token: model(frames, TEXT[:1])[0, token].sum()
    influence = jax.jit(jax.vmap(jax.grad(logits), (None, 0)))(FRAMES[:1], jnp.arange(11))
    seen = np.abs(influence[:, 0]).sum((2, 3, 4)) > 0
    assert not seen[:2].any() and seen[2:, 0].all() and not seen[:6, 1].any() and seen[6:, 1].all()


@pytest.mark.medium
def test_a_mark_without_an_image_shows_nothing():
    """As where a batch has fewer images than the text has marks."""
    model = build(depth=1)
    sees = model._sees(TEXT, 1)
    assert sees[:, 2:6].all() and not sees[:, 6:].any() and jnp.isfinite(model(FRAMES[:, :1], TEXT)).all()


@pytest.mark.medium
def test_all_parts_learn_when_the_gates_are_open():
    structure, parameters = split(build(vision="resnet"))
    loss = lambda parameters: (merge(structure, parameters)(FRAMES, TEXT) ** 2).sum()
    gradients = jax.jit(jax.grad(loss))(parameters)
    idle = [path for path, gradient in gradients.items() if not gradient.any()]
    assert all(path.endswith("key.bias") for path in idle)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"vision": "swin"}, "expected 'vit', 'resnet' or"), ({"vision_heads": None}, "needs vision_heads"),
        ({"patch": None}, "vision='vit' needs patch"),
    ],  # fmt: skip
    ids=str,
)
def test_bad_fields_are_named(wrong, words):
    with pytest.raises(UserError, match=words):
        build(**wrong)
