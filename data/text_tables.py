"""Labelled texts of the user's own in a file: TSV, CSV with a header, JSON lines, or Parquet."""

from collections.abc import Callable, Iterator
import csv
from dataclasses import dataclass
import io
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.errors import UserError, cut, reason
from core.files import parse_json
from core.reading import read_text, refuse_special_file
from data.lines import read_lines

Content = TypeVar("Content", str, Path)


@dataclass(frozen=True)
class Item(Generic[Content]):
    """An example as it stands in a file or folder.

    Attributes:
      content: the text, or the file with the image.
      place: the file and the line, for messages.
    """

    label: str
    content: Content
    place: str


def read_table(file: Path, text: str, label: str) -> list[Item[str]]:
    """Returns the labelled texts in a file, whose format its ending says; see `READERS`.

    Args:
      text, label: the names of the columns, or of the keys of JSON lines. A TSV file has no header: its lines are a
        label, a tab and a text.

    Raises UserError where the file cannot be read, lacks a column, or a line is no labelled text.
    """
    return list(READERS[file.suffix](file, text, label))


def _read_tsv(file: Path, *_: str) -> Iterator[Item[str]]:
    for number, line in enumerate(read_lines(file), start=1):
        place = f"{file}, line {number}"
        label, tab, text = line.partition("\t")
        if not (label.strip() and tab and text.strip()):
            raise UserError(f"{place}: expected a label, a tab and a text, got {line[:60]!r}.")
        yield Item(label.strip(), text, place)


def _read_jsonl(file: Path, text: str, label: str) -> Iterator[Item[str]]:
    for number, line in enumerate(read_lines(file), start=1):
        place = f"{file}, line {number}"
        try:
            content = parse_json(line)
            values = content[label], content[text]
        except (ValueError, TypeError, KeyError, RecursionError):
            values = None, None
        if (item := _item(*values, place)) is None:
            raise UserError(f'{place}: expected {{"{label}": "...", "{text}": "..."}}, got {line[:60]!r}.')
        yield item


def _read_csv(file: Path, text: str, label: str) -> Iterator[Item[str]]:
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        columns = [_column(file, head, name) for name in (label, text)]
        for row in reader:
            if not row:
                continue  # an empty line
            place = f"{file}, line {reader.line_num}"
            if len(row) != len(head):
                raise UserError(f"{place}: {len(row)} columns, but the header has {len(head)}: {', '.join(head)}.")
            if (item := _item(row[columns[0]], row[columns[1]], place)) is None:
                raise UserError(f"{place}: expected a {label} and a {text}, got {cut(repr(row), 60)}.")
            yield item
    except csv.Error as error:
        place = f"{file}, line {reader.line_num}"
        raise UserError(f"{place}: {reason(error)}. Expected CSV with commas and double quotes.") from error


def _read_parquet(file: Path, text: str, label: str) -> Iterator[Item[str]]:
    import pyarrow  # here, because it takes long to load
    from pyarrow import parquet

    refuse_special_file(file)
    try:
        source = parquet.ParquetFile(file)
        columns = [source.schema_arrow.names[_column(file, source.schema_arrow.names, name)] for name in (label, text)]
        table = source.read(columns=columns)
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} is not a Parquet file that can be read: {cut(reason)}") from error
    labels, texts = (table.column(name).to_pylist() for name in columns)
    for number, pair in enumerate(zip(labels, texts), start=1):
        if (item := _item(*pair, f"{file}, row {number}")) is None:
            raise UserError(f"{file}, row {number}: expected a {label} and a {text}, got {cut(repr(pair), 60)}.")
        yield item


READERS: dict[str, Callable[[Path, str, str], Iterator[Item[str]]]] = {
    ".tsv": _read_tsv, ".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet,
}  # fmt: skip


def _column(file: Path, names: list[str], name: str) -> int:
    if names.count(name) != 1:
        which = "no column" if name not in names else "several columns"
        header = ", ".join(map(repr, names[:9])) or "nothing"
        raise UserError(f"{file} has {which} {name!r}: its header is {header}. Name the columns: data.text, data.label")
    return names.index(name)


def _item(label: Any, text: Any, place: str) -> Item[str] | None:
    """The example of a row; None if it is no labelled text."""
    is_label = isinstance(label, (str, int)) and str(label).strip()
    return Item(str(label).strip(), text, place) if is_label and isinstance(text, str) and text.strip() else None
