"""Frozen parameters: nothing of the training touches them, and the others train as if they were constants."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.errors import UserError
from models.gpt import GPT
from objectives import OBJECTIVES
from training.frozen import check_patterns, split_frozen
from training.optimizer import OPTIMIZERS, make_optimizer
from training.population import for_all_members, make_mesh, stack
from training.state import initialise, merge
from training.step import make_train_step

PATTERNS = ("embedding.*", "blocks.blocks.1.*")


def make(rngs: nnx.Rngs) -> GPT:
    return GPT(vocab_size=7, context=5, width=8, depth=2, heads=2, tied=False, rngs=rngs)


def batch() -> dict:
    tokens = np.random.default_rng(0).integers(7, size=(6, 6))
    return {"inputs": {"tokens": tokens[:, :-1]}, "targets": tokens[:, 1:], "weights": np.ones((6, 5), np.float32)}


def prepare(optimizer, *, freeze=PATTERNS, ema=0.75, accumulate=1):
    structure, create = initialise(make, optimizer, average=ema > 0, freeze=freeze)
    step = make_train_step(
        structure, OBJECTIVES["language_modeling"], optimizer, freeze=freeze, ema=ema, accumulate=accumulate
    )
    return structure, create, step


@pytest.mark.parametrize(("name", "accumulate"), [*((name, 1) for name in OPTIMIZERS), ("adamw", 3)])
def test_frozen_parameters_keep_every_bit_and_all_others_move(name, accumulate):
    optimizer, _ = make_optimizer(steps=9, learning_rate=0.3, name=name, weight_decay=0.5, clip=1.0)
    _, create, step = prepare(optimizer, accumulate=accumulate)
    step, first = jax.jit(step), jax.jit(create)(jax.random.key(0))
    state, _ = step(step(first, batch())[0], batch())
    trained, frozen = split_frozen(first.parameters, PATTERNS)
    assert "embedding.embedding" in frozen and "head.kernel" in trained
    assert state.average is not None and {*trained, *frozen} == {*state.parameters} == {*state.average}
    for path, x in frozen.items():
        np.testing.assert_array_equal(state.parameters[path], x, err_msg=path)
        np.testing.assert_array_equal(state.average[path], x, err_msg=path)
    still = [path for path, x in trained.items() if np.array_equal(state.parameters[path], x)]
    assert all(path.endswith("key.bias") for path in still)  # its gradient is 0: a softmax does not see it


def test_the_optimizer_has_no_state_for_them():
    optimizer, _ = make_optimizer(steps=9, learning_rate=0.3)
    state = jax.eval_shape(prepare(optimizer)[1], jax.random.key(0))
    paths = {str(getattr(key, "key", "")) for leaf in jax.tree_util.tree_leaves_with_path(state.optimizer)
             for key in leaf[0]}  # fmt: skip
    trained, frozen = split_frozen(state.parameters, PATTERNS)
    assert trained.keys() <= paths and not frozen.keys() & paths


def test_the_others_get_the_gradient_that_they_get_without_freezing():
    optimizer, _ = make_optimizer(steps=9, learning_rate=0.3, name="sgd", schedule="constant")
    _, create, step = prepare(optimizer)
    _, create_all, step_all = prepare(optimizer, freeze=())
    state, metrics = jax.jit(step)(create(jax.random.key(0)), batch())
    trained_all, metrics_of_all = jax.jit(step_all)(create_all(jax.random.key(0)), batch())
    for path in split_frozen(state.parameters, PATTERNS)[0]:
        np.testing.assert_allclose(state.parameters[path], trained_all.parameters[path], atol=1e-6, err_msg=path)
    assert metrics["grad_norm"][0] < metrics_of_all["grad_norm"][0]  # it is the norm of what is trained


def test_members_of_a_population_keep_their_own_frozen_parameters():
    optimizer, _ = make_optimizer(steps=9, learning_rate=0.3)
    _, create, step = prepare(optimizer)
    mesh, _ = make_mesh(3)
    first = [create(jax.random.key(seed)) for seed in range(3)]
    states, _ = jax.jit(for_all_members(step, mesh, (0, None)))(stack(first, mesh), batch())
    for member, state in enumerate(first):
        trained, frozen = split_frozen(state.parameters, PATTERNS)
        for path, x in frozen.items():
            np.testing.assert_array_equal(states.parameters[path][member], x, err_msg=path)
        assert not np.array_equal(states.parameters["head.kernel"][member], trained["head.kernel"])


def test_the_backward_pass_computes_nothing_for_them():
    """Freezing all but the head leaves one product in the backward pass, the one for its kernel."""
    optimizer, _ = make_optimizer(steps=9, learning_rate=0.3, name="sgd")

    def products(function, *arguments) -> int:
        return str(jax.jit(function).lower(*arguments).compile().as_text()).count(" dot(")

    def in_step(freeze) -> int:
        _, create, step = prepare(optimizer, freeze=freeze, ema=0.0)
        return products(step, jax.eval_shape(create, jax.random.key(0)), batch())

    structure, create, _ = prepare(optimizer)
    parameters = jax.eval_shape(create, jax.random.key(0)).parameters
    in_forward_pass = products(lambda p: merge(structure, p)(**batch()["inputs"], key=None), parameters)
    all_but_the_head = [path for path in parameters if path.split(".")[0] != "head"]
    assert in_step(all_but_the_head) <= in_forward_pass + 1 < in_step(())


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("embeding.*",), "'embeding.*' matches no parameter. The paths begin with embedding, head; one"),
        (("*",), "nothing is left to train"),
        (("head.*", "nowhere"), "'nowhere' matches no parameter"),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_refused(patterns, message):
    parameters = {"embedding.embedding": jnp.zeros(2), "head.kernel": jnp.zeros(3)}
    with pytest.raises(UserError) as error:
        check_patterns(patterns, parameters)
    assert message in str(error.value)
