"""What makes a latent-variable energy model: distances to what is decoded, and inference by grid and by descent."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import LatentEnergy


def ellipse() -> LatentEnergy:
    model = LatentEnergy(latents=47, rngs=nnx.Rngs(0))
    assert model.radii is not None
    model.radii.set_value(jnp.array([2.0, 1.5]))
    return model


def test_energies_are_squared_distances_to_the_ellipse():
    y = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    z = 2 * np.pi * np.arange(47) / 47
    expected = (y[:, :1] - 2 * np.cos(z)) ** 2 + (y[:, 1:] - 1.5 * np.sin(z)) ** 2
    np.testing.assert_allclose(ellipse()(jnp.asarray(y)), expected, atol=1e-5)


def test_descent_finds_what_a_fine_grid_finds():
    y = jnp.asarray(np.random.default_rng(1).normal(size=(29, 2)) * 2, jnp.float32)
    z, energy = jax.jit(ellipse().infer)(y)
    fine = ellipse().energies(y, jnp.linspace(0, 2 * jnp.pi, 20_001))
    np.testing.assert_allclose(energy, fine.min(-1), atol=1e-4)
    np.testing.assert_allclose(ellipse().energies(y, z[:, None])[:, 0], energy, atol=1e-5)


def test_the_radii_may_follow_x():
    model = LatentEnergy(inputs=3, latents=11, width=7, depth=2, rngs=nnx.Rngs(0))
    x, y = jax.random.normal(jax.random.key(0), (5, 3)), jnp.zeros((5, 2))
    energies = model(y, x)
    assert energies.shape == (5, 11)
    radii = model.decode(jnp.array([0.0, jnp.pi / 2]), x)
    np.testing.assert_allclose(energies[:, 0], radii[:, 0, 0] ** 2, rtol=1e-5)
    assert jnp.abs(energies[0] - energies[1]).max() > 1e-3
    z, energy = model.infer(y, x)
    assert z.shape == energy.shape == (5,)


def test_an_x_that_does_not_fit_is_said():
    with pytest.raises(UserError, match="x has 3 numbers, but the model has inputs=0"):
        ellipse()(jnp.zeros((5, 2)), jnp.zeros((5, 3)))
