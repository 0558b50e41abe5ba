"""Measures a variational autoencoder of molecules, and writes new ones that are drawn from its prior.

python -m experiments.molecules --workdir=runs/chemical_vae
python -m experiments.molecules --workdir=runs/chemical_vae --draws=5000 --out=drawn.txt

Molecules of a split are restored from the mean of their latents and from a draw of them, token by token without a look
at the right ones. Draws from the prior are read by RDKit where it is installed (`requirements-chemistry.txt`), else by
`data.smiles`, which knows valences but not every rule of aromatic rings. Drawn texts go to --out, one on each line.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from flax import nnx
import jax
import numpy as np

from core.command import command, print_foreign
from core.errors import UserError
from core.files import write_text
from core.ranges import Range, Seed, Size, refuse_outside
from data.dataset import Source
from data.smiles import is_valid
from data.vocabulary import Vocabulary
from experiments.use.opened import describe, open_folder, open_split
from models import SequenceVAE

Limit = Annotated[int, Range(2, 10**6)]


def restored(model: SequenceVAE, source: Source, *, limit: Limit = 1000, batch_size: Size = 250, seed: Seed = 0
             ) -> dict[str, Any]:  # fmt: skip
    """Returns how well texts of a source, the first `limit`, and their properties are restored.

    Returns:
      "mean": the share of texts that `write` gives exactly, from the mean of the posterior. "draw": from one draw.
      "count": of how many.
      "r2": for each property, 1 - the squared error of what is predicted from the mean, by the variance.

    Raises UserError for a setting that is out of range.
    """
    refuse_outside(restored, {"limit": limit, "batch_size": batch_size, "seed": seed})
    structure, state = nnx.split(model)

    @jax.jit
    def compute(state, inputs, key):
        model = nnx.merge(structure, state)
        mean_BZ, log_variance_BZ = model.encode(**inputs)
        drawn_BZ = mean_BZ + jax.numpy.exp(log_variance_BZ / 2) * jax.random.normal(key, mean_BZ.shape)
        return model.write(mean_BZ), model.write(drawn_BZ), model.predict(mean_BZ)

    count = min(limit, len(source))
    right: dict[str, list[np.ndarray]] = {"mean": [], "draw": []}
    predicted, expected = [], []
    for number, rows in enumerate(np.array_split(np.arange(count), -(-count // batch_size))):
        batch = source.examples(rows)
        key = jax.random.fold_in(jax.random.key(seed), number)
        *texts, properties = jax.device_get(compute(state, batch["inputs"], key))
        for name, written in zip(right, texts):
            right[name].append((written == batch["targets"]).all(1))
        predicted.append(properties)
        expected.append(batch["inputs"].get("properties", properties))
    predicted_NP, expected_NP = np.concatenate(predicted), np.concatenate(expected)
    error_P, variance_P = ((predicted_NP - expected_NP) ** 2).mean(0), expected_NP.var(0)
    shares = {name: float(np.concatenate(parts).mean()) for name, parts in right.items()}
    return {**shares, "count": count, "r2": (1 - error_P / np.maximum(variance_P, 1e-12)).tolist()}


def drawn(
    model: SequenceVAE, vocabulary: Vocabulary, *, draws: Size = 1000, batch_size: Size = 250, seed: Seed = 0
) -> list[str]:  # fmt: skip
    """Returns the texts that draws from the prior are written as.

    Raises UserError for a setting that is out of range.
    """
    refuse_outside(drawn, {"draws": draws, "batch_size": batch_size, "seed": seed})
    structure, state = nnx.split(model)
    write = jax.jit(lambda state, z: nnx.merge(structure, state).write(z))
    z_NZ = jax.random.normal(jax.random.key(seed), (draws, model.columns))
    parts = np.array_split(z_NZ, -(-draws // batch_size))
    return [_text(vocabulary, row) for z_BZ in parts for row in np.asarray(write(state, z_BZ))]


def validity() -> tuple[Callable[[str], bool], str]:
    """Returns a function that says whether a text is a molecule, and the name of what it asks."""
    try:
        from rdkit import Chem, RDLogger, rdBase  # pyright: ignore[reportMissingImports] # an optional extra
    except ImportError:
        return is_valid, "data.smiles"
    RDLogger.DisableLog("rdApp.*")  # it writes a line about every text that is none
    return lambda text: bool(text) and Chem.MolFromSmiles(text) is not None, f"RDKit {rdBase.rdkitVersion}"


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints what was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.molecules", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="folder of the run; its newest checkpoint is used")
    parser.add_argument("--split", help="a split of the run's own data set (default: the one that it is evaluated on)")
    parser.add_argument("--limit", type=int, default=1000, help="molecules to restore, the first (default %(default)s)")
    parser.add_argument("--draws", type=int, default=1000, help="from the prior (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default %(default)s)")
    parser.add_argument("--batch_size", type=int, default=250, help="molecules at once (default %(default)s)")
    parser.add_argument("--out", help="the text file to write the drawn molecules to")
    args = parser.parse_args(arguments)
    opened = open_folder(args.workdir)
    model, run, vocabulary = opened.model, opened.run, opened.vocabulary
    if not isinstance(model, SequenceVAE) or run is None or vocabulary is None:
        raise UserError(f"{describe(opened)}, which writes no molecules: expected a run of 'sequence_vae'")
    split = args.split or run.dataset.evaluation_name
    settings = {"batch_size": args.batch_size, "seed": args.seed}
    texts = drawn(model, vocabulary, draws=args.draws, **settings)
    results = restored(model, open_split(run, split).evaluation, limit=args.limit, **settings)
    valid, name = validity()
    good = [text for text in texts if valid(text)]
    print(f"restored {results['mean']:.4f} of {results['count']:,} molecules of {split}, from the mean of the latents")
    print(f"         {results['draw']:.4f} of them, from a draw")
    for number, value in enumerate(results["r2"], start=1):
        print(f"R^2      {value:.4f} of property {number}")
    print(f"valid    {len(good) / len(texts):.4f} of {len(texts):,} draws from the prior, by {name}")
    print(f"         {_share_of_different(good):.4f} of these differ from one another")
    for text in good[:3]:
        print_foreign(f"         {text}")
    if args.out:
        write_text(args.out, "".join(f"{text}\n" for text in texts))


def _share_of_different(texts: Sequence[str]) -> float:
    return len(set(texts)) / max(1, len(texts))


def _text(vocabulary: Vocabulary, row: np.ndarray) -> str:
    """The text before the end, which is token 0."""
    ends = np.flatnonzero(row == 0)
    return vocabulary.decode(row[: ends[0]] if len(ends) else row)


if __name__ == "__main__":
    main()
