"""Parts of a model from other runs: by their names here and there, whole, and otherwise refused."""

import numpy as np
import pytest

from core.errors import UserError
from training.parts import read_parts

RUNS = {
    "runs/text": {"blocks.kernel": np.ones((2, 3)), "head.bias": np.zeros(3)},
    "runs/pair": {"eyes.kernel": np.full((5, 2), 7.0), "eyes.head.kernel": np.ones((2, 2)), "scale": np.ones(())},
}
SHAPES = {"language.blocks.kernel": (2, 3), "language.head.bias": (3,), "vision.kernel": (5, 2), "gate": ()}
OURS = {path: np.zeros(shape) for path, shape in SHAPES.items()}


def parts(**sources):
    calls = []

    def read(workdir, whole):
        calls.append((workdir, whole))
        return RUNS[workdir]

    return read_parts(sources, OURS, read), calls


def test_a_whole_model_and_a_part_of_another_become_parts():
    parameters, calls = parts(language="runs/text", vision="runs/pair#eyes")
    assert calls == [("runs/text", True), ("runs/pair", False)]
    assert parameters.keys() == OURS.keys() - {"gate"}
    np.testing.assert_array_equal(parameters["language.blocks.kernel"], 1)
    np.testing.assert_array_equal(parameters["vision.kernel"], 7)


def test_nothing_is_taken_where_nothing_is_asked_for():
    assert parts() == ({}, [])


@pytest.mark.parametrize(
    "sources, words",
    [
        ({"ears": "runs/text"}, "init_parts.ears: the model has no such part. Its parts are language, vision, gate"),
        ({"language": "runs/pair"}, "init_parts.language = 'runs/pair' has nothing for language.blocks.kernel"),
        ({"vision": "runs/pair"}, "has nothing for vision.kernel: expected .5, 2."),
        ({"vision": "runs/text#blocks"}, r"has the shape \(2, 3\) for vision.kernel: expected \(5, 2\)"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(sources, words):
    with pytest.raises(UserError, match=words):
        parts(**sources)
