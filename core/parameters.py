"""A model as its static structure and a flat dictionary of parameters.

A parameter is named by its path ("blocks.blocks.0.attention.query.kernel"). Sharding rules, weight decay, checkpoints
and published formats all refer to parameters by that path.
"""

from flax import nnx
import jax

Parameters = dict[str, jax.Array]


def split(model: nnx.Module) -> tuple[nnx.GraphDef, Parameters]:
    """Returns the static structure of a model, and its parameters by path."""
    structure, state = nnx.split(model)
    flat = nnx.traversals.flatten_mapping(nnx.to_pure_dict(state)).items()
    return structure, {".".join(map(str, path)): value for path, value in flat}


def merge(structure: nnx.GraphDef, parameters: Parameters) -> nnx.Module:
    """Returns the model with this structure and these parameters: the inverse of `split`."""
    nested: dict = {}
    for path, value in parameters.items():
        *parents, name = (int(part) if part.isdigit() else part for part in path.split("."))
        inside = nested
        for parent in parents:
            inside = inside.setdefault(parent, {})
        inside[name] = value
    return nnx.merge(structure, nested)
