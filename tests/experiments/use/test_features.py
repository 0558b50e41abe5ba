"""Features of any layer, from a run's folder to a file."""

from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from experiments.use.features import main
import train

ROOT = Path(__file__).parents[3]

TEXTS = ["The assert statement", "import", "A class is a kind of object, and so is its class."]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "bert"
    config = {
        "seed": 0, "steps": 1, "batch_size": 3, "eval_every": 1, "checkpoint_every": 1,
        "optimizer": {"learning_rate": 1e-3},
        "model": {"name": "bert", "width": 10, "depth": 2, "heads": 2},
        "objective": {"name": "masked_language_modeling"},
        "data": {"name": "sentence_pairs", "context": 13, "vocab_size": 600, "evaluation": "validation[:1000]"},
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        train.run(config, workdir)
        yield workdir


def test_the_file_holds_what_the_model_gives(workdir, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    out = tmp_path / "features.npz"
    main([f"--workdir={workdir}", f"--file={tmp_path / 'texts.txt'}", f"--out={out}", "--layers=-1,0,1"])
    found = np.load(out)
    assert set(found) == {"layer_-1", "layer_0", "layer_1", "tokens", "mask"}
    model, run = train.load(workdir)
    expected = model.features(found["tokens"], mask=found["mask"])
    for name, layer in {"layer_-1": 2, "layer_0": 0, "layer_1": 1}.items():
        assert found[name].shape == (3, 13, 10)
        np.testing.assert_allclose(found[name], expected[layer], atol=1e-5)
    assert run.dataset.vocabulary.decode(found["tokens"][1]) == "import"
    assert found["mask"][1].sum() == len(run.dataset.vocabulary.encode("import")) + 2
    assert "layer_-1   float32 (3, 13, 10)" in capsys.readouterr().out


def test_batches_change_nothing(workdir, tmp_path):
    """In a process of its own: without fused loops the numbers differ by 1e-6."""
    program = (
        "import sys; import numpy as np; from experiments.use.features import features; "
        "workdir, out, *texts = sys.argv[1:]; "
        "np.save(out, [features(workdir, texts, [-1], batch_size=size)['layer_-1'] for size in (2, 7)])"
    )
    out = tmp_path / "both.npy"
    subprocess.run([sys.executable, "-c", program, workdir, out, *TEXTS], cwd=ROOT, check=True)
    one, all_ = np.load(out)
    assert one.shape == (3, 13, 10)
    np.testing.assert_allclose(one, all_, atol=1e-6)


@pytest.mark.parametrize(
    "more, words",
    [
        (["--layers=3"], "layer 3: expected -3 to 2"),
        (["--layers=a"], "'a' is no whole number"),
        (["--file=absent.txt"], "There is no file absent.txt"),
        (["--workdir=absent"], "absent is not the workdir of a run"),
    ],
    ids=str,
)
def test_errors_are_one_line(workdir, tmp_path, capsys, more, words):
    (tmp_path / "texts.txt").write_text("a\n")
    usual = [f"--workdir={workdir}", f"--file={tmp_path / 'texts.txt'}", f"--out={tmp_path / 'out.npz'}"]
    with pytest.raises(SystemExit) as stop:
        main(usual + more)
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.startswith("error: ") and words in error and error.count("\n") == 1
