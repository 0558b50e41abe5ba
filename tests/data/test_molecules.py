"""Molecules: enumerated ones are valid, different and scaled; a file's are split and padded, and mistakes are named."""

import numpy as np
import pytest

from core.errors import UserError
from data.log_p import log_p
from data.molecules import END, molecules, molecules_file
from data.smiles import fingerprint, is_valid, parse


@pytest.fixture(scope="module")
def small():
    return molecules()


def texts_of(dataset, source) -> list[str]:
    tokens = source.examples(np.arange(len(source)))["inputs"]["tokens"]
    return [dataset.vocabulary.decode(row).split(END)[0] for row in tokens]


def test_enumerated_molecules_are_valid_and_no_two_are_the_same(small):
    texts = texts_of(small, small.train) + texts_of(small, small.evaluation)
    assert len(texts) == 6000 and all(is_valid(text) for text in texts[::7])
    assert len({fingerprint(parse(text)) for text in texts[::3]}) == 2000


def test_a_text_ends_with_a_newline_that_counts_and_padding_does_not(small):
    assert small.vocabulary.encode(END).tolist() == [0]
    batch = small.evaluation.examples(np.arange(11))
    tokens, weights = batch["targets"], batch["weights"]
    assert tokens.shape == (11, small.facts["context"]) and small.facts["vocab_size"] == len(small.vocabulary)
    for row, weight in zip(tokens, weights):
        end = int((row == 0).argmax())
        assert weight.tolist() == [1] * (end + 1) + [0] * (len(row) - end - 1)
    np.testing.assert_array_equal(batch["inputs"]["mask"], weights > 0)
    np.testing.assert_array_equal(batch["inputs"]["tokens"], tokens)


def test_the_property_is_log_p_with_mean_0_and_variance_1(small):
    values = np.concatenate([source.examples(np.arange(len(source)))["inputs"]["properties"][:, 0]
                             for source in (small.train, small.evaluation)])  # fmt: skip
    assert (values.mean(), values.std()) == pytest.approx((0, 1), abs=1e-4)
    own = [log_p(parse(text)) for text in texts_of(small, small.evaluation)]
    assert np.corrcoef(own, values[-len(own) :])[0, 1] == pytest.approx(1)


def test_a_file_of_molecules_with_two_properties(tmp_path):
    lines = [f"C{'C' * (number % 5)}O {number} {-number / 2}" for number in range(23)]
    (tmp_path / "x.txt").write_text("\n".join(lines) + "\n")
    dataset = molecules_file(path=str(tmp_path / "x.txt"), context=13)
    assert (len(dataset.train), len(dataset.evaluation)) == (21, 2)
    assert dataset.facts == {"vocab_size": 3, "context": 13, "properties": 2}
    batch = dataset.train.examples(np.arange(21))["inputs"]
    assert batch["tokens"].shape == (21, 13) and batch["properties"].shape == (21, 2)
    np.testing.assert_allclose(batch["properties"][:, 0], -batch["properties"][:, 1], rtol=1e-5)
    assert sorted(texts_of(dataset, dataset.train) + texts_of(dataset, dataset.evaluation)) == sorted(
        line.split()[0] for line in lines
    )


def test_a_file_without_properties_has_no_such_input(tmp_path):
    (tmp_path / "x.txt").write_text("CO\nCC\n" * 7)
    dataset = molecules_file(path=str(tmp_path / "x.txt"))
    assert "properties" not in dataset.facts
    assert set(dataset.train.examples(np.arange(3))["inputs"]) == {"tokens", "mask"}


@pytest.mark.parametrize(
    "content, words",
    [
        ("CO 1\n\nCC 2\n", "line 2: 0 characters"), ("CO\nCCCCCCC\n", "line 2: 7 characters. Expected 1 to 6"),
        ("CO 1\nCC x\n", "line 2: 'CC x'. Expected a SMILES and numbers"),
        ("CO 1\nCC\n", "line 2: 'CC'. Expected 1 finite numbers"),
        ("CO 1\nCC nan\n", "line 2: 'CC nan'. Expected 1 finite"),
        ("CO inf\n", "line 1: 'CO inf'. Expected only finite"), ("", "line 1: 0 characters"),
        ("CO 1\n", "holds 1 molecule: expected at least 2"), ("CO\nC\x01C\n", "holds the character"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path, content, words):
    (tmp_path / "x.txt").write_text(content)
    with pytest.raises(UserError, match=words):
        molecules_file(path=str(tmp_path / "x.txt"), context=7)


def test_rdkit_agrees_where_it_is_installed():
    """That all molecules are valid, and that log P is near the estimate of Wildman & Crippen 1999."""
    chemistry, crippen = pytest.importorskip("rdkit.Chem"), pytest.importorskip("rdkit.Chem.Crippen")
    dataset = molecules()
    texts = texts_of(dataset, dataset.evaluation)
    read = [chemistry.MolFromSmiles(text) for text in texts]
    assert None not in read and len({chemistry.MolToSmiles(molecule) for molecule in read}) == len(texts)
    theirs, ours = [crippen.MolLogP(molecule) for molecule in read], [log_p(parse(text)) for text in texts]
    assert np.corrcoef(theirs, ours)[0, 1] > 0.9
