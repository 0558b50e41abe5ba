"""The folder of a run: one run at a time, what it ran on, and its config."""

from collections.abc import Iterable
from datetime import datetime
import fcntl
import importlib.metadata
import json
import os
from pathlib import Path
import platform
import re
import shlex
import socket
import subprocess
import sys

import jax

from core import files
from core.errors import UserError
from core.files import ROOT


def lock(workdir: str | Path) -> int:
    """Takes the folder for this process until the process ends, in whatever way. Creates it if needed.

    Returns:
      A file descriptor; closing it releases the folder.

    Raises:
      UserError: another process has the folder (it is named), or the path is a file or a link to nothing.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir} is a file: a workdir must be a folder, or not exist yet")
    if link := next((path for path in (workdir, *workdir.parents) if path.is_symlink() and not path.exists()), None):
        raise UserError(f"{link} is a link to nothing: remove it, or create the folder that it points to")
    workdir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(workdir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)  # a plain number: no collector closes it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 1000).decode() or "another process"
        os.close(descriptor)
        raise UserError(f"{workdir} is in use by {holder}: wait for it, or take another workdir") from None
    try:
        _sign(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, f"{workdir / '.lock'} could not be written: {error.strerror}") from error
    return descriptor


def _sign(descriptor: int) -> None:
    """Writes into a lock who holds it."""
    started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} (started {started})".encode())


def environment() -> dict:
    """Returns what this run runs on: Python, packages of requirements.txt, git commit, devices and command line.

    Outside a git checkout, or without git, "commit" and "dirty" are None. A new file makes the checkout dirty too.
    """
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(ROOT / "requirements.txt"),
        "git": {"commit": _git("rev-parse", "HEAD"), "dirty": _dirty()},
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
        },
        "command": shlex.join(sys.orig_argv),
    }


def read_config(workdir: str | Path) -> dict:
    """Returns the complete config of the run in a workdir.

    Raises:
      UserError: there is no run, or its config is damaged.
    """
    if not str(workdir).strip():
        raise UserError("the name of the workdir is empty: expected the folder of a run")
    path = Path(workdir) / "config.json"
    if not path.exists():
        raise UserError(f"{workdir} is not the workdir of a run: it has no config.json")
    return files.read_json(path, "model", "objective", "data", "steps")


def config_difference(old: dict, new: dict) -> list[str]:
    """Returns the fields in which two nested configs differ, as lines: "model.depth: 4 in the workdir, 8 now".

    Tuples and lists are equal here, since JSON has only lists.
    """
    old, new = _flat(old), _flat(new)
    return [
        f"{name}: {old.get(name, 'not set')} in the workdir, {new.get(name, 'not set')} now"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def refuse_difference(workdir: str | Path, old: dict, new: dict, *, free: Iterable[str]) -> None:
    """Checks that a run is continued with the config it began with, except for the fields `free`.

    Raises:
      UserError: names all fields that differ.
    """
    fixed = ({name: value for name, value in config.items() if name not in free} for config in (old, new))
    if differences := config_difference(*fixed):
        raise UserError(
            f"{workdir} holds a run with another config; take another workdir, or set these as they were:\n  "
            + "\n  ".join(differences)
        )


MEANING = ("classes", "vocabulary")  # the parts of a data set's identity that say what labels and tokens mean


def refuse_other_data(workdir: str | Path, old: dict, new: dict, parts: Iterable[str] = ()) -> None:
    """Checks that a run is continued, or its model used, with the data that it began with.

    Args:
      old, new: what data sets are known by, see `data.dataset.Dataset.identity`.
      parts: those to compare; by default all.

    Raises:
      UserError: names what differs.
    """
    parts = set(parts) or {*old, *new}
    before, after = (_flat({name: value for name, value in x.items() if name in parts}) for x in (old, new))
    # Where the numbers of examples differ, the digests say nothing more.
    changed = [name for name in sorted(before | after) if before.get(name) != after.get(name)]
    counted = {name.rpartition(".")[0] for name in changed if not name.endswith(".digest")}
    lines = [
        f"{name.removesuffix('.digest')}: the content has changed"
        if name.endswith(".digest")
        else f"{name}: {before.get(name, 'none')[:300]} when the run began, {after.get(name, 'none')[:300]} now"
        for name in changed
        if not (name.endswith(".digest") and name.rpartition(".")[0] in counted)
    ]
    if lines:
        more = [f"and {len(lines) - 10} more"] if len(lines) > 10 else []
        raise UserError(
            f"{workdir} holds a run on other data; bring the data back as it was, or take another workdir:\n  "
            + "\n  ".join(lines[:10] + more)
        )


def refuse_other_run(workdir: str | Path, checkpoint: dict | None, config: dict, data: dict) -> None:
    """Checks that a workdir is empty or holds the run of this config on this data, before anything is written there.

    Args:
      checkpoint: what the newest checkpoint says about itself, or None if there is no checkpoint.
      config: the complete config of the run. data: what its data set is known by.

    Raises:
      UserError: names what differs, or what is missing of a run that has ended.
    """
    workdir = Path(workdir)
    kept = [] if checkpoint is None else [(checkpoint["config"], checkpoint["identity"])]
    in_files = {name: _kept(workdir / f"{name}.json", checkpoint) for name in ("config", "data")}
    kept.append((in_files["config"], in_files["data"]))
    for _, old in kept:
        if old is not None:
            refuse_other_data(workdir, old, data)
    for old, _ in kept:
        if old is not None:
            refuse_difference(workdir, old, config, free=["steps", "patience", "loggers"])
    if checkpoint is None and (workdir / "summary.json").exists():
        raise UserError(
            f"{workdir} holds the summary of a run that has ended, but none of its checkpoints. Bring checkpoints/ "
            "back, or take another workdir to train again"
        )


def _kept(path: Path, checkpoint: dict | None) -> dict | None:
    """What a file of a run holds, or None if there is none, or a damaged one that a checkpoint can replace."""
    if not path.exists():
        return None
    try:
        content = files.read_json(path)
    except UserError:
        if checkpoint is not None:
            return None
        raise
    if not isinstance(content, dict) or (path.name == "config.json" and not {"model", "steps"} <= set(content)):
        raise UserError(f"{path} is not that of a run: take another workdir")
    return content


def _flat(config: dict, prefix: str = "") -> dict[str, str]:
    """Dotted path -> value as JSON text."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat


def _packages(requirements: Path) -> dict[str, str]:
    names = re.findall(r"^[A-Za-z0-9][\w.-]*", requirements.read_text(), re.MULTILINE) if requirements.exists() else []
    versions: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _dirty() -> bool | None:
    status = _git("status", "--porcelain")
    return None if status is None else bool(status)


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
