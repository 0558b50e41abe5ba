"""Training steps beside another program's. A stand-in for PyTorch tells the loss and times that the test wants."""

from pathlib import Path
import sys

from flax import nnx
import numpy as np
import pytest
from safetensors.numpy import save_file

from core.errors import UserError
from experiments.measure import peers
from experiments.measure.peers import SHAPES, measure, measure_peers
from models import GPT, pretrained

OTHER = """
import json, sys
print(json.dumps({"parameters": 11, "loss": LOSS}), flush=True)
for line in sys.stdin:
    print(7.0 * int(line), flush=True)
"""
PYTHON = Path(sys.executable)
SMALL = {"kind": "gpt", "vocab": 23, "width": 12, "depth": 1, "heads": 3, "length": 7, "batch": 5}


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Makes a folder as PyTorch would, with a GPT and a batch, and a script that claims a first loss."""
    model = GPT(vocab_size=23, context=7, width=12, depth=1, heads=3, rngs=nnx.Rngs(0))
    tokens = np.random.default_rng(0).integers(23, size=(2, 5, 7))
    files = tmp_path / "files"
    files.mkdir()
    pretrained.save(model, files / "model")
    save_file({"tokens": tokens[0], "targets": tokens[1]}, files / "batch.safetensors")
    logits = np.asarray(model(tokens[0]), np.float64)
    expected = np.mean(np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, tokens[1][..., None], -1)[..., 0])

    def write(difference: float) -> None:
        script = tmp_path / "other.py"
        copy = f"import shutil, sys\nshutil.copytree({str(files)!r}, sys.argv[1], dirs_exist_ok=True)\n"
        script.write_text(copy + OTHER.replace("LOSS", str(expected + difference)))
        monkeypatch.setattr(peers, "SCRIPT", script)
        monkeypatch.setattr(peers, "SECONDS", 0.01)

    return write


def test_both_sides_are_measured_in_rounds(other):
    other(0.0)
    times = measure(SMALL, 3, PYTHON)
    assert times.parameters == (11, 23 * 12 + 7 * 12 + (4 * 144 + 48) + (2 * 576 + 60) + 3 * 24)
    # The other side takes 7 ms for each step of a round: 3 steps to warm up, 21 ms, so 3 in a round of 10 ms.
    assert times.theirs == (21.0, 21.0, 21.0)
    assert len(times.ours) == 3 and all(milliseconds > 0 for milliseconds in times.ours)
    assert times.ratios == [21.0 / milliseconds for milliseconds in times.ours]


def test_two_that_compute_something_else_are_not_compared(other):
    other(0.01)
    with pytest.raises(RuntimeError, match="the first loss is .* there and .* here"):
        measure(SMALL, 1, PYTHON)


def test_a_failure_of_the_other_side_is_shown(tmp_path, monkeypatch):
    (tmp_path / "other.py").write_text("raise SystemExit('no torch')")
    monkeypatch.setattr(peers, "SCRIPT", tmp_path / "other.py")
    with pytest.raises(RuntimeError, match="no torch"):
        measure(SMALL, 1, PYTHON)


def test_every_shape_names_what_can_be_set(tmp_path):
    with pytest.raises(UserError, match="there is no .*none: make .venv-reference/installed"):
        measure_peers(python=tmp_path / "none")
    python = tmp_path / "python"
    python.touch()
    with pytest.raises(UserError, match="there is no shape 'vti': expected some of gpt, "):
        measure_peers(["vti"], python=python)
    with pytest.raises(UserError, match="'latents' is no number of vit: expected some of kind, image, patch"):
        measure_peers(["vit"], changes={"latents": 3}, python=python)
    assert all(shape["batch"] for shape in SHAPES.values())
