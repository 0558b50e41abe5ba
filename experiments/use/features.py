"""Writes the hidden states of a trained or published model for texts or images to a file.

python -m experiments.features --workdir=runs/bert --layers=-1,-2 --file=texts.txt --out=features.npz
python -m experiments.features --weights=vit-base --images photos/ --out=features.npz
"""

import argparse

from flax import nnx
import jax
import numpy as np

from core.command import command
from core.errors import UserError
from core.files import replacing
from core.ranges import Size, refuse_outside
from data.pipeline import evaluation_batches
from experiments.use.inputs import Inputs, add_folders, add_inputs, read_inputs
from experiments.use.opened import Opened, describe, open_folder
from models.protocols import Features
from objectives.interface import call


def features(opened: Opened, inputs: Inputs, layers: list[int], *, batch_size: Size = 32) -> dict[str, np.ndarray]:
    """Returns the hidden states of a model for each input. A text is read with the special tokens of the model.

    Args:
      opened: the model, see `experiments.use.opened.open_folder`.
      inputs: what it reads, see `experiments.use.inputs.of_items`.
      layers: 0 is the embeddings, 1 the first block, -1 the last.
      batch_size: how many inputs are read at once.

    Returns:
      "layer_<number>", float32 (N, T, D), for each of `layers`. Of texts also "tokens", int32 (N, T), and "mask", bool
      (N, T), False at padding.

    Raises:
      UserError: the model does not show its hidden states or does not read these inputs, or it lacks a layer.
    """
    refuse_outside(features, {"batch_size": batch_size})
    model, source = opened.model, inputs.source
    if not isinstance(model, Features):
        raise UserError(f"{describe(opened)}, which gives no features")
    structure, state = nnx.split(model)

    @jax.jit
    def compute(state, named):
        read = lambda *, key, **arrays: nnx.merge(structure, state).features(**arrays)
        return [hidden.astype("float32") for hidden in call(read, named, None)]

    size = min(batch_size, len(source))
    parts, tokens = [], []
    for batch in evaluation_batches(source, batch_size=size):
        hidden = compute(state, batch["inputs"])
        depth = len(hidden) - 1
        if missing := [layer for layer in layers if not -depth - 1 <= layer <= depth]:
            expected = f"expected {-depth - 1} to {depth}; 0 is the embeddings, {depth} the last"
            raise UserError(f"layer {missing[0]}: {expected}")
        parts.append(jax.device_get({f"layer_{layer}": hidden[layer] for layer in layers}))
        tokens.append({name: x for name, x in batch["inputs"].items() if name in ("tokens", "mask")})
    joined = lambda batches: jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(source)], *batches)
    return joined(parts) | joined(tokens)


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the names and shapes of the arrays."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.features", description=(__doc__ or "").partition("\n")[0]
    )
    add_folders(parser)
    add_inputs(parser)
    parser.add_argument("--out", required=True, help="the .npz file to write")
    parser.add_argument("--layers", default="-1", help="numbers with commas; 0: embeddings, -1: the last (default)")
    parser.add_argument("--batch_size", type=int, default=32, help="inputs at once (default %(default)s)")
    args = parser.parse_args(arguments)
    layers = [_number(text) for text in args.layers.split(",")]
    opened = open_folder(args.folder)
    arrays = features(opened, read_inputs(args, opened), layers, batch_size=args.batch_size)
    with replacing(args.out) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    for name, array in arrays.items():
        print(f"{name:<10} {array.dtype} {array.shape}")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"layers: {text!r} is not a whole number; expected such as -1,-2") from None


if __name__ == "__main__":
    main()
