"""The attention weights of a whole model, and what can be measured of them."""

from collections.abc import Mapping

from flax import nnx
import jax
import numpy as np

from models.attention import AttentionWeights
from training.state import merge, split


def attention_maps(model: nnx.Module, inputs: Mapping) -> dict[str, np.ndarray]:
    """The weights `BHTS` of every attention for inputs named as the model's arguments, in the order of their paths.

    A path is as in "decoder.blocks.1.cross". One that is called several times has its number behind it: "crosses.0 #2".
    """
    structure, parameters = split(model)

    @jax.jit
    def look(parameters, inputs):
        _, seen = nnx.capture(merge(structure, parameters), AttentionWeights)(**inputs)
        return {path: variable.get_value() for path, variable in nnx.to_flat_state(seen)}

    maps = {}
    for path, calls in look(parameters, dict(inputs)).items():
        name = ".".join(map(str, path[:-1])).replace("blocks.blocks", "blocks")
        maps |= {f"{name} #{n}" if len(calls) > 1 else name: np.array(x) for n, x in enumerate(calls, 1)}
    return maps


def grid_distances(rows: int, columns: int) -> np.ndarray:
    """Distances between the places of a grid, read row by row, in steps of the grid: `TS`."""
    places_TX = np.indices((rows, columns)).reshape(2, -1).T
    return np.linalg.norm(places_TX[:, None] - places_TX[None], axis=-1)


def attention_distance(weights_BHTS: np.ndarray, distances_TS: np.ndarray) -> np.ndarray:
    """How far each head looks on average, `H`, where the places have these distances (Dosovitskiy et al. 2021, fig. 7).

    Rows without weight, as those of padding, do not count.
    """
    shares_BHT = weights_BHTS.sum(-1)
    far_BHT = (weights_BHTS * distances_TS).sum(-1) / np.where(shares_BHT > 0, shares_BHT, 1)
    return far_BHT.sum((0, 2)) / np.maximum((shares_BHT > 0).sum((0, 2)), 1)


def similarity(vectors_TD: np.ndarray) -> np.ndarray:
    """Cosines between all pairs of vectors, `TT`."""
    unit_TD = vectors_TD / np.linalg.norm(vectors_TD, axis=-1, keepdims=True)
    return unit_TD @ unit_TD.T
