"""The study of a search lies in its workdir, whatever characters the path has."""

from pathlib import Path

import optuna
import pytest

from experiments.sweep.search import _storage

ODD = ("q?x=1", "q#x", "q%41x", "{SCHEMA_VERSION}", "[1]*", "a b", "a\nb", "ü", "'\"", "\\", "&;|$~", "-x", ":@=,+")


@pytest.mark.parametrize("kind, name", [("sqlite", "study.db"), ("journal", "study.journal")])
def test_the_study_lies_in_the_workdir(kind, name, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    workdir: Path = tmp_path.joinpath(*ODD)
    workdir.mkdir(parents=True)
    optuna.create_study(storage=_storage(kind, workdir), study_name="sweep").ask()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [workdir / name]
    assert len(optuna.load_study(storage=_storage(kind, workdir), study_name="sweep").trials) == 1
