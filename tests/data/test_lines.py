"""Lines of a user's file: what ends a line, and how a malformed line is reported."""

import pytest

from core.errors import UserError
from data.lines import read_lines


@pytest.mark.parametrize("content", [b"a b\n\xc3\xa4\n", b"a b\r\n\xc3\xa4", b"\xef\xbb\xbfa b\n\xc3\xa4"])
def test_line_ends_and_a_byte_order_mark_are_not_part_of_the_text(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    assert read_lines(tmp_path / "x") == ["a b", "ä"]


def test_only_a_newline_ends_a_line(tmp_path):
    (tmp_path / "x").write_text("a\u2028b\x85c\nd\n", encoding="utf-8")
    assert read_lines(tmp_path / "x") == ["a\u2028b\x85c", "d"]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"a\n\nb\n", "x, line 2: empty"),
        (b"a\nb\n \n", "x, line 3: empty"),
        (b"", "x, line 1: empty"),
        (b"a\nb\nc\xff\n", r"x, line 3: not UTF-8 \(invalid start byte at byte 2 of the line\)"),
    ],
)
def test_a_malformed_line_is_named(content, words, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_lines(tmp_path / "x")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="There is no file .*nothing"):
        read_lines(tmp_path / "nothing")
