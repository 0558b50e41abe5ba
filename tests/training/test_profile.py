"""A trace of some steps: which ones, what is written, and that training does not notice."""

import gzip
import json

import jax
import pytest

from core.errors import UserError
from tests import tiny
import train
from training.profile import Profile


@pytest.fixture
def calls(monkeypatch):
    """What JAX's profiler is asked for."""
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder, **_: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    return calls


def test_the_trace_begins_before_its_first_step_and_ends_after_the_metrics_of_its_last(calls, tmp_path):
    profile = Profile.of("3:5", tmp_path, start=0, steps=7)
    events = []
    for step in range(1, 8):
        profile.given(step - 1)
        events.append((step, "given", list(calls)))
        profile.done(step)
        events.append((step, "done", list(calls)))
    profile.close()
    assert [seen for step, when, seen in events if (step, when) == (2, "given")] == [[]]
    assert [seen for step, when, seen in events if (step, when) in ((3, "given"), (4, "done"))] == [["start"]] * 2
    assert calls == ["start", "stop"]


def test_a_run_that_ends_early_writes_what_it_has(calls, tmp_path):
    profile = Profile.of("1:5", tmp_path, start=0, steps=7)
    profile.given(0)
    profile.close()
    assert calls == ["start", "stop"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("10", "expected the first and the last step of the trace, such as 10:15"),
        ("5:4", "expected the first and the last step"),
        ("0:4", "expected the first and the last step"),
        ("4:8", "still to be trained: 4 to 7"),
        ("3:5", "still to be trained: 4 to 7"),
    ],
)
def test_steps_that_are_none_are_one_line(text, words, tmp_path):
    with pytest.raises(UserError, match=f"--profile={text}: .*{words}"):
        Profile.of(text, tmp_path, start=3, steps=7)


@pytest.mark.medium
def test_a_traced_run_has_its_steps_in_the_trace_and_the_same_numbers(tmp_path):
    config = tiny.get_config("vit").to_dict() | {"steps": 6}
    plain = train.run(config, tmp_path / "plain")
    traced = train.run(config, tmp_path / "traced", profile="3:4")
    assert traced["state_digest"] == plain["state_digest"]
    (path,) = (tmp_path / "traced").glob("profile/**/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))
    events = events["traceEvents"] if isinstance(events, dict) else events
    steps = {str(event.get("args", {}).get("step_num")) for event in events if event.get("name") == "train"}
    assert {"3", "4"} <= steps <= {"3", "4", "5"}
    assert list((tmp_path / "traced").glob("profile/**/*.xplane.pb"))
