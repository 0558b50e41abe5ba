"""The programs whose costs `experiments.slopes` measures, the sizes that it varies, and the theory of each.

There are layers, which are attention alone, forward and backward, without projections; and families, which are whole
train steps of the architectures of the benchmark. Both are made for any sizes, of arrays that need no data set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.families import FAMILIES
from models import MODELS
from models.fused import attend
from models.linear_attention import linear_attention
from models.sparse_attention import sparse_attention
from objectives import OBJECTIVES
from training import mesh as meshes
from training import population
from training.optimizer import make_optimizer
from training.state import TrainState, initialise
from training.step import make_train_step

VOCABULARY, CLASSES, LATENTS, HEADS = 61, 10, 32, 4
WINDOW = 33  # of a layer: with it, blocks have 32 queries, which divides all lengths


@dataclass(frozen=True)
class Sizes:
    """The sizes of a program. The length counts tokens, or pixels of a square image."""

    length: int = 64
    width: int = 32
    depth: int = 2
    batch: int = 2
    members: int = 1
    devices: int = 1


@dataclass(frozen=True)
class Axis:
    """What is varied: the values of a size, and the other sizes, which stay."""

    values: tuple[int, ...]
    others: Sizes


@dataclass(frozen=True)
class Theory:
    """A cost is a sum of powers of a size: the leading `power`, and `lower` ones."""

    power: float
    lower: tuple[float, ...] = ()

    def __str__(self) -> str:
        return " + ".join("n" if power == 1 else "1" if power == 0 else f"n^{power:g}"
                          for power in (*self.lower, self.power))  # fmt: skip


AXES = {
    "length": Axis((256, 576, 1024, 1600), Sizes(depth=1)),  # squares of multiples of 8
    "width": Axis((32, 64, 128, 256), Sizes()),
    "depth": Axis((1, 2, 4, 6), Sizes()),
    "batch": Axis((2, 4, 8, 16), Sizes()),
    "members": Axis((1, 2, 4, 8), Sizes()),
    "devices": Axis((1, 2, 4, 8), Sizes(batch=16)),
}
LAYERS: dict[str, tuple[Theory, Callable]] = {
    "attention": (Theory(2), attend),
    "causal attention": (Theory(2), lambda q, k, v: attend(q, k, v, causal=True)),
    "linear attention": (Theory(1), lambda q, k, v: linear_attention(q, k, v, feature_map="elu", causal=True)[0]),
    "window attention": (Theory(1), lambda q, k, v: sparse_attention(q, k, v, causal=True, window=WINDOW)),
    "latents to input": (Theory(1), lambda q, k, v: attend(q[:, :LATENTS], k, v)),  # of a Perceiver
}
LINEAR = {"linear", "window", "gru", "lstm", "swin", "resnet", "perceiver", "bottleneck", "cnn", "mlp"}  # in the length
# What the fields of a family's model section are besides those that follow from the sizes.
_FIELDS: dict[str, Mapping] = {
    "encoder": {"classes": CLASSES},
    "window": {"window": 8},
    "hybrid": {"patch": 2},
    "vit": {"patch": 1},
    "swin": {"patch": 1, "window": 4, "heads": 2},
    "perceiver": {"latents": LATENTS, "bands": 4},
    "bottleneck": {"latents": 16},
}
_NO_HEADS = {"gru", "lstm", "recurrent", "resnet", "bottleneck", "cnn", "mlp"}


def theory(name: str, axis: str) -> Theory | None:
    """Returns how the products of a layer or family grow along an axis; None if that is not asked."""
    if name in LAYERS:
        return LAYERS[name][0] if axis == "length" else None
    if axis == "length":
        return Theory(1, (0,)) if name in LINEAR else Theory(2, (0, 1))
    if axis == "width":
        return Theory(2, (0, 1))
    if axis == "depth" and name == "cnn":  # each layer halves the image and has twice the channels
        return None
    return Theory(-1, (0,)) if axis == "devices" else Theory(1, (0,))


def layer(name: str, sizes: Sizes) -> tuple[Callable, tuple]:
    """Returns the function of a layer and its derivatives, and the shapes of queries, keys and values."""
    attention = LAYERS[name][1]
    array = jax.ShapeDtypeStruct((sizes.batch, sizes.length, HEADS, sizes.width // HEADS), jnp.float32)

    def loss(query, key, value):
        return jnp.square(attention(query, key, value)).sum()

    return jax.value_and_grad(loss, argnums=(0, 1, 2)), (array,) * 3


def family(name: str, sizes: Sizes) -> tuple[Callable, tuple[Any, Any]]:
    """Returns the train step of a family, and the shapes of its state and of a batch, placed on the devices.

    With several members it is that of a population, as `experiments.population` trains one.
    """
    entry = FAMILIES[name]
    fields, batch = _inputs(name, sizes)
    settings = {key: value for key, value in entry.model.items() if key != "name"} | fields
    settings |= {} if name in _NO_HEADS else {"heads": _FIELDS.get(name, {}).get("heads", HEADS)}
    settings |= _FIELDS.get(name, {})
    objective = OBJECTIVES[entry.objective["name"]]
    optimizer, _ = make_optimizer(steps=1000, learning_rate=1e-3, schedule="constant", weight_decay=0.1, clip=1.0)
    make_model = lambda rngs: MODELS[entry.model["name"]](**settings, rngs=rngs)
    structure, create = initialise(make_model, optimizer, average=False)
    step = make_train_step(structure, objective, optimizer)
    state = jax.eval_shape(create, jax.random.key(0))
    if sizes.members > 1:
        members = lambda x: jax.ShapeDtypeStruct((sizes.members, *x.shape), x.dtype)
        state, batch = jax.tree.map(members, (state, batch))
        return population.for_all_members(step, population.make_mesh(sizes.members)[0], (0, 0)), (state, batch)
    mesh = meshes.make_mesh(jax.devices()[: sizes.devices])
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    state = jax.tree.map(place, state, meshes.state_shardings(mesh, state))
    return step, (state, jax.tree.map(lambda x: place(x, meshes.batch_sharding(mesh)), batch))


def arrays(shapes: Any, seed: int = 0) -> Any:
    """Returns arrays of these shapes: small random numbers, classes, and zeros in the rest of a train state."""
    generator = np.random.default_rng(seed)

    def fill(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jnp.floating):
            value = 0.1 * generator.standard_normal(x.shape, np.float32)
        elif jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            value = jax.random.split(jax.random.key(seed), x.shape)
        else:
            value = generator.integers(0, CLASSES, x.shape).astype(x.dtype)
        return jax.device_put(value, x.sharding)

    if isinstance(shapes, TrainState):
        nothing = lambda x: jax.device_put(jnp.zeros(x.shape, x.dtype), x.sharding)
        parameters = jax.tree.map(fill, shapes.parameters)
        return TrainState(nothing(shapes.step), parameters, None, jax.tree.map(nothing, shapes.optimizer),
                          fill(shapes.key))  # fmt: skip
    return jax.tree.map(fill, shapes)


def with_size(axis: str, value: int) -> Sizes:
    """Returns the sizes of a point of an axis."""
    return replace(AXES[axis].others, **{axis: value})


# ---- private parts --------------------------------------------------------------------------------------------------


def _inputs(name: str, sizes: Sizes) -> tuple[dict, dict]:
    """The fields of a model that follow from the sizes, and the shapes of a batch."""
    B, T = sizes.batch, sizes.length
    integers = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)
    weights = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    fields: dict[str, Any] = {"width": sizes.width}
    fields |= {"depths": (sizes.depth,)} if name in ("swin", "resnet") else {"depth": sizes.depth}
    objective = FAMILIES[name].objective["name"]
    if FAMILIES[name].model["name"] in ("vit", "swin", "resnet", "perceiver", "variational", "convolutional",
                                        "perceptron"):  # fmt: skip
        side = math.isqrt(T)
        inputs = {"images": weights(B, side, side, 1)}
        fields |= {"image_shape": (side, side, 1), "classes": CLASSES}
        return fields, {"inputs": inputs, "targets": integers(B), "weights": weights(B)}
    fields |= {"vocab_size": VOCABULARY, "context": T}
    inputs = {"tokens": integers(B, T)}
    if objective == "seq2seq":
        inputs |= {"source": integers(B, T)}
        fields |= {"source_vocab_size": VOCABULARY, "source_context": T}
    shape = (B,) if objective == "classification" else (B, T)
    return fields, {"inputs": inputs, "targets": integers(*shape), "weights": weights(*shape)}
