"""Reads the test split, once for each final run of a benchmark, and measures what its families cost.

The benchmark starts it in a process of its own:

python -m experiments.benchmark.examine --workdir=runs/compare

The score of a run, with what each example contributes to it, is written beside the run once and never again: it
belongs to the parameters whose digest is stored with it. The cost of each family is measured while nothing else is
running, one family after the other.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
import json
from pathlib import Path

from flax import nnx
import jax

from core.command import command
from core.errors import UserError
from core.files import read_json, write_json
from data.dataset import Dataset
from data.pipeline import evaluation_batches
from experiments.benchmark import predictions, protocol
from experiments.benchmark import suite as suites
from experiments.benchmark.cost import Compiled, compiled, measure
from experiments.benchmark.studies import folders
from experiments.benchmark.suite import Suite
from experiments.sweep import trials as states
from experiments.sweep.trials import Trial, begun
from train import Run
from training.checkpoints import Checkpoints
from training.compilation import use_compilation_cache
from training.fingerprints import digest
from training.noise import silence_failed_writes
from training.state import TrainState
from training.step import make_evaluation_step
from training.workdir import MEANING, read_config, refuse_other_data


def examine(workdir: str | Path) -> None:
    """Tests every final run that is complete, and measures the cost of every family that has one.

    Raises UserError if the tuning has not ended, or a run continued training after its test.
    """
    workdir = Path(workdir)
    suite = suites.load(protocol.read(workdir).suite)
    tuned = [trial for folder in folders(workdir, "tuning") for trial in begun(folder)]
    if unfinished := [trial.name for trial in tuned if not trial.settled()]:
        raise UserError(
            f"the test split is read at the end, but {len(unfinished)} trials of the tuning have not ended: "
            f"{', '.join(unfinished[:5])}. The same benchmark command continues them"
        )
    families = final_trials(workdir)
    with ThreadPoolExecutor(2) as pool:  # XLA compiles one family while another one is traced or tested
        costs = list(pool.map(partial(_of_family, suite, workdir), families, families.values()))
    for path, programs in filter(None, costs):
        print(f"{path.stem}: measuring its cost", flush=True)
        path.parent.mkdir(exist_ok=True)
        write_json(path, asdict(measure(programs)))


def _of_family(suite: Suite, workdir: Path, family: str, trials: list[Trial]) -> tuple[Path, Compiled] | None:
    """Tests the runs of a family that are complete. Returns what its cost is measured with, and the file of the cost.

    None if it has been measured already, or no run is complete.
    """
    complete = [trial for trial in trials if trial.settled() == states.DONE]
    if untested := [trial for trial in complete if not _tested(trial)]:
        print(f"{family}: testing {len(untested)} runs", flush=True)
        _test(suite, untested, complete)
    cost = workdir / "cost" / f"{family}.json"
    usual = [trial for trial in complete if trial.labels["kind"] == "final"]
    return (cost, compiled(usual[0].folder)) if usual and not cost.exists() else None


def final_trials(workdir: Path) -> dict[str, list[Trial]]:
    """Returns the trials of the final phase that have begun, by family."""
    trials: dict[str, list[Trial]] = {}
    for trial in (trial for folder in folders(workdir, "final") for trial in begun(folder)):
        trials.setdefault(trial.labels["family"], []).append(trial)
    return trials


@command
def main(arguments: list[str]) -> None:
    """The command line."""
    description = str(__doc__).splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark.examine", description=description)
    parser.add_argument("--workdir", required=True, help="folder of the benchmark")
    args = parser.parse_args(arguments)
    silence_failed_writes()
    use_compilation_cache()
    examine(args.workdir)


def _test(suite: Suite, trials: list[Trial], family: list[Trial]) -> None:
    """Writes `test.json` of runs of one `family`; equal ones share one data set and one compiled program."""
    programs: dict[tuple[nnx.GraphDef, str], tuple[Callable, TrainState]] = {}
    made: dict[str, Dataset] = {}
    for trial in trials:
        config = read_config(trial.folder)
        same_data, data = partial(_refuse_other_data, trial.folder), json.dumps(config["data"], sort_keys=True)
        tested = config | {"data": config["data"] | {"evaluation": suite.test}}
        run = Run.of(tested, same_data, made.get(data))
        made[data] = run.dataset
        tested_on = {"evaluation": run.dataset.identity["evaluation"]}
        _refuse_other_test(config["data"], tested_on, family)
        metric = suite.metric_of(trial.labels["family"])
        structure, create = run.initialise()
        kind = structure, json.dumps(run.config["objective"], sort_keys=True)
        if kind not in programs:
            step = jax.jit(predictions.of_each_example(make_evaluation_step(structure, run.objective), metric))
            programs[kind] = step, jax.eval_shape(create, jax.random.key(0))
        step, shapes = programs[kind]
        checkpoint = Checkpoints(trial.folder / "checkpoints", read_only=True).restore(shapes)
        if checkpoint is None:
            raise UserError(f"{trial.folder} has no checkpoint to test. Remove the folder to run it again")
        at, state, _ = checkpoint
        summary = read_json(trial.folder / "summary.json", "steps", "state_digest")
        restored = digest({"parameters": state.parameters, "optimizer": state.optimizer})
        if (at, restored) != (summary["steps"], summary["state_digest"]):
            raise UserError(
                f"{trial.folder}: the newest checkpoint that can be read is of step {at:,}, and not the parameters of "
                f"step {summary['steps']:,} in summary.json. Remove the folder to run it again"
            )
        batches = evaluation_batches(run.dataset.evaluation, batch_size=run.fields.batch_size)
        metrics, values = predictions.test(step, jax.device_put, batches, state.evaluated, metric)
        test = {"metrics": metrics, "split": suite.test, "state_digest": restored, "data": tested_on}
        test["examples"] = "" if values is None else predictions.encoded(values)
        write_json(trial.folder / "test.json", test)


def _refuse_other_data(folder: Path, dataset: Dataset) -> None:
    """Raises UserError if a run was trained on other data; the split that it was evaluated on is another one here."""
    refuse_other_data(folder, read_json(folder / "data.json"), dataset.identity, (*MEANING, "train"))


def _refuse_other_test(data: dict, tested_on: dict, family: list[Trial]) -> None:
    """Raises UserError if a run on the same `data` was tested when the test split was another one."""
    for trial in family:
        path = trial.folder / "test.json"
        if path.exists() and read_config(trial.folder)["data"] == data:
            refuse_other_data(path, read_json(path, "data")["data"], tested_on)


def _tested(trial: Trial) -> bool:
    """Whether the test was taken before. Raises UserError if the run continued training afterwards."""
    path = trial.folder / "test.json"
    if not path.exists():
        return False
    digest = read_json(trial.folder / "summary.json", "state_digest")["state_digest"]
    test = read_json(path, "metrics", "state_digest", "data")
    if test["state_digest"] != digest:
        raise UserError(
            f"{trial.folder} continued training after it was tested, so a second test would no longer be blind. Remove "
            "the folder to run it again"
        )
    return True


if __name__ == "__main__":
    main()
