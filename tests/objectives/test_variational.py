"""The bounds against closed forms: divergence, likelihoods, a linear-Gaussian model, the Gaussian bottleneck."""

from functools import partial
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal, norm

from data.two_views import gaussian_bottleneck, gaussian_pair
from models import GPT, Variational
from objectives.interface import check_ability
from objectives.variational import kl_to_standard_normal, log_likelihood, variational
from training.state import initialise
from training.step import make_train_step

KEY = jax.random.key(5)


def images_model(**fields) -> Variational:
    small: dict[str, Any] = dict(image_shape=(2, 3, 1), target_shape=(2, 3, 1), latents=5, width=7, depth=1)
    return Variational(**small | fields, rngs=nnx.Rngs(0))


def images_batch(count: int = 11) -> dict:
    images = np.random.default_rng(0).random((count, 2, 3, 1), np.float32)
    return {"inputs": {"images": images}, "targets": images, "weights": np.ones(count, np.float32)}


def means(pairs: dict) -> dict:
    return {name: float(total / count) for name, (total, count) in pairs.items()}


def evaluate(model, batch, **settings) -> dict:
    return means(jax.jit(lambda batch: variational(model, batch, None, **settings)[1])(batch))


# ---- the two numbers ------------------------------------------------------------------------------------------------


def test_divergence_by_hand_and_by_quadrature():
    assert kl_to_standard_normal(jnp.zeros(3), jnp.zeros(3)).tolist() == [0, 0, 0]
    assert kl_to_standard_normal(jnp.array([2.0]), jnp.array([1.0])).item() == pytest.approx((4 + np.e - 2) / 2)
    x = np.linspace(-12, 12, 100_001)
    q = (0.7, np.exp(-0.4))  # mean and standard deviation
    integral = np.trapezoid(norm.pdf(x, *q) * (norm.logpdf(x, *q) - norm.logpdf(x)), x)
    assert kl_to_standard_normal(jnp.array(0.7), jnp.array(-0.8)).item() == pytest.approx(integral, abs=1e-6)


def test_likelihoods_by_hand():
    logits, targets = jnp.array([[[0.0, 2.0]], [[-1.0, 3.0]]]), jnp.array([[[1.0, 0.25]], [[0.0, 1.0]]])
    p = 1 / (1 + np.exp(-np.array(logits)))
    expected = (targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum((1, 2))
    np.testing.assert_allclose(log_likelihood({"logits": logits}, targets), expected, rtol=1e-5)
    certain = log_likelihood({"logits": jnp.array([[90.0], [90.0], [-90.0]])}, jnp.array([[1.0], [0.0], [0.0]]))
    np.testing.assert_allclose(certain, [0, -90, 0], atol=1e-6)
    gaussian = {"mean": logits, "log_variance": jnp.full((2, 1, 2), np.log(0.3))}
    expected = norm.logpdf(targets, logits, np.sqrt(0.3)).sum((1, 2))
    np.testing.assert_allclose(log_likelihood(gaussian, targets), expected, rtol=1e-5)
    classes = log_likelihood({"logits": logits[:, 0]}, jnp.array([1, 0]))
    np.testing.assert_allclose(classes, [-np.log(1 + np.exp(-2)), -np.log(1 + np.exp(4))], rtol=1e-5)


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"decodes logits \(11, 2, 3, 1\), but the targets have the shape \(11, 3\)"):
        evaluate(images_model(), images_batch() | {"targets": np.ones((11, 3), np.float32)})


# ---- a linear-Gaussian model, whose likelihood is known -------------------------------------------------------------

W = np.array([[1.0, 0.5], [2.0, -0.25], [-0.5, 0.0], [0.0, 1.5], [1.0, 0.0], [0.0, 0.0]])
W[:, 1] -= W[:, 0] * (W[:, 0] @ W[:, 1]) / (W[:, 0] @ W[:, 0])  # orthogonal columns: the posterior is diagonal
NOISE = 0.3
X = np.random.default_rng(1).multivariate_normal(np.zeros(6), W @ W.T + NOISE * np.eye(6), 50).astype(np.float32)
LINEAR = {"inputs": {"images": X.reshape(50, 2, 3, 1)}, "targets": X.reshape(50, 2, 3, 1), "weights": np.ones(50)}
COVARIANCE: Any = W @ W.T + NOISE * np.eye(6)
EVIDENCE = multivariate_normal(np.zeros(6), COVARIANCE).logpdf(X).mean()
POSTERIOR_VARIANCE = NOISE / (NOISE + (W**2).sum(0))


def linear_model(*, widen: float = 1.0) -> Variational:
    """x = W z + noise with its exact posterior; `widen` multiplies the variance of the posterior."""
    model = images_model(latents=2, depth=0, likelihood="gaussian", variance=NOISE)
    model.decoder.out.kernel.set_value(jnp.asarray(W.T, jnp.float32))
    to_mean = W * POSTERIOR_VARIANCE / NOISE
    model.encoder.out.kernel.set_value(jnp.asarray(np.hstack([to_mean, np.zeros((6, 2))]), jnp.float32))
    log_variance = np.log(widen * POSTERIOR_VARIANCE)
    model.encoder.out.bias.set_value(jnp.asarray(np.concatenate([np.zeros(2), log_variance]), jnp.float32))
    return model


def test_with_the_exact_posterior_both_bounds_are_tight():
    # Every single draw has the same importance weight, p(x).
    assert evaluate(linear_model(), LINEAR)["importance_bound"] == pytest.approx(EVIDENCE, abs=1e-4)
    many = evaluate(linear_model(), LINEAR, evaluation_samples=2000)
    assert many["elbo"] == pytest.approx(EVIDENCE, abs=0.01)
    assert many["loss"] == pytest.approx(-many["elbo"], abs=1e-4)


def test_with_another_posterior_the_gap_is_its_divergence_from_the_exact_one():
    scores = evaluate(linear_model(widen=2.0), LINEAR, evaluation_samples=2000)
    gap = 2 * (2 - np.log(2) - 1) / 2
    assert EVIDENCE - scores["elbo"] == pytest.approx(gap, abs=0.02)


def test_the_importance_weighted_bound_is_tighter_with_more_draws():
    bounds = [
        evaluate(linear_model(widen=3.0), LINEAR, evaluation_samples=k)["importance_bound"] for k in (1, 3, 1000)
    ]
    assert bounds[0] < bounds[1] - 0.1 < bounds[2] - 0.1
    assert bounds[1] < bounds[2] < EVIDENCE + 0.02
    assert bounds[2] == pytest.approx(EVIDENCE, abs=0.02)


def importance_loss(model, key, samples: int):
    return variational(model, LINEAR, key, bound="importance", samples=samples, evaluation_samples=samples)[0]


def test_the_loss_of_the_importance_weighted_bound():
    for key in (None, KEY):  # evaluation, training
        assert importance_loss(linear_model(), key, 1).item() == pytest.approx(-EVIDENCE, abs=1e-4)
        losses = [importance_loss(linear_model(widen=3.0), key, samples).item() for samples in (1, 5, 1000)]
        assert losses[0] > losses[1] + 0.1 and losses[2] == pytest.approx(-EVIDENCE, abs=0.02)
    with_one = variational(linear_model(widen=3.0), LINEAR, None, bound="importance", evaluation_samples=7)
    assert with_one[0] == pytest.approx(-means(with_one[1])["importance_bound"], abs=1e-5)


def test_the_gradient_of_the_importance_weighted_bound_weighs_each_draw_by_its_share():
    model, samples = linear_model(widen=3.0), 5
    structure, parameters = nnx.split(model, nnx.Param)
    loss = lambda parameters: importance_loss(nnx.merge(structure, parameters), KEY, samples)

    def log_weights(parameters):  # of the same draws, (draws, B)
        model = nnx.merge(structure, parameters)
        mean, log_variance = model.encode(**LINEAR["inputs"])
        noises = [jax.random.normal(key, mean.shape) for key in jax.random.split(jax.random.split(KEY)[1], samples)]
        rows = []
        for noise in noises:
            z = mean + jnp.exp(log_variance / 2) * noise
            prior, posterior = (norm_of(z), norm_of(noise) - (log_variance / 2).sum(-1))
            rows.append(log_likelihood(model.decode(z), LINEAR["targets"]) + prior - posterior)
        return jnp.stack(rows)

    shares = jax.nn.softmax(log_weights(parameters), axis=0)
    expected = jax.grad(lambda parameters: -(shares * log_weights(parameters)).sum() / len(X))(parameters)
    for x, y in zip(*map(jax.tree.leaves, (jax.grad(loss)(parameters), expected)), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4)


def norm_of(z) -> jax.Array:
    return -((z**2 + np.log(2 * np.pi)) / 2).sum(-1)


# ---- the bottleneck of two Gaussians, whose information is known ----------------------------------------------------


@pytest.mark.parametrize("beta, information_kept", [(2.0, [1, 0]), (20.0, [1, 1])])
def test_the_best_linear_bottleneck_gives_the_known_information(beta, information_kept):
    rho, information_kept = np.array([0.9, 0.5]), np.array(information_kept)
    signal = information_kept * np.maximum(0, (beta * rho**2 - 1) / (1 - rho**2))  # signal to noise in z
    scale, variance = np.sqrt(signal / (1 + signal)), 1 / (1 + signal)
    model = images_model(image_shape=(1, 2, 1), target_shape=(1, 2, 1), latents=2, depth=0, likelihood="gaussian")
    model.encoder.out.kernel.set_value(jnp.asarray(np.hstack([np.diag(scale), np.zeros((2, 2))]), jnp.float32))
    model.encoder.out.bias.set_value(jnp.asarray(np.concatenate([np.zeros(2), np.log(variance)]), jnp.float32))
    model.decoder.out.kernel.set_value(jnp.asarray(np.diag(rho * scale), jnp.float32))
    assert model.log_variance is not None
    model.log_variance.set_value(jnp.log(1 - (rho * scale) ** 2).reshape(1, 2, 1).astype(jnp.float32))
    batch = gaussian_pair().evaluation.examples(np.arange(10_000))
    scores = evaluate(model, batch, target_entropy=float(np.log(2 * np.pi * np.e)), evaluation_samples=10)
    expected = gaussian_bottleneck((0.9, 0.5), beta)
    assert (scores["kl"], scores["information"]) == pytest.approx(expected, abs=0.03)


# ---- how they are weighed -------------------------------------------------------------------------------------------


def test_beta_weighs_the_kl_or_the_likelihood():
    model, batch = images_model(), images_batch()
    plain = evaluate(model, batch)
    assert plain["kl"] > 0.01
    on_kl, on_likelihood = (evaluate(model, batch, beta=0.1, beta_weighs=w)["loss"] for w in ("kl", "likelihood"))
    assert on_kl == pytest.approx(0.1 * plain["kl"] + plain["reconstruction"], rel=1e-6)
    assert on_likelihood == pytest.approx(plain["kl"] + 0.1 * plain["reconstruction"], rel=1e-6)
    # The same trade in the other convention, up to a factor.
    assert on_likelihood == pytest.approx(0.1 * evaluate(model, batch, beta=10.0)["loss"], rel=1e-6)


@pytest.mark.parametrize("beta_weighs, larger_beta", [("kl", "less"), ("likelihood", "more")])
def test_a_larger_beta_teaches_the_latents_less_or_more(beta_weighs, larger_beta):
    batch, optimizer = images_batch(64), optax.adam(0.02)

    def kl(beta):
        structure, create = initialise(
            lambda rngs: images_model(depth=0, likelihood="gaussian"), optimizer, average=False
        )
        objective = partial(variational, beta=beta, beta_weighs=beta_weighs)
        step = make_train_step(structure, objective, optimizer)
        state, metrics = jax.lax.scan(lambda s, _: step(s, batch), create(jax.random.key(0)), None, 300)
        return means(jax.tree.map(lambda x: x[-1], metrics))["kl"]

    few, many = kl(0.1), kl(10.0)
    assert (many < few / 5) if larger_beta == "less" else (many > 5 * few)


def test_beta_may_be_traced():
    model, batch = images_model(), images_batch()
    loss = lambda beta: variational(model, batch, KEY, beta=beta)[0]
    betas = jnp.array([0.0, 0.5, 2.0])
    np.testing.assert_allclose(jax.vmap(loss)(betas), [loss(float(b)) for b in betas], rtol=1e-6)


def test_the_weight_of_the_kl_rises_with_the_step():
    model, batch = images_model(), images_batch()
    loss = jax.jit(lambda beta, **more: variational(model, batch | more, KEY, beta=beta)[0])
    warmed = jax.jit(lambda step: variational(model, batch | {"step": step}, KEY, beta=3.0, kl_warmup=4)[0])
    full, reconstruction = float(loss(3.0)), float(loss(0.0))
    for step, share in [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (1000, 1.0)]:
        assert float(warmed(step)) == pytest.approx(reconstruction + share * (full - reconstruction), rel=1e-5)
        assert float(loss(3.0, step=step)) == pytest.approx(full, rel=1e-6)
    assert evaluate(model, batch, kl_warmup=4)["loss"] == pytest.approx(evaluate(model, batch)["loss"])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_train_step_hands_on_its_number(accumulate):
    optimizer = optax.sgd(0.0)
    structure, create = initialise(lambda rngs: images_model(), optimizer, average=False)
    step = make_train_step(structure, partial(variational, kl_warmup=4), optimizer, accumulate=accumulate)
    state = create(jax.random.key(0))
    step = jax.jit(step)
    for number in range(6):
        state, metrics = step(state, images_batch(10))
        scores = means(metrics)
        share = min(1, (number + 1) / 4)
        assert scores["loss"] == pytest.approx(share * scores["kl"] + scores["reconstruction"], rel=1e-5)


def test_free_bits_hold_each_latent_up_on_average():
    batch: dict[str, Any] = LINEAR | {"weights": np.arange(50, dtype=np.float32)}
    model = linear_model()
    mean, log_variance = model.encode(**batch["inputs"])
    by_latent = np.average(kl_to_standard_normal(mean, log_variance), axis=0, weights=batch["weights"])
    between = float(by_latent.mean())  # one latent is below, one above
    scores = means(jax.jit(lambda batch: variational(model, batch, KEY, free_bits=between)[1])(batch))
    assert scores["loss"] - scores["reconstruction"] == pytest.approx(between + by_latent.max(), rel=1e-4)
    assert scores["kl"] == pytest.approx(by_latent.sum(), rel=1e-5)
    kl_part = lambda m: variational(m, batch, KEY, free_bits=between)[0] - variational(m, batch, KEY, beta=0.0)[0]
    gradient = nnx.jit(nnx.grad(kl_part))(model).encoder.out.bias[...][2:]  # of the log variances
    assert np.array(gradient != 0).tolist() == (by_latent > between).tolist()
    # A bound on the mean over a batch would make the loss of a split depend on its batches.
    evaluated = evaluate(model, batch, free_bits=between)
    assert evaluated["loss"] == pytest.approx(evaluate(model, batch)["loss"])


# ---- metrics --------------------------------------------------------------------------------------------------------


def test_padding_has_no_part_and_counts_are_exact():
    batch = images_batch(8)
    padded = jax.tree.map(lambda x: np.concatenate([x, np.full_like(x[:3], 0.9)]), batch)
    padded["weights"][8:] = 0
    loss, metrics = variational(images_model(), batch, None)
    padded_loss, padded_metrics = variational(images_model(), padded, None)
    assert means(padded_metrics)["kl"] == pytest.approx(means(metrics)["kl"], rel=1e-6)
    assert {float(count) for _, count in padded_metrics.values()} == {8}
    assert float(padded_loss) == pytest.approx(means(padded_metrics)["loss"])
    assert float(loss) == pytest.approx(means(metrics)["loss"])


def test_training_follows_its_key_and_evaluation_needs_none():
    model, batch = images_model(), images_batch()
    assert evaluate(model, batch) == evaluate(model, batch) != evaluate(model, batch, evaluation_samples=2)
    assert "importance_bound" not in jax.eval_shape(variational, model, batch, KEY)[1]
    keys = jax.random.split(KEY, 20)
    draw = lambda count: jax.vmap(lambda key: variational(model, batch, key, samples=count)[0])(keys)
    one, many = jax.jit(draw, static_argnums=0)(1), jax.jit(draw, static_argnums=0)(30)
    np.testing.assert_array_equal(one, jax.jit(draw, static_argnums=0)(1))
    assert len(set(one.tolist())) == 20 and many.std() < one.std() / 3


def test_classes_are_those_likeliest_on_average():
    class Three:
        """Class 1 at most draws, narrowly; class 2 at few, but certainly."""

        def encode(self, images, key=None):
            return jnp.zeros((len(images), 1)), jnp.zeros((len(images), 1))

        def decode(self, z):
            rare = jnp.array([-9.0, -9.0, 9.0])
            return {"logits": jnp.where(z > 0.5, rare, jnp.array([-9.0, 0.1, 0.0]))}

    batch = {"inputs": {"images": np.zeros((3, 1))}, "targets": np.array([2, 2, 1]), "weights": np.ones(3)}
    scores = evaluate(Three(), batch, evaluation_samples=1000, target_entropy=1.5)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["information"] == pytest.approx(1.5 - scores["reconstruction"])
    assert "information" not in evaluate(Three(), batch)


def test_bad_settings_and_models_are_named():
    with pytest.raises(ValueError, match="beta_weighs = 'both': expected 'kl' or 'likelihood'"):
        evaluate(images_model(), images_batch(), beta_weighs="both")
    with pytest.raises(ValueError, match="bound = 'iwae': expected 'elbo' or 'importance'"):
        evaluate(images_model(), images_batch(), bound="iwae")
    for fields in ({"beta": 2.0}, {"free_bits": 0.1}, {"kl_warmup": 3}):
        with pytest.raises(ValueError, match="bound = 'importance' takes no beta, kl_warmup or free_bits"):
            evaluate(images_model(), images_batch(), bound="importance", **fields)
    model = GPT(vocab_size=5, context=3, width=2, depth=1, heads=1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="needs a model that encodes to latents and decodes them, and this GPT"):
        check_ability(variational, model)
