"""Every architecture continues from a checkpoint bit for bit, and trains on 8 devices as on one.

As a program, `python -m tests.models.test_training DATA FSDP TENSOR` prints the losses of every architecture on that
mesh as JSON.
"""

import json
import os
from pathlib import Path
import subprocess
import sys

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import MODELS
from objectives import OBJECTIVES
from tests.models.rows import ROWS, TRANSFORMERS
from tests.tiers import first_fast
from training.checkpoints import Checkpoints, digest
from training.mesh import make_mesh, put, state_shardings
from training.optimizer import make_optimizer
from training.state import initialise, merge, split
from training.step import make_train_step

ROOT = Path(__file__).parents[2]
# The kinds of attention, on sequences that are long enough for several blocks of queries.
LONG = jax.random.randint(jax.random.key(1), (8, 97), 0, 23)
KINDS = {
    "gpt, linear": {"attention": "linear"},
    "gpt, window": {"window": 5},
    "gpt, stride": {"window": 5, "stride": 7},
}
NAMES = sorted(MODELS) + list(KINDS)


def row(name):
    """(architecture, fields, inputs, objective, targets) of a name."""
    if name not in KINDS:
        fields, inputs, (objective, targets), _ = ROWS[name]
        return name, fields, inputs, objective, targets
    fields = ROWS["gpt"][0] | KINDS[name] | {"context": 101, "depth": 2}
    return "gpt", fields, {"tokens": LONG}, "language_modeling", jnp.roll(LONG, -1, axis=1)


def program(name, mesh):
    """(first state, compiled step, batch) of a row, with dropout, on a mesh."""
    model, fields, inputs, objective, targets = row(name)
    optimizer, _ = make_optimizer(steps=10, learning_rate=0.01, weight_decay=0.1, clip=1.0)
    more = {"dropout": 0.1} | ({"scan": True} if model in TRANSFORMERS else {})  # scanned layers compile faster
    make_model = lambda rngs: MODELS[model](**(fields | more), rngs=rngs)
    structure, create = initialise(make_model, optimizer, average=True)
    shardings = state_shardings(mesh, jax.eval_shape(create, jax.random.key(3)))
    state = jax.jit(create, out_shardings=shardings)(jax.random.key(3))
    step = make_train_step(structure, OBJECTIVES[objective], optimizer, accumulate=2, ema=0.9)
    batch = {"inputs": inputs, "targets": targets, "weights": jnp.ones(targets.shape)}
    batch = put(mesh, jax.tree.map(np.asarray, batch), len(targets))
    return state, jax.jit(step, out_shardings=(shardings, None)), batch


def losses(name, mesh, steps: int = 3) -> list[float]:
    state, step, batch = program(name, mesh)
    values = []
    for _ in range(steps):
        state, metrics = step(state, batch)
        total, count = jax.device_get(metrics["loss"])
        values.append(float(total / count))
    return values


@pytest.mark.parametrize("name", first_fast(NAMES))
def test_resumed_equals_uninterrupted(name, tmp_path):
    state, step, batch = program(name, make_mesh(data=1))
    checkpoints = Checkpoints(tmp_path)
    for number in range(4):
        if number == 2:
            checkpoints.save(number, state, {})
        state, _ = step(state, batch)
    checkpoints.close()
    restored = Checkpoints(tmp_path).restore(state)
    assert restored is not None
    resumed = restored[1]
    for _ in range(2):
        resumed, _ = step(resumed, batch)
    assert digest(resumed) == digest(state)


@pytest.mark.parametrize("name", KINDS)
def test_members_of_a_population_have_the_numbers_of_a_model_alone(name):
    model, fields, inputs, *_ = row(name)
    members = [split(MODELS[model](**fields, dtype="bfloat16", rngs=nnx.Rngs(seed))) for seed in (0, 1, 2)]
    structure, stacked = members[0][0], jax.tree.map(lambda *x: jnp.stack(x), *(state for _, state in members))
    loss = lambda state: (merge(structure, state)(**inputs) ** 2).mean()
    together, gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))(stacked)
    alone = jax.jit(jax.value_and_grad(loss))(members[1][1])
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-5)
    for path, gradient in alone[1].items():
        scale = float(jnp.abs(gradient).max())
        np.testing.assert_allclose(gradients[path][1], gradient, atol=0.02 * scale, err_msg=path)


@pytest.mark.slow
def test_eight_devices_equal_one():
    one = {name: losses(name, make_mesh(data=1)) for name in NAMES}
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    # The 4 examples of each part of a batch are spread over data x fsdp.
    command = [sys.executable, "-m", "tests.models.test_training", "2", "2", "2"]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    eight = json.loads(process.stdout)
    for name in NAMES:
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-5, err_msg=name)
        assert one[name][0] != one[name][-1]


if __name__ == "__main__":
    jax.config.update("jax_disable_most_optimizations", True)  # as in conftest.py
    sizes = dict(zip(("data", "fsdp", "tensor"), map(int, sys.argv[1:])))
    print(json.dumps({name: losses(name, make_mesh(**sizes)) for name in NAMES}))
