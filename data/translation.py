"""Translation from a pair of the user's text files: line n of one is the translation of line n of the other."""

import itertools
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.notes import note
from core.ranges import Length
from data.dataset import Dataset
from data.lines import read_lines
from data.source_target import source_and_facts
from data.splits import split_parts
from data.subwords import Subwords


def translation(
    *, path: str, source: str, target: str, tokenizer: str, source_length: Length, length: Length, train: str = "train",
    evaluation: str = "validation", form: str = "pairs",
) -> Dataset:  # fmt: skip
    """Returns pairs of sentences from a folder with two UTF-8 files per split, such as train.en and train.de.

    Args:
      path: the folder. source, target: the endings of the file names, such as "en" and "de".
      tokenizer: a file of `data.subwords.Subwords`, for both languages. To make one: python -m experiments.tokenizer.
      source_length: tokens of the longest source to train on.
      length: tokens of the longest target to train on, plus one for its end. Pairs with a longer source or target are
        left out of training, and a message says how many. None is left out of evaluation, whose arrays are as long as
        the longest pair needs.
      form: "pairs" or "prompt", see `data.source_target`.
      train, evaluation: splits, and slices of them counted in lines, such as "train[:1000]".

    Raises UserError for a missing or malformed file, with its name and line.
    """
    vocabulary = Subwords.load(tokenizer)
    texts = {split: _parallel(Path(path), split, source, target) for split in _splits(Path(path), source, target)}
    make_source, facts = source_and_facts(form)

    def encoded(spec: str) -> list[list[np.ndarray]]:
        parts = split_parts(path, {split: len(sources) for split, (sources, _) in texts.items()}, spec)
        lines = [(split, number) for split, part in parts for number in range(len(texts[split][0]))[part]]
        return [vocabulary.encode_all([texts[split][side][number] for split, number in lines]) for side in (0, 1)]

    sources, targets = encoded(train)
    fits = [len(s) <= source_length and len(t) < length for s, t in zip(sources, targets)]
    if not any(fits):
        raise UserError(
            f"No pair of {train!r} in {path} fits source_length = {source_length} and length = {length}. Raise these."
        )
    if not all(fits):
        too_long = f"{len(fits) - sum(fits):,} of {len(fits):,}"
        note(f"{path}: {too_long} pairs of {train!r} are too long and left out")
    trained = [list(itertools.compress(side, fits)) for side in (sources, targets)]
    evaluated = encoded(evaluation)
    needed = [max(map(len, side), default=0) for side in evaluated]
    longest = max(source_length, needed[0]), max(length, needed[1] + 1)

    return Dataset(
        facts=facts(len(vocabulary), *longest),
        train=make_source(*trained, source_length=source_length, length=length),
        evaluation=make_source(*evaluated, source_length=longest[0], length=longest[1]),
        evaluation_name=evaluation,
        vocabulary=vocabulary,
    )


def _splits(folder: Path, source: str, target: str) -> list[str]:
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no folder"
        raise UserError(f"{folder} is {what}: expected {_layout(source, target)}.")
    names = sorted(file.name for file in folder.iterdir())
    splits = [name.removesuffix(f".{source}") for name in names if name.endswith(f".{source}")]
    splits = [split for split in splits if f"{split}.{target}" in names]
    if not splits:
        present = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") or "no file"
        raise UserError(f"{folder} has no pair of files. Expected {_layout(source, target)}; found {present}.")
    return splits


def _layout(source: str, target: str) -> str:
    return f"a folder with two files per split, such as train.{source} and train.{target}"


def _parallel(folder: Path, split: str, source: str, target: str) -> tuple[list[str], list[str]]:
    sources, targets = (read_lines(folder / f"{split}.{language}") for language in (source, target))
    if len(sources) != len(targets):
        shorter, longer = sorted([(len(sources), source), (len(targets), target)])
        raise UserError(
            f"{folder}/{split}.{longer[1]}, line {shorter[0] + 1}, has no partner: {split}.{shorter[1]} has "
            f"{shorter[0]:,} lines, {split}.{longer[1]} has {longer[0]:,}. Line n of both must belong together."
        )
    return sources, targets
