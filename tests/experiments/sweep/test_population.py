"""Runs that share a program do what each does alone, and leave the same behind."""

import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from data.pipeline import train_batches
from experiments.sweep import population
from tests import tiny
from train import Run
from training.log import read
from training.population import make_mesh, stack
from training.step import make_evaluation_step, make_train_step

STEPS = 3
VAE = {
    "model": {"name": "variational", "width": 8, "depth": 1, "latents": 2, "likelihood": "bernoulli"},
    "objective": {"name": "variational", "beta": 1.0, "free_bits": 0.1},
    "data": {"name": "digits", "targets": "images"},
}
MASKED = {
    "model": {"name": "perceiver", "output": "dense", "latents": 3, "width": 8, "depth": 1, "heads": 2},
    "objective": {"name": "masked_language_modeling", "rate": 0.15},
    "data": {"name": "python_docs", "context": 16, "tokenizer": "bytes", "evaluation": "validation[:1%]"},
}
SGD = {"name": "sgd", "learning_rate": 0.1, "schedule": "linear", "weight_decay": 0.1, "clip": 0.5, "warmup": 1}


def trial(workdir, model: str = "vit", **overrides) -> dict:
    return {"config": f"{tiny.__file__}:{model}", "overrides": overrides, "workdir": str(workdir)}


def losses_alone(this: Run) -> list[float]:
    """The training losses of the first steps by the plain step, then the loss in evaluation on the last batch."""
    structure, create = this.initialise()
    step = make_train_step(structure, this.objective, this.optimizer)
    state, found = create(jax.random.key(this.fields.seed)), []
    batches = train_batches(this.dataset.train, batch_size=this.fields.batch_size, seed=this.fields.seed)
    for _, batch in zip(range(STEPS), batches):
        state, metrics = jax.jit(step)(state, batch)
        found.append(metrics["loss"])
    found.append(jax.jit(make_evaluation_step(structure, this.objective))(state.parameters, batch)["loss"])
    return [float(total / count) for total, count in found]


def losses_together(runs: list[Run]) -> np.ndarray:
    """The same for all runs in one program, a row each."""
    mesh, places = make_mesh(len(runs))
    assert places == len(runs)
    structure, create = runs[0].initialise()
    step, evaluate = population._programs(runs[0], structure, mesh)
    state, found = stack([create(jax.random.key(run.fields.seed)) for run in runs], mesh), []
    batches = population.population_batches(
        runs[0].dataset.train, batch_size=runs[0].fields.batch_size, seeds=[run.fields.seed for run in runs]
    )
    numbers = population._differing(runs)
    for _, batch in zip(range(STEPS), batches):
        state, metrics = step(numbers, state, batch)
        found.append(metrics["loss"])
    # One batch for all members is what evaluation has; each is asked for its own.
    ends = [evaluate(numbers, state.parameters, jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(len(runs))]
    found.append(tuple(jnp.stack([end["loss"][part][i] for i, end in enumerate(ends)]) for part in (0, 1)))
    return np.array([total / count for total, count in found]).T


@pytest.mark.parametrize(
    "sections, changes",
    [
        ({}, {"seed": 4, "model.dropout": 0.4, "objective.label_smoothing": 0.3, "optimizer.clip": 0.2,
              "optimizer.learning_rate": 0.02, "optimizer.weight_decay": 0.0}),
        (VAE, {"objective.beta": 3.0, "objective.free_bits": 0.7}),
        (MASKED, {"objective.rate": 0.5}),
    ],
    ids=["vit", "vae", "masked"],
)  # fmt: skip
def test_every_traced_field(sections, changes):
    """The first member as the config says, each other one with another number in one of the fields."""
    config = tiny.get_config().to_dict() | {"optimizer": SGD, "ema": 0.0, "accumulate": 1} | sections
    config["model"]["depth"] = 1  # quick to compile
    flat = ConfigDict(config)
    configs = [config]
    for name, value in changes.items():
        other = flat.copy_and_resolve_references()
        other.update_from_flattened_dict({name: value})
        configs.append(other.to_dict())
    runs = [Run.of(config) for config in configs]
    assert len({population._kind(ConfigDict(config)) for config in configs}) == 1
    together, alone = losses_together(runs), np.array([losses_alone(run) for run in runs])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert len({tuple(row) for row in alone}) == len(runs), "a field without effect would prove nothing"


def test_groups():
    """Numbers may differ, structure may not: nor may what is left out at 0."""
    found = population.groups(
        [
            trial("a", seed=1),
            trial("b", **{"seed": 2, "optimizer.learning_rate": 0.5, "model.dropout": 0.5}),
            trial("c", **{"model.depth": 1}),
            trial("d", **{"model.dropout": 0.0}),
            trial("e", **{"model.depth": 1, "optimizer.weight_decay": 0.0}),
            trial("f", **{"optimizer.clip": 0.0}),
            trial("g", **{"model.scan": True, "model.dropout": 0.5}),
            trial("h", **{"model.scan": True}),
            trial("i", model="gpt"),
        ]
    )
    assert [[t["workdir"] for t in group] for group in found] == [
        ["a", "b"], ["c", "e"], ["d"], ["f"], ["g"], ["h"], ["i"],
    ]  # fmt: skip
    assert {"seed", "optimizer.learning_rate"} < population.traced_fields()


# ---- whole runs -----------------------------------------------------------------------------------------------------

BAD = 3
MEMBERS = [
    {},
    {"seed": 4},
    {"seed": 5, "optimizer.learning_rate": 0.02},
    {"optimizer.weight_decay": 1e37, "optimizer.warmup": 3},  # grows out of the numbers after some steps
    {"model.dropout": 0.3},
]


def start(folder: Path, members=MEMBERS) -> subprocess.Popen:
    trials = [trial(folder / str(i), **overrides) for i, overrides in enumerate(members)]
    (folder / "trials.json").write_text(json.dumps({"trials": trials}))
    command = [sys.executable, "-m", "experiments.population", folder / "trials.json"]
    return subprocess.Popen(command, cwd=tiny.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a group that nothing stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, tiny.finish(start(folder))


def good() -> list[int]:
    return [i for i in range(len(MEMBERS)) if i != BAD]


def assert_same_end(folder: Path, whole: Path) -> None:
    for i in good():
        assert tiny.losses(folder / str(i)) == tiny.losses(whole / str(i))
        one, other = (tiny.summary(f / str(i)) for f in (folder, whole))
        assert one | {"seconds": 0} == other | {"seconds": 0}
    reason = lambda folder: (folder / str(BAD) / "failed.txt").read_text()
    assert reason(folder) == reason(whole)


def test_leaves_what_a_run_of_its_own_leaves(whole, tmp_path):
    folder, _ = whole
    alone, together = tmp_path / "alone", folder / "2"
    flags = [f"--config.{name}={value}" for name, value in MEMBERS[2].items()]
    tiny.finish(tiny.start("vit", alone, *flags))
    np.testing.assert_allclose(tiny.losses(together), tiny.losses(alone), rtol=0, atol=1e-5)
    config = lambda workdir: json.loads((workdir / "config.json").read_text())
    assert config(together) == config(alone)
    assert tiny.summary(together).keys() == tiny.summary(alone).keys()
    names = lambda workdir: sorted(path.name for path in workdir.iterdir())
    assert names(together) == names(alone)
    steps = lambda workdir: sorted(path.name for path in (workdir / "checkpoints").iterdir())
    assert steps(together) == steps(alone)
    mine, its = (read(workdir / "metrics.jsonl") for workdir in (together, alone))
    assert [list(record) for record in mine] == [list(record) for record in its]
    for one, other in zip(mine, its):
        for name in one.keys() - {"split", "time", "examples_per_second"}:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_one_that_is_not_finite_is_left_out(whole):
    folder, said = whole
    reason = (folder / str(BAD) / "failed.txt").read_text()
    assert reason.startswith("step ") and "learning rate" in reason and "checkpoint" in reason
    assert f"{folder / str(BAD)} failed: {reason}" in said
    assert not (folder / str(BAD) / "summary.json").exists()
    assert all(len(tiny.losses(folder / str(i))) == 16 for i in good())
    assert len(tiny.losses(folder / str(BAD))) < 16


def test_killed_again_and_again(whole, tmp_path):
    for happened in (tiny.saving(tmp_path / "1"), tiny.logged(tmp_path / "4", 11)):
        group = start(tmp_path)
        tiny.until(happened, group)
        group.send_signal(signal.SIGKILL)
        tiny.finish(group, -signal.SIGKILL)
    tiny.finish(start(tmp_path))
    assert_same_end(tmp_path, whole[0])


def test_one_is_behind_and_one_is_complete(whole, tmp_path):
    """As after a kill between the saves of two members, and between two summaries."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    for i in good()[1:]:
        (tmp_path / str(i) / "summary.json").unlink()
    for member, step in (("1", "16"), ("1", "15"), ("2", "16")):
        shutil.rmtree(tmp_path / member / "checkpoints" / step)
    behind = max(int(path.name) for path in (tmp_path / "1" / "checkpoints").iterdir())
    assert f"continued after step {behind}" in tiny.finish(start(tmp_path))
    assert_same_end(tmp_path, whole[0])


def test_one_goes_on_alone(whole, tmp_path):
    """A member is a run: `train.py` takes it further."""
    shutil.copytree(whole[0] / "1", tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "16")
    assert "continued after step 15" in tiny.finish(tiny.start("vit", tmp_path, "--config.seed=4"))
    np.testing.assert_allclose(tiny.losses(tmp_path), tiny.losses(whole[0] / "1"), rtol=0, atol=1e-5)


def test_those_that_do_not_fit_together_are_trained_in_parts(whole, tmp_path, monkeypatch, capfd):
    """Five are too many, three and two are not; stopped and started again, the parts are the same."""
    counts = []

    def room(devices):
        counts.append(devices)
        return 0 if len(counts) % 3 == 1 else 2**40  # asked for 5, 3 and 2 runs

    monkeypatch.setattr(population, "room", room)
    monkeypatch.setattr(population, "keep_memory", lambda keep=True: None)
    trials = [trial(tmp_path / str(i), **overrides) for i, overrides in enumerate(MEMBERS)]
    summaries = population.run(trials)
    assert "5 runs need 0.0 GiB a device, and there are 0.0: in two parts" in capfd.readouterr().out
    assert [summary is None for summary in summaries] == [i == BAD for i in range(5)]
    for i in good():
        np.testing.assert_allclose(tiny.losses(tmp_path / str(i)), tiny.losses(whole[0] / str(i)), rtol=0, atol=1e-5)
        shutil.rmtree(tmp_path / str(i) / "checkpoints" / "16")
        (tmp_path / str(i) / "summary.json").unlink()
    again = population.run(trials)
    untimed = lambda summaries: [summary and summary | {"seconds": 0} for summary in summaries]
    assert untimed(again) == untimed(summaries)


def test_one_in_the_file_is_trained_as_by_itself(tmp_path):
    tiny.finish(start(tmp_path, [MEMBERS[1]]))
    tiny.finish(tiny.start("vit", tmp_path / "alone", "--config.seed=4"))
    assert tiny.summary(tmp_path / "0")["state_digest"] == tiny.summary(tmp_path / "alone")["state_digest"]


def test_one_in_the_file_that_is_not_finite_stays_out(tmp_path):
    assert f"{tmp_path / '0'} failed: step " in tiny.finish(start(tmp_path, [MEMBERS[BAD]]))
    assert "learning rate" in (tmp_path / "0" / "failed.txt").read_text()
    assert population.run([trial(tmp_path / "0", **MEMBERS[BAD])]) == [None]


def test_asked_to_stop(tmp_path):
    group = start(tmp_path, [{"seed": 1, "steps": 100_000}, {"seed": 2, "steps": 100_000}])
    tiny.until(tiny.logged(tmp_path / "1", 2), group)
    group.send_signal(signal.SIGTERM)
    assert "saved. To go on, run the same command again." in tiny.finish(group, 128 + signal.SIGTERM)
    step = len(tiny.losses(tmp_path / "0"))
    assert all((tmp_path / member / "checkpoints" / str(step)).is_dir() for member in "01")


@pytest.mark.slow
def test_many_devices(whole, tmp_path):
    """11 members on 8 devices: 6 of them take two places each, of which one is empty."""
    members = [{"seed": 3 + i} for i in range(11)]
    trials = [trial(tmp_path / str(i), **overrides) for i, overrides in enumerate(members)]
    program = (
        "import json, sys, jax; jax.config.update('jax_num_cpu_devices', 8); from experiments import population;"
        "population.run(json.loads(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, json.dumps(trials)]
    done = subprocess.run(command, cwd=tiny.ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mesh members 6" in done.stdout
    for i, other in ((0, 0), (1, 1)):
        np.testing.assert_allclose(
            tiny.losses(tmp_path / str(i)), tiny.losses(whole[0] / str(other)), rtol=0, atol=1e-5
        )
    assert len({tiny.summary(tmp_path / str(i))["state_digest"] for i in range(11)}) == 11


@pytest.mark.slow
def test_a_hundred_steps(tmp_path):
    members = [{"steps": 100, "optimizer.learning_rate": rate} for rate in (0.001, 0.003, 0.01)]
    tiny.finish(start(tmp_path, members))
    for i, overrides in enumerate(members):
        alone = tmp_path / f"alone{i}"
        tiny.finish(tiny.start("vit", alone, *(f"--config.{name}={value}" for name, value in overrides.items())))
        np.testing.assert_allclose(tiny.losses(tmp_path / str(i)), tiny.losses(alone), rtol=0, atol=1e-4)


@pytest.mark.parametrize("text", ["{", '{"trials": []}', '{"trials": {}}', "[]"])
def test_bad_file(text, tmp_path, capsys):
    (tmp_path / "trials.json").write_text(text)
    with pytest.raises(SystemExit, match="1"):
        population.main([str(tmp_path / "trials.json")])
    assert "trials.json: expected JSON such as" in capsys.readouterr().err


@pytest.mark.parametrize(
    "trials, said",
    [
        ([{"workdir": "x"}], "a trial needs config"),
        ([trial("a"), trial("b", **{"model.depth": 1})], "cannot share a program: they may differ in model.dropout"),
        ([trial("a"), trial("./a", seed=1)], "two runs have the same workdir"),
        ([trial("a", **{"model.width": "wide"})], "model.width"),
    ],
)
def test_bad_trials(trials, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        population.run(trials)
    assert not any(tmp_path.iterdir())
