"""Files that users bring: byte-order marks, encodings, and what is no ordinary file."""

import os

import pytest

from core.errors import UserError
from core.reading import read_text
from data.lines import read_lines
from data.subwords import Subwords
from data.text import file_texts
from experiments.use.tokenizer import _lines


def test_every_reader_of_text_drops_a_byte_order_mark(tmp_path):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    plain.write_bytes("größe\nzwei\n".encode())
    marked.write_bytes("größe\nzwei\n".encode("utf-8-sig"))
    for read in (read_text, read_lines, file_texts, _lines):
        assert read(marked) == read(plain)
    Subwords.train(["größe"], kind="bpe", vocab_size=270).save(plain)
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert Subwords.load(marked).text() == Subwords.load(plain).text()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(encoding, tmp_path):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "x.txt").write_bytes(mark + "größe".encode(encoding))
    with pytest.raises(UserError, match=rf"x.txt is {encoding[:6].upper()}, not UTF-8. Convert it"):
        read_text(tmp_path / "x.txt")


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is a pipe: expected an ordinary file"):
        read_text(tmp_path / "pipe")
