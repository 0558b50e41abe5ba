"""muP: the table by hand, equality with the form in which the paper states it, and what does not go with it."""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from core.errors import UserError
from core.parameters import split
from core.signatures import keywords
from models import MODELS, pretrained
from models.attention import Attention, AttentionWeights
from models.parametrization import factors
from tests.models.rows import ROWS
from training.optimizer import make_optimizer

SCALABLE = [name for name in ROWS if "parametrization" in keywords(MODELS[name])]
GPT = {"vocab_size": 23, "context": 13, "width": 42, "depth": 2, "heads": 7}


def gpt(**fields):
    return MODELS["gpt"](**GPT | fields, rngs=nnx.Rngs(3))


def test_every_transformer_of_the_house_has_it():
    assert set(SCALABLE) >= {"bert", "captioner", "clip", "encoder_decoder", "flamingo", "gpt", "in_context",
                             "perceiver", "swin", "vit"}  # fmt: skip


def test_at_the_base_width_nothing_changes():
    ours, standard = gpt(parametrization="mup", base_width=42), gpt()
    assert ours.rate_factors == () == standard.rate_factors
    for path, parameter in split(ours)[1].items():
        np.testing.assert_array_equal(parameter, split(standard)[1][path])
    np.testing.assert_array_equal(ours(jnp.arange(11)[None]), standard(jnp.arange(11)[None]))


def test_the_table_of_a_gpt():
    # Width 42 is three times the base: hidden kernels learn a third as fast, the read-out starts sqrt(3) smaller too.
    model = gpt(parametrization="mup", base_width=14, tied=False)
    blocks = [f"blocks.blocks.{layer}" for layer in range(2)]
    maps = ("attention.query", "attention.key", "attention.value", "attention.out", "mlp.up", "mlp.down")
    hidden = {f"{block}.{name}.kernel" for block in blocks for name in maps}
    assert dict(model.rate_factors) == pytest.approx(dict.fromkeys(hidden | {"head.kernel"}, 1 / 3))
    standard, ours = split(gpt(tied=False))[1], split(model)[1]
    assert ours.keys() == standard.keys()
    for path in ours:
        factor = 3**-0.5 if path == "head.kernel" else 1
        np.testing.assert_allclose(ours[path], factor * standard[path], rtol=1e-6, err_msg=path)


# What the package `mup` 1.0.0 gives to the same transformer at widths 42 and 70 if its base has 14: python
# tests/models/reference_mup.py. Its read-outs are multiplied in the forward pass instead, so what counts is the product
# of deviation, or learning rate, and multiplier.
OF_MUP = {
    42: {
        "embedding.embedding": {"rate": 1, "deviation": 0.02},
        "positions.table": {"rate": 1, "deviation": 0.02},
        "blocks.blocks.0.attention.query.kernel": {"rate": 0.333333, "deviation": 0.154303},
        "blocks.blocks.0.mlp.up.kernel": {"rate": 0.333333, "deviation": 0.154303},
        "blocks.blocks.0.mlp.down.kernel": {"rate": 0.333333, "deviation": 0.077152},
        "blocks.blocks.0.mlp.up.bias": {"rate": 1},
        "blocks.blocks.0.mlp_norm.scale": {"rate": 1},
        "head.kernel": {"rate": 1, "deviation": 0.267261, "multiplier": 0.333333},
    },
    70: {
        "embedding.embedding": {"rate": 1, "deviation": 0.02},
        "positions.table": {"rate": 1, "deviation": 0.02},
        "blocks.blocks.0.attention.query.kernel": {"rate": 0.2, "deviation": 0.119523},
        "blocks.blocks.0.mlp.up.kernel": {"rate": 0.2, "deviation": 0.119523},
        "blocks.blocks.0.mlp.down.kernel": {"rate": 0.2, "deviation": 0.059761},
        "blocks.blocks.0.mlp.up.bias": {"rate": 1},
        "blocks.blocks.0.mlp_norm.scale": {"rate": 1},
        "head.kernel": {"rate": 1, "deviation": 0.267261, "multiplier": 0.2},
    },
}


@pytest.mark.parametrize("width", OF_MUP)
def test_a_transformer_starts_and_learns_as_with_the_package_mup(width):
    kinds = ("mup", "standard")
    model, standard = (gpt(width=width, depth=1, tied=False, parametrization=kind, base_width=14) for kind in kinds)
    ours, plain = split(model)[1], split(standard)[1]
    optimizer, _ = make_optimizer(dict(model.rate_factors), steps=5, learning_rate=0.01, weight_decay=0.1)

    def step(gradient: float) -> Any:
        of_each = lambda value: {path: jnp.full_like(x, value) for path, x in ours.items()}
        return optimizer.update(of_each(gradient), optimizer.init(ours), of_each(1.0))[0]

    decayed, learned = step(0.0), step(1.0)
    for path, numbers in OF_MUP[width].items():
        multiplier = numbers.get("multiplier", 1)
        decay = -float(decayed[path].mean())
        assert decay == pytest.approx(0.001 if path.endswith("kernel") else 0, rel=1e-4)  # in every width, as in `mup`
        rate = (-float(learned[path].mean()) - decay) / 0.01
        assert rate == pytest.approx(multiplier * numbers["rate"], rel=1e-4), path
        if "deviation" in numbers:
            start = plain[path].shape[0] ** -0.5 if path.endswith("kernel") else 0.02
            assert float(jnp.std(plain[path])) == pytest.approx(start, rel=0.1)
            factor = float(jnp.median(ours[path] / plain[path]))
            assert factor * start == pytest.approx(multiplier * numbers["deviation"], rel=1e-4), path


@pytest.mark.parametrize("width, multiplier", [(42, 0.333333), (70, 0.2)])
def test_a_tied_read_out_has_the_multiplier_of_the_package_mup(width, multiplier):
    tied = gpt(width=width, depth=1, parametrization="mup", base_width=14)
    x = jax.random.normal(jax.random.key(0), (2, width))
    expected = multiplier * x @ tied.embedding.embedding[...].T
    np.testing.assert_allclose(tied.read_out(x), expected, rtol=1e-4, atol=1e-5)


def test_scanned_layers_have_the_factors_of_single_ones():
    model = gpt(parametrization="mup", base_width=14, scan=True)
    assert dict(model.rate_factors)["blocks.blocks.mlp.up.kernel"] == pytest.approx(1 / 3)
    single = gpt(parametrization="mup", base_width=14)
    np.testing.assert_allclose(model(jnp.arange(11)[None]), single(jnp.arange(11)[None]), atol=1e-6)


def test_logits_of_a_tied_embedding_are_divided_by_the_ratio():
    tied, standard = gpt(parametrization="mup", base_width=14), gpt()
    x = jax.random.normal(jax.random.key(0), (2, 5, 42))
    np.testing.assert_allclose(tied.read_out(x), standard.read_out(x) / 3, atol=1e-6)


@pytest.mark.parametrize("scaled", [True, False])
def test_scores_fall_with_the_size_of_a_head_and_not_with_its_root(scaled):
    # Heads of K = 6 columns, and of 2 at the base: ratio 3. At the base scores are q k / sqrt(2), or q k unscaled.
    model, standard = gpt(parametrization="mup", base_width=14, scaled=scaled), gpt(scaled=scaled)
    attention, other = (m.blocks.block(0).attention for m in (model, standard))
    assert isinstance(attention, Attention) and attention.head_size == 6
    x = jax.random.normal(jax.random.key(0), (2, 5, 42))
    _, captured = nnx.capture(attention, AttentionWeights)(x)
    (weights,) = jax.tree.leaves(captured)
    query, key = (m(x).reshape(2, 5, 7, 6) for m in (attention.query, attention.key))
    scores = jnp.einsum("bthk,bshk->bhts", query, key) * (2**0.5 / 6 if scaled else 2 / 6)
    scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), scores, -jnp.inf)
    np.testing.assert_allclose(weights, jax.nn.softmax(scores), atol=1e-5)
    # Unscaled products have query weights that start 1 / sqrt(K) smaller: here as at the base, 1 / sqrt(2).
    ratio = 1 if scaled else 3**0.5
    np.testing.assert_allclose(attention.query.kernel[...], ratio * other.query.kernel[...], rtol=1e-6)


@pytest.mark.parametrize("embedding_scale", ["in", "out", "none"])
def test_embeddings_enter_as_large_as_at_the_base(embedding_scale):
    fields = {"source_vocab_size": 997, "vocab_size": 997, "source_context": 5, "context": 5, "depth": 1, "heads": 7}
    make = lambda width: MODELS["encoder_decoder"](
        **fields, width=width, embedding_scale=embedding_scale, positions="none", parametrization="mup", base_width=14,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    sizes = [float(jnp.std(m.embedding(jnp.arange(997)) * m.input_scale)) for m in (make(14), make(56))]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_learning_is_that_of_the_form_with_factors_in_the_forward_pass():
    """The paper's table 8: the read-out starts as at the base and is multiplied by 1 / r; only hidden rates fall."""
    ratio, base, inputs, outputs = 3, 7, 5, 11
    width, key = ratio * base, jax.random.key(0)
    shapes = lambda width: {"in.kernel": (inputs, width), "mid.kernel": (width, width), "out.kernel": (width, outputs)}
    started = {
        path: jax.random.normal(jax.random.fold_in(key, i), shape) * shape[0] ** -0.5
        for i, (path, shape) in enumerate(shapes(width).items())
    }
    of_base = {path: jnp.zeros(shape) for path, shape in shapes(base).items()}
    initial, rates = factors(started, of_base)
    assert rates == pytest.approx({"mid.kernel": 1 / 3, "out.kernel": 1 / 3})
    ours = {path: x * initial.get(path, 1) for path, x in started.items()}
    theirs = started | {"out.kernel": started["out.kernel"] * ratio**0.5}
    x, y = jax.random.normal(key, (17, inputs)), jax.random.normal(jax.random.key(1), (17, outputs))

    def apply(parameters, factor):
        return (
            jnp.tanh(jnp.tanh(x @ parameters["in.kernel"]) @ parameters["mid.kernel"])
            @ parameters["out.kernel"]
            * (factor)
        )

    def learn(parameters, rates, factor):
        adam: Any = optax.scale_by_adam(eps=1e-30)
        state = adam.init(parameters)
        for _ in range(7):
            gradient = jax.grad(lambda p: jnp.mean((apply(p, factor) - y) ** 2))(parameters)
            updates, state = adam.update(gradient, state)
            parameters = {p: w - 0.01 * rates.get(p, 1.0) * updates[p] for p, w in parameters.items()}
        return apply(parameters, factor)

    np.testing.assert_allclose(learn(ours, rates, 1), learn(theirs, {"mid.kernel": 1 / ratio}, 1 / ratio), atol=2e-5)


@pytest.mark.parametrize("name", SCALABLE)
def test_every_one_computes_at_twice_the_base_width(name):
    fields, inputs, *_ = ROWS[name]
    widths = {field: 2 * value for field, value in fields.items() if field == "width" or field.endswith("_width")}
    base = fields["width"]
    model = MODELS[name](**fields | widths, parametrization="mup", base_width=base, rngs=nnx.Rngs(0))
    rates = dict(model.rate_factors)
    assert rates and set(rates.values()) <= {1 / 2, 1 / 4}
    assert rates.keys() <= split(model)[1].keys()
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(model(**inputs)))


def test_other_widths_of_the_base_are_in_proportion():
    rates = dict(gpt(parametrization="mup", base_width=14, mlp_width=61).rate_factors)  # 20.33 at the base: 20
    assert rates["blocks.blocks.0.mlp.down.kernel"] == pytest.approx(20 / 61)
    assert rates["blocks.blocks.0.mlp.up.kernel"] == pytest.approx(1 / 3)


def test_more_heads_of_the_same_size():
    model = gpt(parametrization="mup", base_width=14, heads=21, base_heads=7)
    attention = model.blocks.block(0).attention
    assert attention is not None and attention.query_factor == 1
    assert dict(model.rate_factors)["blocks.blocks.0.attention.out.kernel"] == pytest.approx(1 / 3)


def test_weights_are_neither_read_from_nor_written_to_a_published_format(tmp_path):
    pretrained.save(gpt(), tmp_path / "standard")
    scaled = lambda rngs: MODELS["gpt"](**GPT, parametrization="mup", base_width=14, rngs=rngs)
    with pytest.raises(UserError, match="model.parametrization='mup': .* has weights in the standard parametrization"):
        pretrained.load_for(scaled, tmp_path / "standard")
    with pytest.raises(UserError, match="model.parametrization='mup': no published format"):
        pretrained.save(scaled(nnx.Rngs(0)), tmp_path / "mup")
    assert not (tmp_path / "mup").exists()
