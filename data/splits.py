"""Splits of a data set and slices of them, in the notation of TFDS: which examples they stand for."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from core.errors import UserError, shown
from data.dataset import Dataset


class SplitError(UserError):
    """A split that a data set does not have.

    Attributes:
      split: the split that was asked for.
    """

    def __init__(self, split: str, message: str):
        super().__init__(message)
        self.split = split


def make_from_config(make: Callable[..., Dataset], settings: Mapping[str, Any]) -> Dataset:
    """Returns the data set of a config's section `data`. For a split that does not exist, the error names the field."""
    try:
        return make(**settings)
    except SplitError as error:
        fields = [f"data.{field}" for field in ("train", "evaluation") if settings.get(field) == error.split]
        if not fields:
            raise
        raise SplitError(error.split, f"{' and '.join(fields)}: {error}") from error


def split_parts(name: str, lengths: dict[str, int], split: str) -> list[tuple[str, slice]]:
    """Returns the splits, and the part of each, that a TFDS split such as "train[:80%]+test" stands for.

    `lengths` holds the size of every split of the set `name`. Raises SplitError for a split that does not exist or is
    empty.
    """
    infos = {key: tfds.core.SplitInfo(key, [length], 0) for key, length in lengths.items()}
    try:
        instructions = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    except (ValueError, AssertionError, NotImplementedError) as error:
        splits = ", ".join(f"{key} ({length:,})" for key, length in lengths.items())
        raise SplitError(
            split,
            f"{name} has no split {shown(split)}. It has {splits}, and slices and sums of these, "
            "such as train[:80%] or train[80%:].",
        ) from error
    parts = [(part.splitname, slice(part.from_, part.to)) for part in instructions]
    if not any(range(lengths[key])[part] for key, part in parts):
        raise SplitError(split, f"The split {shown(split)} of {name} is empty. Widen its slice.")
    return parts


def split_rows(name: str, sizes: dict[str, int], split: str) -> np.ndarray:
    """Returns the row numbers of a TFDS split, (N,), where splits of these sizes follow one another.

    Raises SplitError as `split_parts`.
    """
    borders = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist()))
    parts = split_parts(name, sizes, split)
    return np.concatenate([np.arange(borders[key], borders[key] + sizes[key])[part] for key, part in parts])
