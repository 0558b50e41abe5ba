"""Where arrays live: a mesh of devices with axes data, fsdp and tensor, and rules from parameter paths to shardings.

"data" splits the batch; "fsdp" splits the batch and stores each parameter in pieces (ZeRO, Rajbhandari et al. 2020);
"tensor" splits heads, MLP columns and the vocabulary (Shoeybi et al. 2019). XLA inserts the communication.
"""

import re
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

# The first rule whose pattern is found in the path holds. A spec speaks of the last axes of an array (scanned layers
# have one more in front); an axis that the mesh does not divide stays whole.
RULES = (
    (r"\.(query|key|value|up|linear)\.kernel$", P("fsdp", "tensor")),
    (r"\.(query|key|value|up|linear)\.bias$", P("tensor")),
    (r"\.(out|down)\.kernel$", P("tensor", "fsdp")),
    (r"embedding\.embedding$", P("tensor", "fsdp")),
    (r"(^|\.)head\.kernel$", P("fsdp", "tensor")),
    (r"\.kernel$", P("fsdp", None)),
)


def make_mesh(*, data: int = -1, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh over all devices; one axis may be -1, "all that are left"."""
    shape = {"data": data, "fsdp": fsdp, "tensor": tensor}
    devices = jax.device_count()
    open_axes = [name for name, size in shape.items() if size == -1]
    given = int(np.prod([size for size in shape.values() if size != -1]))
    if any(size < 1 and size != -1 for size in shape.values()) or len(open_axes) > 1:
        raise ValueError(f"mesh {shape}: expected sizes of at least 1, and at most one -1")
    if devices % given or (not open_axes and devices != given):
        raise ValueError(f"mesh {shape} does not fit {devices} device(s): their product must be the number of devices")
    if open_axes:
        shape[open_axes[0]] = devices // given
    return jax.make_mesh(tuple(shape.values()), tuple(shape), axis_types=(AxisType.Auto,) * 3)


def state_shardings(mesh: Mesh, state: Any) -> Any:
    """A sharding for each array of a state, by its path; optimizer moments follow their parameters."""

    def sharding(path, x) -> NamedSharding:
        names = [str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", "")))) for k in path]
        spec = next((spec for pattern, spec in RULES if re.search(pattern, names[-1])), P())
        if x.ndim < len(spec):  # a factored moment, or a scalar
            spec = P()
        spec = (None,) * (x.ndim - len(spec)) + tuple(spec)
        fits = (axis if axis and size % mesh.shape[axis] == 0 else None for axis, size in zip(spec, x.shape))
        return NamedSharding(mesh, P(*fits))

    return jax.tree_util.tree_map_with_path(sharding, state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Examples split over data and fsdp."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def local_rows(mesh: Mesh, batch_size: int) -> slice:
    """The examples of a global batch that this process's devices hold."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % parts:
        raise ValueError(f"batch_size={batch_size} must be divisible by mesh.data x mesh.fsdp = {parts}")
    rows = [
        i[0].indices(batch_size) for i in batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    ]
    return slice(min(start for start, _, _ in rows), max(stop for _, stop, _ in rows))


def put(mesh: Mesh, batch: Any, batch_size: int) -> Any:
    """This process's rows of a batch as global arrays on the devices."""
    sharding = batch_sharding(mesh)
    place = lambda x: jax.make_array_from_process_local_data(sharding, x, (batch_size, *x.shape[1:]))
    return jax.tree.map(place, batch)
