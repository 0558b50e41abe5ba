"""Members on devices, and a group whose members join and leave at different steps."""

from contextlib import nullcontext
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from training.loop import NonFinite
from training.population import Group, for_all_members, make_mesh, member_getter, member_setter, stack


class Member:
    """Stands for the record of a run."""

    def __init__(self, start: int):
        self.start, self.seen, self.saved = start, [], []

    def train(self, number, metrics, amount):
        total, count = metrics["loss"]
        if math.isnan(total):
            raise NonFinite(f"step {number}: not a number")
        self.seen.append((number, total / count, amount))
        return {"loss": total / count}

    def evaluation(self, number, means):
        return means["loss"] < 1

    def evaluated(self, number):
        return True

    def save(self, number, state, place, *, improved, due):
        self.saved.append((number, state, place, improved))

    def pause(self):
        return nullcontext()

    def wait(self):
        pass


class Shown:
    """Stands for the display."""

    def __init__(self):
        self.lines = []

    def step(self, step):
        pass

    def progress(self, step, text):
        self.lines.append((step, text))

    line = progress


def group(records: dict[int, Member]) -> tuple[Group, dict[int, str], Shown]:
    """A group, the reasons of the members that left it, and its display."""
    reasons: dict[int, str] = {}
    display = Shown()
    take = lambda state, place: state[place]
    return Group(records, places=4, take=take, leave=reasons.__setitem__, display=display), reasons, display


def losses(*values) -> dict:
    return {"loss": (2 * np.array(values), np.full(len(values), 2))}


def test_each_takes_part_from_its_own_step_on():
    early, late = Member(0), Member(2)
    members, _, display = group({0: late, 2: early, 3: Member(1)})
    assert members.start == 0
    for number in (1, 2, 3):
        members.train(number, losses(1.0, 99.0, 2.0, 3.0), 40)
    assert early.seen == [(1, 2.0, 10), (2, 2.0, 10), (3, 2.0, 10)]
    assert late.seen == [(3, 1.0, 10)]
    assert display.lines[0] == (1, "loss 2.0000 to 2.0000 in 1 runs")
    assert display.lines[2] == (3, "loss 1.0000 to 3.0000 in 3 runs")


def test_a_member_that_is_not_finite_is_left_out_and_the_last_one_ends_the_group():
    members, reasons, _ = group({0: Member(0), 1: Member(0)})
    members.train(1, losses(1.0, math.nan, 0.0, 0.0), 40)
    assert reasons == {1: "step 1: not a number"} and list(members.records) == [0]
    members.train(2, losses(1.0, math.nan, 0.0, 0.0), 40)
    with pytest.raises(NonFinite, match="no run of the group is left"):
        members.train(3, losses(math.nan, math.nan, 0.0, 0.0), 40)
    assert reasons[0] == "step 3: not a number"


def test_saves_all_when_due_else_those_that_improved():
    same, better = Member(0), Member(0)
    members, _, _ = group({0: same, 1: better})
    improved = members.evaluation(5, [{"loss": 2.0}, {"loss": 0.5}])
    members.save(5, "ab", "place", improved=improved, due=False)
    assert (len(same.saved), len(better.saved)) == (0, 1)
    members.save(6, "ab", "place", improved=False, due=True)
    assert same.saved == [(6, "a", "place", False)]
    assert better.saved == [(5, "b", "place", True), (6, "b", "place", False)]


def on_devices(members: int) -> dict:
    """The results of a program for `members` members on all devices; for the test below."""
    mesh, places = make_mesh(members)
    states = [{"x": jnp.full((2,), float(i)), "key": jax.random.key(i)} for i in range(places)]
    last = {"x": jnp.full((2,), 50.0), "key": jax.random.key(50)}
    state = member_setter(mesh)(stack(states, mesh), members - 1, last)

    def program(state, shared):
        return {"x": state["x"] * shared + jax.random.uniform(state["key"])}

    results = jax.jit(for_all_members(program, mesh, (0, None)))(state, jnp.float32(3))["x"][:members]
    own = member_getter(mesh)(state, members - 1)
    return {
        "devices": mesh.size, "places": places, "results": np.asarray(results).tolist(),
        "own": [own["x"].tolist(), bool(own["key"] == jax.random.key(50))],
    }  # fmt: skip


@pytest.mark.parametrize("members, devices, places", [(1, 1, 1), (5, 5, 5), (8, 8, 8), (11, 6, 12), (17, 6, 18)])
def test_eight_devices(members, devices, places, eight):
    summary = eight[str(members)]
    assert (summary["devices"], summary["places"]) == (devices, places)
    seeds = [50 if i == members - 1 else i for i in range(members)]
    expected = [[3.0 * i + float(jax.random.uniform(jax.random.key(i)))] * 2 for i in seeds]
    np.testing.assert_allclose(summary["results"], expected, rtol=1e-6)
    assert summary["own"] == [[50.0, 50.0], True]


@pytest.fixture(scope="module")
def eight() -> dict:
    command = [sys.executable, "-m", "tests.training.test_population"]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    process = subprocess.run(command, env=environment, cwd=tiny.ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


if __name__ == "__main__":
    print(json.dumps({members: on_devices(members) for members in (1, 5, 8, 11, 17)}))
