"""A vocabulary learned from files, and the errors of files that cannot give one."""

import pytest

from data.subwords import Subwords
from experiments.use.tokenizer import main


def test_all_files_are_learned_from(tmp_path, capsys):
    (tmp_path / "a").write_text("xyzzy xyzzy\nxyzzy\n")
    (tmp_path / "b").write_text("größer größer", encoding="utf-8")
    out = str(tmp_path / "tokenizer.json")
    main(["--files", str(tmp_path / "a"), str(tmp_path / "b"), "--vocab_size=290", f"--out={out}"])
    line, next_line = capsys.readouterr().out.splitlines()
    assert line == f"{out}: {len(Subwords.load(out))} bpe tokens from 3 lines"
    assert next_line.endswith(f"--config.data.tokenizer={out}")
    vocabulary = Subwords.load(out)
    assert [len(vocabulary.encode(text)) for text in ("xyzzy", "größer", "qqq")] == [1, 1, 3]


@pytest.mark.parametrize(
    "content, more, words",
    [
        (None, [], "a"),
        (b"\xff", [], "a, line 1: not UTF-8 (invalid start byte at byte 1 of"),
        (b"abc", ["--vocab_size=5"], "vocab_size = 5"),
        (b"abc", ["--out=/dev/null/x.json"], "/dev/null/x.json cannot be written: /dev/null is no folder"),
    ],
)
def test_an_error_is_one_line(content, more, words, tmp_path, capsys):
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["--files", str(tmp_path / "a"), f"--out={tmp_path / 'x'}", *more])
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.startswith("error: ") and words in error and error.count("\n") == 1
