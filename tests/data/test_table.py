"""The table of sets: a config can choose every entry, and its fields can be checked before it is called."""

import inspect

import pytest

from core.signatures import plain
from data import DATASETS


@pytest.mark.parametrize("name", DATASETS)
def test_a_set_takes_plain_annotated_keywords_and_names_its_splits(name):
    function = DATASETS[name]
    parameters = inspect.signature(function).parameters
    assert function.__name__ == name
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    types = {str, int, int | None, float, bool, tuple[float, ...], tuple[float, ...] | None}
    assert {plain(parameter.annotation) for parameter in parameters.values()} <= types
    assert parameters["train"].default == "train"
    assert parameters["evaluation"].default in ("test", "validation")
