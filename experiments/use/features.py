"""Writes the hidden states of a trained model for texts to a file.

python -m experiments.features --workdir=runs/bert --layers=-1,-2 --file=texts.txt --out=features.npz
"""

import argparse

from flax import nnx
import jax
import numpy as np

from core.command import command
from core.errors import UserError
from core.files import replacing
from core.ranges import Size, refuse_outside
from data.lines import read_lines
from data.sentence_pairs import frame
from data.subwords import Subwords
from models import Bert
import train


def features(workdir: str, texts: list[str], layers: list[int], *, batch_size: Size = 32) -> dict[str, np.ndarray]:
    """Returns the hidden states of each text, read as [CLS] text [SEP], from the newest checkpoint of a run.

    Args:
      workdir: the folder of the run.
      texts: at least one.
      layers: 0 is the embeddings, 1 the first block, -1 the last.
      batch_size: how many texts are read at once.

    Returns:
      "layer_<number>", float32 (N, T, D), for each of `layers`; "tokens", int32 (N, T); "mask", bool (N, T), False at
      padding. T is the model's context.

    Raises:
      UserError: the run has no checkpoint, its model has no features of a text, it lacks a layer, or there is no text.
    """
    refuse_outside(features, {"batch_size": batch_size})
    model, run = train.load(workdir, same_data=False)
    vocabulary = run.dataset.vocabulary
    if not (isinstance(model, Bert) and isinstance(vocabulary, Subwords)):
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise UserError(f"{workdir} holds the model {name!r} of the data {data!r}, which gives no features of a text")
    depth = model.blocks.depth
    if missing := [layer for layer in layers if not -depth - 1 <= layer <= depth]:
        raise UserError(f"layer {missing[0]}: expected {-depth - 1} to {depth}; 0 is the embeddings, {depth} the last")
    if not texts:
        raise UserError("there is no text: expected at least one")
    tokens, mask = frame(vocabulary.encode_all(texts), model.context)
    structure, state = nnx.split(model)

    @jax.jit
    def compute(state, tokens, mask):
        hidden = nnx.merge(structure, state).features(tokens, mask=mask)
        return {f"layer_{layer}": hidden[layer].astype("float32") for layer in layers}

    batches = []
    for start in range(0, len(texts), batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), len(texts) - 1)  # full batches: compiled once
        batches.append(jax.device_get(compute(state, tokens[rows], mask[rows])))
    all_features = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(texts)], *batches)
    return all_features | {"tokens": tokens, "mask": mask}


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the names and shapes of the arrays."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.features", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="folder of the run")
    parser.add_argument("--file", required=True, help="UTF-8 file with one text per line")
    parser.add_argument("--out", required=True, help="the .npz file to write")
    parser.add_argument("--layers", default="-1", help="numbers with commas; 0: embeddings, -1: the last (default)")
    args = parser.parse_args(arguments)
    layers = [_number(text) for text in args.layers.split(",")]
    arrays = features(args.workdir, read_lines(args.file), layers)
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
