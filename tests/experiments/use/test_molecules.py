"""A VAE of molecules: what it restores and draws, against the model by hand, and what is refused."""

import jax
import numpy as np
import pytest

from core.errors import UserError
from data.molecules import END
from experiments.use.molecules import drawn, main, restored, validity
import train

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    config = {
        "seed": 0, "steps": 2, "batch_size": 32, "eval_every": 2, "checkpoint_every": 2,
        "model": {"name": "sequence_vae", "latents": 5, "width": 17}, "optimizer": {"learning_rate": 1e-2},
        "objective": {"name": "sequence_variational", "beta": 0.1},
        "data": {"name": "molecules", "train": "train[:500]", "evaluation": "test[:50]"},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "molecules"
    train.run(config, folder)
    return folder


@pytest.fixture(scope="module")
def opened(workdir):
    return train.load(workdir)


class Echo:
    """Stands in for a source whose targets are what the model writes, for some of its rows."""

    draws = 0

    def __init__(self, model, source, right):
        self.batch = source.examples(np.arange(len(right)))
        written = np.array(model.write(model.encode(**self.batch["inputs"])[0]))
        self.batch["targets"] = np.where(np.array(right)[:, None], written, self.batch["targets"])
        self.right = right

    def __len__(self):
        return len(self.right)

    def identity(self):
        return {"examples": len(self)}

    def examples(self, indices, draws=None):
        return jax.tree.map(lambda x: x[indices], self.batch)


def test_restored_are_the_texts_that_are_written_exactly(opened):
    model, run = opened
    source = run.dataset.evaluation
    assert restored(model, source, limit=13)["mean"] == 0  # two steps teach no spelling
    results = restored(model, Echo(model, source, [True] * 7 + [False] * 4), batch_size=3)
    assert results["mean"] == pytest.approx(7 / 11) and results["count"] == 11


def test_r2_compares_the_error_of_a_property_with_its_variance(opened):
    model, run = opened
    source = run.dataset.evaluation
    inputs = source.examples(np.arange(23))["inputs"]
    predicted = np.array(model.predict(model.encode(**inputs)[0]))[:, 0]
    expected_B = inputs["properties"][:, 0]
    expected = 1 - ((predicted - expected_B) ** 2).sum() / ((expected_B - expected_B.mean()) ** 2).sum()
    assert restored(model, source, limit=23, batch_size=5)["r2"] == pytest.approx([expected], rel=1e-4)


def test_draws_are_what_the_decoder_writes_from_the_prior(opened):
    model, run = opened
    texts = drawn(model, run.dataset.vocabulary, draws=11, batch_size=4, seed=3)
    rows = np.array(model.write(jax.random.normal(jax.random.key(3), (11, 5))))
    assert texts == [run.dataset.vocabulary.decode(row).split(END)[0] for row in rows]
    assert texts != drawn(model, run.dataset.vocabulary, draws=11, seed=2)


def test_a_molecule_is_told_from_what_is_none():
    valid, name = validity()
    assert name == "data.smiles" or name.startswith("RDKit ")
    assert [valid(text) for text in ("c1ccccc1O", "CC(=O)N", "", "C(", "C1CC", "F(C)C")] == [True] * 2 + [False] * 4


def test_the_command_prints_what_it_measures_and_writes_the_draws(workdir, tmp_path, capsys):
    main([f"--workdir={workdir}", "--draws=7", "--limit=5", f"--out={tmp_path / 'drawn.txt'}"])
    out = capsys.readouterr().out
    assert "restored 0.0000 of 5 molecules of test[:50], from the mean" in out and "of property 1" in out
    assert "of 7 draws from the prior" in out
    assert (tmp_path / "drawn.txt").read_text().count("\n") == 7


def test_another_model_and_a_setting_out_of_range_are_refused(opened, tmp_path, capsys):
    model, run = opened
    with pytest.raises(UserError, match="limit = 1: expected 2"):
        restored(model, run.dataset.evaluation, limit=1)
    with pytest.raises(UserError, match="draws = 0: expected 1"):
        drawn(model, run.dataset.vocabulary, draws=0)
    config = {
        "seed": 0, "steps": 1, "batch_size": 8, "eval_every": 1, "checkpoint_every": 1,
        "model": {"name": "autoencoder", "code": 3, "width": 7, "depth": 1}, "objective": {"name": "reconstruction"},
        "data": {"name": "digits", "targets": "images"}, "optimizer": {"learning_rate": 1e-3},
    }  # fmt: skip
    train.run(config, tmp_path / "run")
    with pytest.raises(SystemExit):
        main([f"--workdir={tmp_path / 'run'}"])
    assert "which writes no molecules: expected a run of 'sequence_vae'" in capsys.readouterr().err
