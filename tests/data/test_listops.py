"""ListOps: values against an independent evaluator, the rules of Long Range Arena, lengths, splits, messages."""

from functools import lru_cache
from importlib import import_module
import statistics
from typing import Any

import numpy as np
import pytest

from data.listops import SYMBOLS, grow, listops

module = import_module("data.listops")  # data.listops is the function
SHORT: dict[str, Any] = dict(max_depth=4, max_args=5, longer_than=9, shorter_than=42, examples=3_000)
APPLY = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda arguments: int(statistics.median(arguments)),
    "[SM": lambda arguments: sum(arguments) % 10,
}


@lru_cache
def short():
    return listops(**SHORT)


def everything(source):
    batch = source.examples(np.arange(len(source)))
    rows = [row[mask] for row, mask in zip(batch["inputs"]["tokens"], batch["inputs"]["mask"])]
    return [[SYMBOLS[token] for token in row] for row in rows], batch["targets"].tolist()


def value_and_depth(symbols):
    """The value of an expression and its depth, read from left to right with a stack of open lists."""
    open_lists, deepest = [[]], 1
    for place, symbol in enumerate(symbols):
        if symbol in APPLY:
            open_lists.append([symbol])
            deepest = max(deepest, len(open_lists))
        elif symbol == "X":
            operator, *arguments = open_lists.pop()
            assert 2 <= len(arguments) <= SHORT["max_args"]
            open_lists[-1].append(APPLY[operator](arguments))
        else:
            open_lists[-1].append(int(symbol))
        assert len(open_lists) > 1 or place == len(symbols) - 1
    ((value,),) = open_lists
    return value, deepest


def test_the_evaluator_is_right():
    assert value_and_depth("[MAX 2 9 [MIN 4 7 X 0 X".split()) == (9, 3)
    assert value_and_depth("[SM 8 [MED 1 4 X 7 X".split()) == (7, 3)  # the median 2.5 counts 2
    assert value_and_depth("[MED 5 9 1 X".split()) == (5, 2)


def test_every_value_is_right_and_no_list_too_deep_or_too_long():
    expressions, values = everything(short().train)
    evaluated = [value_and_depth(expression) for expression in expressions]
    assert [value for value, _ in evaluated] == values
    assert max(depth for _, depth in evaluated) == SHORT["max_depth"]
    lengths = {len(expression) for expression in expressions}
    assert (min(lengths), max(lengths)) == (10, 41)


def test_facts_sizes_and_shapes():
    dataset = short()
    assert dataset.facts == {"classes": 10, "vocab_size": 16, "context": 41}
    assert (len(dataset.train), len(dataset.evaluation), dataset.evaluation_name) == (3_000, 2_000, "validation")
    batch = dataset.train.examples(np.array([2, 1]))
    tokens, mask = batch["inputs"]["tokens"], batch["inputs"]["mask"]
    assert tokens.shape == mask.shape == (2, 41) and tokens.dtype == np.int32 and mask.dtype == bool
    np.testing.assert_array_equal(tokens != 0, mask)
    assert batch["targets"].dtype == np.int32 and batch["weights"].tolist() == [1, 1]


def test_all_expressions_are_different_and_the_same_at_each_start():
    splits = [everything(listops(**SHORT, evaluation=name).evaluation)[0] for name in ("train", "validation", "test")]
    different = {tuple(expression) for split in splits for expression in split}
    assert len(different) == 7_000
    module._expressions.cache_clear()
    assert everything(listops(**SHORT).train)[0] == splits[0]


def test_a_process_generates_expressions_once(monkeypatch):
    first = everything(listops(**SHORT).train)
    monkeypatch.setattr(module, "grow", None)  # a call would fail
    assert everything(listops(**SHORT, evaluation="test").train) == first


def test_a_quarter_of_the_places_above_the_deepest_holds_a_list():
    free = dict(max_depth=3, max_args=10, longer_than=0, shorter_than=10_000)
    tokens, lengths, values = grow(np.random.default_rng(0), 20_000, **free)
    assert len(lengths) == len(values) == 20_000 and lengths.sum() == len(tokens)
    assert (lengths > 1).mean() == pytest.approx(0.25, abs=0.01)
    symbols = np.array(SYMBOLS)[tokens]
    shares = [(symbols == operator).sum() / (symbols == "X").sum() for operator in APPLY]
    np.testing.assert_allclose(shares, 0.25, atol=0.02)
    # A list has 6 arguments on average, so 1/4 at the root, 6/16 at depth 2, and none at depth 3.
    assert (symbols == "X").sum() / 20_000 == pytest.approx(0.25 + 6 / 16, rel=0.05)


def test_long_range_arena_lengths():
    sizes = dict(max_depth=10, max_args=10, longer_than=500, shorter_than=2000)
    _, lengths, _ = grow(np.random.default_rng(0), 2_000, **sizes)
    assert lengths.min() > 500 and lengths.max() < 2000 and len(lengths) > 50


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"max_depth": 31, "max_args": 10}, "max_depth = 31, max_args = 10: each level has 1.5 times as many lists"),
        ({"longer_than": 41}, "longer_than = 41, shorter_than = 42"),
        ({"max_depth": 1, "longer_than": 0}, r"^10 different expressions .* 7,000 are needed"),
        ({"evaluation": "dev"}, "no split 'dev'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        listops(**SHORT | settings)
