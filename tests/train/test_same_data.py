"""A run belongs to its data and its workdir: on other data, or where traces of another run lie, nothing is written."""

from collections.abc import Callable
import json
from pathlib import Path
import shutil

import numpy as np
from PIL import Image
import pytest

from core.errors import UserError
from experiments.sweep import population, sweep_file
from experiments.sweep.trials import Trial
from tests import tiny
import train


def pictures(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    for split, label, number in [(s, c, n) for s in ("train", "validation") for c in ("cat", "dog") for n in range(7)]:
        path = folder / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    return folder


def texts(folder: Path) -> Path:
    folder.mkdir()
    for split, count in (("train", 31), ("validation", 7)):
        lines = (f"{'ab'[n % 2]}\ttext {n} of {split}\n" for n in range(count))
        (folder / f"{split}.tsv").write_text("".join(lines))
    return folder


def running_text(folder: Path) -> Path:
    folder.mkdir()
    (folder / "text.txt").write_text("the cat sat on the mat. " * 41)
    return folder


def config(kind: str, folder: Path, **changes):
    result = tiny.get_config("vit" if kind == "pictures" else "gpt").to_dict()
    result |= {"steps": 2, "batch_size": 4, "accumulate": 1, "eval_every": 2, "checkpoint_every": 1} | changes
    result["optimizer"] = {"learning_rate": 0.01}
    if kind == "pictures":
        result["data"] = {"name": "image_folder", "path": str(folder)}
    elif kind == "texts":
        result["data"] = {"name": "labelled_text", "path": str(folder), "context": 7}
        result["model"] = {"name": "bert", "width": 8, "depth": 1, "heads": 2, "head": "classification"}
        result["objective"] = {"name": "classification"}
    else:
        result["data"] = {"name": "text_file", "path": str(folder / "text.txt"), "context": 7}
    return result


def rename_class(folder: Path) -> None:
    for split in ("train", "validation"):
        (folder / split / "cat").rename(folder / split / "ewe")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"text 3", b"text 9").replace(b"mat", b"hat"))


CHANGES: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("pictures", rename_class, ['classes: ["cat", "dog"] when the run began, ["dog", "ewe"] now']),
    ("pictures", lambda folder: shutil.copy(folder / "train/cat/1.png", folder / "train/cat/7.png"),
     ["train.train/cat.examples: 7 when the run began, 8 now"]),
    ("pictures", lambda folder: (folder / "validation/dog/2.png").unlink(),
     ["evaluation.validation/dog.examples: 7 when the run began, 6 now"]),
    ("pictures", lambda folder: shutil.copy(folder / "train/cat/1.png", folder / "train/dog/1.png"),
     ["train.train/dog: the content has changed"]),
    ("pictures", lambda folder: (folder / "train/dog/1.png").rename(folder / "train/dog/9.png"),
     ["train.train/dog: the content has changed"]),
    ("texts", lambda folder: edit(folder / "train.tsv"), ["train: the content has changed"]),
    ("texts", lambda folder: (folder / "train.tsv").write_text("a\tone\nb\ttwo\nc\tthree\n" * 9), ["classes: ["]),
    ("running_text", lambda folder: edit(folder / "text.txt"), ["vocabulary.tokens: 11", "evaluation: the content"]),
    ("running_text", lambda folder: (folder / "text.txt").write_text("another text. " * 41), ["vocabulary.tokens: "]),
]  # fmt: skip
MAKERS = {"pictures": pictures, "texts": texts, "running_text": running_text}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Runs that are complete, by kind: the folder of the run, and its config. The data lie beside it, in data/."""
    runs = {}
    for kind, make in MAKERS.items():
        root = tmp_path_factory.mktemp(kind)
        runs[kind] = root / "run", config(kind, make(root / "data"))
        train.run(runs[kind][1], runs[kind][0])
    return runs


@pytest.fixture
def own_copy(finished, tmp_path):
    """Returns a function that gives a run of a kind, as `finished` does, which may be changed, data included."""

    def copy(kind: str):
        workdir, run_config = finished[kind]
        shutil.copytree(workdir, tmp_path / "run")
        data = workdir.parent / "data"
        shutil.copytree(data, tmp_path / "data")
        restore.append((tmp_path / "data", data))
        return tmp_path / "run", run_config, data

    restore: list[tuple[Path, Path]] = []
    yield copy
    for intact, data in restore:  # a config names its data, so they are changed where they are
        shutil.rmtree(data)
        intact.rename(data)


def content(folder: Path) -> dict[Path, bytes]:
    left_out = (".lock", "checkpoints")
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not set(left_out) & set(p.parts)}


@pytest.mark.parametrize("kind, change, words", CHANGES)
def test_a_run_does_not_continue_on_other_data_and_names_the_difference(kind, change, words, own_copy):
    workdir, run_config, data = own_copy(kind)
    before = content(workdir)
    change(data)
    for use in (lambda: train.run(run_config | {"steps": 3}, workdir), lambda: train.load(workdir)):
        with pytest.raises(UserError, match="holds a run on other data; bring the data back") as refused:
            use()
        assert all(word in str(refused.value) for word in words), refused.value
    assert content(workdir) == before


def test_whoever_loads_a_run_gets_its_classes(finished):
    workdir, _ = finished["pictures"]
    assert train.load(workdir)[1].dataset.classes == ("cat", "dog")
    assert json.loads((workdir / "data.json").read_text())["classes"] == ["cat", "dog"]


def test_a_model_that_reads_something_else_needs_only_the_meaning_of_its_data(own_copy):
    workdir, _, data = own_copy("running_text")
    edit(data / "text.txt")
    with pytest.raises(UserError, match="vocabulary"):  # there is no m any more
        train.load(workdir, same_data=False)
    (data / "text.txt").write_text("the mat sat on the cat. " * 43)
    train.load(workdir, same_data=False)


def test_runs_of_a_sweep_and_of_a_population_read_the_same_data(own_copy, tmp_path):
    workdir, run_config, data = own_copy("pictures")
    path = tmp_path / "config.py"
    path.write_text(
        f"def get_config():\n  from ml_collections import ConfigDict\n  return ConfigDict({run_config!r})\n"
    )
    folders = [tmp_path / "trials" / f"seed={seed}" for seed in (3, 5)]
    for folder in folders:
        shutil.copytree(workdir, folder)
    trials = [Trial(folder, str(path), {}, {"seed": seed}) for folder, seed in zip(folders, (3, 5))]
    sweep_file.check(trials, "train/loss")
    rename_class(data)
    with pytest.raises(UserError, match=r'classes: ."cat", "dog". when the run began'):
        sweep_file.check(trials[1:], "train/loss")
    with pytest.raises(UserError, match=r'classes: ."cat", "dog". when the run began'):
        population.run([{"config": str(path), "overrides": {"steps": 3}, "workdir": str(f)} for f in folders])


# ---- what a workdir holds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, {"seed": 5}, {"steps": 3}])
@pytest.mark.parametrize("lost", [["checkpoints"], ["checkpoints", "config.json"], ["checkpoints", "data.json"]])
def test_a_finished_run_without_its_checkpoints_is_not_overwritten(finished, tmp_path, change, lost):
    workdir = tmp_path / "run"
    shutil.copytree(finished["running_text"][0], workdir)
    for name in lost:
        shutil.rmtree(workdir / name) if (workdir / name).is_dir() else (workdir / name).unlink()
    before = content(workdir)
    with pytest.raises(UserError, match="none of its checkpoints|another config"):
        train.run(finished["running_text"][1] | change, workdir)
    assert content(workdir) == before


@pytest.mark.parametrize("damage", [b"", pytest.param(b'{"mod', marks=pytest.mark.slow), None])
def test_damaged_files_that_can_be_made_again_are_made_again(finished, tmp_path, damage):
    workdir = tmp_path / "run"
    shutil.copytree(finished["running_text"][0], workdir)
    before = content(workdir)
    for name in ("config.json", "data.json", "vocabulary.json", "environment.json"):
        (workdir / name).unlink() if damage is None else (workdir / name).write_bytes(damage)
    assert train.run(finished["running_text"][1] | {"steps": 3}, workdir)["steps"] == 3
    for name in ("data.json", "vocabulary.json"):
        assert (workdir / name).read_bytes() == before[workdir / name]
    assert json.loads((workdir / "config.json").read_text())["steps"] == 3


def test_a_folder_with_the_config_of_something_else_is_left_alone(finished, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "hidden_size": 7}')
    with pytest.raises(UserError, match="config.json is not that of a run"):
        train.run(finished["running_text"][1], tmp_path)
    assert (tmp_path / "config.json").read_text().startswith('{"arch')


def test_a_log_is_put_aside_and_never_emptied(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished["running_text"][0], workdir)
    shutil.rmtree(workdir / "checkpoints")
    (workdir / "summary.json").unlink()  # as if it had been killed before its first checkpoint
    log = (workdir / "metrics.jsonl").read_bytes()
    train.run(finished["running_text"][1], workdir)
    assert (workdir / "metrics-1.jsonl").read_bytes() == log
    assert tiny.losses(workdir) == tiny.losses(finished["running_text"][0])
