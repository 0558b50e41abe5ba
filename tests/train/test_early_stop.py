"""A run that stops early is complete, continues bit for bit, and goes on if it is given more patience."""

import os
import signal

import pytest

from core.errors import UserError
from experiments.sweep import population
from experiments.sweep.trials import DONE, Trial
from tests import tiny
import train

FLAGS = ("--config.patience=2", "--config.eval_every=2", "--config.best=accuracy", "--config.steps=60",
         "--config.checkpoint_every=7", "--config.optimizer.learning_rate=1e-6")  # fmt: skip


@pytest.mark.medium
def test_a_killed_run_stops_early_at_the_same_step_with_the_same_bits(tmp_path):
    out = tiny.finish(tiny.start("vit", tmp_path / "whole", *FLAGS))
    uninterrupted = tiny.summary(tmp_path / "whole")
    assert uninterrupted["stopped_early"] and uninterrupted["steps"] < 30
    assert f"step {uninterrupted['steps']:>2}/60  stops early: 2 evaluations without a better accuracy" in out
    run = tiny.start("vit", tmp_path / "killed", *FLAGS)
    tiny.until(tiny.logged(tmp_path / "killed", uninterrupted["steps"] - 1), run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    tiny.finish(tiny.start("vit", tmp_path / "killed", *FLAGS))
    killed = tiny.summary(tmp_path / "killed")
    assert (killed["state_digest"], killed["steps"]) == (uninterrupted["state_digest"], uninterrupted["steps"])
    assert tiny.losses(tmp_path / "killed") == tiny.losses(tmp_path / "whole")
    again = tiny.finish(tiny.start("vit", tmp_path / "whole", *FLAGS))
    assert f"it stopped early, after {uninterrupted['steps']} steps. To train further: --config.patience=0" in again
    further = (*FLAGS, "--config.patience=0", f"--config.steps={uninterrupted['steps'] + 3}")
    tiny.finish(tiny.start("vit", tmp_path / "whole", *further))
    assert tiny.summary(tmp_path / "whole")["steps"] == uninterrupted["steps"] + 3


@pytest.mark.medium
def test_a_trial_that_stopped_early_is_done_and_shares_no_program(tmp_path):
    fields = {"patience": 1, "eval_every": 1, "best": "accuracy", "optimizer.learning_rate": 1e-6, "steps": 30}
    trials = [Trial(tmp_path / str(seed), f"{tiny.__file__}:vit", {}, fields | {"seed": seed}) for seed in (1, 2)]
    config = trials[0].begin()
    assert train.run(config, trials[0].folder)["steps"] < 30
    assert trials[0].settled() == DONE
    requests = [{"config": t.config, "overrides": t.fields, "workdir": str(t.folder)} for t in trials]
    assert [len(group) for group in population.groups(requests)] == [1, 1]
    with pytest.raises(UserError, match="runs that may stop early cannot share a program"):
        population.run(requests)
