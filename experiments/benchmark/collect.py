"""Collects the scores of a benchmark from the folders of its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
import math
from pathlib import Path
import shlex

from core.errors import UserError
from core.files import read_json
from experiments.benchmark import protocol
from experiments.benchmark.cost import Cost
from experiments.benchmark.scores import Choice, FamilyScores, FinalRun, Scores, Tuning, TuningRun
from experiments.benchmark.studies import folders
from experiments.benchmark.suite import Suite, config_digest
from experiments.sweep import trials as states
from experiments.sweep.trials import Trial, begun
from training import log
from training.workdir import read_config


def collect(workdir: str | Path) -> Scores:
    """Returns the scores of a benchmark that has ended or is still running. Raises UserError if there is none."""
    workdir = Path(workdir)
    identity = protocol.read(workdir)
    chosen, path = read_json(workdir / "chosen.json"), workdir / "rates.json"
    rates = tuple(read_json(path)) if path.exists() else identity.rules.rates
    tuning, final = (_by_family(folders(workdir, phase)) for phase in ("tuning", "final"))
    families: dict[str, FamilyScores | str] = {}
    for name, part in identity.rules.families.items():
        if isinstance(part, str):
            families[name] = part
        elif name in chosen:
            families[name] = _family(
                workdir, name, identity.rules, chosen[name], tuning.get(name, []), final.get(name, []), rates
            )
    return Scores(identity, families, rates=rates).compared()


def _by_family(paths: Sequence[Path]) -> dict[str, list[Trial]]:
    trials: dict[str, list[Trial]] = {}
    for trial in (trial for path in paths for trial in begun(path)):
        trials.setdefault(trial.labels["family"], []).append(trial)
    return trials


def _family(
    workdir: Path, name: str, rules: Suite, chosen: Mapping, tuning: list[Trial], final: list[Trial],
    rates: tuple[float, ...],
) -> FamilyScores:  # fmt: skip
    runs: list[FinalRun] = []
    sizes: dict[str, list[FinalRun]] = {}
    by: dict[str, list[FinalRun]] = {}
    tested = [trial for trial in final if (trial.folder / "test.json").exists()]
    if "failed" in chosen:
        state, reason = states.FAILED, chosen["failed"]
    else:
        for trial in tested:
            if trial.settled() == states.DONE:
                kind, variant = trial.labels["kind"], trial.labels["variant"]
                group = runs if kind == "final" else (sizes if kind == "size" else by).setdefault(variant, [])
                group.append(_final_run(trial, rules, name))
        state, reason = _state(final, complete=bool(runs) and len(tested) == len(final))
        if bad := [run.seed for run in runs if not math.isfinite(run.score)]:
            state, reason = states.FAILED, f"the score of seed {bad[0]} is not finite"
    edge = lambda setting: setting.get("optimizer.learning_rate") in (min(rates), max(rates))
    setting = chosen.get("setting", {})
    studies = [Choice(other["setting"], other["score"], edge(other["setting"])) for other in chosen.get("studies", [])]
    return FamilyScores(
        state=state,
        reason=reason,
        note=rules.family(name).note,
        tuning=_tuning(tuning, rules, name),
        setting=setting,
        validation=chosen.get("score"),
        edge=edge(setting),
        studies=studies,
        runs=sorted(runs, key=lambda run: run.seed),
        sizes=sizes,
        by=by,
        cost=_cost(workdir / "cost" / f"{name}.json"),
    )


def _state(trials: list[Trial], *, complete: bool) -> tuple[str, str]:
    """The state of a family by that of its final runs, and why it is not done."""
    failed = [trial for trial in trials if trial.settled() == states.FAILED]
    if failed:
        reason = (failed[0].reason().splitlines() or [""])[-1]
        return states.FAILED, f"{len(failed)} of {len(trials)} runs: {reason}"
    return states.DONE if complete else states.STOPPED, ""


def _tuning(trials: list[Trial], rules: Suite, family: str) -> Tuning:
    tried = [_tuning_run(trial, rules, family) for trial in trials]
    return Tuning(
        trials=len(tried),
        examples=len(tried) * rules.tuning_examples // rules.batch_size * rules.batch_size,
        failed=sum(run.state == states.FAILED for run in tried),
        tried=tried,
    )


def _tuning_run(trial: Trial, rules: Suite, family: str) -> TuningRun:
    part = rules.family(family)
    setting = {name: trial.overrides[name] for name in ("optimizer.learning_rate", part.own[0])}
    state = trial.settled() or states.STOPPED
    if state != states.DONE:
        return TuningRun(setting, state, None, None, trial.labels.get("study", 0))
    config, summary = read_config(trial.folder), read_json(trial.folder / "summary.json", *_SUMMARY)
    value = summary["metrics"][f"{config['data']['evaluation']}/{rules.metric_of(family)}"]
    score = None if value is None or not math.isfinite(value) else value * part.factor
    return TuningRun(setting, state, score, config_digest(config), trial.labels.get("study", 0))


def _final_run(trial: Trial, rules: Suite, family: str) -> FinalRun:
    metric, factor = rules.metric_of(family), rules.family(family).factor
    environment = read_json(trial.folder / "environment.json", "git", "devices")
    summary = read_json(trial.folder / "summary.json", *_SUMMARY)
    test = read_json(trial.folder / "test.json", "metrics", "examples")
    records, config = _validation_records(trial)
    if not records or records[-1]["step"] != summary["steps"]:
        raise UserError(
            f"{trial.folder}/metrics.jsonl does not reach step {summary['steps']:,}, which the run did: its curve is "
            "incomplete. Remove the folder to run it again"
        )
    score = test["metrics"][metric]
    return FinalRun(
        seed=config["seed"],
        study=trial.labels.get("study", 0),
        examples=test["examples"],
        score=math.nan if score is None else score * factor,  # JSON has no NaN
        test=test["metrics"],
        curve=[(record["step"] * config["batch_size"], record[metric] * factor) for record in records],
        parameters=summary["parameters"],
        seconds=summary["seconds"],
        config_digest=config_digest(config),
        state_digest=summary["state_digest"],
        git=environment["git"],
        devices=environment["devices"],
        command=shlex.join(["python", "train.py", *trial.flags()]),
    )


def _validation_records(trial: Trial) -> tuple[list[dict], dict]:
    """The records of a run on validation data, and its config."""
    config = read_config(trial.folder)
    records = log.records(trial.folder / "metrics.jsonl")
    return [record for record in records if record["split"] == config["data"]["evaluation"]], config


def _cost(path: Path) -> Cost | None:
    return Cost(**read_json(path, *(field.name for field in fields(Cost)))) if path.exists() else None


_SUMMARY = ("metrics", "parameters", "seconds", "state_digest", "steps")
