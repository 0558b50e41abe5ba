"""Evaluations: counts and definitions as scikit-learn's, calibration by hand, and what the command writes."""

from contextlib import redirect_stdout
import json
from typing import Any, cast

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from experiments.use.class_scores import BINS, ClassScores
from experiments.use.evaluate import evaluate, main
from experiments.use.opened import open_folder
import train


def scores_of(probabilities, targets, weights, *, batch=4, worst=24):
    scores = ClassScores(probabilities.shape[-1], worst)
    for start in range(0, len(targets), batch):
        rows = slice(start, start + batch)
        scores.add(probabilities[rows], targets[rows], weights[rows])
    return scores


@pytest.fixture(scope="module")
def answers():
    """Probabilities (13, 7, 5), labels without class 4, and weights, of which some are 0."""
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((13, 7, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return probabilities, generator.integers(4, size=(13, 7)), (generator.random((13, 7)) < 0.8).astype(np.float32)


def test_the_definitions_are_those_of_scikit_learn(answers):
    probabilities, targets, weights = answers
    scores, counts = scores_of(*answers), weights > 0
    labels, predicted = targets[counts], probabilities.argmax(-1)[counts]
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(labels, predicted, labels=range(5)))
    expected: Any = precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=cast(Any, 0))
    for name, values in zip(("precision", "recall", "f1", "support"), expected):
        np.testing.assert_allclose(scores.by_class()[name], values)
    assert scores.summary(tuple("abcde"))["macro_f1"] == pytest.approx(expected[2].mean())


def test_batches_change_nothing(answers):
    one, other = scores_of(*answers, batch=13), scores_of(*answers, batch=3)
    np.testing.assert_array_equal(one.confusion, other.confusion)
    assert one.worst == other.worst and one.worst[0].loss > one.worst[-1].loss
    assert one.calibration_error() == pytest.approx(other.calibration_error())


def test_calibration_by_hand():
    """Half of the answers are right at the confidence 0.9, and half at 0.6: (|0.5 - 0.9| + |0.5 - 0.6|) / 2."""
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]])
    scores = scores_of(probabilities, np.array([0, 0, 1, 1]), np.ones(4))
    assert scores.calibration_error() == pytest.approx((0.4 + 0.1) / 2)
    table = scores.reliability()
    filled = np.flatnonzero(table["count"])
    np.testing.assert_allclose(table["confidence"][filled], [0.6, 0.9])
    np.testing.assert_allclose(table["accuracy"][filled], [0.5, 0.5])
    assert (filled == [8, 13]).all()  # (8/15, 9/15] and (13/15, 14/15]


def test_a_border_belongs_to_the_bin_below_it_and_1_to_the_last():
    probabilities = np.array([[1.0, 0.0], [1 / 3, 2 / 3]])
    scores = scores_of(probabilities, np.array([0, 1]), np.ones(2))
    assert np.flatnonzero(scores.reliability()["count"]).tolist() == [9, BINS - 1]
    assert scores.calibration_error() == pytest.approx(1 / 6)


def test_the_worst_examples_come_first():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.0, 1.0], [0.5, 0.5], [0.3, 0.7]])
    scores = scores_of(probabilities, np.zeros(5, int), np.array([1, 1, 1, 1, 0]), batch=2, worst=3)
    assert [example.number for example in scores.worst] == [2, 1, 3]
    assert scores.worst[1].loss == pytest.approx(-np.log(0.2)) and scores.worst[1].predicted == 1


# ---- a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    config = {
        "seed": 0, "steps": 3, "batch_size": 8, "eval_every": 3, "checkpoint_every": 3, "ema": 0.9,
        "optimizer": {"learning_rate": 1e-2},
        "model": {"name": "vit", "patch": 4, "width": 8, "depth": 1, "heads": 2},
        "objective": {"name": "classification", "label_smoothing": 0.1},
        "data": {"name": "digits", "evaluation": "test[:29]"},
    }  # fmt: skip
    workdir = tmp_path_factory.mktemp("runs") / "vit"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(None):
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        train.run(config, workdir)
        yield workdir


@pytest.mark.medium
def test_the_metrics_are_those_of_the_run_and_agree_with_the_counts(workdir, capsys):
    main([f"--workdir={workdir}", "--batch_size=5"])
    out = capsys.readouterr().out
    summary = json.loads((workdir / "summary.json").read_text())["metrics"]
    content = json.loads((workdir / "evaluate" / "test__29_.json").read_text())
    for name, value in content["metrics"].items():
        assert value == pytest.approx(summary[f"test[:29]/{name}"], rel=1e-4)
    confusion = np.array(content["confusion"])
    assert confusion.sum() == content["examples"] == 29
    assert np.trace(confusion) / 29 == pytest.approx(content["metrics"]["accuracy"])
    assert "moving average of those of training (ema = 0.9)" in out and "label smoothing of 0.1" in out
    assert out.endswith(f"\nnext     python -m experiments.predict --workdir={workdir} --images FOLDER\n")
    stems = ("confusion", "reliability", "worst")
    assert f"\nresults  {workdir}/evaluate/test__29_.json\npictures {workdir}/evaluate: test__29__confusion, " in out
    assert all((workdir / "evaluate" / f"test__29__{stem}{end}").exists() for stem in stems for end in (".png", ".svg"))


def test_another_split_has_its_own_numbers(workdir):
    evaluation = evaluate(open_folder(workdir), "train[:17]")
    assert evaluation.scores is not None
    assert len(evaluation.source) == evaluation.scores.total == 17
    labels = evaluation.source.examples(np.arange(17))["targets"]
    np.testing.assert_array_equal(evaluation.scores.by_class()["support"], np.bincount(labels, minlength=10))


@pytest.mark.parametrize(
    "more, words", [("--split=dev", "no split 'dev'"), ("--workdir=absent", "is not the workdir of a run")]
)
def test_errors_are_one_line(workdir, capsys, more, words):
    with pytest.raises(SystemExit):
        main([f"--workdir={workdir}", more])
    assert words in capsys.readouterr().err
