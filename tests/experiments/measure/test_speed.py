"""The benchmarks run and print what they promise; how fast things are is not tested."""

from collections import Counter
import itertools
import re
import shutil
import sys
import time

import numpy as np
from PIL import Image
import pytest

from core.errors import UserError
from data import image_rows
from experiments.measure import speed
from experiments.measure.first_epoch import epoch_rates, measure_epochs, taken
from experiments.measure.population_speed import measure_population
from experiments.measure.speed import measure_attention, measure_input, measure_start, measure_sweep, show

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({
        "seed": 0, "steps": 3, "batch_size": 5, "eval_every": 3, "checkpoint_every": 3,
        "model": {"name": "vit", "patch": 4, "width": 8, "depth": 1, "heads": 2},
        "objective": {"name": "classification"},
        "data": {"name": "%s"},
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "constant"},
    })
"""


@pytest.fixture
def config(tmp_path):
    def write(data: str) -> str:
        path = tmp_path / f"{data}.py"
        path.write_text(CONFIG % data)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def test_attention_prints_a_row_a_size(capsys):
    show(measure_attention(((2, 7, 3, 5, True), (1, 11, 2, 3, False)), repeats=1))
    rows = capsys.readouterr().out.splitlines()
    number = r"\d+\.\d\d"
    for row, name in zip(rows[-2:], ("2 x 7 x 3 x 5 +yes", "1 x 11 x 2 x 3 +no"), strict=True):
        assert re.fullmatch(rf" *{name} +{number} ms +{number} ms +{number} *", row)


def test_input_prints_both_rates_and_skips_what_is_not_on_disk(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    show(measure_input([config("digits"), config("mnist")], seconds=0.01))
    digits, mnist = capsys.readouterr().out.splitlines()[-2:]
    assert re.search(r"digits\.py +[\d,]+ +[\d,]+\.\d +\d+\.\d +(yes|NO)", digits)
    assert re.search(r"mnist\.py +skipped: The set mnist is not on disk", mnist)


def folder_config(config, tmp_path, count: int) -> str:
    """A config of `count` training images, with batches of 5, in files of two classes."""
    generator = np.random.default_rng(0)
    for split, label, number in itertools.product(("train", "validation"), "ab", range(count // 2)):
        file = tmp_path / "images" / split / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8)).save(file)
    path = config("image_folder")
    with open(path) as stream:
        text = stream.read()
    with open(path, "w") as stream:
        stream.write(text.replace('"image_folder"', f'"image_folder", "path": {str(tmp_path / "images")!r}'))
    return path


@pytest.mark.medium
def test_the_first_epoch_decodes_each_file_once_and_the_later_one_none(config, tmp_path, monkeypatch, capsys):
    path, decode, files = folder_config(config, tmp_path, 1000), image_rows.image_pixels, []
    counted = lambda file, *others, **settings: [files.append(file), decode(file, *others, **settings)][1]
    monkeypatch.setattr(image_rows, "image_pixels", counted)
    rates = epoch_rates(path, seconds=0.1)
    assert set(Counter(files).values()) == {1}
    assert list(rates) == ["first", "later"] and len({alone for alone, *_ in rates.values()}) == 1
    assert all(0 <= waits <= 1 for *_, waits in rates.values())
    show(measure_epochs([path], seconds=0.01))
    assert re.search(r"image_folder.py +first( +[\d,]+/s){3} +[\d.]+%", capsys.readouterr().out)


def test_an_epoch_of_few_batches_cannot_be_measured(config, tmp_path):
    with pytest.raises(UserError, match="fewer than 4 batches"):
        epoch_rates(folder_config(config, tmp_path, 18), seconds=0.01)
    with pytest.raises(SystemExit):
        speed.main(["epochs"])


def test_what_waits_for_batches_is_told_from_what_uses_them():
    def slow():
        while True:
            time.sleep(0.02)
            yield 0

    count, took, waited = taken(slow(), lambda batch: None, 5, 60)
    assert count == 5 and took >= 0.1 and waited > 0.8 * took
    _, took, waited = taken(itertools.count(), lambda batch: time.sleep(0.02), 5, 60)
    assert took >= 0.1 and waited < 0.2 * took
    assert taken(slow(), lambda batch: None, 1000, 0.1)[0] <= 6


def test_configs_that_cannot_run_here_are_named_and_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / "configs").mkdir()
    for name, needs in (("a", ""), ("b", "Needs: mnist")):
        docstring = (
            f"Command: python train.py --config={name} --workdir=w\nTime: 2 s on paper\n{needs}\nReaches: x >= 1"
        )
        (tmp_path / "configs" / f"{name}.py").write_text(f'"""{docstring}"""')
    assert speed._runnable() == [str(tmp_path / "configs" / "a.py")]
    assert capsys.readouterr().out == "skipped configs/b.py: no mnist\n"


@pytest.mark.slow
def test_start_prints_the_first_and_the_second(config, capsys):
    show(measure_start([config("digits")], repeats=1))
    assert re.search(r"digits\.py +\d+\.\d s +\d+\.\d s", capsys.readouterr().out)


def test_a_start_that_fails_shows_what_was_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("echo"))
    with pytest.raises(RuntimeError, match="did not come to its first step:\n.*--config=x.py"):
        speed._start("x.py", str(tmp_path / "run"), {})


def test_sweep_prints_what_the_runner_took(capsys):
    show(measure_sweep(trials=4, jobs=2, seconds=0.01))
    row = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r" *4 +[\d.]+ s +[\d.]+% +(yes|NO) +[\d.]+ s +[\d.]+ s +(yes|NO) *", row)


@pytest.mark.slow
def test_population_prints_a_row_for_a_group_and_one_for_a_single_run(capsys):
    show(measure_population(steps=110, members=2, alone=2))
    out = capsys.readouterr().out
    for name in ("vit", "vae"):
        for count, target in ((2, "2"), (1, "0.95")):
            row = rf"{count} x {name}, 110 steps +\d+\.\d s +\d+\.\d s +\d+\.\d\d +at least {target}: (yes|NO)"
            assert re.search(row, out), out
    assert "2 of 2 runs were measured" in out
