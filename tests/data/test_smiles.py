"""SMILES: what is a molecule and what is not, hydrogens, aromatic rings, other ways to write the same, and log P."""

import pytest

from core.errors import UserError
from data.log_p import log_p
from data.smiles import fingerprint, is_valid, parse

VALID = [
    "C", "CC(=O)Oc1ccccc1C(=O)O", "c1cc[nH]c1", "Cn1cccc1", "c1ccsc1", "c1ccoc1", "c1ccncc1", "c1ccccc1c1ccccc1",
    "c1ccc2ccccc2c1", "O=c1cc[nH]cc1", "[O-][N+](=O)c1ccccc1", "CS(=O)(=O)N", "N#Cc1ccccc1", "C[NH+](C)C", "C1CC1C",
    "N[C@@H](C)C(=O)O", "F/C=C/F", "C%10CC%10", "CC.O", "[NH4+]", "Cn1/c(=N/C)sc2ccccc21",
]  # fmt: skip
# What is wrong, and a part of the message.
INVALID = [
    ("", "ends too early"), ("C(", "branch is empty"), ("C)", "has not begun"), ("C=", "ends too early"),
    ("=C", "no atom comes before"), ("C1CC", "does not end"), ("C()C", "branch is empty"), ("C11", "joined twice"),
    ("C12CC12", None), ("CF(C)", "F has 2 bonds"), ("C(C)(C)(C)(C)C", "C has 5 bonds"), ("CO(C)C", "O has 3 bonds"),
    ("C=O=C", "O has 4 bonds"), ("C#C#C", "C has 6 bonds"), ("cc", "no aromatic ring"), ("c1cccc1", "no double bonds"),
    ("c1cccc[nH]1", "no double bonds"), ("CX", "means nothing"), ("[Xx]C", "element Xx"), ("N(=O)=O", "N has"),
    ("1CC1", "before the first atom"), ("C(C", "does not end"),
]  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_molecules_are_read(text):
    parse(text)
    assert is_valid(text)


@pytest.mark.parametrize("text, words", INVALID, ids=str)
def test_what_is_no_molecule_is_refused_in_one_line(text, words):
    with pytest.raises(UserError, match=words) as error:
        parse(text)
    assert len(str(error.value).splitlines()) == 1 and not is_valid(text)


@pytest.mark.parametrize(
    "text, hydrogens",
    [("CC(=O)O", [3, 0, 0, 1]), ("c1ccncc1", [1, 1, 1, 0, 1, 1]), ("c1cc[nH]c1", [1, 1, 1, 1, 1]), ("C[NH3+]", [3, 3]),
     ("Cc1ccccc1", [3, 0, 1, 1, 1, 1, 1]), ("CS(=O)(=O)N", [3, 0, 0, 0, 2]), ("C#N", [1, 0])],
)  # fmt: skip
def test_hydrogens_fill_the_valences(text, hydrogens):
    assert [atom.hydrogens for atom in parse(text).atoms] == hydrogens


def test_bonds_have_the_orders_that_are_written():
    assert parse("C=CC#N").bonds == {(0, 1): 2.0, (1, 2): 1.0, (2, 3): 3.0}
    assert parse("C1CC=1").bonds == {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 2.0}
    assert set(parse("c1ccccc1").bonds.values()) == {1.5}
    assert sorted(parse("c1ccccc1c1ccccc1").bonds.values()) == [1.0] + 12 * [1.5]  # a single bond joins the rings


@pytest.mark.parametrize("one, other", [("OCC", "CCO"), ("C(C)(N)O", "NC(O)C"), ("Cc1ccccc1", "c1ccc(C)cc1")])
def test_two_ways_to_write_a_molecule_have_one_fingerprint(one, other):
    assert fingerprint(parse(one)) == fingerprint(parse(other))


@pytest.mark.parametrize(
    "one, other", [("CCO", "COC"), ("CC=C", "CCC"), ("C[NH3+]", "CN"), ("Cc1ccc(C)cc1", "Cc1cccc(C)c1")]
)
def test_different_molecules_have_different_fingerprints(one, other):
    assert fingerprint(parse(one)) != fingerprint(parse(other))


def test_log_p_is_the_sum_over_atoms_and_hydrogens():
    assert log_p(parse("CC")) == pytest.approx(2 * 0.14 + 6 * 0.12)
    assert log_p(parse("CO")) == pytest.approx(-0.20 + 3 * 0.12 - 0.29 - 0.27)
    assert log_p(parse("C=O")) == pytest.approx(-0.28 + 2 * 0.12 - 0.12)
    assert log_p(parse("c1ccncc1")) == pytest.approx(5 * 0.15 + 5 * 0.12 - 0.32)
    assert log_p(parse("CCO")) == pytest.approx(log_p(parse("OCC")))
