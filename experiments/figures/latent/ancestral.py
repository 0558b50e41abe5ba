"""Sampling from a latent variable model: first the latent, then the data given the latent.

If the decoder is linear, the data are Gaussian again: the latent spreads them along a line, and the noise spreads them
around it.

Formula: z ~ N(0, 1), x | z ~ N(W z + b, s^2 I), so x ~ N(b, W W' + s^2 I)
Source: V. Roth, Neural Encoder-Decoder Models: latent variables.
Look at: the colour, which is z, changes along the line; the ellipses are those of the formula.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import ink
from models.bottleneck import Variational

DRAWS, VARIANCE = 100_000, 0.15


def run(seed: int, *, noise: float = 1.0) -> dict:
    model = Variational(
        image_shape=(1, 1, 2), target_shape=(2,), latents=1, width=1, depth=0, likelihood="gaussian",
        variance=VARIANCE, rngs=nnx.Rngs(seed),
    )  # fmt: skip
    model.decoder.out.kernel[...] = jnp.array([[1.5, 0.8]])
    latent_key, noise_key = jax.random.split(jax.random.key(seed))
    z_BZ = jax.random.normal(latent_key, (DRAWS, 1))
    decoded = model.decode(z_BZ)
    x = decoded["mean"] + noise * jnp.exp(decoded["log_variance"] / 2) * jax.random.normal(noise_key, (DRAWS, 2))
    W = np.array(model.decoder.out.kernel[...]).T
    return {"z": np.array(z_BZ[:, 0]), "x": np.array(x), "W": W, "formula": W @ W.T + VARIANCE * np.eye(2)}


def check(results: dict) -> list[Criterion]:
    error = np.linalg.norm(np.cov(results["x"].T) - results["formula"]) / np.linalg.norm(results["formula"])
    return [at_most("relative error of the covariance of the samples", error, 0.03)]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    left.hist(results["z"], 60, density=True, color="C0")
    grid_z = np.linspace(-4, 4, 200)
    left.plot(grid_z, np.exp(-(grid_z**2) / 2) / np.sqrt(2 * np.pi), color=ink(), linestyle=":")
    left.set(xlabel="latent z", ylabel="density", title="First the latent")
    few = slice(0, 2500)
    dots = right.scatter(*results["x"][few].T, c=results["z"][few], s=9, vmin=-2.5, vmax=2.5, rasterized=True)
    right.axline((0, 0), results["W"][:, 0], color="C1", linestyle="--", label="W z")
    angle = np.linspace(0, 2 * np.pi, 200)
    root = np.linalg.cholesky(results["formula"])
    for radius in (1, 2):
        ring = radius * root @ np.array([np.cos(angle), np.sin(angle)])
        right.plot(*ring, color="C1", label="1 and 2 standard deviations" if radius == 1 else None)
    right.set(xlabel="first coordinate of x", ylabel="second coordinate", title="Then the data", aspect="equal")
    right.set(xlim=(-5, 5), ylim=(-3.6, 4.6))
    right.legend(loc="upper left")
    figure.colorbar(dots, ax=right, label="z", shrink=0.8)
