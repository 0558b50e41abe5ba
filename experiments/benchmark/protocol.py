"""What makes two results of the benchmark comparable: the rules of the suite, and the versions of code and packages."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
import hashlib
import json
from pathlib import Path

from core import files, provenance
from core.errors import UserError, reason
from core.reading import read_text
from experiments.benchmark.suite import Suite

# Everything that decides a score: how runs are made, chosen, trained and tested. Together with the file of the suite
# and what all of these import they are the code of a benchmark. Modules that only report are not among them.
SCORING = (
    "experiments/benchmark/phases.py", "experiments/benchmark/examine.py", "experiments/sweep/population.py",
    "train.py",
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """What two benchmarks must agree on for their scores to be compared.

    Attributes:
      suite: its name.
      rules: the suite itself.
      overrides: fields that every run sets besides what the suite states.
      packages: versions of Python and of the packages that the code imports, by name.
      code: digest of all code that decides a score.
      files: digest of each file of that code, from which a difference is named.
    """

    suite: str
    rules: Suite
    overrides: Mapping
    packages: Mapping[str, str]
    code: str
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict:
        """Returns all fields as plain JSON values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, fields: Mapping) -> "Identity":
        """Returns the identity of which `to_json` made `fields`. Raises KeyError or TypeError if it did not."""
        return cls(**{**fields, "rules": Suite.from_json(fields["rules"])})


def identity(name: str, suite: Suite, overrides: Mapping) -> Identity:
    """Returns the identity of a benchmark that is run now, with this code."""
    return Identity(name, suite, overrides, package_versions(name), code_digest(name), file_digests(name))


def entry_points(name: str) -> list[str]:
    """Returns the files whose imports decide the scores of a suite."""
    return [f"experiments/suites/{name}.py", *SCORING]


def code_digest(name: str) -> str:
    """Returns the SHA-256 of all code that decides the scores of a suite, and of the packages that it imports."""
    return provenance.digest(entry_points(name))


def package_versions(name: str) -> dict[str, str]:
    """Returns the versions of Python and of the packages that this code imports, by name."""
    lines = provenance.packages(provenance.closure(*entry_points(name)))
    return {package: version for package, _, version in (line.partition("==") for line in lines)}


def file_digests(name: str) -> dict[str, str]:
    """Returns the start of the SHA-256 of each file that decides the scores of a suite, by its path."""
    paths = provenance.closure(*entry_points(name))
    return {str(path.relative_to(files.ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in paths}


def begin(workdir: Path, current: Identity, *, dry_run: bool = False) -> None:
    """Writes `protocol.json` into the folder of a benchmark. If it is there, raises UserError unless it agrees.

    With `dry_run` it is not written: what was only looked at may be changed afterwards.
    """
    path = workdir / "protocol.json"
    if not path.exists():
        workdir.mkdir(parents=True, exist_ok=True)
        if dry_run:
            return
        files.write_json(path, current.to_json())
        return
    message = f"{workdir} holds a benchmark by other rules or code. Use another workdir, or restore them"
    refuse_difference(read(workdir), current, message, "in the workdir", "now")


def read(workdir: Path) -> Identity:
    """Returns what `protocol.json` of a folder holds. Raises UserError if it is missing or damaged."""
    path = workdir / "protocol.json"
    if not path.exists():
        raise UserError(f"{path} does not exist: expected the workdir of a benchmark")
    try:
        return Identity.from_json(files.parse_json(read_text(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged or from another version: use another workdir ({reason(error)})") from error


def refuse_difference(old: Identity, new: Identity, message: str, where_old: str, where_new: str) -> None:
    """Raises UserError with `message` and every difference between two identities, a line each."""
    if lines := _differences(old, new, where_old, where_new):
        more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
        raise UserError(f"{message}:\n  " + "\n  ".join([*(line[:300] for line in lines[:20]), *more]))


def _differences(old: Identity, new: Identity, where_old: str, where_new: str) -> list[str]:
    before, after = _flat(old), _flat(new)
    lines = [
        f"{name}: {before.get(name, 'not set')} {where_old}, {after.get(name, 'not set')} {where_new}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
    ]
    for path in sorted({*old.files, *new.files}) if old.files and new.files else ():
        if path not in new.files:
            lines.append(f"code: {path} is part of it only {where_old}")
        elif path not in old.files:
            lines.append(f"code: {path} is part of it only {where_new}")
        elif old.files[path] != new.files[path]:
            lines.append(f"code: {path} has changed")
    if old.code != new.code and not lines:
        lines.append(f'code: "{old.code}" {where_old}, "{new.code}" {where_new}')
    return lines


def _flat(identity: Identity) -> dict[str, str]:
    """All fields but those of the code: dotted path -> value as JSON text."""
    flat, pending = {}, {n: value for n, value in identity.to_json().items() if n not in ("code", "files")}
    while pending:
        name, value = pending.popitem()
        if isinstance(value, dict) and value:
            pending |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = json.dumps(value)
    return flat
