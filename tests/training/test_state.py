"""Models as flat parameters, and the first state."""

from concurrent.futures import ThreadPoolExecutor

from flax import nnx
import jax
import numpy as np
import optax
import pytest

from models.gpt import GPT
from models.vit import VisionTransformer
from models.yardsticks import Perceptron
from training.state import abstract_model, initialise, merge, split

SIZES = {"width": 8, "depth": 2, "heads": 2}
MODELS = {
    "gpt": (lambda rngs, **more: GPT(vocab_size=7, context=5, **SIZES, **more, rngs=rngs), np.zeros((3, 5), int)),
    "vit": (
        lambda rngs, **more: VisionTransformer(
            image_shape=(8, 8, 1), patch=4, classes=3, pooling="cls", **SIZES, **more, rngs=rngs
        ),
        np.ones((3, 8, 8, 1), np.float32),
    ),
}


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_split_and_merge(name, scan):
    make, inputs = MODELS[name]
    model = make(nnx.Rngs(0), scan=scan)
    structure, parameters = split(model)
    assert all(isinstance(path, str) and isinstance(x, jax.Array) for path, x in parameters.items())
    assert ("blocks.blocks.mlp.up.kernel" if scan else "blocks.blocks.1.mlp.up.kernel") in parameters
    doubled = merge(structure, {path: 2 * x for path, x in parameters.items()})
    np.testing.assert_array_equal(merge(structure, parameters)(inputs), model(inputs))
    assert split(doubled)[1].keys() == parameters.keys()
    for path, x in split(doubled)[1].items():
        np.testing.assert_array_equal(x, 2 * parameters[path])


def test_first_state():
    structure, create = initialise(MODELS["gpt"][0], optax.adam(0.1), average=True)
    state, again, other = create(jax.random.key(0)), create(jax.random.key(0)), create(jax.random.key(1))
    assert state.step == 0
    assert state.average is not None
    for path, x in state.parameters.items():
        np.testing.assert_array_equal(x, again.parameters[path])
        np.testing.assert_array_equal(x, state.average[path])
        assert x.unsafe_buffer_pointer() != state.average[path].unsafe_buffer_pointer()  # both are donated
    path = "blocks.blocks.0.mlp.up.kernel"
    assert not np.array_equal(state.parameters[path], other.parameters[path])
    assert not np.array_equal(state.parameters[path], state.parameters[path.replace("0", "1")])
    assert jax.tree.structure(state) == jax.tree.structure(jax.eval_shape(create, jax.random.key(0)))


def test_what_is_evaluated():
    create = lambda average: initialise(MODELS["gpt"][0], optax.sgd(0.1), average=average)[1](jax.random.key(0))
    with_average, without = create(True), create(False)
    assert with_average.evaluated is with_average.average
    assert without.average is None and without.evaluated is without.parameters


def test_a_model_is_traced_once_and_threads_get_their_own():
    sizes = {"image_shape": (8, 8, 1), "classes": 3, "depth": 1}
    settings = [sizes | {"width": width} for width in (5, 7, 11, 13, 17, 19)]
    width = lambda model: split(model)[1]["head.kernel"].shape[0]
    assert abstract_model(Perceptron, settings[0]) is abstract_model(Perceptron, dict(settings[0]))
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda own: abstract_model(Perceptron, own), 20 * settings))
    assert [width(model) for model in models] == 20 * [own["width"] for own in settings]
