"""`results.json`: all that a benchmark came to, read from the folders of its runs; and two of them put together.

Each score stands with the seed, the digests of config and parameters, the commit, and the packages it was made with.
"""

from collections.abc import Mapping
from dataclasses import asdict
import json
from pathlib import Path
import shlex

from experiments.benchmark import plots as benchmark_plots
from experiments.benchmark import report, tables
from experiments.benchmark.protocol import config_digest, refuse_difference
from experiments.benchmark.ranking import compare
from experiments.sweep import trials as states
from experiments.sweep.trials import Trial, begun
from training import log
from training.workdir import write_json


def gather(workdir: str | Path) -> dict:
    """What `results.json` holds, of a benchmark that has ended or is still going on."""
    workdir = Path(workdir)
    known = json.loads((workdir / "protocol.json").read_text())
    rules, chosen = known["rules"], json.loads((workdir / "chosen.json").read_text())
    trials: dict[str, list[Trial]] = {}
    for trial in begun(workdir / "final"):
        trials.setdefault(trial.config.rpartition(":")[2], []).append(trial)
    families = {}
    for name, part in rules["families"].items():
        if isinstance(part, str):
            families[name] = {"reason": part}
        elif name in chosen:
            families[name] = _family(workdir, name, rules, chosen[name], trials.get(name, []))
    return compared({"protocol": known, "families": families})


def compared(found: dict) -> dict:
    """The same with "comparison": standings and pairs of families that are complete, among their like."""
    rules = found["protocol"]["rules"]
    comparison = {}
    for among in dict.fromkeys(part["among"] for part in rules["families"].values() if isinstance(part, Mapping)):
        scores = {
            name: {run["seed"]: run["score"] for run in family["runs"]}
            for name, family in found["families"].items()
            if family.get("state") == states.DONE and rules["families"][name]["among"] == among
        }
        if scores:
            shared = set.intersection(*(set(values) for values in scores.values()))
            scores = {name: {seed: values[seed] for seed in shared} for name, values in scores.items()}
            standings, pairs = compare(scores, rules["better"]) if shared else ([], [])
            comparison[among] = {"seeds": sorted(shared), "standings": [asdict(standing) for standing in standings],
                                 "pairs": [asdict(pair) for pair in pairs]}  # fmt: skip
    return found | {"comparison": comparison}


def merge(results: list[dict]) -> dict:
    """One result from several, of other families, seeds, machines or dates.

    Raises ValueError that names the difference where they were made by other rules or code, or disagree.
    """
    first, *others = results
    families = {name: dict(family) for name, family in first["families"].items()}
    for other in others:
        what = "results by other rules or code cannot be put together; the first (the workdir) against another (now)"
        refuse_difference(first["protocol"], other["protocol"], what)
        for name, family in other["families"].items():
            families[name] = _merged(name, families[name], family) if name in families else family
    order = [name for name in first["protocol"]["rules"]["families"] if name in families]
    return compared({"protocol": first["protocol"], "families": {name: families[name] for name in order}})


def read(path: str | Path) -> dict:
    """`results.json` of a folder. Raises FileNotFoundError where there is none."""
    path = Path(path) / "results.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: expected the workdir of a benchmark that has ended")
    return json.loads(path.read_text())


def publish(found: dict, workdir: Path) -> None:
    """Writes the results in all forms into a folder, and prints the table."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "results.json", found)
    tables.write(found, workdir)
    pictures = benchmark_plots.draw(found, workdir)
    page = report.write_page(found, pictures, workdir)
    tables.show(found)
    print(f"results  {workdir}: results.json, table.csv, table.md, table.tex, {page.name}", flush=True)


# ---- private parts --------------------------------------------------------------------------------------------------


def _family(workdir: Path, name: str, rules: Mapping, chosen: Mapping, trials: list[Trial]) -> dict:
    tried = [_tried(trial, rules, name) for trial in begun(workdir / "tuning") if trial.name.split(",")[0] == name]
    about = {
        "note": rules["families"][name]["note"],
        "tuning": {
            "trials": len(tried),
            "examples": len(tried) * rules["tuning_examples"] // rules["batch_size"] * rules["batch_size"],
            "failed": sum(trial["state"] == states.FAILED for trial in tried),
            "tried": tried,
        },
        "setting": chosen.get("setting", {}),
        "validation": chosen.get("score"),
        "edge": _edge(rules, chosen.get("setting", {})),
        "runs": [],
        "sizes": {},
        "by": {},
    }
    if "failed" in chosen:
        return about | {"state": states.FAILED, "reason": chosen["failed"]}
    measured = json.loads(path.read_text()) if (path := workdir / "cost" / f"{name}.json").exists() else {}
    about["cost"] = measured
    for trial in trials:
        if trial.settled() == states.DONE and (trial.folder / "test.json").exists():
            _, *words = trial.name.split(",")
            run = _run(trial, rules, name)
            if len(words) == 1:
                about["runs"].append(run)
            else:
                about["by" if "=" in words[0] else "sizes"].setdefault(words[0], []).append(run)
    about["runs"].sort(key=lambda run: run["seed"])
    lost = [trial for trial in trials if trial.settled() == states.FAILED]
    if lost:
        reason = (lost[0].reason().splitlines() or [""])[-1]
        return about | {"state": states.FAILED, "reason": f"{len(lost)} of {len(trials)} runs: {reason}"}
    complete = about["runs"] and all((trial.folder / "test.json").exists() for trial in trials)
    return about | {"state": states.DONE if complete else states.STOPPED, "reason": ""}


def _tried(trial: Trial, rules: Mapping, family: str) -> dict:
    """A trial of the tuning; of one that came to its end, with the score on validation data."""
    part = rules["families"][family]
    setting = {name: trial.overrides[name] for name in ("optimizer.learning_rate", part["own"][0])}
    state = trial.settled() or states.STOPPED
    if state != states.DONE:
        return {"setting": setting, "state": state, "score": None, "config_digest": None}
    records, config = _evaluated(trial)
    score = records[-1][part["metric"] or rules["metric"]] * part["factor"]
    return {"setting": setting, "state": state, "score": score, "config_digest": config_digest(config)}


def _evaluated(trial: Trial) -> tuple[list[dict], dict]:
    """The records on validation data, and the config."""
    config = json.loads((trial.folder / "config.json").read_text())
    records = log.read(trial.folder / "metrics.jsonl")
    return [record for record in records if record["split"] == config["data"]["evaluation"]], config


def _run(trial: Trial, rules: Mapping, family: str) -> dict:
    part = rules["families"][family]
    metric, factor = part["metric"] or rules["metric"], part["factor"]
    read = lambda name: json.loads((trial.folder / name).read_text())
    environment, summary, test = (read(f"{name}.json") for name in ("environment", "summary", "test"))
    records, config = _evaluated(trial)
    return {
        "seed": config["seed"],
        "score": test["metrics"][metric] * factor,
        "test": test["metrics"],
        "curve": [[r["step"] * config["batch_size"], r[metric] * factor] for r in records],
        "parameters": summary["parameters"],
        "seconds": summary["seconds"],
        "config_digest": config_digest(config),
        "state_digest": summary["state_digest"],
        "git": environment["git"],
        "devices": environment["devices"],
        "command": shlex.join(["python", "train.py", *trial.flags()]),
    }


def _edge(rules: Mapping, setting: Mapping) -> bool:
    """Whether the best learning rate is the largest or smallest that was tried, so that a better one may lie beyond."""
    return setting.get("optimizer.learning_rate") in (min(rules["rates"]), max(rules["rates"]))


def _merged(name: str, one: dict, other: dict) -> dict:
    if "runs" not in one or "runs" not in other:
        return one
    if one["setting"] != other["setting"]:
        raise ValueError(
            f"{name} was tuned to {one['setting']} in one of these results, to {other['setting']} in another"
        )
    worse = next((family for family in (one, other) if family["state"] != states.DONE), one)
    further = {
        part: {
            kind: _together(f"{name}, {kind}", one[part].get(kind, []), other[part].get(kind, []))
            for kind in [*one[part], *other[part]]
        }
        for part in ("sizes", "by")
    }
    return worse | {"runs": _together(name, one["runs"], other["runs"])} | further


def _together(name: str, one: list[dict], other: list[dict]) -> list[dict]:
    runs = {run["seed"]: run for run in one}
    for run in other:
        same = runs.setdefault(run["seed"], run)
        if same["score"] != run["score"]:
            raise ValueError(f"{name}, seed {run['seed']}: the score is {same['score']} in one of these results, "
                             f"{run['score']} in another")  # fmt: skip
    return [runs[seed] for seed in sorted(runs)]
