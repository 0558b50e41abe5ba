"""Hidden states of any layer, from the folder of a run to a file."""

from pathlib import Path
import subprocess
import sys
from typing import Any

import numpy as np
from PIL import Image
import pytest

from experiments.use.features import main
from models import Bert, pretrained
import train

pytestmark = pytest.mark.medium

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


def test_the_file_holds_the_hidden_states_of_the_model(workdir, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    out = tmp_path / "features.npz"
    main([f"--workdir={workdir}", f"--file={tmp_path / 'texts.txt'}", f"--out={out}", "--layers=-1,0,1"])
    arrays = np.load(out)
    assert set(arrays) == {"layer_-1", "layer_0", "layer_1", "tokens", "mask"}
    model, run = train.load(workdir)
    vocabulary = run.dataset.vocabulary
    assert isinstance(model, Bert) and vocabulary is not None
    expected = model.features(arrays["tokens"], mask=arrays["mask"])
    for name, layer in {"layer_-1": 2, "layer_0": 0, "layer_1": 1}.items():
        assert arrays[name].shape == (3, 13, 10)
        np.testing.assert_allclose(arrays[name], expected[layer], atol=1e-5)
    assert vocabulary.decode(arrays["tokens"][1]) == "import"
    assert arrays["mask"][1].sum() == len(vocabulary.encode("import")) + 2
    assert "layer_-1   float32 (3, 13, 10)" in capsys.readouterr().out


def test_batches_change_nothing(workdir, tmp_path):
    """Runs in a process of its own: without fused loops, as in tests, the numbers differ by 1e-6."""
    program = (
        "import sys; import numpy as np; from experiments.use.features import features; "
        "from experiments.use.inputs import of_items; from experiments.use.opened import open_folder; "
        "workdir, out, *texts = sys.argv[1:]; opened = open_folder(workdir); inputs = of_items(opened, texts); "
        "np.save(out, [features(opened, inputs, [-1], batch_size=size)['layer_-1'] for size in (2, 7)])"
    )
    out = tmp_path / "both.npy"
    subprocess.run([sys.executable, "-c", program, workdir, out, *TEXTS], cwd=ROOT, check=True)
    in_twos, all_at_once = np.load(out)
    assert in_twos.shape == (3, 13, 10)
    np.testing.assert_allclose(in_twos, all_at_once, atol=1e-6)


@pytest.mark.parametrize(
    "more, words",
    [
        (["--layers=3"], "layer 3: expected -3 to 2"),
        (["--layers=a"], "'a' is not a whole number"),
        (["--file=absent.txt"], "There is no file absent.txt"),
        (["--workdir=absent"], "absent is not the workdir of a run"),
    ],
    ids=str,
)
def test_errors_are_one_line(workdir, tmp_path, capsys, more, words):
    (tmp_path / "texts.txt").write_text("a\n")
    defaults = [f"--workdir={workdir}", f"--file={tmp_path / 'texts.txt'}", f"--out={tmp_path / 'out.npz'}"]
    with pytest.raises(SystemExit) as stop:
        main(defaults + more)
    error = capsys.readouterr().err
    assert stop.value.code == 1 and error.startswith("error: ") and words in error and error.count("\n") == 1


def test_a_published_folder_gives_the_features_of_images(tmp_path):
    folder = ROOT / "tests/models/pretrained/vit"
    model: Any = pretrained.load(folder)
    rows, columns, channels = pretrained.describe(model)["image_shape"]
    pixels = np.random.default_rng(0).integers(0, 256, (rows, columns, channels), np.uint8)
    Image.fromarray(pixels.squeeze()).save(tmp_path / "1.png")
    main([f"--weights={folder}", "--images", str(tmp_path / "1.png"), f"--out={tmp_path}/out.npz", "--layers=1"])
    expected = model.features(pixels[None] / np.float32(255))[1]
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["layer_1"], expected, atol=1e-5)
