"""How arrays are divided over devices: a mesh with axes data, fsdp and tensor, and rules from paths to shardings.

"data" splits the batch; "fsdp" splits the batch and stores each parameter in pieces (ZeRO, Rajbhandari et al. 2020);
"tensor" splits heads, MLP columns and the vocabulary (Shoeybi et al. 2019). XLA inserts the communication.
"""

from collections.abc import Callable, Sequence
from functools import partial
import re
from typing import Annotated, Any, TypeVar

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

from core.errors import UserError
from core.parameters import Parameters
from core.ranges import Range

# The first rule whose pattern occurs in the path applies. A spec is about the last axes of an array, as scanned layers
# have a further axis in front. An axis whose size the mesh does not divide is not split.
RULES = (
    (r"\.(query|key|value|up|linear)\.kernel$", P("fsdp", "tensor")),
    (r"\.(query|key|value|up|linear)\.bias$", P("tensor")),
    (r"\.(out|down)\.kernel$", P("tensor", "fsdp")),
    (r"embedding\.embedding$", P("tensor", "fsdp")),
    (r"(^|\.)head\.kernel$", P("fsdp", "tensor")),
    (r"\.kernel$", P("fsdp", None)),
)


T = TypeVar("T")
Parts = Annotated[int, Range(1, 2**20, also=-1)]


def make_mesh(devices: Sequence[Any] | None = None, /, *, data: Parts = -1, fsdp: Parts = 1, tensor: Parts = 1) -> Mesh:
    """Returns a mesh of all devices. At most one axis may be -1: it takes all devices that remain.

    Args:
      devices: other ones than those of this process.

    Raises:
      UserError: the sizes do not fit the number of devices.
    """
    shape = {"data": data, "fsdp": fsdp, "tensor": tensor}
    devices = jax.devices() if devices is None else devices
    open_axes = [name for name, size in shape.items() if size == -1]
    product = int(np.prod([size for size in shape.values() if size != -1]))
    if len(open_axes) > 1:
        raise UserError(f"mesh {shape}: expected at most one -1")
    count = len(devices)
    if count % product or (not open_axes and count != product):
        raise UserError(f"mesh {shape} does not fit {count} device(s): their product must be the number of devices")
    if open_axes:
        shape[open_axes[0]] = count // product
    return jax.make_mesh(tuple(shape.values()), tuple(shape), axis_types=(AxisType.Auto,) * 3, devices=devices)


def state_shardings(mesh: Mesh | AbstractMesh, state: Any) -> Any:
    """Returns a sharding for each array of a state, by its path. Optimizer moments are split as their parameters."""

    def sharding(path, x) -> NamedSharding:
        names = [str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", "")))) for k in path]
        spec = next((spec for pattern, spec in RULES if re.search(pattern, names[-1])), P())
        if x.ndim < len(spec):  # a factored moment, or a scalar
            spec = P()
        axes = (None,) * (x.ndim - len(spec)) + tuple(spec)
        fits = (axis if axis and size % mesh.shape[axis] == 0 else None for axis, size in zip(axes, x.shape))
        return NamedSharding(mesh, P(*fits))

    return jax.tree_util.tree_map_with_path(sharding, state)


def gather(mesh: Mesh | AbstractMesh, parameters: Parameters) -> Parameters:
    """Returns parameters whose pieces along fsdp were gathered, for a model to compute with. They stay split by tensor.

    Without it XLA may split the activations as the parameters are split, and exchange those: the logits of the whole
    batch instead of the embedding. With it each device computes its own examples, and gradients come back in pieces.
    """
    if mesh.shape["fsdp"] == 1:
        return parameters
    pieces = state_shardings(mesh, parameters)
    gathered = {}
    for path, x in parameters.items():
        unsplit = NamedSharding(mesh, P(*(None if axis == "fsdp" else axis for axis in pieces[path].spec)))
        gathered[path] = _gathered(x, pieces[path], unsplit)
    return gathered


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gathered(x: jax.Array, pieces: NamedSharding, unsplit: NamedSharding) -> jax.Array:
    """An array gathered from its pieces. Its gradient is summed into pieces: the devices exchange half as much."""
    return jax.lax.with_sharding_constraint(x, unsplit)


_gathered.defvjp(
    lambda x, pieces, unsplit: (_gathered(x, pieces, unsplit), None),
    lambda pieces, unsplit, _, gradient: (jax.lax.with_sharding_constraint(gradient, pieces),),
)


def in_context(mesh: Mesh, function: Callable[..., T]) -> Callable[..., T]:
    """Returns a function that is traced with the mesh in context, where kernels that XLA cannot divide look for it."""

    def traced(*args: Any) -> T:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args)

    return traced


def batch_sharding(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Returns the sharding of a batch: the examples are split over data and fsdp."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def local_rows(mesh: Mesh | AbstractMesh, batch_size: int) -> slice:
    """Returns which examples of a global batch are on the devices of this process.

    Raises:
      UserError: the mesh does not divide `batch_size`.
    """
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % parts:
        raise UserError(f"batch_size = {batch_size} must be divisible by mesh.data x mesh.fsdp = {parts}")
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    rows = [index[0].indices(batch_size) for index in indices if index]
    return slice(min(start for start, _, _ in rows), max(stop for _, stop, _ in rows))


def put(mesh: Mesh, batch: Any, batch_size: int) -> Any:
    """Returns this process's rows of a batch as global arrays of `batch_size` examples on the devices."""
    sharding = batch_sharding(mesh)
    place = lambda x: jax.make_array_from_process_local_data(sharding, x, (batch_size, *x.shape[1:]))
    return jax.tree.map(place, batch)
