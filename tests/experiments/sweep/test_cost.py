"""The FLOPs of a sweep are those of its trials, each as often as it has steps."""

import pytest

from experiments.sweep.cost import flops_of, flops_of_trials
from experiments.sweep.trials import Trial
from tests import tiny
from train import Run


@pytest.mark.medium
def test_trials_count_with_their_steps_and_kinds(tmp_path):
    file = f"{tiny.__file__}:vit"
    overrides = [{"seed": 1, "steps": 5}, {"seed": 2, "steps": 5}, {"seed": 1, "steps": 5, "model.width": 16}]
    trials = [Trial(tmp_path / str(i), file, {"optimizer.warmup": 2}, fields) for i, fields in enumerate(overrides)]
    config = tiny.get_config("vit").to_dict()
    small = flops_of(Run.of(config))
    large = flops_of(Run.of(config | {"model": config["model"] | {"width": 16}}))
    assert large > 2 * small > 0
    assert flops_of_trials(trials) == 5 * (2 * small + large)
