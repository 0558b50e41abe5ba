"""Claims of configs: read, run again, compared. A stand-in for train.py reports what the test wants it to."""

import json
from pathlib import Path
import re
import shutil
import sys

import pytest

from experiments.measure import claim, claims
from experiments.measure.claim import Claim, Goal, Published
from experiments.measure.claims import check, main, measure
from experiments.sweep.trials import Trial

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.py"))
DOCSTRING = '''"""A model.

Command: python train.py --config=configs/x.py --workdir=runs/x --config.model.depth=3
Time:    1.5 min on 2 CPU cores
Needs:   mnist, gpu
Reaches: test/accuracy >= 0.98
Reaches: test/loss <= 1.88
Published: test/accuracy 0.975, Someone et al. 2021, table 3
"""
'''
TRAIN = """
import json, pathlib, sys
options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(options["workdir"])
if options.get("config.steps") == "0":
    sys.exit("error: steps = 0")
folder.mkdir()
accuracy = 0.5 + 0.125 * int(options.get("config.seed", 1))
metrics = {"test/accuracy": accuracy, "train/loss": None}
(folder / "summary.json").write_text(json.dumps({"metrics": metrics, "seconds": 1.0}))
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes a config that reaches accuracy 0.5 + seed / 8, by default 0.625, and claims what the test says."""
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claim, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RECORDS", tmp_path / "docs" / "claims")
    monkeypatch.setattr(claims, "TABLES", tmp_path / "runs" / "claims")
    monkeypatch.setenv("COLUMNS", "250")
    (tmp_path / "train.py").write_text(TRAIN)

    def write(reaches: str, needs: str = "") -> str:
        path = tmp_path / "x.py"
        path.write_text(
            f'"""X.\n\nCommand: python train.py --config=x.py --workdir=runs/x\nTime: 2 s on 1 CPU core\n'
            f'{needs}\nReaches: {reaches}\n"""\n'
        )
        return str(path)

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_claims(path):
    claim = Claim.read(path)
    assert f"--config=configs/{path.name}" in claim.command
    assert set(claim.missing()) <= set(claim.needs)


def test_a_docstring_is_read(tmp_path):
    (tmp_path / "x.py").write_text(DOCSTRING)
    read = Claim.read(tmp_path / "x.py")
    assert read.title == "A model."
    assert read.command[:2] == ["python", "train.py"] and read.command[4] == "--config.model.depth=3"
    assert (read.time, read.needs) == ("1.5 min on 2 CPU cores", ["mnist", "gpu"])
    assert read.goals == [Goal("test/accuracy", ">=", 0.98), Goal("test/loss", "<=", 1.88)]
    assert read.published == [Published("test/accuracy", 0.975, "Someone et al. 2021, table 3")]


def test_a_time_may_be_unknown(tmp_path):
    (tmp_path / "x.py").write_text(DOCSTRING.replace("1.5 min on 2 CPU cores", "not measured, for lack of a GPU"))
    assert Claim.read(tmp_path / "x.py").time == "not measured, for lack of a GPU"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("Command:", "Run:", "0 lines 'Command'"),
        ("1.5 min on 2 CPU cores", "a while", "'a while', expected a line like: 25 s on"),
        ("Reaches: test/loss <= 1.88", "Time: 3 s on a GPU", "2 lines 'Time'"),
        ("accuracy >= 0.98", "accuracy = 0.98", "'test/accuracy = 0.98', expected a line like"),
        (" 0.975, Someone", " 97.5 %, Someone", "Published: 'test/accuracy 97.5 %, Someone et al. 2021, table 3'"),
        (" --workdir=runs/x", "", "'python train.py --config=configs/x.py --config"),
    ],
)
def test_a_docstring_that_is_not_as_expected_is_named(tmp_path, old, new, message):
    (tmp_path / "x.py").write_text(DOCSTRING.replace(old, new))
    with pytest.raises(ValueError, match="x.py") as error:
        Claim.read(tmp_path / "x.py")
    assert message in str(error.value)


def test_a_goal_is_met_on_its_side_and_at_its_value():
    assert Goal("a", ">=", 0.5).met_by(0.5) and not Goal("a", ">=", 0.5).met_by(0.499)
    assert Goal("a", "<=", 0.5).met_by(0.5) and not Goal("a", "<=", 0.5).met_by(0.501)


def test_a_claim_that_holds_and_one_that_does_not(config, capsys):
    assert check([config("test/accuracy >= 0.625")])
    assert "0.6250" in (output := capsys.readouterr().out) and "passed" in output
    assert not check([config("test/accuracy >= 0.626")])
    assert "FAILED" in capsys.readouterr().out


def test_the_mean_over_the_seeds_is_judged(config, capsys):
    # Seeds 0, 1, 2 give 0.5, 0.625 and 0.75.
    assert check([config("test/accuracy >= 0.625")], seeds=3)
    assert "0.6250 +- 0.1250 (3 seeds)" in capsys.readouterr().out


@pytest.mark.parametrize("metric", ["test/loss", "train/loss"], ids=["absent", "not a number"])
def test_a_metric_that_is_not_reported_fails(config, metric):
    assert not check([config(f"{metric} <= 3")])


def test_a_config_whose_data_is_missing_is_skipped(config, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert check([config("test/accuracy >= 2", needs="Needs: mnist")])
    assert "skipped: no mnist" in capsys.readouterr().out


def test_a_run_that_fails_is_a_claim_that_fails(config, capsys):
    path = config("test/accuracy >= 0.1")
    with pytest.raises(SystemExit) as stop:
        main([path, "--set", "steps=0"])
    assert stop.value.code == 1
    assert "error: steps = 0" in capsys.readouterr().out


def test_fields_can_be_set(config):
    metrics, seconds = measure(Claim.read(config("test/accuracy >= 0.1")), ["seed=3"])
    assert metrics["test/accuracy"] == 0.875 and 0 < seconds < 60


def test_the_command_line_succeeds_if_all_hold(config, capsys):
    main([config("test/accuracy >= 0.1")])
    assert "passed" in capsys.readouterr().out


def test_a_config_that_does_not_exist_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["configs/vti.py"])
    assert "error: there is no config file configs/vti.py" in capsys.readouterr().err


def test_what_was_measured_is_kept_and_shown_for_all_configs(config, tmp_path):
    path = config("test/accuracy >= 0.625")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "x.py").write_text(Path(path).read_text())
    (tmp_path / "configs" / "y.py").write_text(Path(path).read_text())
    main([path, "--seeds=3"])
    table = (tmp_path / "runs" / "claims" / "table.md").read_text().splitlines()
    assert table[0] == "| config | what | claim | measured | time | commit |"
    row = r"\| x \| X\. \| test/accuracy >= 0\.625 \| 0\.6250 \+- 0\.1250 \(3 seeds\) \| \d+ s \|"
    assert re.match(row, table[2])
    assert table[3] == "| y | X. | test/accuracy >= 0.625 |  |  |  |"


def test_a_run_with_other_fields_is_not_kept(config, tmp_path):
    with pytest.raises(SystemExit):
        main([config("test/accuracy >= 0.99"), "--set", "seed=2"])
    assert not list((tmp_path / "docs" / "claims").glob("*.json"))


def test_published_numbers_stand_beside_ours(config, tmp_path):
    path = config("test/accuracy >= 0.625\nPublished: test/accuracy 0.75, Someone 2021")
    (tmp_path / "configs").mkdir()
    text = Path(path).read_text()
    (tmp_path / "configs" / "x.py").write_text(text)
    (tmp_path / "configs" / "y.py").write_text(text.replace("\n\nReaches", "\nNeeds: gpu\nReaches"))
    (tmp_path / "configs" / "z.py").write_text(text)
    main([path, "--seeds=3"])
    table = (tmp_path / "runs" / "claims" / "published.md").read_text().splitlines()
    assert table[0] == "| config | metric | published | source | measured | 95 % interval | hardware | date |"
    # 0.625 +- t(0.975, 2 degrees of freedom) * 0.125 / sqrt(3) = 4.30265 * 0.07217
    assert table[2].startswith("| x | test/accuracy | 0.75 | Someone 2021 | 0.6250 | 0.3145 to 0.9355, 3 seeds | ")
    assert table[3] == "| y | test/accuracy | 0.75 | Someone 2021 | needs a GPU: not run |  |  |  |"
    assert table[4] == "| z | test/accuracy | 0.75 | Someone 2021 | not run |  |  |  |"
    (tmp_path / "runs" / "claims" / "published.md").unlink()
    main(["--tables"])
    assert (tmp_path / "runs" / "claims" / "published.md").read_text().splitlines() == table


def test_a_record_names_what_made_it_and_no_path_of_the_machine(config, tmp_path):
    main([config("test/accuracy >= 0.1"), "--seeds=2"])
    text = (tmp_path / "docs" / "claims" / "x.json").read_text()
    record = claims.Record(**json.loads(text))
    assert [run["test/accuracy"] for run in record.metrics] == [0.5, 0.625]
    assert record.command.endswith("x.py --seeds=2") and "jax" in record.packages and record.devices.endswith("cores")
    assert sys.executable not in text


@pytest.fixture
def sweep(config, tmp_path):
    """Writes a config that claims a mean of 0.625, and a sweep over three of its seeds, which reach 0.5 to 0.75."""
    path = Path(config("test/accuracy >= 0.625"))
    path.write_text(
        path.read_text().replace("--config=x.py", f"--config={path}")
        + "from ml_collections import ConfigDict\n"
        + "get_config = lambda: ConfigDict(dict(seed=0, steps=7, model=dict(name='graph')))\n"
    )
    folder = tmp_path / "sweep"
    for seed in (5, 3, 11):
        trial = Trial(folder / "trials" / f"seed={seed}", str(path), {}, {"seed": seed})
        trial.begin()
        metrics = {"test/accuracy": {3: 0.5, 5: 0.625, 11: 0.75}[seed]}
        (trial.folder / "summary.json").write_text(json.dumps({"metrics": metrics, "seconds": 2.0, "steps": 7}))
        facts = {"git": {"commit": "5" * 40, "dirty": False}, "python": "3.13.1", "packages": {"jax": "1.0"}}
        devices = {"platform": "gpu", "count": 3, "kind": "GPU"}
        (trial.folder / "environment.json").write_text(json.dumps(facts | {"devices": devices}))
    content = {"file": "seeds.py", "metric": "test/accuracy", "better": "max", "trials": {}}
    (folder / "sweep.json").write_text(json.dumps(content))
    return path, folder


def test_the_runs_of_a_sweep_over_seeds_are_compared_and_kept(sweep, tmp_path, capsys):
    path, folder = sweep
    main([str(path), f"--sweep={folder}"])
    assert "0.6250 +- 0.1250 (3 seeds)" in capsys.readouterr().out
    record = claims.Record(**json.loads((tmp_path / "docs" / "claims" / "x.json").read_text()))
    assert [run["test/accuracy"] for run in record.metrics] == [0.5, 0.625, 0.75]  # in the order of the seeds
    assert record.seconds == [2.0] * 3 and record.command == "python -m experiments.sweep seeds.py"
    assert (record.commit, record.python, record.devices) == ("5555555", "3.13.1", "3 GPU")  # where the runs ran


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path, folder: path.write_text(path.read_text().replace("steps=7", "steps=13")), "steps: 7 in the work"),
        (lambda path, folder: (folder / "trials" / "seed=5" / "summary.json").unlink(), "seed=5 is waiting: run the"),
        (lambda path, folder: shutil.rmtree(folder / "trials"), "has no runs yet"),
        (lambda path, folder: (folder / "sweep.json").unlink(), "is not the workdir of a sweep"),
    ],
    ids=["another config", "incomplete", "empty", "none"],
)
def test_a_sweep_that_does_not_measure_the_config_is_refused(sweep, tmp_path, capsys, damage, message):
    path, folder = sweep
    damage(path, folder)
    with pytest.raises(SystemExit):
        main([str(path), f"--sweep={folder}"])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "docs" / "claims").exists()


def test_a_sweep_excludes_what_would_run(sweep, capsys):
    path, folder = sweep
    for extra in (["--seeds=3"], ["--set", "steps=11"], [str(path)]):
        with pytest.raises(SystemExit):
            main([*extra, str(path), f"--sweep={folder}"])
        assert "--sweep expects one config" in capsys.readouterr().err
