"""Members on devices, and a group whose members come in and fall out at different steps."""

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
from training.population import Group, make_mesh, putter, stack, taker, together


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

    def save(self, number, state, position, *, improved, due):
        self.saved.append((number, state, position, improved))

    def pause(self):
        return nullcontext()


class Shown:
    """Stands for the display."""

    def __init__(self):
        self.lines = []

    def progress(self, number, text):
        self.lines.append((number, text))

    line = progress


def group(starts: dict[int, int]) -> tuple[Group, dict, Shown]:
    left, shown = {}, Shown()
    records = {place: Member(start) for place, start in starts.items()}
    take = lambda state, place: state[place]
    return Group(records, places=4, take=take, leave=left.__setitem__, display=shown), left, shown


def losses(*values) -> dict:
    return {"loss": (2 * np.array(values), np.full(len(values), 2))}


def test_each_takes_part_from_its_own_step_on():
    members, _, shown = group({0: 2, 2: 0, 3: 1})
    early, late = members.records[2], members.records[0]
    assert members.start == 0
    for number in (1, 2, 3):
        members.train(number, losses(1.0, 99.0, 2.0, 3.0), 40)
    assert early.seen == [(1, 2.0, 10), (2, 2.0, 10), (3, 2.0, 10)]
    assert late.seen == [(3, 1.0, 10)]
    assert shown.lines[0] == (1, "loss 2.0000 to 2.0000 in 1 runs")
    assert shown.lines[2] == (3, "loss 1.0000 to 3.0000 in 3 runs")


def test_one_that_is_not_finite_falls_out_and_the_last_one_ends_it():
    members, left, _ = group({0: 0, 1: 0})
    members.train(1, losses(1.0, math.nan, 0.0, 0.0), 40)
    assert left == {1: "step 1: not a number"} and list(members.records) == [0]
    members.train(2, losses(1.0, math.nan, 0.0, 0.0), 40)
    with pytest.raises(NonFinite, match="no run of the group is left"):
        members.train(3, losses(math.nan, math.nan, 0.0, 0.0), 40)
    assert left[0] == "step 3: not a number"


def test_saves_all_when_due_else_those_that_improved():
    members, _, _ = group({0: 0, 1: 0})
    improved = members.evaluation(5, [{"loss": 2.0}, {"loss": 0.5}])
    members.save(5, "ab", "place", improved=improved, due=False)
    assert [len(record.saved) for record in members.records.values()] == [0, 1]
    members.save(6, "ab", "place", improved=False, due=True)
    assert members.records[0].saved == [(6, "a", "place", False)]
    assert members.records[1].saved == [(5, "b", "place", True), (6, "b", "place", False)]


def on_devices(members: int) -> dict:
    """What `members` members on all devices give; a program for the test below."""
    mesh, places = make_mesh(members)
    states = [{"x": jnp.full((2,), float(i)), "key": jax.random.key(i)} for i in range(places)]
    state = putter(mesh)(stack(states, mesh), members - 1, {"x": jnp.full((2,), 50.0), "key": jax.random.key(50)})

    def program(state, shared):
        return {"x": state["x"] * shared + jax.random.uniform(state["key"])}

    found = jax.jit(together(program, mesh, (0, None)))(state, jnp.float32(3))["x"][:members]
    own = taker(mesh)(state, members - 1)
    return {
        "devices": mesh.size, "places": places, "found": np.asarray(found).tolist(),
        "own": [own["x"].tolist(), bool(own["key"] == jax.random.key(50))],
    }  # fmt: skip


@pytest.mark.parametrize("members, devices, places", [(1, 1, 1), (5, 5, 5), (8, 8, 8), (11, 6, 12), (17, 6, 18)])
def test_eight_devices(members, devices, places, eight):
    found = eight[str(members)]
    assert (found["devices"], found["places"]) == (devices, places)
    seeds = [50 if i == members - 1 else i for i in range(members)]
    expected = [[3.0 * i + float(jax.random.uniform(jax.random.key(i)))] * 2 for i in seeds]
    np.testing.assert_allclose(found["found"], expected, rtol=1e-6)
    assert found["own"] == [[50.0, 50.0], True]


@pytest.fixture(scope="module")
def eight() -> dict:
    command = [sys.executable, "-m", "tests.training.test_population"]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run(command, env=environment, cwd=tiny.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps({members: on_devices(members) for members in (1, 5, 8, 11, 17)}))
