"""A run, and what is done with it, lies where its path says, whatever characters the path has."""

from pathlib import Path
import string
import tempfile

import jax.numpy as jnp
import pytest

from core.errors import UserError
from experiments.sweep import population
from experiments.use.generate import generate
from tests import tiny
import train
from training.checkpoints import Checkpoints

CHARACTERS = "".join(character for character in string.printable if character not in "/\0")
NAMES = ["x[1]", "~", "-x", "gs:x", CHARACTERS + "ü…\x7f", "%41{SCHEMA_VERSION}"]


def odd(folder: Path) -> Path:
    return folder.joinpath(*NAMES)


def test_checkpoints_can_be_read_again_whatever_the_path(tmp_path):
    state, folder = {"a": jnp.arange(7.0), "b": jnp.ones((3, 5))}, odd(tmp_path)
    checkpoints = Checkpoints(folder)
    checkpoints.save(3, state, {"word": 1})
    checkpoints.verify(3, state)
    checkpoints.close()
    again = Checkpoints(folder, read_only=True)
    step, restored, about = again.restore(state) or (0, {}, {})
    assert (step, about) == (3, {"word": 1}) and (restored["b"] == state["b"]).all()
    assert {path.name for path in tmp_path.iterdir()} == {NAMES[0]}
    assert [path.name for path in folder.iterdir()] == ["3"]


def test_a_star_in_a_path_does_not_reach_other_folders(tmp_path):
    for name in ("run1", "run*", "run?", "run[1]"):
        checkpoints = Checkpoints(tmp_path / name)
        checkpoints.save(len(name), {"a": jnp.full(5, len(name))}, {"name": name})
        checkpoints.close()
    for name in ("run1", "run*", "run?", "run[1]"):
        checkpoints = Checkpoints(tmp_path / name, read_only=True)
        step, state, about = checkpoints.restore({"a": jnp.zeros(5, int)}) or (0, {}, {})
        assert (step, about["name"], state["a"][0]) == (len(name), name, len(name))


def test_no_link_is_left_behind(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Checkpoints(tmp_path / "x[1]").close()
    assert not list((tmp_path / "temporary").iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "x[1]"))
    with pytest.raises(UserError, match="set TMPDIR to another folder"):
        Checkpoints(tmp_path / "x[1]")


@pytest.mark.slow
@pytest.mark.parametrize("character", CHARACTERS)
def test_every_character(character, tmp_path):
    state, folder = {"a": jnp.arange(7.0)}, tmp_path / f"x{character}y" / "checkpoints"
    checkpoints = Checkpoints(folder)
    checkpoints.save(3, state, {})
    checkpoints.verify(3, state)
    checkpoints.close()


@pytest.mark.slow
def test_a_run_is_made_continued_loaded_and_begun_from_in_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir = odd(Path("."))
    config = tiny.get_config("gpt").to_dict() | {"steps": 2, "eval_every": 2, "checkpoint_every": 1}
    config["optimizer"] = {"learning_rate": 0.01}
    train.run(config, workdir)
    assert train.run(config | {"steps": 3}, workdir)["steps"] == 3
    train.load(workdir)
    assert generate(str(workdir), prompt="the", tokens=3)
    train.run(config | {"init_from": str(workdir)}, workdir / "fine[2]")
    file = f"{tiny.ROOT}/tests/tiny.py:gpt"
    overrides = {"steps": 1, "optimizer.warmup": 0, "init_from": str(workdir)}
    trials = [{"config": file, "overrides": overrides | {"seed": n}, "workdir": str(workdir / f"{n}?")} for n in (5, 7)]
    assert all(population.run(trials))
    assert {path.name for path in tmp_path.iterdir()} == {NAMES[0]}
