"""Each promise in docs/reliability.md is held by tests that exist."""

import ast
import re

from core.files import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text()
TESTS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_each_named_test_exists():
    for path, name in TESTS:
        nodes = ast.parse((ROOT / path).read_text()).body
        functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        assert name in functions, f"{path}::{name}"


def test_each_promise_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "held by" not in line]
    assert len(rows) > 10
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+`", row)] == []
