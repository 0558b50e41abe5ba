"""The test split, read once for each final run of a benchmark, and what its families cost.

`experiments.benchmark` calls it, in a process of its own:

python -m experiments.examine runs/compare

A run's score is written beside the run, and never again: it belongs to the parameters whose digest stands with it. What
a family costs is measured with nothing else at work, one family after the other.
"""

import argparse
from collections.abc import Mapping
import json
from pathlib import Path
import statistics
import sys
import time

from flax import nnx
import jax
import numpy as np

from data.pipeline import evaluation_batches, train_batches
from experiments.benchmark import suite as suites
from experiments.benchmark.protocol import config_digest
from experiments.benchmark.suite import Suite
from experiments.sweep import trials as states
from experiments.sweep.trials import Trial, begun
from train import Run, errors_in_one_line
from training.checkpoints import Checkpoints
from training.compilation import use_compilation_cache
from training.loop import evaluate
from training.report import flops, memory
from training.step import make_evaluation_step, make_train_step
from training.workdir import environment, read_config, write_json

SECONDS = 1.0  # that a speed is measured for


def examine(workdir: str | Path) -> None:
    """Reads the test split for every final run that is complete, and measures every family that has one.

    Raises ValueError where the tuning has not come to its end, or a run went on after its test.
    """
    workdir = Path(workdir)
    suite = suites.load(json.loads((workdir / "protocol.json").read_text())["suite"])
    if open_ := [trial.name for trial in begun(workdir / "tuning") if not trial.settled()]:
        raise ValueError(f"the test split is for the end, and {len(open_)} trials of the tuning are not: {open_[0]}")
    for family, trials in finals(workdir).items():
        trials = [trial for trial in trials if trial.settled() == states.DONE]
        if left := [trial for trial in trials if not _tested(trial)]:
            print(f"{family}: the test split, {len(left)} runs", flush=True)
            _test(suite, left)
        whole = [trial for trial in trials if trial.name.count(",") == 1]  # further sizes have one more word
        cost = workdir / "cost" / f"{family}.json"
        if whole and not cost.exists():
            print(f"{family}: what it costs", flush=True)
            cost.parent.mkdir(exist_ok=True)
            write_json(cost, measure(read_config(whole[0].folder)))


def finals(workdir: Path) -> dict[str, list[Trial]]:
    """The trials of the final phase that have begun, by family."""
    found: dict[str, list[Trial]] = {}
    for trial in begun(workdir / "final"):
        found.setdefault(trial.config.rpartition(":")[2], []).append(trial)
    return found


def measure(config: Mapping) -> dict:
    """What a run of this config costs: parameters, the FLOPs and memory of its compiled programs, and their speed.

    FLOPs are those of an example, as XLA counts them; memory is that of the train step, as the compiler plans it.
    """
    this = Run.of(config)
    batch_size = this.fields.batch_size
    structure, create = this.initialise()
    state = jax.jit(create)(jax.random.key(0))
    parameters = sum(x.size for x in state.parameters.values())
    batch = next(train_batches(this.dataset.train, batch_size=batch_size, seed=0))
    step = make_train_step(structure, this.objective, this.optimizer, ema=this.fields.ema)
    train = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    answer = jax.jit(make_evaluation_step(structure, this.objective)).lower(state.parameters, batch).compile()
    batch = jax.device_put(batch)

    def learn():
        nonlocal state
        state, metrics = train(state, batch)
        return metrics

    return {
        "parameters": parameters,
        "train_flops": flops(train) / batch_size,
        "forward_flops": flops(answer) / batch_size,
        "memory": memory(train),
        "inference_speed": batch_size / _seconds(lambda: answer(state.parameters, batch)),
        "train_speed": batch_size / _seconds(learn),
        "config_digest": config_digest(config),
        "environment": environment(),
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line: an error is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.examine", description=__doc__.splitlines()[0])
    parser.add_argument("workdir", help="folder of the benchmark")
    given = parser.parse_args(arguments)
    with errors_in_one_line():
        use_compilation_cache()
        examine(given.workdir)


def _test(suite: Suite, trials: list[Trial]) -> None:
    """Writes `test.json` of runs that differ in their numbers only, or in their size."""
    compiled: dict[nnx.GraphDef, object] = {}
    for trial in trials:
        config = read_config(trial.folder)
        this = Run.of(config | {"data": config["data"] | {"evaluation": suite.test}})
        structure, create = this.initialise()
        shapes = jax.eval_shape(create, jax.random.key(0))
        _, state, _ = Checkpoints(trial.folder / "checkpoints", read_only=True).restore(shapes)
        step = compiled.setdefault(structure, jax.jit(make_evaluation_step(structure, this.objective)))
        batches = evaluation_batches(this.dataset.evaluation, batch_size=this.fields.batch_size)
        metrics = evaluate(step, jax.device_put, batches, state.evaluated)
        digest = json.loads((trial.folder / "summary.json").read_text())["state_digest"]
        write_json(trial.folder / "test.json", {"metrics": metrics, "split": suite.test, "state_digest": digest})


def _tested(trial: Trial) -> bool:
    """Whether the test was read already. Raises ValueError where the run went on afterwards."""
    path = trial.folder / "test.json"
    if not path.exists():
        return False
    digest = json.loads((trial.folder / "summary.json").read_text())["state_digest"]
    if json.loads(path.read_text())["state_digest"] != digest:
        raise ValueError(f"{trial.folder} went on after its test was read: the test would no longer be blind. Remove "
                         "the folder to run it again")  # fmt: skip
    return True


def _seconds(call) -> float:
    """Of one call: the median over about `SECONDS`."""
    for _ in range(2):
        jax.block_until_ready(call())
    took, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(took) < 3:
        began = time.perf_counter()
        jax.block_until_ready(call())
        took.append(time.perf_counter() - began)
    return float(np.float64(statistics.median(took)))


if __name__ == "__main__":
    main(sys.argv[1:])
