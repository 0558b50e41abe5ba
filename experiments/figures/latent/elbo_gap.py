"""What the evidence lower bound lacks is the divergence from the true posterior.

With a one-dimensional latent, every integral can be computed on a grid. The bound depends on the approximate posterior
q, the evidence does not; the gap between them measures how far q is from the true posterior.

Formula: log p(x) - ELBO(q) = KL(q(z) || p(z | x)), where ELBO = E_q log p(x | z) - KL(q || p(z))
Source: V. Roth, Neural Encoder-Decoder Models; Kingma & Welling 2014, eq. 1-3.
Look at: the gap between bound and evidence, which remains even for the best Gaussian q of this width.
"""

from flax import nnx
import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import numpy as np

from experiments.figures.engine import Criterion, at_least, at_most
from experiments.figures.style import grid, ink
from models.bottleneck import Variational
from objectives.variational import kl_to_standard_normal, log_likelihood

Z = np.linspace(-8, 8, 4001)
MEANS = np.linspace(-2.5, 2.5, 101)
DEVIATION = 0.4


def run(seed: int, *, kl_weight: float = 1.0) -> dict:
    with jax.enable_x64(True):
        model = Variational(
            image_shape=(1, 1, 2), target_shape=(2,), latents=1, width=16, depth=1, likelihood="gaussian",
            variance=0.1, rngs=nnx.Rngs(seed + 1),  # with seed 0 the posterior has two modes
        )  # fmt: skip
        z_BZ = jnp.asarray(Z)[:, None]
        decoded = jax.tree.map(lambda x: x.astype(jnp.float64), model.decode(z_BZ))
        x = decoded["mean"][2300] + 0.2  # close to the output for z = 1.2
        log_likelihoods = np.array(log_likelihood(decoded, jnp.broadcast_to(x, decoded["mean"].shape)))
        log_prior = _log_normal(Z, 0.0, 1.0)
        evidence = _integral(np.exp(log_likelihoods + log_prior))
        log_posterior = log_likelihoods + log_prior - np.log(evidence)
        bounds, divergences = [], []
        for mean in MEANS:
            log_q = _log_normal(Z, mean, DEVIATION)
            q = np.exp(log_q)
            prior_kl = float(kl_to_standard_normal(jnp.asarray(mean), jnp.asarray(2 * np.log(DEVIATION))))
            bounds.append(_integral(q * log_likelihoods) - kl_weight * prior_kl)
            divergences.append(_integral(q * (log_q - log_posterior)))
    return {
        "evidence": np.log(evidence),
        "bounds": np.array(bounds),
        "divergences": np.array(divergences),
        "posterior": np.exp(log_posterior),
    }


def _log_normal(z, mean, deviation):
    return -(((z - mean) / deviation) ** 2 + np.log(2 * np.pi)) / 2 - np.log(deviation)


def _integral(values) -> float:
    return float(np.trapezoid(values, Z))


def check(results: dict) -> list[Criterion]:
    gaps = results["evidence"] - results["bounds"]
    return [
        at_most(
            "largest difference between the gap and the divergence, nats",
            np.abs(gaps - results["divergences"]).max(),
            1e-4,
        ),
        at_least("smallest gap, nats", gaps.min(), 0.0),
    ]


def plot(figure: Figure, results: dict) -> None:
    left, right = figure.subplots(1, 2)
    best = MEANS[results["bounds"].argmax()]
    left.fill_between(Z, results["posterior"], color="C0", alpha=0.45, label="true posterior")
    left.plot(Z, np.exp(_log_normal(Z, best, DEVIATION)), "C1", label="best q of this width")
    left.set(xlim=(-3, 3), ylim=(0, None), xlabel="latent z", ylabel="density", title="Posteriors")
    left.set_ylim(0, 1.45 * max(results["posterior"].max(), 1.0))
    left.legend(loc="upper left")
    right.axhline(results["evidence"], color=ink(), linestyle=":", label="log p(x)")
    right.plot(MEANS, results["bounds"], "C1", label="ELBO")
    right.fill_between(
        MEANS,
        results["bounds"],
        results["bounds"] + results["divergences"],
        color="C2",
        alpha=0.35,
        label="KL(q || p(z | x))",
    )
    right.set(xlabel="mean of q", ylabel="nats", title="The gap below the evidence")
    right.legend(loc="lower right")
    grid(right)
