"""What trials are compared by: each metric says which way is better, and one that nobody computes is refused."""

from pathlib import Path

import pytest

from core.errors import UserError
from core.metrics import is_better, refuse_unknown
from experiments.sweep.metrics import NAMES, better_of, refuse_not_computed
from experiments.sweep.sweep_file import Sweep, check
from tests import tiny
from train import Run

LOWER = {"archetype", "contrast", "energy", "loss", "kl", "reconstruction", "masked_loss", "next_loss", "grad_norm",
         "property", "side"}  # fmt: skip
HIGHER = {"accuracy", "dice", "exact", "iou", "elbo", "image_to_text", "information", "importance_bound",
          "next_accuracy", "text_to_image", "examples_per_second", "tokens_per_second", "nodes_per_second",
          "pixels_per_second", "model_flops_utilisation"}  # fmt: skip
FILE = """
CONFIG = "tests/tiny.py:vit"
METRIC = "test[:25%]/loss"
def sweep():
    return [{"optimizer.learning_rate": 0.1}, {"optimizer.learning_rate": 0.2}]
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.ROOT)

    def write(old: str = "METRIC", new: str = "METRIC") -> Sweep:
        assert old in FILE
        path = Path(tmp_path / "file.py")
        path.write_text(FILE.replace(old, new))
        return Sweep.read(path)

    return write


def test_every_metric_has_the_direction_that_its_meaning_gives_it():
    assert {name for name, better in NAMES.items() if better == "min"} == LOWER
    assert {name for name, better in NAMES.items() if better == "max"} == HIGHER
    assert {better_of(f"test/{name}") for name in LOWER} == {"min"}
    assert {better_of(f"test[:80%]/{name}") for name in HIGHER} == {"max"}


@pytest.mark.parametrize("better", ["min", "max"])
def test_nothing_that_is_not_finite_is_better(better):
    for bad in (float("nan"), float("inf"), float("-inf")):
        assert not is_better(bad, None, better) and not is_better(bad, 1.0, better)
        assert is_better(1.0, bad, better)
    assert is_better(1.0, None, better) and not is_better(1.0, 1.0, better)
    assert is_better(1.0, 2.0, better) == (better == "min")


@pytest.mark.parametrize(
    "metric, words",
    [
        ("test/acuracy", "METRIC = 'test/acuracy': expected one of test/accuracy, .* Did you mean 'test/accuracy'?"),
        ("loss", "METRIC = 'loss': expected a split and a name, such as validation/loss"),
        ("train/learning_rate", "neither a low nor a high one is better. Say which: BETTER"),
    ],
)
def test_a_metric_that_cannot_be_compared_is_refused(metric, words):
    with pytest.raises(UserError, match=words):
        better_of(metric)


def test_the_message_has_all_names():
    with pytest.raises(UserError, match="best = 'x': expected one of accuracy, loss"):
        refuse_unknown("best =", "x", ["loss", "accuracy"])


def test_a_sweep_is_ranked_the_way_its_metric_says_unless_it_says_otherwise(read):
    assert read().better == "min"
    assert read("loss", "accuracy").better == "max"
    assert read("METRIC", 'BETTER = "max"\nMETRIC').better == "max"


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("/loss", "/los", r"METRIC = 'test\[:25%\]/los': expected one of .* Did you mean 'test\[:25%\]/loss'?"),
        ("METRIC", 'BETER = "max"\nMETRIC', "'BETER' is not read by anything. Did you mean 'BETTER'?"),
        ("METRIC", "PRUNER = None\nMETRIC", "'PRUNER' is not read by anything"),
        ("METRIC", "RATES: list = [0.1]\nMETRIC", "'RATES' is not read by anything"),
        ("METRIC", "A, TRIAL = 1, 2\nMETRIC", "'A' is not read by anything"),
    ],
)
def test_a_misspelt_name_of_a_sweep_file_is_refused(read, old, new, words):
    with pytest.raises(UserError, match=words):
        read(old, new)


def test_a_sweep_file_may_have_names_of_its_own(read):
    sweep = read("def sweep():", "RATES, _UNUSED = [1], 2\nWIDTHS = [8]\ndef sweep():\n    print(WIDTHS, RATES)")
    assert (sweep.metric, sweep.better) == (read().metric, read().better)


@pytest.mark.medium
def test_before_the_first_trial_a_metric_must_be_one_that_its_run_computes(read, tmp_path):
    run = Run.of(tiny.get_config("vit"))
    for name in ("loss", "accuracy"):
        refuse_not_computed(f"test[:25%]/{name}", run)
    for name in ("loss", "accuracy", "grad_norm", "learning_rate", "examples_per_second"):
        refuse_not_computed(f"train/{name}", run)
    for metric, words in (
        ("test[:25%]/exact", r"'test\[:25%\]/exact': expected one of test\[:25%\]/accuracy, test\[:25%\]/loss."),
        ("test[:25%]/grad_norm", "grad_norm': expected one of"),
        ("test/loss", r"expected test\[:25%\]/<name>, or train/<name>"),
    ):
        with pytest.raises(UserError, match=words):
            refuse_not_computed(metric, run)
    sweep = read("/loss", "/exact")
    with pytest.raises(UserError, match="trial optimizer.learning_rate=0.1: METRIC = .*exact': expected one of"):
        check(sweep.trials(tmp_path), sweep.metric)


def test_best_is_a_metric_of_the_objective_and_says_which_way_is_better():
    config = tiny.get_config("vit").to_dict()
    assert Run.of(config | {"best": "accuracy"}).better == "max"
    assert Run.of(config).better == "min"
    with pytest.raises(UserError, match="best = 'acuracy': expected one of accuracy, loss. Did you mean 'accuracy'?"):
        Run.of(config | {"best": "acuracy"})
