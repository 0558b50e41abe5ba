"""What makes two results of the benchmark comparable: the rules of the suite, and the version of code and packages."""

from collections.abc import Mapping
import hashlib
import json
from pathlib import Path

from experiments.benchmark.suite import Suite
from training.workdir import ROOT, config_difference, environment, write_json

# What a score depends on. How it is reported is not in it.
CODE = (
    *("models", "objectives", "data", "training", "train.py"),
    *(f"experiments/{name}" for name in ("population.py", "suite.py", "families.py", "suites")),
    *("experiments/benchmark/__main__.py", "experiments/benchmark/examine.py"),
)


def identity(name: str, suite: Suite, overrides: dict) -> dict:
    """All that must agree: `overrides` are fields that every run sets besides what the suite says."""
    return {
        "suite": name,
        "rules": suite.protocol(),
        "overrides": overrides,
        "packages": environment()["packages"],
        "code": code_digest(),
    }


def begin(workdir: Path, known: dict) -> None:
    """Writes `protocol.json` into the folder of a benchmark, or compares with it: see `refuse_difference`."""
    path = workdir / "protocol.json"
    if path.exists():
        what = f"{workdir} holds a benchmark by other rules or code; take another workdir, or go back"
        refuse_difference(json.loads(path.read_text()), known, what)
        return
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, known)


def refuse_difference(old: dict, new: dict, what: str) -> None:
    """Raises ValueError that says `what`, and names what is different between two identities."""
    if differences := config_difference(old, json.loads(json.dumps(new))):
        raise ValueError(f"{what}:\n  " + "\n  ".join(line[:300] for line in differences[:20]))


def config_digest(config: Mapping) -> str:
    """SHA-256 of a complete config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def code_digest() -> str:
    """SHA-256 of all code that decides about a score."""
    sha = hashlib.sha256()
    for part in CODE:
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            sha.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return sha.hexdigest()
