"""The loggers that are packages of their own, without a network: what they kept is read back.

Each test is skipped where its package is not installed: pip install -r requirements-loggers.txt
"""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import struct
import time

import pytest

from core.errors import UserError
from tests import tiny
from training import services
from training.log import Log
from training.loggers import LoggedRun

CONFIG = {"seed": 3, "model": {"name": "vit", "width": 7}}


@pytest.fixture
def trials(tmp_path):
    """The folders of two trials of the sweep "rates"."""
    folders = [tmp_path / "rates" / "trials" / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text(json.dumps({"overrides": {"seed": 1}}))
    return folders


def log_and_continue(trials: list[Path], service: str) -> None:
    """Logs both trials side by side; the first is killed after step 5, and continues from step 3 to 7."""
    logs = [Log(folder, steps=7, loggers=[service], config=CONFIG, display=False) for folder in trials]
    for number, log in enumerate(logs):
        for step in (3, 5):
            log.train(step, {"loss": step + number / 2}, 1)
        log.evaluation(5, "test[:25%]", {"accuracy": 0.25, "loss": float("nan")})
        log.close()
    time.sleep(1.1)  # W&B names its files by the second
    again = Log(trials[0], steps=7, start_step=3, loggers=[service], config=CONFIG, display=False)
    again.train(5, {"loss": 5.0}, 1)
    again.evaluation(5, "test[:25%]", {"accuracy": 0.25})
    again.train(7, {"loss": 7.0}, 1)
    again.close()


def records_of_wandb(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: 7 bytes, then the log format of LevelDB, in blocks of 32 KiB."""
    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the whole of a record, or its last part
            yield parts
            parts = b""


def test_mlflow_keeps_runs_of_a_sweep_as_an_experiment_and_continues_them(trials, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log_and_continue(trials, "mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rates")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"a", "b"}
    history = lambda name, metric: [
        (point.step, point.value) for point in client.get_metric_history(runs[name].info.run_id, metric)
    ]
    assert history("a", "train/loss") == [(3, 3.0), (5, 5.0), (7, 7.0)]
    assert history("b", "train/loss") == [(3, 3.5), (5, 5.5)]
    assert history("a", "test__25__/accuracy") == [(5, 0.25)] and history("a", "test__25__/loss") == []
    assert runs["a"].data.params == {"seed": "3", "model.name": "vit", "model.width": "7"}
    assert (runs["a"].info.status, runs["b"].info.status) == ("FINISHED", "KILLED")
    assert runs["a"].data.tags["group"] == "rates"


def test_trackio_keeps_runs_with_their_group_and_continues_them(trials, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio import utils  # pyright: ignore[reportMissingImports]
    from trackio.sqlite_storage import SQLiteStorage  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(utils, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    log_and_continue(trials, "trackio")
    names = [f"{folder.name}-{LoggedRun(folder).identity[:4]}" for folder in trials]
    kept = lambda name, metric: [
        (entry["step"], entry[metric]) for entry in SQLiteStorage.get_logs("lectern", name) if metric in entry
    ]
    assert kept(names[0], "train/loss") == [(3, 3.0), (5, 5.0), (7, 7.0)]
    assert kept(names[1], "train/loss") == [(3, 3.5), (5, 5.5)]
    assert kept(names[0], "test[:25%]/accuracy") == [(5, 0.25)]
    config = SQLiteStorage.get_run_config("lectern", names[1])
    assert config is not None and (config["_Group"], config["model"]) == ("rates", CONFIG["model"])


def test_wandb_keeps_runs_with_their_group_and_continues_them_offline(trials, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2  # pyright: ignore[reportMissingImports]

    monkeypatch.setenv("WANDB_MODE", "offline")
    log_and_continue(trials, "wandb")
    for number, folder in enumerate(trials):
        points, runs = [], []
        for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime):
            for data in records_of_wandb(path):
                record = wandb_internal_pb2.Record.FromString(data)
                runs += [record.run] if record.WhichOneof("record_type") == "run" else []
                if record.WhichOneof("record_type") == "history":
                    items = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
                    points += [(items["_step"], items["train/loss"])] if "train/loss" in items else []
        assert {run.run_id for run in runs} == {LoggedRun(folder).identity}
        assert {(run.run_group, run.display_name, run.project) for run in runs} == {("rates", folder.name, "lectern")}
        assert points == ([(3, 3.0), (5, 5.0), (7, 7.0)] if number == 0 else [(3, 3.5), (5, 5.5)])


def test_a_service_that_cannot_be_opened_is_one_line_and_one_that_fails_later_ends_nothing(monkeypatch, capsys):
    class Broken:
        def __init__(self, run):
            if run.start_step:
                raise RuntimeError("nobody is\nlogged in")

        def log(self, *_):
            raise OSError("the network is down")

        def close(self, *, complete):
            raise AssertionError("it failed before")

    monkeypatch.setattr(services, "MLflow", Broken)
    with pytest.raises(UserError, match="^loggers: mlflow could not be opened: nobody is logged in$"):
        services.open_service("mlflow", LoggedRun(tiny.ROOT, {}, 3))
    service = services.open_service("mlflow", LoggedRun(tiny.ROOT))
    service.log(1, "train", {})
    service.log(2, "train", {})
    service.close(complete=False)
    assert capsys.readouterr().err == "warning: mlflow failed, the run goes on without it: the network is down\n"
