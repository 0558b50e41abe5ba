"""Imports point down only: experiments -> train.py -> models, objectives, data, training; configs stand apart."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"models", "objectives", "data", "training"}
OURS = ROOMS | {"configs", "experiments", "train", "tests"}
FILES = sorted(p.relative_to(ROOT) for room in OURS for p in (ROOT / room).rglob("*.py")) + [Path("train.py")]


def imported(source: str) -> set[str]:
    """The parts of this project that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0] if node.module and not node.level else "relative import")
    return names & (OURS | {"relative import"})


def allowed(path: Path) -> set[str]:
    room = path.parts[0]
    if room in ROOMS or room == "configs":
        return {room}
    if room == "train.py":
        return ROOMS
    return OURS if room == "tests" else ROOMS | {"train", "experiments"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path):
    assert imported((ROOT / path).read_text()) <= allowed(path)


def test_the_check_sees_a_climb():
    assert imported("from training.state import x\nimport models.gpt") - allowed(Path("models/x.py")) == {"training"}
    assert imported("from . import x") - allowed(Path("models/x.py")) == {"relative import"}


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "models" or p.name == "train.py"], ids=str)
def test_a_file_is_one_idea_long(path):
    assert len((ROOT / path).read_text().splitlines()) <= 300


def test_the_default_install_is_light():
    requirements = (ROOT / "requirements.txt").read_text().lower()
    names = {line.split("==")[0] for line in requirements.splitlines() if "==" in line and not line.startswith("#")}
    assert not names & {"tensorflow", "tensorflow-cpu", "torch", "transformers"}
    assert all("==" in line for line in requirements.splitlines() if line and not line.startswith("#"))
