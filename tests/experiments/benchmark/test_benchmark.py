"""The benchmark from command to table: phases, choice, what is refused. The slow test trains, kills, and continues."""

from dataclasses import replace
import json
import math
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys

import jax
import pytest

from core.errors import UserError
from core.files import ROOT
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import examine, protocol
from experiments.benchmark import suite as suites
from experiments.benchmark.collect import collect
from experiments.benchmark.phases import Plan, choose, final, tuning
from experiments.sweep import __main__ as sweep
from experiments.sweep.trial_list import TrialList
from experiments.sweep.trials import Trial
from tests.experiments.sweep import stand_in
from tests.tiny import until
from train import Run
from training.fingerprints import digest

DIGITS = suites.load("digits")
FAST = ["digits", "--families=mlp,bottleneck", "--examples=640", "--seeds=2"]


def plan(workdir: Path, families=("vit", "mlp"), *, seeds: int = 3, sizes: bool = False) -> Plan:
    return Plan("digits", suites.load("digits"), workdir, list(families), seeds, {}, sizes)


def finish(workdir: Path, name: str, trial: dict, accuracy: float | None) -> None:
    """Leaves a trial of the tuning as its run would; without accuracy it failed."""
    folder = workdir / "tuning" / "trials" / name
    folder.mkdir(parents=True)
    content = {"file": "x", "base": {}, "overrides": trial["overrides"], "config": {"steps": 5}}
    (folder / "trial.json").write_text(json.dumps(content | {"labels": trial["labels"]}))
    if accuracy is None:
        (folder / "failed.txt").write_text("exit code 1\nloss nan\n")
        return
    written = accuracy if math.isfinite(accuracy) else None  # as runs write it
    record = {"step": 5, "split": "train[80%:]", "time": 1.0, "accuracy": written}
    (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    (folder / "summary.json").write_text(json.dumps({"steps": 5, "seconds": 1.0}))


def tune(workdir: Path, accuracies: dict[str, list]) -> dict:
    """What is chosen if the trials of the tuning ended with these accuracies, in the order of the grid."""
    (workdir / "tuning").mkdir()
    (workdir / "tuning" / "sweep.json").write_text(json.dumps({"trials": {}}))
    for family, values in accuracies.items():
        for (name, trial), accuracy in zip(tuning(plan(workdir, [family])).items(), values, strict=True):
            finish(workdir, name, trial, accuracy)
    return choose(plan(workdir, accuracies))


def test_the_tuning_is_the_same_work_for_each_family(tmp_path):
    trials = tuning(plan(tmp_path))
    assert len(trials) == 20 and list(trials)[0] == "vit,learning_rate=0.001,weight_decay=0.05"
    trial = trials["mlp,learning_rate=0.03,weight_decay=0.3"]
    assert trial["config"] == "experiments/suites/digits.py:mlp"
    assert {trial["overrides"]["steps"] for trial in trials.values()} == {400}
    assert trial["overrides"]["eval_every"] == 400 and trial["overrides"]["optimizer.warmup"] == 40
    assert trial["overrides"]["optimizer.learning_rate"] == 0.03 and trial["overrides"]["seed"] == 0


def test_the_best_on_validation_is_chosen_and_trained_with_every_seed(tmp_path):
    chosen = tune(tmp_path, {"vit": [0.5, 0.9, None, 0.7, 0.9, 0.1, 0.2, 0.3, None, 0.1]})
    setting = {"optimizer.learning_rate": 0.001, "optimizer.weight_decay": 0.3}  # of equal ones the lower rate
    assert chosen == {"vit": {"setting": setting, "score": 0.9, "seconds": 1.0}}
    trials = final(plan(tmp_path, ["vit"]), chosen)
    assert list(trials) == ["vit,seed=1", "vit,seed=2", "vit,seed=3"]
    assert trials["vit,seed=2"]["overrides"].items() >= (setting | {"seed": 2, "steps": 1200}).items()


def test_the_family_whose_tuning_took_longest_is_trained_first(tmp_path):
    choice = {"setting": {"optimizer.learning_rate": 0.01}}
    chosen = {"vit": choice | {"seconds": 3.0}, "mlp": choice | {"seconds": 7.0}}
    assert [name.split(",")[0] for name in final(plan(tmp_path, ["vit", "mlp"], seeds=1), chosen)] == ["mlp", "vit"]


def test_a_family_whose_tuning_failed_has_no_final_runs_and_the_others_do(tmp_path):
    chosen = tune(tmp_path, {"vit": [None] * 10, "mlp": [0.1] * 10})
    assert chosen["vit"] == {"failed": "loss nan"} and "setting" in chosen["mlp"]
    assert list(final(plan(tmp_path), chosen)) == ["mlp,seed=1", "mlp,seed=2", "mlp,seed=3"]


def test_further_sizes_are_trained_with_the_same_setting(tmp_path):
    chosen = {"vit": {"setting": {"optimizer.learning_rate": 0.01}}}
    trials = final(plan(tmp_path, ["vit"], sizes=True, seeds=1), chosen)
    assert list(trials) == ["vit,seed=1", "vit,quarter,seed=1", "vit,half,seed=1"]
    assert trials["vit,quarter,seed=1"]["overrides"]["model.width"] == 16


def test_the_rate_of_further_sizes_is_transferred_by_mup(tmp_path):
    """The base is the size that was tuned. A model without widths in proportion keeps the rate."""
    chosen = dict.fromkeys(["vit", "mlp"], {"setting": {"optimizer.learning_rate": 0.01}})
    trials = final(plan(tmp_path, ["vit", "mlp"], sizes=True, seeds=1), chosen)
    width = suites.load("digits").family("vit").model["width"]
    fields = {"model.parametrization": "mup", "model.base_width": width}
    assert fields.items() <= trials["vit,half,seed=1"]["overrides"].items()
    assert not fields.keys() & trials["vit,seed=1"]["overrides"].keys()
    assert not fields.keys() & trials["mlp,half,seed=1"]["overrides"].keys()


def test_trials_are_labelled_with_family_kind_variant_and_seed(tmp_path):
    """Nothing else may depend on the names of their folders."""
    setting = {"vit": {"setting": {"optimizer.learning_rate": 0.01}}}
    trials = tuning(plan(tmp_path, ["vit"])) | final(plan(tmp_path, ["vit"], sizes=True, seeds=2), setting)
    names = ("family", "kind", "variant", "seed")
    labels = [tuple(trial["labels"][name] for name in names) for trial in trials.values()]
    assert labels[0] == ("vit", "tuning", "", 0)
    assert labels[10:14] == [("vit", "final", "", 1), ("vit", "final", "", 2), ("vit", "size", "quarter", 1),
                             ("vit", "size", "quarter", 2)]  # fmt: skip


def test_scores_are_collected_by_label_whatever_the_folders_are_called(tmp_path):
    this = plan(tmp_path, ["mlp"])
    protocol.begin(tmp_path, protocol.identity("digits", this.suite, {}))
    (tmp_path / "chosen.json").write_text(json.dumps({"mlp": {"failed": "loss nan"}}))
    for number, trial in enumerate(tuning(this).values()):
        finish(tmp_path, f"trial {number}", trial, None)
    family = collect(tmp_path).participants["mlp"]
    assert (family.tuning.trials, family.tuning.failed) == (10, 10)
    assert family.state == "failed" and family.reason == "loss nan"


def test_recall_is_measured_by_number_of_pairs(tmp_path):
    this = Plan("recall", suites.load("recall"), tmp_path, ["decoder"], 1, {}, sizes=False, by=True)
    trials = final(this, {"decoder": {"setting": {"optimizer.learning_rate": 0.01}}})
    assert list(trials) == ["decoder,seed=1", *(f"decoder,data.pairs={n},seed=1" for n in (4, 8, 24))]
    harder = trials["decoder,data.pairs=24,seed=1"]
    assert harder["overrides"]["data.pairs"] == 24 and harder["overrides"]["optimizer.learning_rate"] == 0.01
    assert harder["labels"] == {"family": "decoder", "kind": "difficulty", "variant": "data.pairs=24", "seed": 1}


def test_the_lowest_score_is_chosen_if_the_suite_says_that_lower_is_better(tmp_path):
    this = Plan("density", suites.load("density"), tmp_path, ["vae"], 1, {}, False)
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "sweep.json").write_text(json.dumps({"trials": {}}))
    for place, (name, trial) in enumerate(tuning(this).items()):
        finish(tmp_path, name, trial, 0.0)
        record = {"step": 5, "split": "train[80%:]", "time": 1.0, "importance_bound": -30.0 + (place == 4)}
        (tmp_path / "tuning" / "trials" / name / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    chosen = choose(this)["vae"]
    assert chosen["score"] == pytest.approx(29 / 64 / 0.6931471805599453)  # nats per image as bits per pixel
    assert chosen["setting"] == {"optimizer.learning_rate": 0.01, "objective.free_bits": 0.0}


def test_one_lucky_trial_does_not_choose_the_learning_rate(tmp_path):
    """Of 0.001, 0.003, 0.01, 0.03, 0.1 with two values each: the best trial is at 0.1, the best pair at 0.003."""
    chosen = tune(tmp_path, {"mlp": [0.5, 0.6, 0.7, 0.75, 0.7, 0.7, 0.6, 0.6, 0.2, 0.8]})["mlp"]
    learning_rate, other = chosen["setting"].values()
    assert (learning_rate, other, chosen["score"]) == (0.003, DIGITS.family("mlp").own[1][1], 0.75)


def test_a_learning_rate_at_which_a_trial_failed_comes_last(tmp_path):
    chosen = tune(tmp_path, {"mlp": [0.5, 0.5, 0.4, 0.4, None, 0.9, 0.9, float("nan"), 0.1, 0.1]})["mlp"]
    assert (chosen["setting"]["optimizer.learning_rate"], chosen["score"]) == (0.001, 0.5)
    (tmp_path / "all").mkdir()
    chosen = tune(tmp_path / "all", {"mlp": [None, 0.5, 0.4, None, 0.6, None, 0.6, None, None, 0.1]})["mlp"]
    assert (chosen["setting"]["optimizer.learning_rate"], chosen["score"]) == (0.01, 0.6)


def test_a_setting_whose_last_score_is_not_finite_is_not_chosen(tmp_path):
    """Nor one whose earlier score was: what counts is the last."""
    chosen = tune(tmp_path, {"mlp": [0.1, float("nan"), float("inf"), *[0.2] * 7]})["mlp"]
    assert chosen["score"] == 0.2
    names = sorted(path.name for path in (tmp_path / "tuning" / "trials").iterdir())
    summary = {"steps": 5, "seconds": 1.0, "metrics": {"train[80%:]/accuracy": None}}
    for name in names:
        (tmp_path / "tuning" / "trials" / name / "summary.json").write_text(json.dumps(summary))
    assert choose(plan(tmp_path, ["mlp"]))["mlp"] == {
        "failed": "train[80%:]/accuracy is not finite in any trial of the tuning"
    }


@pytest.mark.parametrize("step, other", [(3, 0.0), (5, 1.0)])
def test_only_the_checkpoint_that_a_run_ended_with_is_tested(step, other, tmp_path, monkeypatch):
    """Where the newest one is damaged, an older one is restored; its score would stand beside the newest's digest."""
    run = Run.of(DIGITS.config("mlp"))
    state = jax.jit(run.initialise()[1])(jax.random.key(0))
    (tmp_path / "config.json").write_text(json.dumps(run.config))
    (tmp_path / "data.json").write_text(json.dumps(run.dataset.identity))
    ended = digest({"parameters": state.parameters, "optimizer": state.optimizer})
    (tmp_path / "summary.json").write_text(json.dumps({"steps": 5, "state_digest": ended}))
    restored = replace(state, parameters=jax.tree.map(lambda x: x + other, state.parameters))
    stored = type("Stored", (), {"restore": lambda self, shapes: (step, restored, {})})
    monkeypatch.setattr(examine, "Checkpoints", lambda *_, **__: stored())
    trial = Trial(tmp_path, "x", {}, {}, {"family": "mlp"})
    with pytest.raises(UserError, match=f"can be read is of step {step}, and not the parameters of step 5"):
        examine._test(DIGITS, [trial], [trial])
    assert not (tmp_path / "test.json").exists()


def test_all_runs_of_a_family_are_tested_on_the_same_examples(tmp_path):
    data = {"name": "digits"}
    (tmp_path / "config.json").write_text(json.dumps({"model": {}, "objective": {}, "data": data, "steps": 5}))
    tested_on = {"evaluation": {"examples": 7, "digest": "a"}}
    (tmp_path / "test.json").write_text(json.dumps({"data": tested_on}))
    family = [Trial(tmp_path, "x", {}, {})]
    examine._refuse_other_test(data, tested_on, family)
    examine._refuse_other_test({"name": "topics"}, {"evaluation": {"examples": 5, "digest": "b"}}, family)
    with pytest.raises(UserError, match=r"test\.json .*other data.*\n  evaluation.examples: 7 .*, 5 now"):
        examine._refuse_other_test(data, {"evaluation": {"examples": 5, "digest": "b"}}, family)


def test_the_test_split_stays_closed_while_the_tuning_is_open(tmp_path):
    protocol.begin(tmp_path, protocol.identity("digits", suites.load("digits"), {}))
    finish(tmp_path, "mlp,a", {"overrides": {}, "labels": {}}, 0.9)
    (tmp_path / "tuning" / "trials" / "mlp,a" / "summary.json").unlink()
    with pytest.raises(UserError, match="1 trials of the tuning have not ended: mlp,a"):
        examine.examine(tmp_path)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--families=vit,cnnn"], "no family 'cnnn'; expected one of encoder"),
        (["--seeds=0"], "--seeds=0: expected at least 1"),
        (["--set", "data.evaluation=test"], "reads the test split"),
        (["--set", "data.shift"], "expected FIELD=VALUE"),
        (["--by"], "the suite digits states no field for it"),
        (["--examples=7"], "at least a batch of 32"),
        (["--jobs=0"], "--jobs=0: expected at least 1"),
        (["--merge", "nowhere"], "expected the workdir of a benchmark that has ended"),
    ],
    ids=str,
)
def test_a_mistake_of_the_user_is_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        benchmark.main(["digits", f"--workdir={tmp_path}", *arguments])
    error = capsys.readouterr().err
    assert end.value.code == 1 and words in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("flags", [["--set", "steps=-1"], ["--set", "optimizer.lr=1"], ["--set", "model.heads=5"]])
def test_a_field_that_is_refused_leaves_no_rules_in_the_workdir(flags, tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["digits", "--families=vit", f"--workdir={tmp_path / 'new'}", *flags])
    assert capsys.readouterr().err.startswith("error: trial vit,") and not (tmp_path / "new").exists()


def test_the_benchmark_and_sweeps_start_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    benchmark.main(["digits", "--families=mlp", "--dry_run"])
    assert "then 5 final runs" in capsys.readouterr().out
    sweep.main(["experiments/sweeps/decoder_width.py", "--workdir=runs", "--dry_run"])
    assert "optimizer.learning_rate=" in capsys.readouterr().out


def test_an_empty_workdir_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        benchmark.main(["digits", "--workdir="])
    assert "--workdir is empty" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_list_of_trials_is_a_sweep(tmp_path, monkeypatch):
    """Each trial with a config of its own, as a worker of Slurm would run it too."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("experiments.sweep.runner.command", stand_in.command)
    overrides = {"steps": 5, "data.evaluation": "test"}
    trial = lambda seed: {"config": "tests/tiny.py:vit", "overrides": {**overrides, "seed": seed}}
    trials = {f"a{seed}": trial(seed) for seed in (1, 2)}
    path = tmp_path / "list.json"
    TrialList(str(path), "test/loss", "min", trials).write()
    sweep.main([str(path), f"--workdir={tmp_path / 'runs'}", "--population=off"])
    assert sorted(trial.name for trial in (tmp_path / "runs" / "trials").iterdir()) == ["a1", "a2"]
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected a list of trials"):
        TrialList.read(path)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda content: content | {"beter": "min"}, "'beter' is not read by anything. Did you mean 'better'?"),
        (
            lambda content: content | {"listed": {"a1": {"config": "x", "override": {}}}},
            "trial a1: 'override' is not read by anything. Did you mean 'overrides'?",
        ),
        (lambda content: content | {"listed": {"a1": {"config": "x", "overrides": []}}}, "trial a1: expected a config"),
        (lambda content: content | {"listed": {"a1": {"config": "x"}}}, "expected a list of trials"),
        (lambda content: content | {"listed": []}, "expected a list of trials"),
        (lambda content: content | {"listed": {}}, "listed holds no trial: expected at least one"),
    ],
)
def test_a_list_of_trials_holds_nothing_that_nobody_reads(change, words, tmp_path):
    path = tmp_path / "list.json"
    content = {"path": "x", "metric": "test/loss", "better": "min", "listed": {}}
    path.write_text(json.dumps(change(content)))
    with pytest.raises(UserError, match=words):
        TrialList.read(path)


def start(workdir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.benchmark", *FAST, f"--workdir={workdir}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def scores(workdir: Path) -> dict:
    families = json.loads((workdir / "results.json").read_text())["families"]
    keys = ("seed", "score", "state_digest", "config_digest", "curve")
    return {name: [[run[key] for key in keys] for run in family["runs"]] for name, family in families.items()}


@pytest.mark.slow
def test_twice_and_killed_and_failed(tmp_path):
    """The same scores twice, once with a kill on the way; then a run that fails removes its family, and no other."""
    one, two = tmp_path / "one", tmp_path / "two"
    output, _ = (process := start(one)).communicate(timeout=900)
    assert process.returncode == 0, output

    process = start(two)
    until(lambda: any(two.glob("final/trials/*/metrics.jsonl")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    output, _ = (process := start(two)).communicate(timeout=900)
    assert process.returncode == 0, output
    assert scores(one) == scores(two) and len(scores(one)["mlp"]) == 2
    rank = lambda workdir: json.loads((workdir / "results.json").read_text())["comparison"]
    assert rank(one) == rank(two)

    before = scores(two)
    broken = two / "final" / "trials" / "mlp,seed=1"
    shutil.rmtree(broken / "checkpoints")
    for name in ("summary.json", "test.json"):
        (broken / name).unlink()
    (broken / "failed.txt").write_text("exit code 1\nout of memory\n")
    output, _ = (process := start(two)).communicate(timeout=900)
    assert process.returncode == 1 and "mlp: failed: 1 of 2 runs: out of memory" in output
    assert scores(two)["bottleneck"] == before["bottleneck"]
