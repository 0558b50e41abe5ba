"""Criteria over several seeds: which of them another seed may fail."""

from dataclasses import asdict

import numpy as np
import pytest

from core.errors import UserError
from core.files import write_json
from experiments.figures.engine import at_least, at_most, near
from experiments.figures.spread import Spread, main, read_spreads


@pytest.fixture
def folders(tmp_path):
    """Three seeds of one figure."""
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        criteria = [
            at_least("clear", 4 + seed, 0.0),
            at_least("close", 4 + seed, 0.1),
            at_most("failed", 4 + seed, 5.5),
            near("always the same", 5, 5, 0.1),
            near("always too much", 6, 5, 0.1),
        ]
        record = {"seed": seed, "criteria": [asdict(criterion) for criterion in criteria], "error": None}
        write_json(tmp_path / str(seed) / "one.json", record)
    return [str(tmp_path / str(seed)) for seed in range(3)]


def test_the_interval_of_one_more_seed_by_hand(folders):
    """Of 4, 5 and 6: 5 +- 4.302653 * 1 * sqrt(4/3)."""
    spreads = read_spreads(folders)
    assert [(spread.figure, spread.criterion.name) for spread in spreads] == [
        ("one", "clear"), ("one", "close"), ("one", "failed"), ("one", "always too much")
    ]  # fmt: skip
    assert spreads[0].predicted == pytest.approx((0.031724, 9.968276), abs=1e-6)
    assert [spread.state for spread in spreads] == ["clear", "close", "failed", "failed"]


def test_ratios_are_taken_as_logarithms():
    """Of 10, 100 and 1000 the logarithms to base 10 are 1, 2 and 3: 2 +- 4.302653 * 1 * sqrt(4/3)."""
    spread = Spread("one", at_least("ratio", 10, 1e-4), (10.0, 100.0, 1000.0))
    assert np.log10(spread.predicted) == pytest.approx((-2.968276, 6.968276), abs=1e-6)
    assert spread.state == "clear"


def test_the_command_writes_a_table_and_fails_where_a_criterion_does(folders, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main([*folders, f"--out={tmp_path}/spread.md"])
    assert end.value.code == 1
    assert "at least 0.1" in capsys.readouterr().out
    assert "| one | close | at least 0.1 | 4 | 6 | 0.03172 to 9.968 | close |" in (tmp_path / "spread.md").read_text()


@pytest.mark.parametrize("error", [None, "no such file"])
def test_a_figure_that_was_not_made_everywhere_is_named(folders, error):
    for folder in folders[:2]:
        write_json(f"{folder}/two.json", {"seed": int(folder[-1]), "criteria": [], "error": error})
    with pytest.raises(UserError, match="two was not made in .*/2: make it" if error is None else "/0, .*/1, .*/2"):
        read_spreads(folders)


def test_too_few_folders_and_two_of_one_seed_are_refused(folders):
    with pytest.raises(UserError, match="at least 3"):
        read_spreads(folders[:2])
    with pytest.raises(UserError, match="each another one"):
        read_spreads([*folders[:2], folders[1]])
