"""Copies tables that commands wrote into the pages of the documentation.

python -m experiments.document [docs/results.md ...]

A page holds a table between two comments. The first names the file, and the command that writes it:

  <!-- table runs/claims/table.md, written by: make claims -->
  ...
  <!-- end of table -->

It may also choose columns of the file: `<!-- table runs/x/table.md [rank; family; score], written by: ... -->`. A table
whose file is not on this machine stays as it is.
"""

import argparse
from pathlib import Path
import re

from core.command import command
from core.errors import UserError
from core.files import ROOT, write_text

_BLOCK = re.compile(
    r"(?P<begin><!-- table (?P<file>\S+)(?: \[(?P<columns>[^]]*)\])?, written by: .+? -->\n)"
    r"(?P<table>.*?)(?P<end><!-- end of table -->)",
    re.DOTALL,
)
_CELL_END = re.compile(r"(?<!\\)\|")


def update(page: Path, root: Path = ROOT) -> dict[str, bool]:
    """Replaces the tables of a page.

    Args:
      page: a Markdown file.
      root: the folder that the names of tables start from.

    Returns:
      the names of the tables, each with whether its file exists.

    Raises:
      UserError: a table lacks a column that the page chooses, or there is no such page.
    """
    if not page.is_file():
        raise UserError(f"there is no page {page}: expected a Markdown file such as docs/results.md")
    present: dict[str, bool] = {}

    def replaced(block: re.Match) -> str:
        file = root / block["file"]
        present[block["file"]] = file.is_file()
        if not file.is_file():
            return block[0]
        table = file.read_text(encoding="utf-8")
        if block["columns"]:
            table = _choose(table, [name.strip() for name in block["columns"].split(";")], f"{page}: {block['file']}")
        return f"{block['begin']}\n{table}\n{block['end']}"

    write_text(page, _BLOCK.sub(replaced, page.read_text(encoding="utf-8")))
    return present


@command
def main(arguments: list[str]) -> None:
    """Runs the command line."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m experiments.document", description=description)
    parser.add_argument("pages", nargs="*", help="Markdown files (default: docs/results.md)")
    args = parser.parse_args(arguments)
    for page in args.pages or [ROOT / "docs" / "results.md"]:
        for file, exists in update(Path(page)).items():
            print(f"{'copied' if exists else 'kept, since it was not measured here':10} {file}")


def _choose(table: str, names: list[str], where: str) -> str:
    """Returns a Markdown table with the columns of these names only, in this order."""
    rows = [[cell.strip() for cell in _CELL_END.split(line)[1:-1]] for line in table.splitlines()]
    if unknown := [name for name in names if name not in rows[0]]:
        raise UserError(f"{where}: there is no column {unknown[0]!r}, expected some of: {', '.join(rows[0])}")
    places = [rows[0].index(name) for name in names]
    return "".join(f"| {' | '.join(row[place] for place in places)} |\n" for row in rows)


if __name__ == "__main__":
    main()
