"""Tables as Markdown, so that documentation can show what a command measured."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from core.files import write_text


def markdown(head: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Returns a table as Markdown.

    Args:
      head: the heading of each column.
      body: the rows, each with one cell a column.
      right: for each column, whether it is aligned to the right.
    """
    line = lambda cells: f"| {' | '.join(map(_escape, cells))} |"
    marks = "|".join("---:" if is_right else "---" for is_right in right)
    return "\n".join([line(head), f"|{marks}|", *map(line, body)]) + "\n"


def write_table(path: str | Path, table: Table) -> None:
    """Writes a table that was printed by rich as Markdown, and makes the folder of the file if there is none."""
    columns = [[_plain(column.header), *map(_plain, column.cells)] for column in table.columns]
    head, *body = zip(*columns)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, markdown(head, body, [column.justify == "right" for column in table.columns]))


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _escape(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;").replace("\n", " ")
