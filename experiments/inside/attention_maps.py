"""The attention weights of a model, what can be measured of them, and a picture of them.

Six lines show one attention of an untrained model, in a notebook or a script:

    from flax import nnx
    from experiments.inside.attention_maps import attention_maps, draw_map
    from models import GPT
    model = GPT(vocab_size=128, context=32, width=64, depth=2, heads=4, rngs=nnx.Rngs(0))
    maps = attention_maps(model, tokens=[list(b"the man drove the woman")])
    draw_map(maps["blocks.0.attention"][0, 0], "the man drove the woman").figure.savefig("attention.png")

`maps` has the weights of every attention by its path in the model, here of two blocks. Each is an array (batch, heads,
queries, keys), so that `[0, 0]` is the first head for the first text. For the model of a run see
`train.load("runs/gpt")`, and for all pictures of it `python -m experiments.inspect`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from flax import nnx
import jax
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
import numpy as np

from models.attention import AttentionWeights
from models.masks import boolean
from training.state import merge, split


def attention_maps(model: nnx.Module, inputs: Mapping | None = None, /, **more) -> dict[str, np.ndarray]:
    """Returns the weights `BHTS` of every attention in a model, by path, in the order of the model's modules.

    Args:
      model: any model of this project. With `scan=True` its blocks keep no weights, and the result lacks them.
      inputs, more: the arguments to call the model with, as a dictionary such as the "inputs" of a batch or by name.

    A path is as in "decoder.blocks.1.cross". An attention that is called several times has the number of the call
    after its path, as in "crosses.0 #2".
    """
    structure, parameters = split(model)

    @jax.jit
    def weights(parameters, inputs):
        _, captured = nnx.capture(merge(structure, parameters), AttentionWeights)(**inputs)
        return {path: variable.get_value() for path, variable in nnx.to_flat_state(captured)}

    inputs = {name: np.asarray(value) for name, value in {**(inputs or {}), **more}.items()}
    # A compiled program cannot look at the values of a mask, so they are checked here.
    inputs = {name: boolean(x, name) if name.endswith("mask") else x for name, x in inputs.items()}
    maps = {}
    for path, calls in weights(parameters, inputs).items():
        name = ".".join(map(str, path[:-1])).replace("blocks.blocks", "blocks")
        maps |= {f"{name} #{n}" if len(calls) > 1 else name: np.array(x) for n, x in enumerate(calls, 1)}
    return maps


def draw_map(
    weights_TS: np.ndarray, tokens: Sequence[str] | None = None, *, queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None, axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draws one head's weights, queries down and keys across, and returns the axes.

    Colours follow the square root of the weights, so that small weights can still be seen beside a large one.

    Args:
      weights_TS: the weights of one head for one example.
      tokens: labels of the rows and of the columns, for self-attention. A text is one label per character. Without
        labels, the first and the last place are numbered.
      queries, keys: labels of the rows and of the columns where they differ.
      axes: where to draw; by default pyplot's current axes.

    Raises:
      ValueError: the labels are not as many as the rows or the columns.
    """
    if axes is None:
        from matplotlib import pyplot  # here, because importing it chooses a window system

        axes = pyplot.gca()
    norm = PowerNorm(0.5, vmin=0, vmax=float(weights_TS.max()))
    axes.imshow(weights_TS, norm=norm, aspect=cell_aspect(weights_TS.shape), cmap="cividis")
    labels_of = {"y": tokens if queries is None else queries, "x": tokens if keys is None else keys}
    for count, (name, labels) in zip(weights_TS.shape, labels_of.items()):
        if labels is not None and len(labels) != count:
            raise ValueError(f"{len(labels)} labels for {count} queries or keys: expected one for each")
        size = 11 if labels is None else max(6, min(11, 140 // count))
        turned = name == "x" and labels is not None and max(map(len, labels)) > 1
        places, texts = ([0, count - 1], ["1", str(count)]) if labels is None else (range(count), list(labels))
        getattr(axes, f"set_{name}ticks")(places, texts, fontsize=size, rotation=90 if turned else 0)
    return axes


def cell_aspect(shape: tuple[int, ...]) -> Literal["equal", "auto"]:
    """Returns matplotlib's aspect for a matrix: square cells, unless it would then be a narrow strip."""
    return "equal" if max(shape) <= 4 * min(shape) else "auto"


def grid_distances(rows: int, columns: int) -> np.ndarray:
    """Returns the distances `TS` between all places of a grid, numbered row by row, in steps of the grid."""
    places_TX = np.indices((rows, columns)).reshape(2, -1).T
    return np.linalg.norm(places_TX[:, None] - places_TX[None], axis=-1)


def attention_distance(weights_BHTS: np.ndarray, distances_TS: np.ndarray) -> np.ndarray:
    """Returns the mean distance `H` at which each head looks (Dosovitskiy et al. 2021, figure 7).

    A query's distance is the mean of `distances_TS` weighted by its attention. Queries without any weight, such as
    padding, do not count.
    """
    shares_BHT = weights_BHTS.sum(-1)
    far_BHT = (weights_BHTS * distances_TS).sum(-1) / np.where(shares_BHT > 0, shares_BHT, 1)
    return far_BHT.sum((0, 2)) / np.maximum((shares_BHT > 0).sum((0, 2)), 1)


def similarity(vectors_TD: np.ndarray) -> np.ndarray:
    """Returns the cosine of the angle between every two of the vectors, `TT`."""
    unit_TD = vectors_TD / np.linalg.norm(vectors_TD, axis=-1, keepdims=True)
    return unit_TD @ unit_TD.T
