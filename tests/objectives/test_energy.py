"""Free energies equal quadrature and the numbers of the lecture, and each loss is what its formula says."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from core.errors import UserError
from models import LatentEnergy
from objectives import energy
from objectives.energy import free_energy, responsibilities

RADII = jnp.array([2.0, 1.5])


def ellipse(latents: int = 48) -> LatentEnergy:
    model = LatentEnergy(latents=latents, rngs=nnx.Rngs(0))
    assert model.radii is not None
    model.radii.set_value(RADII)
    return model


def batch_of(y) -> dict:
    y = jnp.asarray(y, jnp.float32)
    return {"inputs": {"y": y}, "targets": y, "weights": jnp.ones(len(y))}


ORIGIN = batch_of([[0.0, 0.0]])


@pytest.mark.parametrize("beta, expected", [(np.inf, 2.25), (10, 2.449), (1, 2.942), (1e-4, 3.125)])
def test_free_energies_at_the_origin_are_those_of_the_lecture(beta, expected):
    loss, metrics = energy(ellipse(), ORIGIN, None, temperature=float(1 / beta))
    assert loss == pytest.approx(expected, abs=6e-4) and metrics["energy"] == (loss, 1)


@pytest.mark.parametrize("point", [(0.0, 0.0), (1.3, -0.4), (-2.0, 3.0)])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_the_grid_is_the_integral_over_the_latent(point, temperature):
    """The trapezoidal rule converges exponentially for periodic functions, so 96 points are an integral."""
    E = lambda z: (point[0] - 2 * np.cos(z)) ** 2 + (point[1] - 1.5 * np.sin(z)) ** 2
    integral, _ = quad(lambda z: np.exp(-E(z) / temperature), 0, 2 * np.pi, epsabs=1e-13, epsrel=1e-13, limit=200)
    loss, _ = energy(ellipse(96), batch_of([point]), None, temperature=temperature)
    assert loss == pytest.approx(-temperature * np.log(integral / (2 * np.pi)), rel=1e-6, abs=1e-6)


def test_the_share_of_a_latent_is_the_gradient_of_the_free_energy():
    energies = jax.random.uniform(jax.random.key(0), (3, 7))
    gradient = jax.grad(lambda E: free_energy(E, 0.4).sum())(energies)
    np.testing.assert_allclose(gradient, responsibilities(energies, 0.4), atol=1e-6)


def test_hinge_compares_with_points_nearby():
    y = RADII * jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss, metrics = energy(ellipse(), batch_of(y), None, loss="hinge", margin=0.5, distance=0.3)
    contrast = metrics["contrast"][0] / 3
    assert contrast < 0 and metrics["energy"][0] == pytest.approx(0, abs=1e-6)
    assert loss >= 0.5 + contrast - 1e-6  # max(0, ...) is convex
    assert energy(ellipse(), batch_of(y), jax.random.key(0), loss="hinge", margin=0.0, distance=1e-3)[0] < 1e-4


def test_likelihood_is_normalised_on_its_square():
    """exp(-loss), summed over the square, is 1."""
    side, extent = 20, 5.0
    middle = 2 * extent / side * (np.arange(side) + 0.5) - extent
    points = np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2)
    F = free_energy(ellipse()(jnp.asarray(points, jnp.float32)), 1.0)
    at_origin = energy(ellipse(), ORIGIN, None, loss="likelihood", temperature=1.0, extent=extent)[1]
    constant = at_origin["loss"][0] - at_origin["energy"][0]
    density = np.exp(-F - constant)
    assert density.sum() * (2 * extent / side) ** 2 == pytest.approx(1, rel=1e-3)


def test_the_temperature_may_be_traced():
    value = lambda temperature: energy(ellipse(), ORIGIN, None, temperature=temperature)[0]
    assert jax.jit(value)(0.1) == pytest.approx(float(value(0.1)), rel=1e-6)


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match="loss = 'square': expected one of energy, hinge, likelihood"):
        energy(ellipse(), ORIGIN, None, loss="square")
    with pytest.raises(UserError, match="needs a temperature above 0"):
        energy(ellipse(), ORIGIN, None, loss="likelihood")
