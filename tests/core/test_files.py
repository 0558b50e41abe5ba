"""Files are written completely or not at all."""

import json
import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

from core import files
from core.errors import UserError

ROOT = Path(__file__).parents[2]


def test_a_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.parent == tmp_path
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_between_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_crash_between_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = f"""
import os
from core import files
with files.replacing({str(path)!r}) as temporary:
  temporary.write_text("ne")
  os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 9
    assert path.read_text() == "old"


def test_several_processes_may_write_at_once(tmp_path):
    path = tmp_path / "a.json"
    program = f"""
import sys
from core import files
for number in range(100):
  files.write_json({str(path)!r}, [sys.argv[1], number] * 500)
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, name], cwd=ROOT) for name in "ab"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert len(json.loads(path.read_text())) == 1000
    assert [writer.wait() for writer in writers] == [0, 0]
    assert json.loads(path.read_text())[1] == 99
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_with_the_same_content_is_not_touched(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 3})
    os.utime(path, (1, 1))
    files.write_json(path, {"a": 3})
    assert path.stat().st_mtime == 1
    files.write_json(path, {"a": 5})
    assert path.stat().st_mtime > 1 and json.loads(path.read_text()) == {"a": 5}


def test_json_is_strict_and_round_trips(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": [1, 2.5, float("nan")], "b": {"c": float("-inf"), "d": "NaN"}})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None], "b": {"c": None, "d": "NaN"}}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_on_a_full_disk_the_error_names_the_file_which_stays(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 3})
    message = r"a\.json could not be written \(No space left on device\); the old file is kept"
    with pytest.raises(OSError, match=message), files.replacing(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("x")
    assert json.loads(path.read_text()) == {"a": 3}
    assert os.listdir(tmp_path) == ["a.json"]


def test_reading_json_names_a_file_that_is_missing_or_damaged(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(UserError, match="a.json does not exist"):
        files.read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(UserError, match="a.json is damaged: it is not JSON"):
        files.read_json(path)
    files.write_json(path, {"a": 3})
    assert files.read_json(path) == files.read_json(path, "a") == {"a": 3}
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert files.read_json(path) == {"a": 3}


@pytest.mark.parametrize("text", ['{"a": 3}', "[]", "3", '"ab"', "null"])
def test_a_json_file_must_hold_the_keys_that_are_asked_for(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="a.json is damaged: expected a JSON object with a, b"):
        files.read_json(tmp_path / "a.json", "a", "b")


DEEP = {
    "lists": "[" * 3_000 + "]" * 3_000,
    "dictionaries": '{"a":' * 200_000 + "1" + "}" * 200_000,
    "just too deep": "[" * 102 + "]" * 102,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_json_that_is_nested_too_deeply_is_refused_as_any_other_damage(text, tmp_path):
    with pytest.raises(ValueError, match="nested too deeply"):
        files.parse_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a.json is damaged: it is not JSON \(nested too deeply\)"):
        files.read_json(tmp_path / "a.json")


def test_json_with_many_brackets_side_by_side_is_read():
    assert files.parse_json("[" + "[{}]," * 5_000 + "3]")[-1] == 3
    assert files.parse_json("[" * 100 + "]" * 100)


def test_a_missing_folder_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"a.txt could not be written: there is no folder .*nothing"):
        files.write_text(tmp_path / "nothing" / "a.txt", "new")


def test_folders_are_made_unless_a_file_is_in_their_place(tmp_path):
    files.make_folder_of(tmp_path / "a" / "b" / "c.txt")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "d").write_text("")
    for name in ("d/c.txt", "d/e/c.txt"):
        with pytest.raises(UserError, match=r"c.txt cannot be written: .*d(/e)? is no folder"):
            files.make_folder_of(tmp_path / name)


def test_every_json_file_is_read_by_the_one_function():
    """`json.loads` is for text that we made ourselves."""
    own = re.compile(r"\bjson\.(load\(|loads\((?!json\.dumps\(|text\)|name\)|others\)))")
    folders = ("core", "data", "models", "objectives", "training", "experiments")
    sources = [ROOT / "train.py", *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    assert not [path for path in sources if own.search(path.read_text())]
