"""Criteria over several seeds: which of them another seed may fail."""

from dataclasses import asdict

import pytest

from core.errors import UserError
from core.files import write_json
from experiments.figures.engine import at_least, at_most, near
from experiments.figures.spread import main, read_spreads


@pytest.fixture
def folders(tmp_path):
    """Three seeds of one figure; a second figure lacks one of them."""
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        criteria = [
            at_least("clear", 1 + seed, -3.0),
            at_least("close", 1 + seed, -2.9),
            at_most("failed", 1 + seed, 2.5),
            near("always the same", 5, 5, 0.1),
        ]
        record = {"seed": seed, "criteria": [asdict(criterion) for criterion in criteria]}
        write_json(tmp_path / str(seed) / "one.json", record)
        if seed:
            write_json(tmp_path / str(seed) / "two.json", record)
    return [str(tmp_path / str(seed)) for seed in range(3)]


def test_the_interval_of_one_more_seed_by_hand(folders):
    """Of 1, 2 and 3: 2 +- 4.302653 * 1 * sqrt(4/3)."""
    spreads = read_spreads(folders)
    assert [(spread.figure, spread.criterion.name) for spread in spreads] == [
        ("one", "clear"), ("one", "close"), ("one", "failed")
    ]  # fmt: skip
    assert spreads[0].predicted == pytest.approx((-2.968276, 6.968276), abs=1e-6)
    assert [spread.state for spread in spreads] == ["clear", "close", "failed"]


def test_the_command_writes_a_table_and_fails_where_a_criterion_does(folders, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main([*folders, f"--out={tmp_path}/spread.md"])
    assert end.value.code == 1
    assert "at least -2.9" in capsys.readouterr().out
    assert "| one | close | at least -2.9 | 1 | 3 | -2.968 to 6.968 | close |" in (tmp_path / "spread.md").read_text()


def test_too_few_folders_and_two_of_one_seed_are_refused(folders):
    with pytest.raises(UserError, match="at least 3"):
        read_spreads(folders[:2])
    with pytest.raises(UserError, match="each another one"):
        read_spreads([*folders[:2], folders[1]])
