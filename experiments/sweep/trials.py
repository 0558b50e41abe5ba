"""The trials of a sweep. Each is a run of `train.py` in a folder of its own.

The state of a trial follows from its folder alone, so nothing is lost whichever process is killed: `summary.json` is
written at the end of a run, `failed.txt` and `pruned.txt` say why a run ended early, and a lock (`.claim`) is held
while a process works in the folder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from core.errors import UserError
from core.files import read_json, write_json, write_text
from training.command_line import read_command_line, read_run

DONE, FAILED, PRUNED, RUNNING, STOPPED, WAITING = "done", "failed", "pruned", "running", "stopped", "waiting"


@dataclass(frozen=True)
class Trial:
    """A config file with the fields that a trial sets, and the folder that it runs in.

    Attributes:
      config: the config file.
      base: fields that all trials of the sweep set.
      overrides: fields of this trial. They come after `base`.
      labels: what the trial means to the program that listed it. They do not change the run.
    """

    folder: Path
    config: str
    base: Mapping = field(hash=False)
    overrides: Mapping = field(hash=False)
    labels: Mapping = field(hash=False, default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def fields(self) -> dict:
        """All fields that `base` or `overrides` set."""
        return {**self.base, **self.overrides}

    def flags(self) -> list[str]:
        """Returns the command line of `train.py`."""
        fields = [f"--config.{name}={value}" for name, value in self.fields.items()]
        return [f"--config={self.config}", f"--workdir={self.folder}", *fields]

    def read_config(self) -> dict:
        """Returns the config as `train.py` will read it.

        Raises:
          UserError: names the trial, and says what is wrong.
        """
        config, _ = self._read()
        for name, value in self.fields.items():
            read = _field(config, name)
            if read != value or isinstance(read, bool) != isinstance(value, bool):
                raise UserError(f"trial {self.name}: {name} = {value!r} would be read as {read!r}")
        return json.loads(json.dumps(config.to_dict()))

    def left_out(self) -> str:
        """Returns a line on what the config file says for another data set than that of this trial, or ""."""
        return self._read()[1] if "data.name" in self.fields else ""

    def _read(self) -> tuple[ConfigDict, str]:
        try:
            if "data.name" not in self.fields:
                return read_command_line(self.flags()).config, ""
            from data import DATASETS  # takes a second to load, and the results of a sweep need none

            options, line = read_run(self.flags(), DATASETS)
            return options.config, line
        except UserError as error:
            raise UserError(f"trial {self.name}: {error}") from error

    def settled(self) -> str | None:
        """Returns DONE, FAILED or PRUNED, or None for a trial that is still to be run or continued."""
        if self._is_complete():
            return DONE
        return next((state for state in (FAILED, PRUNED) if (self.folder / f"{state}.txt").exists()), None)

    def state(self) -> str:
        """Returns DONE, FAILED, PRUNED, RUNNING, STOPPED (begun, and to be continued) or WAITING."""
        if not self.folder.is_dir():
            return WAITING
        if self._is_complete():
            return DONE
        if (claim := claim_folder(self.folder)) is None:
            return RUNNING
        os.close(claim)
        return self.settled() or (STOPPED if (self.folder / "config.json").exists() else WAITING)

    def begin(self) -> dict:
        """Writes `trial.json`, from which the folder can be read without the sweep file. Returns the config."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.read_config()
        content = {"file": self.config, "base": self.base, "overrides": self.overrides, "config": config}
        content |= {"labels": dict(self.labels)} if self.labels else {}
        write_json(self.folder / "trial.json", content)
        return config

    def mark(self, state: str, reason: str) -> None:
        """Makes the trial FAILED or PRUNED, with a reason, by a file of that name."""
        write_text(self.folder / f"{state}.txt", reason.rstrip() + "\n")

    def reason(self) -> str:
        """Returns the reason that `mark` was given, or an empty text."""
        marks = [self.folder / f"{state}.txt" for state in (FAILED, PRUNED)]
        return "".join(mark.read_text() for mark in marks if mark.exists()).strip()

    def forget(self, state: str) -> None:
        """Removes a mark, so that the trial can be continued."""
        (self.folder / f"{state}.txt").unlink(missing_ok=True)

    def _is_complete(self) -> bool:
        """Whether there is a summary of the last step. If the sweep now asks for more, `train.py` continues it."""
        if not all((self.folder / name).exists() for name in ("summary.json", "trial.json")):
            return False
        summary = self.read_summary()
        asked = read_trial(self.folder)["config"].get("steps")
        return summary["steps"] == asked or summary.get("stopped_early", False)

    def read_summary(self) -> dict:
        """Returns the content of `summary.json`. Raises UserError if there is none, or it is damaged."""
        return read_json(self.folder / "summary.json", "steps", "seconds")


def begun(workdir: str | Path) -> Iterator[Trial]:
    """Yields the trials that have a folder, in the order of their names."""
    for path in sorted(Path(workdir).glob("trials/*/trial.json")):
        content = read_trial(path.parent)
        labels = content.get("labels", {})
        yield Trial(path.parent, content["file"], content["base"], content["overrides"], labels)


def read_trial(folder: Path) -> dict:
    """Returns the content of `trial.json`. Raises UserError if there is none, or it is damaged."""
    content = read_json(folder / "trial.json", "file", "base", "overrides", "config")
    if not all(isinstance(content[name], dict) for name in ("base", "overrides", "config")):
        raise UserError(f"{folder / 'trial.json'} is damaged: base, overrides and config are no objects")
    return content


def claim_folder(folder: Path) -> int | None:
    """Claims a trial's folder for this process, and creates it if needed.

    Returns:
      A file descriptor, or None if another process has the folder. The folder is free again when this process and all
      that inherited the descriptor have closed it or ended, in whatever way.
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
    """Returns the last lines of a log that are not empty."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])


def _field(config: ConfigDict, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value[part]
    return value
