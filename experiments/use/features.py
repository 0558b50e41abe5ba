"""What the layers of a trained model make of texts, as arrays in a file.

python -m experiments.features --workdir=runs/bert --layers=-1,-2 --file=texts.txt --out=features.npz
"""

import argparse
import sys

from flax import nnx
import jax
import numpy as np

from data.lines import read_lines
from data.sentence_pairs import frame
from data.subwords import Subwords
from models.protocols import Features
import train


def features(workdir: str, texts: list[str], layers: list[int], *, batch_size: int = 32) -> dict[str, np.ndarray]:
    """The features of each text, read as [CLS] text [SEP], by the newest checkpoint of a run.

    Returns:
      "layer_<number>": float32 (N, T, D) for each of `layers`: 0 is the embeddings, 1 the first block, -1 the last;
        "tokens": int32 (N, T), "mask": bool (N, T), False at padding. T is the model's context.

    Raises FileNotFoundError where the workdir holds no checkpoint, and ValueError for a run without such features, a
    layer that it lacks, or no text.
    """
    model, run = train.load(workdir)
    vocabulary = run.dataset.vocabulary
    if not (isinstance(model, Features) and isinstance(vocabulary, Subwords)):
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise ValueError(f"{workdir} holds the model {name!r} of the data {data!r}, which gives no features of a text")
    depth = model.blocks.depth
    if wrong := [layer for layer in layers if not -depth - 1 <= layer <= depth]:
        raise ValueError(f"layer {wrong[0]}: expected {-depth - 1} to {depth}; 0 is the embeddings, {depth} the last")
    if not texts:
        raise ValueError("there is no text")
    tokens, mask = frame(vocabulary.encode_all(texts), model.context)
    structure, state = nnx.split(model)

    @jax.jit
    def compute(state, tokens, mask):
        found = nnx.merge(structure, state).features(tokens, mask=mask)
        return {f"layer_{layer}": found[layer].astype("float32") for layer in layers}

    batches = []
    for start in range(0, len(texts), batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), len(texts) - 1)  # full batches: compiled once
        batches.append(jax.device_get(compute(state, tokens[rows], mask[rows])))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(texts)], *batches)
    return joined | {"tokens": tokens, "mask": mask}


def main(arguments: list[str] | None = None) -> None:
    """The command line: writes an .npz file, an error is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.features", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="folder of the run")
    parser.add_argument("--file", required=True, help="texts, one a line")
    parser.add_argument("--out", required=True, help="the .npz file to write")
    parser.add_argument("--layers", default="-1", help="numbers with commas; 0: embeddings, -1: the last (default)")
    given = parser.parse_args(arguments)
    try:
        layers = [_number(text) for text in given.layers.split(",")]
        found = features(given.workdir, read_lines(given.file), layers)
        with open(given.out, "wb") as file:
            np.savez(file, **found)
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    for name, array in found.items():
        print(f"{name:<10} {array.dtype} {array.shape}")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"layers: {text!r} is no whole number; expected such as -1,-2") from None


if __name__ == "__main__":
    main()
