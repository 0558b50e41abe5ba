"""One run for each folder, its environment, and configs compared field by field."""

import json
import os
import shlex
import signal
import subprocess
import sys

import jax
import pytest

from core.errors import UserError
from training import workdir

HOLD = """
import sys
from training import workdir
workdir.lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_run_is_refused_and_a_killed_one_frees_the_folder(tmp_path):
    folder = tmp_path / "runs" / "a"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder],
        cwd=workdir.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"{folder} is in use by process {holder.pid} on \S+ \(started 2"):
            workdir.lock(folder)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    os.close(workdir.lock(folder))


def test_a_released_lock_can_be_taken_and_names_the_new_holder(tmp_path):
    os.close(workdir.lock(tmp_path))
    (tmp_path / ".lock").write_text("process 1 on a host with a name longer than the line that replaces it" + "x" * 99)
    descriptor = workdir.lock(tmp_path)
    text = (tmp_path / ".lock").read_text()
    assert text.startswith(f"process {os.getpid()} on ") and text.endswith(")")
    os.close(descriptor)


def test_environment_is_json_and_true():
    environment = json.loads(json.dumps(workdir.environment()))
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert environment["devices"] == {
        "platform": jax.default_backend(),
        "kind": jax.devices()[0].device_kind,
        "count": jax.device_count(),
        "processes": 1,
    }
    assert environment["command"] == shlex.join(sys.orig_argv)


def test_packages_are_those_of_the_requirements_that_are_installed(tmp_path):
    (tmp_path / "requirements.txt").write_text("# comment\njax[cpu]==0.1\nno-such-package-here>=2\n-r other.txt\n")
    assert workdir._packages(tmp_path / "requirements.txt") == {"jax": jax.__version__}
    assert workdir._packages(tmp_path / "absent.txt") == {}


def test_git_commit_and_dirt(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert workdir.environment()["git"] == {"commit": None, "dirty": None}
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = workdir.environment()["git"]
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "new.py").touch()
    assert workdir.environment()["git"] == clean | {"dirty": True}
    monkeypatch.setenv("PATH", "")
    assert workdir.environment()["git"] == {"commit": None, "dirty": None}


def test_a_folder_without_a_run_and_a_damaged_config_are_named(tmp_path):
    with pytest.raises(UserError, match="is not the workdir of a run: it has no config.json"):
        workdir.read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json is damaged: it is not JSON"):
        workdir.read_config(tmp_path)


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="a is a file: a workdir must be a folder"):
        workdir.lock(tmp_path / "a")


def test_config_difference_names_each_field():
    old = {
        "seed": 3,
        "model": {"depth": 4, "sizes": [2, 3], "old": None},
        "data": {"name": "digits"},
        "empty": {},
    }
    new = {"seed": 3, "model": {"depth": 8, "sizes": (2, 3), "new": 0.5}, "data": {"name": "mnist"}}
    assert workdir.config_difference(old, new) == [
        'data.name: "digits" in the workdir, "mnist" now',
        "empty: {} in the workdir, not set now",
        "model.depth: 4 in the workdir, 8 now",
        "model.new: not set in the workdir, 0.5 now",
        "model.old: null in the workdir, not set now",
    ]
    assert workdir.config_difference(old, old) == []
