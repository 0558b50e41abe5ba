"""The identity of a benchmark: it changes with everything that decides a score, and with nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
import shutil

import pytest

from core import files, provenance
from core.errors import UserError
from experiments.benchmark import protocol, suite
from tests.experiments.benchmark import planted

FOLDERS = ("core", "models", "objectives", "data", "training", "experiments", "configs", "tests")


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the project that may be changed; digests are taken there."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png")
    for folder in FOLDERS:
        shutil.copytree(files.ROOT / folder, tmp_path / folder, ignore=ignored)
    for path in files.ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    yield tmp_path


@pytest.mark.medium
def test_a_file_changes_the_digests_of_the_suites_that_depend_on_it_and_no_others(tree):
    digests = lambda: {name: protocol.code_digest(name) for name in suite.names()}
    touch = lambda path: path.write_bytes(path.read_bytes() + b"\n")
    scoring = {name: set(provenance.closure(*protocol.entry_points(name))) for name in suite.names()}
    before = digests()
    for path in sorted(set.union(*scoring.values())):
        touch(path)
        after = digests()
        changed = {name for name in after if after[name] != before[name]}
        assert changed == {name for name in scoring if path in scoring[name]}, path.relative_to(tree)
        before = after
    others = {path for path in tree.rglob("*") if path.is_file()} - set.union(*scoring.values())
    assert len(others) > 100
    for path in others:
        touch(path)
    assert digests() == before


@pytest.mark.parametrize("name", suite.names())
def test_what_trains_chooses_and_tests_is_part_of_the_code_and_what_reports_is_not(name):
    code = set(protocol.file_digests(name))
    benchmark = {f"{part}.py" for part in ("phases", "examine", "suite", "families")}
    assert code >= {f"experiments/benchmark/{part}" for part in benchmark}
    assert code >= {"train.py", "models/attention.py", "experiments/sweep/population.py", "experiments/sweep/space.py"}
    assert f"experiments/suites/{name}.py" in code
    reporting = ("__main__.py", "collect.py", "scores.py", "statistics.py", "tables.py", "plots.py", "report.py")
    assert not code & {f"experiments/benchmark/{part}" for part in (*reporting, "report.html")}


def test_a_suite_that_is_made_from_another_depends_on_it():
    assert "experiments/suites/mnist.py" in protocol.file_digests("fashion_mnist")
    assert "experiments/suites/mnist.py" not in protocol.file_digests("digits")


def test_another_rule_in_the_same_folder_is_refused_and_named(tmp_path):
    digits = suite.load("digits")
    protocol.begin(tmp_path / "new", protocol.identity("digits", digits, {"data.shift": 1}), dry_run=True)
    assert not (tmp_path / "new" / "protocol.json").exists()  # what was only looked at may be changed afterwards
    protocol.begin(tmp_path, protocol.identity("digits", digits, {}))
    protocol.begin(tmp_path, protocol.identity("digits", digits, {}))
    with pytest.raises(UserError, match=r"overrides.data.shift: not set in the workdir, 1 now"):
        protocol.begin(tmp_path, protocol.identity("digits", digits, {"data.shift": 1}))


def test_code_that_has_changed_is_named_by_its_files(tmp_path):
    before = planted.identity(files={"train.py": "1", "models/gpt.py": "1", "models/old.py": "1"})
    after = replace(before, code="other", files={"train.py": "1", "models/gpt.py": "2", "models/new.py": "1"})
    protocol.begin(tmp_path, before)
    with pytest.raises(UserError) as error:
        protocol.begin(tmp_path, after)
    assert str(error.value).splitlines()[1:] == [
        "  code: models/gpt.py has changed",
        "  code: models/new.py is part of it only now",
        "  code: models/old.py is part of it only in the workdir",
    ]


def test_a_damaged_protocol_is_named(tmp_path):
    (tmp_path / "protocol.json").write_text('{"suite": "digits"}')
    with pytest.raises(UserError, match=r"protocol\.json is damaged or from another version"):
        protocol.read(tmp_path)
