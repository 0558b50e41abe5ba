"""Molecules as SMILES, each with properties: enumerated small ones, and those of a file of the user's own.

An example is the text of a molecule, and a newline after it. The model reads and writes the same tokens, so they are
inputs and targets.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np

from core.errors import UserError, shown
from core.ranges import Length
from core.reading import read_text
from data.characters import Characters
from data.dataset import Dataset
from data.in_memory import array_dataset
from data.log_p import log_p
from data.smiles import fingerprint, parse

END = "\n"  # the first of all characters, so its token is 0; it is what padding holds too
_SIZES = {"train": 5_000, "test": 1_000}

# A molecule is a first part, up to three inner ones that are bonded at their first and last atom, and a last part.
_FIRST = ("C", "N", "O", "F", "Cl", "S", "c1ccccc1", "C1CCCCC1", "C#C", "N#C", "c1ccncc1", "C1CC1")
_INNER = ("C", "C(C)", "C(O)", "C(=O)", "C=C", "O", "N", "c1ccc(cc1)", "C(F)(F)", "C(N)", "C1CCC(CC1)", "S(=O)(=O)")
_LAST = ("C", "N", "O", "F", "Cl", "S", "C(=O)O", "C(C)C", "C=C", "C#N", "C(F)(F)F", "C(=O)N")
_LONGEST = 24
_HETERO = "NOFSCl"


def molecules(*, train: str = "train", evaluation: str = "test") -> Dataset:
    """Returns 6,000 small molecules with their log P, all different, of up to 24 characters.

    They are put together from parts that fit, so every one is valid. The input "properties" (B, 1) is log P as
    `data.log_p` estimates it, shifted and scaled to mean 0 and variance 1 over all molecules. The molecules are chosen
    at each start, always the same ones; splits train (5,000) and test (1,000).
    """
    texts, values = _enumerated()
    return _dataset("molecules", texts, values[:, None], _SIZES, train, evaluation, max(map(len, texts)) + 1)


def molecules_file(
    *, path: str, context: Length = 120, train: str = "train", evaluation: str = "validation"
) -> Dataset:  # fmt: skip
    """Returns the molecules of a text file, such as those of ZINC: a line for each, a SMILES and perhaps properties.

    Properties are numbers in further columns, divided by blanks or tabs; each line has as many. They are shifted and
    scaled to mean 0 and variance 1 over the file. SMILES need not be valid. Splits train (90 %) and validation (10 %),
    drawn once and always the same.

    Args:
      path: the file.
      context: the longest text, the newline at its end included.
      train, evaluation: the splits to use.

    Raises UserError that names the line: for one that is empty or longer, and for a property that is no number.
    """
    texts, rows = [], []
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        text, *columns = line.split() or [""]
        if not text or len(text) >= context:
            raise UserError(
                f"{path}, line {number}: {len(text)} characters. Expected 1 to {context - 1}, or a larger data.context."
            )
        try:
            values = [float(value) for value in columns]
        except ValueError:
            raise UserError(f"{path}, line {number}: {shown(line)}. Expected a SMILES and numbers.") from None
        if rows and len(values) != len(rows[0]) or not np.isfinite(values).all():
            raise UserError(
                f"{path}, line {number}: {shown(line)}. Expected {len(rows[0]) if rows else 'only'} finite numbers "
                "after the SMILES, as on the first line."
            )
        texts.append(text)
        rows.append(values)
    if len(texts) < 2:
        raise UserError(f"{path} holds 1 molecule: expected at least 2, one to train on and one to evaluate.")
    if (lowest := min(map(min, texts))) < "!":
        raise UserError(f"{path} holds the character {lowest!r}, which is no part of a SMILES: remove it.")
    order = np.random.default_rng(0).permutation(len(texts))
    held_out = max(1, len(texts) // 10)
    sizes = {"train": len(texts) - held_out, "validation": held_out}
    return _dataset(path, [texts[i] for i in order], np.array(rows)[order], sizes, train, evaluation, context)


def _dataset(
    name: str, texts: Sequence[str], properties: np.ndarray, sizes: dict[str, int], train: str, evaluation: str,
    context: int,
) -> Dataset:  # fmt: skip
    """Returns texts with their properties (N, P) as a data set; P may be 0."""
    vocabulary = Characters.of(END, *texts)
    tokens = np.full((len(texts), context), vocabulary.encode(END)[0], np.int32)
    for row, text in zip(tokens, texts):
        row[: len(text)] = vocabulary.encode(text)
    lengths = np.array([[len(text) + 1] for text in texts])
    mask = np.arange(context) < lengths
    inputs = {"tokens": tokens, "mask": mask}
    if columns := properties.shape[1]:
        spread = np.maximum(properties.std(0), 1e-12)
        inputs["properties"] = ((properties - properties.mean(0)) / spread).astype(np.float32)
    examples = {"inputs": inputs, "targets": tokens, "weights": mask.astype(np.float32)}
    facts = {"vocab_size": len(vocabulary), "context": context} | ({"properties": columns} if columns else {})
    return replace(array_dataset(name, examples, sizes, train, evaluation, **facts), vocabulary=vocabulary)


@lru_cache(maxsize=1)  # the members of a population share them
def _enumerated() -> tuple[list[str], np.ndarray]:
    """The molecules in a random order, and the log P of each."""
    texts = [
        "".join(parts)
        for count in range(4)
        for parts in product(_FIRST, *[_INNER] * count, _LAST)
        if all(_fits(left, right) for left, right in zip(parts, parts[1:]))
    ]
    texts = [text for text in texts if len(text) <= _LONGEST]
    chosen, values, seen = [], [], set()
    for place in np.random.default_rng(0).permutation(len(texts)):
        molecule = parse(texts[place])
        if (same := fingerprint(molecule)) not in seen:
            seen.add(same)
            chosen.append(texts[place])
            values.append(log_p(molecule))
        if len(chosen) == sum(_SIZES.values()):
            break
    return chosen, np.array(values)


def _fits(left: str, right: str) -> bool:
    """Whether a part may stand before another: two atoms other than carbon are not bonded, but for S and N."""
    return left[-1:] not in _HETERO[:3] or right[0] not in _HETERO
