"""The trials of a sweep: each one a run of `train.py` in a folder of its own.

The state of a trial follows from its folder alone, so that nothing is lost whatever is killed: `summary.json` ends a
run, `failed.txt` and `pruned.txt` say why one ended early, and a lock (`.claim`) is held as long as a process works
in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
import fcntl
import json
import os
from pathlib import Path

from ml_collections import ConfigDict

from core.files import write_json
from core.processes import with_parent
from training.command_line import read_command_line

tied = with_parent  # the former name

DONE, FAILED, PRUNED, RUNNING, STOPPED, WAITING = "done", "failed", "pruned", "running", "stopped", "waiting"


@dataclass(frozen=True)
class Trial:
    """A config with some fields set, by `base` and, over that, by `overrides`; and the folder that it runs in.

    `labels` say what the trial is to the program that listed it; they do not change the run.
    """

    folder: Path
    config: str
    base: Mapping = field(hash=False)
    overrides: Mapping = field(hash=False)
    labels: Mapping = field(hash=False, default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def fields(self) -> dict:
        """All that is set, by `base` or `overrides`."""
        return {**self.base, **self.overrides}

    def flags(self) -> list[str]:
        """What `train.py` is called with."""
        fields = [f"--config.{name}={value}" for name, value in self.fields.items()]
        return [f"--config={self.config}", f"--workdir={self.folder}", *fields]

    def read_config(self) -> dict:
        """The config as `train.py` will read it. Raises ValueError that names the trial and what is wrong."""
        try:
            read = read_command_line(self.flags()).config
        except ValueError as error:
            raise ValueError(f"trial {self.name}: {error}") from error
        for name, value in self.fields.items():
            if (got := _at(read, name)) != value or isinstance(got, bool) != isinstance(value, bool):
                raise ValueError(f"trial {self.name}: {name} = {value!r} would be read as {got!r}")
        return json.loads(json.dumps(read.to_dict()))

    def settled(self) -> str | None:
        """DONE, FAILED or PRUNED, or None for a trial that is still to be run or continued."""
        if self._complete():
            return DONE
        return next((state for state in (FAILED, PRUNED) if (self.folder / f"{state}.txt").exists()), None)

    def state(self) -> str:
        """DONE, FAILED, PRUNED, RUNNING, STOPPED (begun, and to be continued) or WAITING."""
        if not self.folder.is_dir():
            return WAITING
        if self._complete():
            return DONE
        if (claim := claimed(self.folder)) is None:
            return RUNNING
        os.close(claim)
        return self.settled() or (STOPPED if (self.folder / "config.json").exists() else WAITING)

    def begin(self) -> dict:
        """Writes `trial.json`, from which the folder can be read without the sweep file; gives the config."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.read_config()
        said = {"file": self.config, "base": self.base, "overrides": self.overrides, "config": config}
        said |= {"labels": dict(self.labels)} if self.labels else {}
        write_json(self.folder / "trial.json", said)
        return config

    def mark(self, state: str, reason: str) -> None:
        """Says FAILED or PRUNED and why, in a file of that name."""
        temporary = self.folder / f"{state}.tmp"
        temporary.write_text(reason.rstrip() + "\n")
        temporary.replace(self.folder / f"{state}.txt")

    def reason(self) -> str:
        """What `mark` was told, or nothing."""
        marks = [self.folder / f"{state}.txt" for state in (FAILED, PRUNED)]
        return "".join(mark.read_text() for mark in marks if mark.exists()).strip()

    def forget(self, state: str) -> None:
        """Takes a mark away, so that the trial goes on."""
        (self.folder / f"{state}.txt").unlink(missing_ok=True)

    def _complete(self) -> bool:
        """A run of fewer steps than are asked for now is not complete: `train.py` continues it."""
        try:
            summary = json.loads((self.folder / "summary.json").read_text())
            return summary["steps"] >= json.loads((self.folder / "trial.json").read_text())["config"]["steps"]
        except FileNotFoundError:
            return False


def begun(workdir: str | Path) -> Iterator[Trial]:
    """The trials that have a folder, by their names."""
    for path in sorted(Path(workdir).glob("trials/*/trial.json")):
        said = json.loads(path.read_text())
        yield Trial(path.parent, said["file"], said["base"], said["overrides"], said.get("labels", {}))


def claimed(folder: Path) -> int | None:
    """Takes a trial's folder for this process and for those that inherit the descriptor, which is given; else None.

    It is free again when all of them have ended, in whatever way. Creates the folder if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".claim", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def last_lines(log: Path, count: int = 5) -> str:
    """The end of what a run printed."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])


def _at(config: ConfigDict, name: str):
    for part in name.split("."):
        config = config[part]
    return config
