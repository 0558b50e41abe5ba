"""Opening and preparing sets: messages for missing ones, recovery, several processes at once."""

from functools import partial
import json
from pathlib import Path
import shutil
import subprocess
import sys
import time
from typing import Any

import pytest

from core.errors import UserError
from data.digits import digits
from data.python_docs import PythonDocs, python_docs
from data.storage import MissingData, open_embedded, open_official, records

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["mnist", "tiny_shakespeare"])
def test_a_set_that_is_not_on_disk_is_explained_at_once(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(MissingData) as error:
        open_official(name)
    assert time.monotonic() - start < 2
    message = str(error.value)
    assert f"{name} is not on disk" in message and str(tmp_path / name) in message
    assert f"tfds.builder('{name}', data_dir='{tmp_path}', file_format='array_record')" in message
    assert "download_and_prepare()" in message and "TensorFlow is needed only for this" in message


def test_the_home_folder_is_searched_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MissingData, match=str(tmp_path / "tensorflow_datasets" / "mnist")):
        open_official("mnist")


def test_a_set_in_another_format_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"name": "mnist", "fileFormat": "tfrecord"}))
    with pytest.raises(MissingData, match=f"{folder} holds mnist as tfrecord"):
        open_official("mnist")


def test_a_set_with_a_damaged_description_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"name": "mn')
    with pytest.raises(UserError, match=f"{folder}/dataset_info.json is damaged .* Move {folder} away"):
        open_official("mnist")


def test_two_processes_prepare_once_without_tensorflow_or_jax(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path))
    program = (
        "import sys; from data.python_docs import python_docs; python_docs(context=7);"
        "print('loaded', {'tensorflow', 'jax', 'sklearn'} & set(sys.modules))"
    )
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **output) for _ in range(2)]
    lines = [line for process in processes for line in process.communicate()[0].splitlines()]
    folder = tmp_path / "python_docs" / str(PythonDocs.VERSION)
    assert sorted(lines) == ["loaded set()"] * 2 + [f"preparing python_docs in {folder} (once)"]


def test_a_preparation_that_was_killed_is_done_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path))
    folder = tmp_path / "python_docs" / str(PythonDocs.VERSION)
    leftover = folder.parent / f"incomplete.K2X9AB_{folder.name}"
    for half in (folder, leftover):
        half.mkdir(parents=True)
        (half / "python_docs-train.array_record-00000-of-00001").write_bytes(b"half a rec")
    builder = open_embedded(PythonDocs)
    [record] = records(builder, "train")
    assert len(record["text"]) > 100_000 and not leftover.exists()


def test_a_prepared_set_is_left_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path))
    open_embedded(PythonDocs)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert capsys.readouterr().err.startswith("preparing python_docs")
    open_embedded(PythonDocs)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path / "file"))
    with pytest.raises(UserError, match="Cannot prepare python_docs in .*file: .* Set LECTERN_DATA"):
        open_embedded(PythonDocs)


DAMAGES = [lambda x: x[: len(x) // 2], lambda x: b"", lambda x: b"[1]", lambda x: b"[" * 10**5]


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_set_whose_description_is_damaged_is_prepared_again(name, damage, embedded):
    before = digits().identity
    (file,) = embedded.rglob(name)
    file.write_bytes(damage(file.read_bytes()))
    assert digits().identity == before


@pytest.mark.parametrize("damage", [lambda x: x[:-100], lambda x: x[:200] + bytes(50) + x[250:], lambda x: b""])
@pytest.mark.parametrize("load", [digits, partial(python_docs, context=7)])
def test_a_damaged_set_is_named_with_what_to_do(load, damage, embedded):
    load()
    for file in embedded.rglob("*train.array_record*"):
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=rf"{embedded}/\w+/[\d.]+ is damaged: train of .* prepared by the next run"):
        load()
    for folder in embedded.iterdir():
        shutil.rmtree(folder)
    load()


def test_importing_the_sets_leaves_the_loggers_alone():
    program = "import logging; import data; assert not logging.getLogger('absl').filters + logging.root.filters"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA", str(tmp_path))
    return tmp_path
