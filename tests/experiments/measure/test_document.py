"""Tables of the documentation are the files that commands wrote."""

from pathlib import Path
import re

import pytest
from rich.table import Table

from core.errors import UserError
from core.markdown import write_table
from experiments.measure.document import update

PAGE = """# Results

<!-- table runs/x/table.md{columns}, written by: make x -->
old
<!-- end of table -->

Text stays.

<!-- table runs/y/table.md, written by: make y -->
measured elsewhere
<!-- end of table -->
"""


@pytest.fixture
def page(tmp_path):
    table = Table("name", "a|b")
    table.add_column("score", justify="right")
    table.add_row("x", "1", "< 2")
    write_table(tmp_path / "runs" / "x" / "table.md", table)

    def write(columns: str = "") -> Path:
        path = tmp_path / "page.md"
        path.write_text(PAGE.format(columns=columns))
        return path

    return write


def test_a_table_is_replaced_and_one_without_a_file_is_kept(page, tmp_path):
    path = page()
    assert update(path, tmp_path) == {"runs/x/table.md": True, "runs/y/table.md": False}
    text = path.read_text()
    assert "| name | a\\|b | score |\n|---|---|---:|\n| x | 1 | &lt; 2 |\n" in text
    assert "old" not in text and "Text stays." in text and "measured elsewhere" in text
    update(path, tmp_path)
    assert path.read_text() == text


def test_columns_can_be_chosen_and_one_that_is_not_there_is_named(page, tmp_path):
    path = page(" [score; name]")
    update(path, tmp_path)
    assert "| score | name |\n| ---: | --- |\n| &lt; 2 | x |\n" in path.read_text()
    with pytest.raises(UserError, match="no column 'scores', expected some of: name"):
        update(page(" [scores]"), tmp_path)


def test_every_table_of_numbers_in_the_results_names_its_command():
    text = (Path(__file__).resolve().parents[3] / "docs" / "results.md").read_text()
    outside = re.sub(r"<!-- table .*?<!-- end of table -->", "", text, flags=re.DOTALL)
    assert "|---" not in outside


def test_no_table_of_the_results_is_empty():
    text = (Path(__file__).resolve().parents[3] / "docs" / "results.md").read_text()
    tables = dict(re.findall(r"<!-- table (\S+).*?-->\n(.*?)<!-- end of table -->", text, flags=re.DOTALL))
    assert tables and not [name for name, table in tables.items() if table.count("\n|") < 3]
