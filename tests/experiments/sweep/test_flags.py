"""The flags of all commands are spelt alike."""

import re

from core.files import ROOT


def test_flags_have_underscores_as_fields_do():
    sources = [*ROOT.glob("experiments/**/*.py"), *ROOT.glob("training/*.py"), ROOT / "train.py"]
    flags = {flag for path in sources for flag in re.findall(r"add(?:_argument)?\(\s*\"(--[\w-]+)", path.read_text())}
    assert {"--dry_run", "--top_k", "--workdir"} <= flags
    assert [flag for flag in flags if "-" in flag[2:]] == []
