"""A run, and what is done with it, lies where its path says, whatever characters the path has."""

from pathlib import Path
import string
import tempfile

import jax.numpy as jnp
import pytest

from core.errors import UserError
from experiments.sweep import population
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
    step, restored, _ = Checkpoints(folder, read_only=True).restore(state) or (0, {}, {})
    assert step == 3 and (restored["a"] == state["a"]).all()
    assert [path.name for path in folder.iterdir()] == ["3"]


CONFIG = {
    "seed": 3, "steps": 2, "batch_size": 16, "eval_every": 2, "checkpoint_every": 1,
    "optimizer": {"learning_rate": 0.01}, "model": {"name": "perceptron", "width": 8, "depth": 1},
    "objective": {"name": "classification"}, "data": {"name": "digits"},
}  # fmt: skip


@pytest.mark.slow
def test_runs_are_made_continued_loaded_and_begun_from_in_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, file = odd(Path(".")), tmp_path / "config.py"
    file.write_text(f"from ml_collections import ConfigDict\ndef get_config():\n  return ConfigDict({CONFIG})\n")
    trials = [{"config": str(file), "overrides": {"seed": n}, "workdir": str(folder / f"{n}?")} for n in (5, 7)]
    assert all(population.run(trials))
    for trial in trials:
        trial["overrides"]["steps"] = 3
    assert [summary["steps"] for summary in population.run(trials) if summary] == [3, 3]
    train.run(CONFIG | {"init_from": str(folder / "5?")}, folder / "fine[2]")
    assert train.load(folder / "fine[2]")[1].dataset.classes == tuple("0123456789")
    assert {path.name for path in tmp_path.iterdir()} == {NAMES[0], "config.py"}
