"""What a run shows and writes."""

import io
import json
import math
from types import SimpleNamespace

import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made at run time

from core.errors import UserError
from training import log as log_file
from training.log import Log, read


@pytest.fixture
def clock(monkeypatch):
    """Time that only the test moves."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(log_file, "time", SimpleNamespace(monotonic=lambda: Clock.now))
    monkeypatch.setattr("time.time", lambda: Clock.now)  # TensorBoard names its files by the second
    return Clock


def events(workdir):
    """(tag, step, value) of every TensorBoard event, and the steps at which a session began."""
    scalars, starts = [], []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            scalars += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            if event.HasField("session_log"):
                starts.append(event.step)
    return scalars, starts


def test_lines_are_json_and_flushed_at_once(tmp_path, clock):
    log = Log(tmp_path, steps=20, unit="tokens")
    clock.now += 2
    log.train(5, {"loss": 1.5, "learning_rate": 3e-4}, 700)
    log.evaluation(5, "test", {"accuracy": 0.25, "loss": math.inf})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "step": 5,
            "split": "train",
            "time": 2.0,
            "loss": 1.5,
            "learning_rate": 3e-4,
            "tokens_per_second": 350.0,
        },
        {"step": 5, "split": "test", "time": 2.0, "accuracy": 0.25, "loss": None},
    ]
    assert math.isnan(read(tmp_path / "metrics.jsonl")[1]["loss"])
    log.close()
    scalars, _ = events(tmp_path)
    assert ("train/loss", 5, 1.5) in scalars and ("test/accuracy", 5, 0.25) in scalars
    assert "test/loss" not in {tag for tag, _, _ in scalars}


def test_utilisation_is_the_time_at_the_peak_over_the_time_that_passed(tmp_path, clock, capsys):
    log = Log(tmp_path, steps=20, peak_seconds=0.003)
    clock.now += 2
    assert log.train(5, {"loss": 1.5}, 500) == {"model_flops_utilisation": pytest.approx(0.75)}
    log.close()
    assert "250 examples/s  75 % of peak  left" in capsys.readouterr().out
    assert read(tmp_path / "metrics.jsonl")[0]["model_flops_utilisation"] == pytest.approx(0.75)
    log = Log(tmp_path / "cpu", steps=20, display=False)
    assert log.train(5, {"loss": 1.5}, 500) == {}
    log.close()


def test_plain_lines_when_not_a_terminal(tmp_path, clock, capsys):
    log = Log(tmp_path, steps=2000)
    clock.now += 10
    log.train(100, {"loss": 2.0, "learning_rate": 3e-4}, 100_000)
    clock.now += 5
    with log.pause():
        clock.now += 45
    log.evaluation(100, "test", {"accuracy": 0.975})
    log.train(200, {"loss": 1.23456, "learning_rate": 1e-5}, 61_725)
    log.close()
    assert capsys.readouterr().out.splitlines() == [
        "step  100/2000  loss 2.0000  lr 3.0e-04  10,000 examples/s  left 3:10",
        "step  100/2000  test  accuracy 0.9750",
        "step  200/2000  loss 1.2346  lr 1.0e-05  12,345 examples/s  left 9:00",  # 60 s in 200 steps
    ]


def test_a_bar_on_a_terminal(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(log_file, "Console", lambda: Console(file=screen, force_terminal=True, width=110))
    log = Log(tmp_path, steps=11)
    log.train(7, {"loss": 1.25}, 3)
    log.evaluation(7, "test", {"accuracy": 0.5})
    log.close()
    text = screen.getvalue()
    assert "7/11" in text and "loss 1.2500" in text and "test  accuracy 0.5000" in text


def test_resume_drops_what_came_after_and_counts_time_on(tmp_path, clock):
    log = Log(tmp_path, steps=9)
    log.evaluation(0, "test", {"loss": 0.0})
    for step in (2, 4, 6):
        clock.now += 1
        log.train(step, {"loss": float(step)}, 2)
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "split": "tr')
    assert [record["step"] for record in read(tmp_path / "metrics.jsonl")] == [0, 2, 4, 6]
    clock.now += 1000
    log = Log(tmp_path, steps=9, start_step=4)
    clock.now += 1
    log.train(6, {"loss": 60.0}, 2)
    log.close()
    records = read(tmp_path / "metrics.jsonl")
    assert [(record["step"], record["time"], record["loss"]) for record in records] == [
        (0, 0.0, 0.0),
        (2, 1.0, 2.0),
        (4, 2.0, 4.0),
        (6, 3.0, 60.0),
    ]
    assert events(tmp_path)[1] == [0, 5]  # TensorBoard forgets what earlier sessions hold from there on


def test_a_run_from_step_0_begins_again(tmp_path):
    for _ in range(2):
        log = Log(tmp_path, steps=3)
        log.evaluation(0, "test", {"loss": 1.0})
        log.train(2, {"loss": 0.5}, 2)
        log.close()
    assert [record["step"] for record in read(tmp_path / "metrics.jsonl")] == [0, 2]


def test_other_processes_write_nothing(tmp_path, capsys):
    log = Log(tmp_path / "run", steps=3, enabled=False)
    log.train(1, {"loss": 1.0}, 1)
    with log.pause():
        log.evaluation(1, "test", {"loss": 1.0})
    log.close()
    assert not (tmp_path / "run").exists() and capsys.readouterr().out == ""


def test_reading_what_is_not_there_or_broken(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.jsonl does not exist"):
        read(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2, is not a record"):
        read(tmp_path / "metrics.jsonl")
