"""Runs that share a program compute what each computes alone, and leave the same files."""

from collections.abc import Mapping, Sequence
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from core.errors import UserError
from data.pipeline import train_batches
from experiments.sweep import population
from tests import tiny
import train
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
WIDE = {
    "model": {
        "name": "vit", "patch": 4, "width": 8, "heads": 2, "dropout": 0.1, "parametrization": "mup", "base_width": 4,
    },
    "optimizer": {"learning_rate": 0.01, "weight_decay": 0.1},
}  # fmt: skip
SGD = {"name": "sgd", "learning_rate": 0.1, "schedule": "linear", "weight_decay": 0.1, "clip": 0.5, "warmup": 1}


def trial(workdir: str | Path, overrides: Mapping[str, Any] | None = None, *, model: str = "vit") -> dict:
    return {"config": f"{tiny.__file__}:{model}", "overrides": overrides or {}, "workdir": str(workdir)}


def losses_alone(run: Run) -> list[float]:
    """The training losses of the first steps of a single run, then the loss in evaluation on the last batch."""
    structure, create = run.initialise()
    step = make_train_step(structure, run.objective, run.optimizer)
    state, losses = create(jax.random.key(run.fields.seed)), []
    batches = train_batches(run.dataset.train, batch_size=run.fields.batch_size, seed=run.fields.seed)
    batch = None
    for _, batch in zip(range(STEPS), batches):
        state, metrics = jax.jit(step)(state, batch)
        losses.append(metrics["loss"])
    losses.append(jax.jit(make_evaluation_step(structure, run.objective))(state.parameters, batch)["loss"])
    return [float(total / count) for total, count in losses]


def losses_together(runs: list[Run]) -> np.ndarray:
    """The same losses of all runs in one program, one row for each run."""
    mesh, places = make_mesh(len(runs))
    assert places == len(runs)
    structure, create = runs[0].initialise()
    step, evaluate = population._steps(runs[0], structure, mesh)
    state, losses = stack([create(jax.random.key(run.fields.seed)) for run in runs], mesh), []
    batches = population.population_batches(
        runs[0].dataset.train, batch_size=runs[0].fields.batch_size, seeds=[run.fields.seed for run in runs]
    )
    numbers = population._differing(runs)
    batch = None
    for _, batch in zip(range(STEPS), batches):
        state, metrics = step(numbers, state, batch)
        losses.append(metrics["loss"])
    # Evaluation takes one batch for all members, so it is called once with the batch of each.
    ends = [evaluate(numbers, state.parameters, jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(len(runs))]
    losses.append(tuple(jnp.stack([end["loss"][part][i] for i, end in enumerate(ends)]) for part in (0, 1)))
    return np.array([total / count for total, count in losses]).T


@pytest.mark.medium
@pytest.mark.parametrize(
    "sections, changes",
    [
        ({}, {"seed": 4, "model.dropout": 0.4, "objective.label_smoothing": 0.3, "optimizer.clip": 0.2,
              "optimizer.learning_rate": 0.02, "optimizer.weight_decay": 0.0}),
        (VAE, {"objective.beta": 3.0, "objective.free_bits": 0.7}),
        (MASKED, {"objective.rate": 0.5}),
        (WIDE, {"optimizer.learning_rate": 0.02}),
    ],
    ids=["vit", "vae", "masked", "mup"],
)  # fmt: skip
def test_every_traced_field(sections, changes):
    """The first member has the config as it is. Each other member has another number in one field."""
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
    """Members may differ in numbers, but not in structure, and so not in whether a number is 0."""
    groups = population.groups(
        [
            trial("a", {"seed": 1}),
            trial("b", {"seed": 2, "optimizer.learning_rate": 0.5, "model.dropout": 0.5}),
            trial("c", {"model.depth": 1}),
            trial("d", {"model.dropout": 0.0}),
            trial("e", {"model.depth": 1, "optimizer.weight_decay": 0.0}),
            trial("f", {"optimizer.clip": 0.0}),
            trial("g", {"model.scan": True, "model.dropout": 0.5}),
            trial("h", {"model.scan": True}),
            trial("i", model="gpt"),
        ]
    )
    assert [[t["workdir"] for t in group] for group in groups] == [
        ["a", "b"], ["c", "e"], ["d"], ["f"], ["g"], ["h"], ["i"],
    ]  # fmt: skip
    assert {"seed", "optimizer.learning_rate"} < population.traced_fields()


def test_a_number_that_is_left_out_is_its_default():
    vae = lambda overrides: trial("a", overrides) | {"config": f"{tiny.ROOT}/configs/vae.py"}
    config = population.read(vae({})).to_dict()
    absent = {}
    for name in population.traced_fields():
        section, _, field = name.rpartition(".")
        values = config.get(section, {}) if section else config
        if field not in values and (default := population._default(name, values)) is not None:
            absent[name] = default
    assert {"objective.beta", "objective.free_bits"} <= set(absent)
    for name, default in absent.items():
        assert len(population.groups([vae({}), vae({name: default})])) == 1, name
    assert len(population.groups([vae({"seed": 1}), vae({"objective.beta": 2.0})])) == 1


# ---- complete runs --------------------------------------------------------------------------------------------------

BAD = 3
MEMBERS = [
    {},
    {"seed": 4},
    {"seed": 5, "optimizer.learning_rate": 0.02},
    {"optimizer.weight_decay": 1e6, "optimizer.warmup": 3},  # overflows after some steps
    {"model.dropout": 0.3},
]


def start(folder: Path, members: Sequence[Mapping[str, Any]] = MEMBERS) -> subprocess.Popen:
    trials = [trial(folder / str(i), overrides) for i, overrides in enumerate(members)]
    (folder / "trials.json").write_text(json.dumps({"trials": trials}))
    command = [sys.executable, "-m", "experiments.population", folder / "trials.json"]
    return subprocess.Popen(command, cwd=tiny.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of a group that nothing stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, tiny.finish(start(folder))


def good() -> list[int]:
    return [i for i in range(len(MEMBERS)) if i != BAD]


def assert_same_end(folder: Path, uninterrupted: Path) -> None:
    for i in good():
        assert tiny.losses(folder / str(i)) == tiny.losses(uninterrupted / str(i))
        one, other = (tiny.summary(f / str(i)) for f in (folder, uninterrupted))
        assert one | {"seconds": 0} == other | {"seconds": 0}
    reason = lambda folder: (folder / str(BAD) / "failed.txt").read_text()
    assert reason(folder) == reason(uninterrupted)


@pytest.mark.medium
def test_a_member_leaves_the_same_files_as_a_single_run(uninterrupted, tmp_path):
    folder, _ = uninterrupted
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


@pytest.mark.medium
def test_on_a_cpu_a_run_has_the_same_bits_in_every_group(tmp_path):
    """With a device of its own where there are two, and with two others on its device; only the seeds differ."""
    digests = set()
    for size in (2, 5):
        folder = tmp_path / str(size)
        folder.mkdir()
        tiny.finish(start(folder, [{"seed": 4 + i} for i in range(size)]))
        digests.add(tiny.summary(folder / "0")["state_digest"])
    assert len(digests) == 1


@pytest.mark.medium
def test_a_member_that_is_not_finite_is_left_out(uninterrupted):
    folder, output = uninterrupted
    reason = (folder / str(BAD) / "failed.txt").read_text()
    assert reason.startswith("step ") and "learning rate" in reason and "checkpoint" in reason
    assert f"{folder / str(BAD)} failed: {reason}" in output
    assert not (folder / str(BAD) / "summary.json").exists()
    assert all(len(tiny.losses(folder / str(i))) == 16 for i in good())
    assert len(tiny.losses(folder / str(BAD))) < 16


@pytest.mark.medium
def test_a_group_that_is_killed_twice_ends_the_same(uninterrupted, tmp_path):
    for condition in (tiny.saving(tmp_path / "1"), tiny.logged(tmp_path / "4", 11)):
        group = start(tmp_path)
        tiny.until(condition, group)
        group.send_signal(signal.SIGKILL)
        tiny.finish(group, -signal.SIGKILL)
    tiny.finish(start(tmp_path))
    assert_same_end(tmp_path, uninterrupted[0])


@pytest.mark.medium
def test_a_member_that_is_behind_and_one_that_is_complete(uninterrupted, tmp_path):
    """As after a kill between the saves of two members, and between two summaries."""
    shutil.copytree(uninterrupted[0], tmp_path, dirs_exist_ok=True)
    for i in good()[1:]:
        (tmp_path / str(i) / "summary.json").unlink()
    for member, step in (("1", "16"), ("1", "15"), ("2", "16")):
        shutil.rmtree(tmp_path / member / "checkpoints" / step)
    behind = max(int(path.name) for path in (tmp_path / "1" / "checkpoints").iterdir())
    assert f"continued after step {behind}" in tiny.finish(start(tmp_path))
    assert_same_end(tmp_path, uninterrupted[0])


@pytest.mark.medium
def test_a_member_can_be_continued_as_a_single_run(uninterrupted, tmp_path):
    """A member is a run: `train.py` takes it further."""
    shutil.copytree(uninterrupted[0] / "1", tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "16")
    assert "continued after step 15" in tiny.finish(tiny.start("vit", tmp_path, "--config.seed=4"))
    np.testing.assert_allclose(tiny.losses(tmp_path), tiny.losses(uninterrupted[0] / "1"), rtol=0, atol=1e-5)


@pytest.mark.medium
def test_runs_that_do_not_fit_into_memory_are_trained_in_parts(uninterrupted, tmp_path, monkeypatch, capfd):
    """Five do not fit, three and two do. After a restart the parts are the same."""
    counts = []

    def memory(devices):
        counts.append(devices)
        return 0 if len(counts) % 3 == 1 else 2**40  # for 5, 3 and 2 runs

    monkeypatch.setattr(population, "program_memory", memory)
    monkeypatch.setattr(population, "keep_memory", lambda keep=True: None)
    trials = [trial(tmp_path / str(i), overrides) for i, overrides in enumerate(MEMBERS)]
    summaries = population.run(trials)
    assert "5 runs need 0.0 GiB per device, and there are 0.0: in two parts" in capfd.readouterr().out
    assert [summary is None for summary in summaries] == [i == BAD for i in range(5)]
    for i in good():
        folders = (tmp_path / str(i), uninterrupted[0] / str(i))
        np.testing.assert_allclose(*map(tiny.losses, folders), rtol=0, atol=1e-5)
        shutil.rmtree(tmp_path / str(i) / "checkpoints" / "16")
        (tmp_path / str(i) / "summary.json").unlink()
    again = population.run(trials)
    untimed = lambda summaries: [summary and summary | {"seconds": 0} for summary in summaries]
    assert untimed(again) == untimed(summaries)


def test_the_data_of_all_runs_are_made_once(tmp_path, monkeypatch):
    made, make = [], train.make_from_config
    monkeypatch.setattr(train, "make_from_config", lambda *given: made.append(given) or make(*given))
    monkeypatch.setattr(population, "_train_in_parts", lambda runs, *_: made.append([r.dataset for r in runs]) or {})
    population.run([trial(tmp_path / str(seed), {"seed": seed}) for seed in range(3)])
    _, datasets = made
    assert len(datasets) == 3 and len({id(dataset) for dataset in datasets}) == 1


@pytest.mark.medium
def test_a_single_run_in_a_file_is_trained_as_by_train(tmp_path):
    tiny.finish(start(tmp_path, [MEMBERS[1]]))
    tiny.finish(tiny.start("vit", tmp_path / "alone", "--config.seed=4"))
    assert tiny.summary(tmp_path / "0")["state_digest"] == tiny.summary(tmp_path / "alone")["state_digest"]


@pytest.mark.medium
def test_a_single_run_that_is_not_finite_is_not_repeated(tmp_path):
    assert f"{tmp_path / '0'} failed: step " in tiny.finish(start(tmp_path, [MEMBERS[BAD]]))
    assert "learning rate" in (tmp_path / "0" / "failed.txt").read_text()
    assert population.run([trial(tmp_path / "0", MEMBERS[BAD])]) == [None]


@pytest.mark.medium
def test_a_group_that_is_asked_to_stop_saves_all_members(tmp_path):
    group = start(tmp_path, [{"seed": 1, "steps": 100_000}, {"seed": 2, "steps": 100_000}])
    tiny.until(tiny.logged(tmp_path / "1", 2), group)
    group.send_signal(signal.SIGTERM)
    assert "saved. To go on, run the same command again." in tiny.finish(group, 128 + signal.SIGTERM)
    step = len(tiny.losses(tmp_path / "0"))
    assert all((tmp_path / member / "checkpoints" / str(step)).is_dir() for member in "01")


@pytest.mark.slow
def test_many_devices(uninterrupted, tmp_path):
    """11 members on 8 devices: 6 of them take two places each, of which one is empty."""
    members = [{"seed": 3 + i} for i in range(11)]
    trials = [trial(tmp_path / str(i), overrides) for i, overrides in enumerate(members)]
    program = (
        "import json, sys, jax; jax.config.update('jax_num_cpu_devices', 8); from experiments import population;"
        "population.run(json.loads(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, json.dumps(trials)]
    process = subprocess.run(command, cwd=tiny.ROOT, env=os.environ, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "mesh members 6" in process.stdout
    for i, other in ((0, 0), (1, 1)):
        np.testing.assert_allclose(
            tiny.losses(tmp_path / str(i)), tiny.losses(uninterrupted[0] / str(other)), rtol=0, atol=1e-5
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
def test_a_bad_file_gives_one_line(text, tmp_path, capsys):
    (tmp_path / "trials.json").write_text(text)
    with pytest.raises(SystemExit, match="1"):
        population.main([str(tmp_path / "trials.json")])
    assert "trials.json: expected JSON such as" in capsys.readouterr().err


@pytest.mark.parametrize(
    "trials, message",
    [
        ([{"workdir": "x"}], "a trial needs config"),
        ([trial("a"), trial("b", {"model.depth": 1})], "cannot share a program: they may differ in model.dropout"),
        ([trial("a"), trial("./a", {"seed": 1})], "two runs have the same workdir"),
        ([trial("a", {"model.width": "wide"})], "model.width"),
    ],
)
def test_bad_trials(trials, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        population.run(trials)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content, words",
    [
        ({"trials": [{"config": "x", "workdir": "y", "override": {}}]}, "trial 1: 'override' is not read by anything. "
         "Did you mean 'overrides'?"),
        ({"trials": [{"config": "x", "workdir": "y"}], "trails": []}, "'trails' is not read by anything. Did you mean"),
        ({"trials": [{"config": "x", "workdir": "y", "overrides": ["steps=3"]}]}, "trial 'y': overrides: expected"),
    ],
)  # fmt: skip
def test_a_file_of_trials_holds_nothing_that_nobody_reads(content, words, tmp_path):
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        population.run(population._read_file(str(path)))
