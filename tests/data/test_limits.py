"""Generated sets whose numeric fields are all at the end of their ranges are made, or refused in one line."""

import inspect
import typing
from typing import Any

import pytest

from core.errors import UserError
from core.ranges import Range
from data import DATASETS

NEEDS_FILES = {
    "binary_mnist", "fashion_mnist", "graph_files", "image_array", "image_folder", "imdb", "labelled_text",
    "mnist", "molecules_file", "planetoid", "text_file", "tfds", "tiny_shakespeare", "translation",
}  # fmt: skip


def limits(name: str, end: str) -> dict[str, Any]:
    """Every numeric field of a set, at the "low" or the "high" end of its range."""
    target = inspect.unwrap(DATASETS[name])
    hints = typing.get_type_hints(target, include_extras=True)
    fields = {}
    for field in inspect.signature(target).parameters:
        for part in getattr(hints.get(field), "__metadata__", ()):
            if isinstance(part, Range):
                fields[field] = typing.get_args(hints[field])[0](getattr(part, end))
    return fields


def made_or_refused(name: str, **fields) -> bool:
    """Whether the set has examples, or is refused in one line that says something."""
    try:
        dataset = DATASETS[name](**fields)
    except UserError as error:
        return len(str(error).splitlines()) == 1
    return len(dataset.train) > 0 and len(dataset.evaluation) > 0


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - NEEDS_FILES))
def test_a_set_at_the_lower_limits(name):
    assert made_or_refused(name, **limits(name, "low"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DATASETS.keys() - NEEDS_FILES))
def test_a_set_at_the_upper_limits(name):
    assert made_or_refused(name, **limits(name, "high"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DATASETS.keys() - NEEDS_FILES))
def test_a_set_with_one_field_at_its_upper_limit(name):
    required = {field: 2048 for field in ("context", "length", "source_length")}
    parameters = inspect.signature(inspect.unwrap(DATASETS[name])).parameters
    required = {f: x for f, x in required.items() if f in parameters and parameters[f].default is parameters[f].empty}
    for field, value in limits(name, "high").items():
        assert made_or_refused(name, **(required | {field: value})), field


def test_powers_that_no_float_holds_are_no_error():
    with pytest.raises(UserError, match="times as many lists"):
        DATASETS["listops"](max_depth=1024, max_args=100)
