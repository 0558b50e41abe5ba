"""Text out of a run's folder, and what is said where there is none to be had."""

import json

import pytest

from experiments.generate import generate, main
import train

SHARED = {
    "seed": 0,
    "steps": 2,
    "batch_size": 3,
    "eval_every": 2,
    "checkpoint_every": 2,
    "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "constant"},
}
SMALL = {"width": 8, "depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    # One evaluation window is enough, hence the split.
    config = SHARED | {
        "model": {"name": "gpt", "context": 13} | SMALL,
        "objective": {"name": "language_modeling"},
        "data": {"name": "python_docs", "context": 13, "evaluation": "validation[:60]"},
    }
    workdir = tmp_path_factory.mktemp("runs") / "text"
    train.run(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def image_run(tmp_path_factory):
    config = SHARED | {
        "model": {"name": "vit", "patch": 4} | SMALL,
        "objective": {"name": "classification"},
        "data": {"name": "digits", "evaluation": "test[:5]"},
    }
    workdir = tmp_path_factory.mktemp("runs") / "images"
    train.run(config, workdir)
    return workdir


def refused(capsys, *arguments):
    """The one line that the command line ends with."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    printed = capsys.readouterr()
    assert stop.value.code == 1 and printed.out == "" and printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_each_sample_goes_on_from_the_prompt(text_run):
    texts = generate(text_run, "The import", tokens=17, samples=3, temperature=1.0)
    assert [len(text) for text in texts] == [len("The import") + 17] * 3
    assert all(text.startswith("The import") for text in texts) and len(set(texts)) == 3


def test_the_seed_decides_the_text(text_run, capsys):
    given = [f"--workdir={text_run}", "--prompt=def f(", "--tokens=19", "--temperature=1"]
    printed = []
    for seed in (0, 0, 1):
        main([*given, f"--seed={seed}"])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    assert printed[0].startswith("def f(") and len(printed[0]) == len("def f(") + 19 + 1


def test_greedy_samples_are_all_the_same(text_run):
    first, second = generate(text_run, "a", tokens=5, temperature=0, samples=2)
    assert first == second


def test_an_unknown_character_is_named(text_run, capsys):
    assert "'\N{SNOWMAN}'" in refused(capsys, f"--workdir={text_run}", "--prompt=a\N{SNOWMAN}")


def test_an_empty_prompt_is_refused(text_run, capsys):
    assert "the prompt is empty" in refused(capsys, f"--workdir={text_run}", "--prompt=")


def test_a_setting_out_of_range_is_named(text_run, capsys):
    assert "top_p = 2.0" in refused(capsys, f"--workdir={text_run}", "--prompt=a", "--top_p=2")
    assert "samples = 0" in refused(capsys, f"--workdir={text_run}", "--prompt=a", "--samples=0")


def test_a_model_without_text_is_refused(image_run, capsys):
    error = refused(capsys, f"--workdir={image_run}", "--prompt=a")
    assert "model 'vit'" in error and "cannot write text" in error


def test_a_folder_without_run_or_checkpoint_is_named(text_run, tmp_path, capsys):
    assert str(tmp_path) in refused(capsys, f"--workdir={tmp_path}", "--prompt=a")
    (tmp_path / "config.json").write_text((text_run / "config.json").read_text())
    assert "no checkpoint" in refused(capsys, f"--workdir={tmp_path}", "--prompt=a")


def test_another_vocabulary_is_refused(text_run, tmp_path, capsys):
    config = json.loads((text_run / "config.json").read_text())
    config["model"]["vocab_size"] += 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    error = refused(capsys, f"--workdir={tmp_path}", "--prompt=a")
    assert "cannot be rebuilt here" in error and f"vocab_size = {config['model']['vocab_size']}" in error
