"""What holds for every architecture in `MODELS`: one row here is all that a new one needs."""

import functools
import re

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from models import MODELS
from objectives import OBJECTIVES
from tests.models.rows import ROWS, TRANSFORMERS
from tests.tiers import first_fast
from training.state import merge, split


@pytest.fixture(params=sorted(ROWS))
def row(request):
    return request.param, *ROWS[request.param]


RATES = {"archetypal": 3e-3}  # at 0.01 its weights, which sum to 1, all go to one corner with most seeds
GPT_FAST = first_fast(sorted(TRANSFORMERS, key=lambda name: name != "gpt"))


@pytest.fixture(params=GPT_FAST)
def transformer(request):
    return request.param, *ROWS[request.param]


def build(name, fields, **more):
    return MODELS[name](**(fields | more), rngs=nnx.Rngs(0))


def value_and_gradients(loss, model):
    """As one program, which compiles faster than each operation by itself."""
    structure, parameters = split(model)
    return jax.jit(jax.value_and_grad(lambda parameters: loss(merge(structure, parameters))))(parameters)


def test_every_architecture_has_a_row():
    assert set(ROWS) == set(MODELS), f"add a row to tests/models/rows.py for {sorted(set(MODELS) - set(ROWS))}"


def test_parameter_count(row):
    name, fields, _, _, count = row
    assert sum(x.size for x in split(build(name, fields))[1].values()) == count


def test_split_and_merge_give_the_same_model(row):
    name, fields, inputs, *_ = row
    model = build(name, fields)
    np.testing.assert_array_equal(jax.jit(merge(*split(model)))(**inputs), jax.jit(model)(**inputs))


@functools.cache
def trained_on(name, **more):
    """The loss of a model of two layers with dropout, and the norm of its gradient."""
    fields, inputs, *_ = ROWS[name]
    loss = lambda model: (model(**inputs, key=jax.random.key(3)) ** 2).sum()
    value, gradients = value_and_gradients(loss, build(name, fields, depth=2, dropout=0.1, **more))
    return float(value), float(optax.global_norm(gradients))


@pytest.mark.parametrize("more", [{"scan": True}, {"remat": True}, {"scan": True, "remat": True}], ids=str)
def test_scanned_and_rematerialised_layers_give_the_same_numbers(transformer, more):
    name, *_ = transformer
    (loss, norm), (expected_loss, expected_norm) = trained_on(name, **more), trained_on(name)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert norm == pytest.approx(expected_norm, rel=1e-4)


CHOICES = [
    {"norm_order": "post"},
    {"norm": "rms"},
    {"activation": "relu"},
    {"activation": "gelu_tanh"},
    {"activation": "swiglu"},
    {"positions": "sinusoidal", "width": 28},
    {"positions": "none"},
    {"kv_heads": 1},
    {"qk_norm": True},
    {"bias": False},
    {"epsilon": 0.1},
    {"dropout": 0.5},
    {"scaled": False},
    {"head_size": 6},
    {"activation": "geglu"},
    {"layer_scale": 0.5},
]


def program(name, **more) -> str:
    fields, inputs, *_ = ROWS[name]
    make = lambda: build(name, fields, depth=1, **more)(**inputs, key=jax.random.key(5))
    return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(make)()))  # without the addresses of functions


@pytest.mark.parametrize("name", GPT_FAST)
def test_every_choice_reaches_the_program(name):
    plain, wide = program(name), program(name, width=28)
    assert plain == program(name) != wide
    for choice in CHOICES:
        assert program(name, **choice) != (wide if "width" in choice else plain), choice


@pytest.mark.parametrize("numbers", [(0, 1, 2, 7, 11), (3, 5, 8, 9, 12), (4, 6, 10, 13, 15)], ids=str)
def test_choices_train_together(transformer, numbers):
    name, fields, inputs, *_ = transformer
    model = build(name, fields, depth=1, **functools.reduce(dict.__or__, (CHOICES[number] for number in numbers)))
    loss = lambda model: (model(**inputs, key=jax.random.key(5)) ** 2).sum()
    _, gradients = value_and_gradients(loss, model)
    assert all(jnp.isfinite(g).all() for g in gradients.values())
    idle = [path for path, g in gradients.items() if not g.any()]
    assert all(path.endswith("key.bias") for path in idle)  # a constant added to all scores does not change a softmax


def test_bfloat16_computes_close_to_float32_and_keeps_float32_parameters(row):
    name, fields, inputs, *_ = row
    model, half = build(name, fields), build(name, fields, dtype="bfloat16")
    assert {x.dtype for x in split(half)[1].values()} == {jnp.dtype("float32")}
    out, expected = jax.jit(half)(**inputs), jax.jit(model)(**inputs)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, expected, atol=0.05 * float(jnp.abs(expected).max()))
    assert (out != expected).any()


def test_dropout_needs_a_key_and_follows_it(row):
    name, fields, inputs, *_ = row
    model = jax.jit(build(name, fields, dropout=0.3))
    np.testing.assert_array_equal(model(**inputs), model(**inputs))
    a, b, c = (model(**inputs, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any() and (a != model(**inputs)).any()


@pytest.mark.parametrize("row", first_fast(sorted(ROWS, key=lambda name: name != "gpt")), indirect=True)
def test_fits_eight_examples(row):
    name, fields, inputs, (objective, targets), _ = row
    structure, parameters = split(build(name, fields | {"width": 28}))
    batch = {"inputs": inputs, "targets": targets, "weights": jnp.ones(targets.shape)}
    optimizer = optax.adam(RATES.get(name, 1e-2))

    @jax.jit
    def fit(parameters):
        def step(carry, _):
            parameters, state = carry
            loss = lambda p: OBJECTIVES[objective](merge(structure, p), batch, None)[0]
            value, gradients = jax.value_and_grad(loss)(parameters)
            updates, state = optimizer.update(gradients, state)
            return (optax.apply_updates(parameters, updates), state), value

        return jax.lax.scan(step, (parameters, optimizer.init(parameters)), None, 300)[1]

    losses = fit(parameters)
    assert losses[0] > 2 and losses[-1] < 0.02


def test_a_misspelt_field_is_a_type_error_that_names_it(row):
    name, fields, *_ = row
    with pytest.raises(TypeError, match="dept"):
        build(name, fields, dept=3)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"heads": 5}, "heads=5 must divide width=14"),
        ({"depth": 0}, "depth=0: expected at least 1"),
        ({"norm": "batch"}, "expected 'layer' or 'rms'"),
        ({"norm_order": "middle"}, "expected 'pre' or 'post'"),
        ({"activation": "tanh"}, "expected one of geglu, gelu"),
        ({"positions": "relative"}, "positions='relative'"),
        ({"dropout": 1.5}, "0 <= dropout < 1"),
    ],
    ids=str,
)
def test_bad_fields_are_named(transformer, wrong, words):
    name, fields, *_ = transformer
    with pytest.raises(ValueError, match=words):
        build(name, fields, **wrong)
