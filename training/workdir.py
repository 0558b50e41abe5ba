"""The folder of a run: one run at a time, what it ran on, and JSON files that are whole or absent."""

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

ROOT = Path(__file__).resolve().parents[1]


def lock(workdir) -> int:
    """Takes the folder for this process, until the process ends in whatever way. Creates it if needed.

    Returns a file descriptor; closing it gives the folder back. Raises BlockingIOError, naming the holder.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise NotADirectoryError(f"{workdir} is a file: a workdir must be a folder, or not be there yet")
    workdir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(workdir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)  # a plain number: no collector closes it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 1000).decode() or "another process"
        os.close(descriptor)
        raise BlockingIOError(f"{workdir} is in use by {holder}: wait for it, or take another workdir") from None
    started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} (started {started})".encode())
    return descriptor


def environment() -> dict:
    """What this run runs on: Python, packages of requirements.txt, git commit, devices and command line.

    Outside a git checkout, or without git, commit and dirty are None. A new file makes it dirty too.
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


def write_json(path, obj) -> None:
    """Writes `obj` as JSON, whole or not at all. NaN and infinity become null. Raises OSError if it cannot."""
    path = Path(path)
    strict = json.loads(json.dumps(obj), parse_constant=lambda _: None)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w") as file:
            file.write(json.dumps(strict, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"{path} could not be written ({error.strerror}); what was there is kept") from error


def config_difference(old: dict, new: dict) -> list[str]:
    """The fields in which two nested configs differ, as lines: "model.depth: 4 in the workdir, 8 now".

    Tuples and lists count as equal, since JSON knows lists alone.
    """
    old, new = _flat(old), _flat(new)
    return [
        f"{name}: {old.get(name, 'not set')} in the workdir, {new.get(name, 'not set')} now"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


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
    versions = {}
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
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def refuse_difference(workdir, old: dict, new: dict, *, free: list[str]) -> None:
    """Raises ValueError with the fields in which a run's config differs from the one it began with, but for `free`."""
    fixed = ({name: value for name, value in config.items() if name not in free} for config in (old, new))
    if differences := config_difference(*fixed):
        raise ValueError(
            f"{workdir} holds a run with another config; take another workdir, or set these as they were:\n  "
            + "\n  ".join(differences)
        )


def read_config(workdir) -> dict:
    """The config of the run in a workdir. Raises FileNotFoundError where there is none."""
    path = Path(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{workdir} is not the workdir of a run: it has no config.json")
    return json.loads(path.read_text())
