"""The evidence lower bound is tight if the approximate posterior can equal the true one.

A linear model has a Gaussian posterior, and its evidence has a closed form (probabilistic PCA). Training makes the
bound reach it. The encoder's posterior has independent dimensions, so the columns of W turn until the true posterior
has independent dimensions too, which means that they are orthogonal.

Formula: max ELBO = mean log N(x; b, W W' + s^2 I), with W from the leading eigenvectors of the covariance
Source: V. Roth, Neural Encoder-Decoder Models; Tipping & Bishop 1999, eq. 8; Lucas et al. 2019.
Look at: the bound reaches the dotted line, and the cosine between the columns goes to 0.
"""

from typing import cast

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np
import optax

from experiments.figures.engine import Criterion, at_most
from experiments.figures.style import grid, ink
from models.bottleneck import Variational
from objectives.variational import kl_to_standard_normal, log_likelihood
from training.state import merge, split

N, X, Z, STEPS = 400, 5, 2, 6000


def run(seed: int, *, posterior_variance: bool = True) -> dict:
    x = _data(seed)
    mean, eigenvalues = x.mean(0), np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    noise = eigenvalues[Z:].mean()
    # Tipping & Bishop 1999, eq. 7 and 8: at the best W the covariance has these eigenvalues.
    closed = -(X * np.log(2 * np.pi) + np.log(eigenvalues[:Z]).sum() + (X - Z) * np.log(noise) + X) / 2
    model = Variational(
        image_shape=(1, 1, X), target_shape=(X,), latents=Z, width=1, depth=0, likelihood="gaussian",
        variance=float(noise), rngs=nnx.Rngs(seed),
    )  # fmt: skip
    structure, parameters = split(model)
    data = jnp.asarray(x - mean, jnp.float32)

    def bound(parameters):
        model = cast(Variational, merge(structure, parameters))
        mean_BZ, log_variance_BZ = model.encode(data)
        log_variance_BZ = log_variance_BZ if posterior_variance else jnp.zeros_like(log_variance_BZ)
        W_ZX = model.decoder.out.kernel[...]
        # The expectation over a linear decoder is known in closed form, so no samples are needed.
        spread_B = (jnp.exp(log_variance_BZ) * (W_ZX**2).sum(1)).sum(1) / (2 * float(noise))
        log_p_B = log_likelihood(model.decode(mean_BZ), data) - spread_B
        return (log_p_B - kl_to_standard_normal(mean_BZ, log_variance_BZ).sum(1)).mean(), W_ZX

    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS))

    def step(carry, _):
        parameters, state = carry
        (value, W_ZX), gradient = jax.value_and_grad(bound, has_aux=True)(parameters)
        updates, state = optimizer.update(jax.tree.map(jnp.negative, gradient), state)
        cosine = W_ZX[0] @ W_ZX[1] / jnp.linalg.norm(W_ZX[0]) / jnp.linalg.norm(W_ZX[1])
        return (optax.apply_updates(parameters, updates), state), (value, cosine)

    _, (bounds, cosines) = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), length=STEPS))(parameters)
    return {"bounds": np.array(bounds), "cosines": np.array(cosines), "closed": closed}


def _data(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = np.linalg.qr(generator.normal(size=(X, Z)))[0] * np.array([2.0, 1.2])
    return generator.normal(size=(N, Z)) @ mixing.T + 0.5 * generator.normal(size=(N, X))


def check(results: dict) -> list[Criterion]:
    return [
        at_most("bound, distance from the closed form, nats", abs(results["bounds"][-1] - results["closed"]), 1e-4),
        at_most("cosine between the columns of W", abs(results["cosines"][-1]), 1e-3),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    steps = np.arange(1, len(results["bounds"]) + 1)
    left.semilogx(steps, results["bounds"], "C0", label="ELBO")
    left.axhline(results["closed"], color=ink(), linestyle=":")
    low, high = np.quantile(results["bounds"], 0.005), results["closed"]
    left.set(
        xlabel="optimizer steps", ylabel="nats per example", title="The bound", ylim=(low, high + 0.1 * (high - low))
    )
    options = {"transform": left.transAxes, "ha": "right", "fontsize": 13}
    left.text(0.98, 0.11, f"closed form: {results['closed']:.5f}", **options)
    left.text(0.98, 0.03, f"reached: {results['bounds'][-1]:.5f}", color="C0", **options)
    right.semilogx(steps, results["cosines"], "C1")
    right.axhline(0, color=ink(), linewidth=1, linestyle=":")
    right.set(xlabel="optimizer steps", ylabel="cosine", title="Cosine between the columns of W")
    for axes in (left, right):
        grid(axes)
