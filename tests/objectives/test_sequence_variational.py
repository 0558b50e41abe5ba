"""The evidence bound of texts against sums written out, free bits, the joint property, and the rows that count."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models import SequenceVAE
from objectives.interface import check_ability
from objectives.sequence_variational import sequence_variational
from objectives.variational import kl_to_standard_normal

V, T, B = 7, 5, 3
KEY = jax.random.key(4)


def build(properties: int = 2) -> SequenceVAE:
    return SequenceVAE(vocab_size=V, context=T, latents=3, properties=properties, width=6, depth=1, rngs=nnx.Rngs(0))


def batch(rows: int = B) -> dict[str, Any]:
    tokens = jax.random.randint(jax.random.key(1), (rows, T), 0, V)
    mask = jnp.arange(T) < jnp.array([5, 3, 2, 4, 1])[:rows, None]
    inputs = {"tokens": tokens, "mask": mask, "properties": jax.random.normal(jax.random.key(2), (rows, 2))}
    return {"inputs": inputs, "targets": tokens, "weights": mask.astype(jnp.float32)}


def narrow(model: SequenceVAE) -> SequenceVAE:
    """A model whose posterior hardly varies, so that a draw of z is its mean."""
    out = model.encoder.out
    out.kernel.set_value(out.kernel[...].at[:, 3:].set(0))
    out.bias.set_value(out.bias[...].at[3:].set(-40.0))
    return model


def test_the_loss_is_the_sum_of_its_parts_written_out():
    model, examples = narrow(build()), batch()
    loss, metrics = sequence_variational(model, examples, None, beta=0.3, property_weight=7.0)
    inputs = examples["inputs"]
    mean, log_variance = model.encode(inputs["tokens"], mask=inputs["mask"])
    log_p = jax.nn.log_softmax(model.next_tokens(mean, inputs["tokens"]))
    nats = [
        -sum(float(log_p[b, t, inputs["tokens"][b, t]]) for t in range(length)) for b, length in enumerate((5, 3, 2))
    ]
    kl = kl_to_standard_normal(mean, log_variance).sum(-1).mean()
    error = ((model.predict(mean) - inputs["properties"]) ** 2).sum(-1).mean()
    means = {name: float(total / count) for name, (total, count) in metrics.items()}
    assert means["reconstruction"] == pytest.approx(float(np.mean(nats)), rel=1e-5)
    assert means["kl"] == pytest.approx(float(kl), rel=1e-5)
    assert means["property"] == pytest.approx(float(error), rel=1e-5)
    assert float(loss) == means["loss"] == pytest.approx(float(np.mean(nats) + 0.3 * kl + 7 * error), rel=1e-5)
    assert means["elbo"] == pytest.approx(-float(kl) - np.mean(nats), rel=1e-5)


def test_exact_is_the_share_of_texts_that_the_model_would_write():
    model, examples = narrow(build()), batch()
    inputs = examples["inputs"]
    written = model.write(model.encode(inputs["tokens"], mask=inputs["mask"])[0])
    own = examples | {"targets": jnp.where(jnp.arange(B)[:, None] == 1, inputs["tokens"], written)}
    # The posterior stays that of the inputs; the texts to be restored are the written ones, but for one.
    total, count = sequence_variational(model, own, None)[1]["exact"]
    assert count == B and total == 2
    right, tokens = sequence_variational(model, own, None)[1]["accuracy"]
    assert tokens == 10 and 7 <= right < 10


def test_texts_without_weight_change_nothing():
    model, short, padded = build(), batch(3), batch(5)
    padded["weights"] = padded["weights"].at[3:].set(0)
    padded["inputs"] = {name: x.at[:3].set(short["inputs"][name]) for name, x in padded["inputs"].items()}
    padded["targets"] = padded["inputs"]["tokens"]
    padded["weights"] = padded["weights"].at[:3].set(short["weights"])
    for name, (total, count) in sequence_variational(model, padded, None)[1].items():
        expected = sequence_variational(model, short, None)[1][name]
        assert count == expected[1] and total == pytest.approx(float(expected[0]), rel=1e-5), name
    loss = lambda x: sequence_variational(model, padded | {"inputs": padded["inputs"] | {"properties": x}}, None)[0]
    gradient = jax.grad(loss)(padded["inputs"]["properties"])
    assert (gradient[3:] == 0).all() and (jnp.abs(gradient[:3]) > 0).all()


def test_free_bits_take_the_cost_from_dimensions_that_are_cheaper_and_only_in_training():
    model, examples = build(), batch()
    inputs = examples["inputs"]
    means = kl_to_standard_normal(*model.encode(inputs["tokens"], mask=inputs["mask"])).mean(0)
    between = float(jnp.sort(means)[1])  # of three dimensions one is below
    loss = lambda key, **fields: float(sequence_variational(model, examples, key, **fields)[0])
    part = lambda key, free_bits: loss(key, free_bits=free_bits) - loss(key, beta=0.0)
    assert part(KEY, free_bits=between) == pytest.approx(float(jnp.maximum(means, between).sum()), rel=1e-4)
    assert part(None, free_bits=between) == pytest.approx(float(means.sum()), rel=1e-4)


def test_the_weight_of_the_kl_rises():
    model, examples = build(), batch()
    at = lambda step, **more: float(sequence_variational(model, examples | {"step": step}, KEY, **more)[0])
    without, full = at(9, beta=0.0), at(9, beta=3.0)
    warmed = [at(step, beta=3.0, kl_warmup=4) for step in range(5)]
    np.testing.assert_allclose(np.array(warmed) - without, np.array([1, 2, 3, 4, 4]) / 4 * (full - without), rtol=1e-4)


@pytest.mark.parametrize("of_model, of_data", [(0, 2), (2, 0), (1, 2)])
def test_properties_that_do_not_fit_are_refused(of_model, of_data):
    examples = batch()
    examples["inputs"]["properties"] = examples["inputs"]["properties"][:, :of_data]
    if not of_data:
        del examples["inputs"]["properties"]
    with pytest.raises(UserError, match=f"model.properties = {of_model}: the data has {of_data} properties"):
        sequence_variational(build(of_model), examples, None)


def test_a_model_of_other_latents_is_refused():
    with pytest.raises(UserError, match="needs a model that encodes texts to latents"):
        check_ability(sequence_variational, nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
