"""Where metrics go: TensorBoard with the hyperparameters of a sweep, and which other loggers may be asked for."""

import json
import math
import typing

import pytest
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]

from core.errors import UserError
from tests import tiny
import train
from training import fields, log, loggers
from training.log import Log
from training.loggers import LOGGERS, LoggedRun, check_installed
from training.workdir import refuse_difference


def hyperparameters(folder):
    """The contents of the plugin of hyperparameters, in the order of the events."""
    contents = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            plugins = (value.metadata.plugin_data for value in event.summary.value)
            contents += [HParamsPluginData.FromString(p.content) for p in plugins if p.plugin_name == "hparams"]
    return contents


@pytest.fixture
def trial(tmp_path):
    folder = tmp_path / "rates" / "trials" / "rate=0.1"
    folder.mkdir(parents=True)
    overrides = {"optimizer.learning_rate": 0.1, "model.norm": "rms", "freeze": ["head.*"]}
    (folder / "trial.json").write_text(json.dumps({"overrides": overrides}))
    return folder


def test_tensorboard_gets_the_hyperparameters_of_a_trial_with_the_metrics_to_compare(trial):
    log = Log(trial, steps=7)
    log.train(7, {"loss": 1.0}, 1)
    log.evaluation(7, "test", {"loss": 2.0, "accuracy": 0.5})
    log.close()
    experiment, start, end = hyperparameters(trial)
    names = {info.name: info.type for info in experiment.experiment.hparam_infos}
    assert set(names) == {"optimizer.learning_rate", "model.norm", "freeze"}
    assert [m.name.tag for m in experiment.experiment.metric_infos] == ["test/loss", "test/accuracy"]
    values = start.session_start_info.hparams
    assert values["optimizer.learning_rate"].number_value == 0.1 and values["model.norm"].string_value == "rms"
    assert values["freeze"].string_value == "['head.*']"
    assert end.HasField("session_end_info")


def test_a_run_of_no_sweep_has_no_hyperparameters_and_an_unfinished_trial_has_no_end(tmp_path, trial):
    for folder in (tmp_path / "alone", trial):
        log = Log(folder, steps=7)
        log.evaluation(3, "test", {"loss": 2.0})
        log.close()
    assert hyperparameters(tmp_path / "alone") == []
    assert not any(content.HasField("session_end_info") for content in hyperparameters(trial))


def test_a_run_keeps_its_identity_and_knows_its_sweep(tmp_path, trial):
    alone = LoggedRun(tmp_path)
    assert alone.sweep is None and alone.trial == {}
    assert LoggedRun(trial).sweep == tmp_path.resolve() / "rates" and LoggedRun(trial).name == "rate=0.1"
    assert LoggedRun(tmp_path).identity == alone.identity != LoggedRun(trial).identity


def test_loggers_get_finite_metrics_and_what_was_logged_before(tmp_path, monkeypatch):
    runs, received = [], []

    class Notes:
        def __init__(self, run):
            runs.append(run)

        def log(self, step, split, metrics):
            received.append((step, split, dict(metrics)))

        def close(self, *, complete):
            received.append(complete)

    monkeypatch.setitem(log.LOGGERS, "notes", Notes)
    for start, steps in ((0, 5), (3, 7)):
        writer = Log(tmp_path, steps=steps, start_step=start, loggers=["notes"], config={"seed": 3})
        writer.evaluation(3, "test", {"loss": 2.0, "accuracy": math.nan})
        writer.evaluation(7, "test", {"loss": 1.0})
        writer.close()
    assert received[:3] == [(3, "test", {"loss": 2.0}), (7, "test", {"loss": 1.0}), False]
    assert received[-1] is True and runs[0].config == {"seed": 3}
    assert (runs[0].logged, runs[1].logged) == (frozenset(), {(3, "test"), (7, "test")})
    assert not (tmp_path / "tensorboard").exists()


def test_the_names_of_the_field_are_those_of_the_loggers():
    (names, _) = typing.get_args(typing.get_type_hints(fields.Fields, include_extras=True)["loggers"])
    assert typing.get_args(names)[1].names == tuple(LOGGERS)


def test_a_logger_that_is_unknown_or_not_installed_is_one_line(monkeypatch):
    config = tiny.get_config("vit").to_dict()
    with pytest.raises(UserError, match=r"config.loggers = .*expected one of tensorboard, wandb, mlflow, trackio"):
        train.Run.of(config | {"loggers": ("wandbb",)})
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    check_installed(["tensorboard"])
    with pytest.raises(UserError, match="'wandb': the package is not installed: pip install -r requirements-loggers"):
        check_installed(["tensorboard", "wandb"])


@pytest.mark.medium
def test_a_run_without_loggers_trains_and_may_be_continued_with_some(tmp_path):
    config = tiny.get_config("vit").to_dict() | {"steps": 4, "eval_every": 4, "loggers": ()}
    train.run(config, tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    train.run(config | {"steps": 5, "loggers": ("tensorboard",)}, tmp_path)
    assert (tmp_path / "tensorboard").exists()
    refuse_difference(tmp_path, {"loggers": []}, {"loggers": ["wandb"]}, free=["loggers"])
