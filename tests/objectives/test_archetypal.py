"""The distance of the archetypes by hand, padding in no mixture, and side information."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models.archetypal import ArchetypalAutoencoder
from objectives.archetypal import archetypal
from objectives.variational import variational

IMAGES = jax.random.normal(jax.random.key(1), (5, 3, 2, 1))
SIDE = jax.random.normal(jax.random.key(2), (5, 2))


def build(side: int = 0) -> ArchetypalAutoencoder:
    return ArchetypalAutoencoder(
        image_shape=(3, 2, 1), archetypes=3, side=side, width=7, depth=1, rngs=nnx.Rngs(0)
    )  # fmt: skip


def batch(side=None, weights=(1, 1, 1, 1, 1)) -> dict:
    inputs = {"images": IMAGES} | ({} if side is None else {"side": side})
    return {"inputs": inputs, "targets": IMAGES, "weights": jnp.array(weights, float)}


def test_the_parts_by_hand():
    model = build(side=2)
    loss, metrics = archetypal(model, batch(SIDE), None, beta=0.3, archetype_weight=7.0, side_weight=11.0)
    weights, logits = map(np.array, model.mixtures(IMAGES))
    corners = np.array(model.corners())
    choices = np.exp(logits) / np.exp(logits).sum(0)
    distance = np.mean([np.sum((corners[k] - choices[:, k] @ (weights @ corners)) ** 2) for k in range(3)])
    assert model.side is not None
    side = np.mean(np.sum((np.array(model.side(jnp.array(weights @ corners))) - np.array(SIDE)) ** 2, axis=1))
    of_vae, _ = variational(model, batch(SIDE), None, beta=0.3)
    values = {name: float(total / count) for name, (total, count) in metrics.items()}
    assert values["archetype"] == pytest.approx(distance, rel=1e-5)
    assert values["side"] == pytest.approx(side, rel=1e-5)
    assert float(loss) == values["loss"] == pytest.approx(float(of_vae) + 7 * distance + 11 * side, rel=1e-5)


def test_an_example_without_weight_is_in_no_mixture():
    model = build()
    padded = batch(weights=(1, 1, 1, 0, 0))
    short = {
        "inputs": {"images": IMAGES[:3]}, "targets": IMAGES[:3], "weights": jnp.ones(3)
    }  # fmt: skip
    for name, (total, count) in archetypal(model, padded, None)[1].items():
        expected = archetypal(model, short, None)[1][name]
        assert float(total / count) == pytest.approx(float(expected[0] / expected[1]), rel=1e-5), name
    loss = lambda images: archetypal(model, padded | {"inputs": {"images": images}}, None)[0]
    assert not jax.grad(loss)(IMAGES)[3:].any()


@pytest.mark.parametrize(
    "columns, side, words", [(0, SIDE, "model.side = 0: the data has 2 columns"), (2, None, "= 2: the data has 0")]
)
def test_side_information_that_does_not_fit_is_named(columns, side, words):
    with pytest.raises(UserError, match=words):
        archetypal(build(columns), batch(side), None)
