"""Several runs that differ only in numbers, as one program; each leaves a workdir as a run of its own does.

python -m experiments.population trials.json

The file holds {"trials": [{"config": "configs/vit.py", "overrides": {"seed": 1, "optimizer.learning_rate": 0.001},
"workdir": "runs/lr/1"}, ...]}. What may differ is what `traced_fields` gives. The same command again continues; a run
that is complete is left as it is. A run whose loss is no longer a number is left out, and the reason is written to
`failed.txt` in its workdir; it stays out until that file is removed. Each run has one device, whatever its mesh says;
one that is alone in the file is trained as `train.py` does, on all that its mesh asks for. Runs that do not fit into
the memory together are trained in two parts, one after the other, and so on.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
import json
import os
from pathlib import Path
import time

from flax import nnx
import jax
from ml_collections import ConfigDict
import numpy as np
from rich.console import Console
from rich.table import Table

from core.traced import traced_arguments
from data.pipeline import evaluation_batches, population_batches
from models.layers import Dropout
from objectives import OBJECTIVES
import train
from train import Run, begin, errors_in_one_line
from training.account import Account
from training.command_line import read_command_line
from training.compilation import use_compilation_cache
from training.log import Display
from training.loop import NonFinite, fit, means_over
from training.memory import keep_memory, room
from training.optimizer import make_optimizer
from training.population import Group, make_mesh, placement, putter, stack, taker, together
from training.report import memory, start_report
from training.step import make_evaluation_step, make_train_step

# The fields that one program can have many numbers for. True: where the code asks whether it is 0, to leave a part out,
# so that 0 is another program. Objectives and the optimizer mark theirs (`core.traced`).
TRACED = {"seed": False, "model.dropout": True}
for _section, _functions in {"objective": OBJECTIVES.values(), "optimizer": [make_optimizer]}.items():
    for _function in _functions:
        TRACED |= {f"{_section}.{name}": zero for name, zero in traced_arguments(_function).items()}
FAILED = "failed.txt"


def traced_fields() -> set[str]:
    """The fields of a config, by dotted name, in which the runs of a group may differ."""
    return set(TRACED)


def groups(trials: Sequence[Mapping]) -> list[list[Mapping]]:
    """The trials (as in the file, see above) that can share a program, in the order in which they come."""
    found: dict[str, list[Mapping]] = {}
    for trial in trials:
        found.setdefault(_kind(read(trial)), []).append(trial)
    return list(found.values())


def read(trial: Mapping) -> ConfigDict:
    """The config of a trial, as `train.py` with the same flags has it. Raises ValueError in one line."""
    if wrong := {"config", "workdir"} - set(trial):
        raise ValueError(f"a trial needs {' and '.join(sorted(wrong))}: {json.dumps(trial)}")
    overrides = (f"--config.{name}={value}" for name, value in trial.get("overrides", {}).items())
    return read_command_line([f"--config={trial['config']}", f"--workdir={trial['workdir']}", *overrides]).config


def run(trials: Sequence[Mapping]) -> list[dict | None]:
    """Trains, or continues, all of them; gives what the `summary.json` of each holds, None where a run failed.

    Raises as `Run.of` and `loop.fit` do, and ValueError where the trials cannot share a program.
    """
    started = time.time()
    use_compilation_cache()
    configs, workdirs = [read(trial) for trial in trials], [Path(trial["workdir"]) for trial in trials]
    if len({_kind(config) for config in configs}) != 1:
        raise ValueError(f"these runs cannot share a program: they may differ in {', '.join(sorted(TRACED))} only, and "
                         "not in what is left out (a dropout, label smoothing or clip of 0)")  # fmt: skip
    if len({workdir.resolve() for workdir in workdirs}) < len(workdirs):
        raise ValueError("two runs have the same workdir")
    if len(trials) == 1:
        return [_alone(configs[0], workdirs[0])]
    keep_memory()
    runs = [Run.of(config) for config in configs]
    with ExitStack() as opened:
        accounts = [Account(workdir, this.config, opened) for workdir, this in zip(workdirs, runs)]
        summaries = {i: account.summary for i, account in enumerate(accounts) if account.summary}
        open_ = [i for i, workdir in enumerate(workdirs) if i not in summaries and not (workdir / FAILED).exists()]
        if open_:
            summaries |= _train_parts(runs, accounts, open_, started)
    return [summaries.get(i) for i in range(len(trials))]


def main(arguments: list[str] | None = None) -> None:
    """The command line; exit code 0 also where runs failed, as long as the others came to their end."""
    parser = argparse.ArgumentParser(prog="python -m experiments.population", description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the trials, as JSON")
    given = parser.parse_args(arguments)
    with errors_in_one_line():
        trials = _trials(given.file)
        # On a CPU one device for each core: steps of small nets keep no more than one busy.
        jax.config.update("jax_num_cpu_devices", min(len(os.sched_getaffinity(0)), len(trials)))
        _show(trials, run(trials))


def _trials(path: str) -> list[Mapping]:
    try:
        trials = json.loads(Path(path).read_text())["trials"]
    except (ValueError, KeyError, TypeError):
        trials = None
    if not (isinstance(trials, list) and trials and all(isinstance(trial, dict) for trial in trials)):
        raise ValueError(f'{path}: expected JSON such as {{"trials": [{{"config": ..., "workdir": ...}}]}}')
    return trials


def _show(trials: Sequence[Mapping], summaries: list[dict | None]) -> None:
    table = Table("run", "best", "at step", "seconds", box=None)
    for trial, summary in zip(trials, summaries):
        best = summary and summary["best"]
        shown = [f"{best['metric']} {best['value']:.5g}", str(best["step"]), str(summary["seconds"])] if best else []
        table.add_row(trial["workdir"], *(shown or ["failed"]))
    Console(highlight=False, markup=False).print(table)


def _alone(config: ConfigDict, workdir: Path) -> dict | None:
    """One run needs no axis of members, and pays nothing for it."""
    if (workdir / FAILED).exists():
        return None
    try:
        return train.run(config, workdir)
    except NonFinite as error:
        (workdir / FAILED).write_text(f"{error}\n")
        print(f"{workdir} failed: {error}", flush=True)
        return None


def _kind(config: ConfigDict) -> str:
    """What the configs of one program have in common."""
    known = config.to_dict()
    kind = {"config": known}
    for name, zero_differs in TRACED.items():
        *sections, field = name.split(".")
        section = known.get(sections[0], {}) if sections else known
        if field in section and not (field == "dropout" and section.get("scan")):  # a scan wants one for each layer
            kind[name] = zero_differs and section[field] == 0
            section[field] = None
    return json.dumps(kind, sort_keys=True, default=str)


class _TooLarge(Exception):
    """The programs of so many runs do not fit into the memory."""


def _train_parts(runs: list[Run], accounts: list[Account], open_: list[int], started: float) -> dict:
    """As `_train`, in as few programs, one after the other, as the memory allows."""
    try:
        with ExitStack() as opened:
            return _train(runs, accounts, open_, opened, started)
    except _TooLarge as large:
        print(f"{large}: in two parts", flush=True)
    middle, found = (len(runs) + 1) // 2, {}
    for part in (slice(0, middle), slice(middle, len(runs))):
        places = range(len(runs))[part]
        if left := [i - places.start for i in open_ if i in places]:
            some = _train_parts(runs[part], accounts[part], left, started)
            found |= {places.start + i: summary for i, summary in some.items()}
            started = time.time()
    return found


def _train(runs: list[Run], accounts: list[Account], open_: list[int], opened: ExitStack, started: float) -> dict:
    """The summaries of the runs `open_` that come to their end.

    Runs that failed or are complete keep their places in the program, though nobody looks at them: so a restart
    computes the others to the same bits. Raises _TooLarge before anything is trained.
    """
    this, fields = runs[0], runs[0].fields
    mesh, places = make_mesh(len(runs))
    take, insert = taker(mesh), putter(mesh)
    structure, create = this.initialise()
    shapes, create = jax.eval_shape(create, jax.random.key(0)), jax.jit(create)
    states, abouts = {}, {}
    for i in open_:
        runs[i].dataset.keep_vocabulary(accounts[i].workdir / "vocabulary.json", write=True)
        states[i], abouts[i] = begin(runs[i], create, shapes, accounts[i].checkpoints, print)
    start = {i: int(state.step) for i, state in states.items()}
    first = min(open_, key=start.get)
    state = stack([states.get(i, states[first]) for i in range(places)], mesh)
    # Killed between the saves of two runs, one is behind: it catches up, and the other comes in at its own step.
    late = {i: states[i] for i in open_ if start[i] > start[first]}
    del states

    held_out = evaluation_batches(this.dataset.evaluation, batch_size=fields.batch_size)
    seen = next(iter(held_out))
    this.check_fit(
        partial(jax.eval_shape, make_evaluation_step(structure, this.objective)), take(state, first).parameters, seen,
    )  # fmt: skip
    filled = runs + [this] * (places - len(runs))
    seeds = [run.fields.seed for run in filled]
    batches = population_batches(this.dataset.train, batch_size=fields.batch_size, seeds=seeds)
    put = lambda batch: jax.device_put(batch, placement(mesh))
    place = abouts[first].get("data", batches.get_state())
    example = put(next(batches))
    batches.set_state(place)
    numbers = put(_differing(filled))
    put_shared = lambda batch: jax.device_put(batch, placement(mesh, shared=True))
    step, evaluate = _programs(this, structure, mesh)
    step = step.lower(numbers, state, example).compile()
    evaluate = evaluate.lower(numbers, state.parameters, put_shared(seen)).compile()
    needed, there = max(memory(step), memory(evaluate)), room(mesh.size)
    if needed > there and len(runs) > 1:
        raise _TooLarge(f"{len(runs)} runs need {needed / 2**30:.1f} GiB a device, and there are {there / 2**30:.1f}")
    keep_memory(needed < there / 2)

    display = Display(fields.steps, start[first])
    opened.enter_context(closing(display))
    unit = "tokens" if example["weights"].ndim > 2 else "examples"
    records = {
        i: accounts[i].record(
            abouts[i], start=start[i], unit=unit, split=this.dataset.evaluation_name,
            learning_rate=runs[i].learning_rate, shown=False,
        )
        for i in open_
    }  # fmt: skip

    def leave(i: int, reason: str) -> None:
        (accounts[i].workdir / FAILED).write_text(reason + "\n")
        display.say(f"{accounts[i].workdir} failed: {reason}")

    group = Group(records, places=places, take=take, leave=leave, display=display)
    start_report(take(state, first).parameters, step, mesh, f"{len(open_)} runs, the first {accounts[first].workdir}",
                 group.start)  # fmt: skip
    counted = count(group.start)

    def next_step(state, batch):
        number = next(counted)
        for i in [i for i in late if start[i] == number]:
            state = insert(state, i, late.pop(i))
        return step(numbers, state, batch)

    def evaluate_each(parameters):
        measured = jax.device_get([evaluate(numbers, parameters, put_shared(batch)) for batch in held_out])
        return [means_over(jax.tree.map(lambda x, i=i: x[i], measured)) for i in range(places)]

    try:
        state = fit(
            state, batches, group, step=next_step, put=put, evaluate=evaluate_each, steps=fields.steps,
            eval_every=fields.eval_every, checkpoint_every=fields.checkpoint_every,
        )  # fmt: skip
    except NonFinite:  # of the last one that was left
        return {}
    seconds = time.time() - started
    last = lambda i: late.get(i) or take(state, i)  # one that was at the end already never came in
    return {i: accounts[i].summarise(record, last(i), seconds) for i, record in group.records.items()}


def _differing(runs: list[Run]) -> dict[str, np.ndarray]:
    """The numbers of each run, by dotted field, where they are not all the same."""
    sections = {name: name.split(".") for name in TRACED if name != "seed"}
    found = {name: [run.config[a].get(b) for run in runs] for name, (a, b) in sections.items()}
    return {name: np.array(values, np.float32) for name, values in found.items() if len(set(values)) > 1}


def _programs(this: Run, structure: nnx.GraphDef, mesh) -> tuple[Callable, Callable]:
    """The steps of training and evaluation of all runs, from their numbers, states or parameters, and batches."""

    def parts(numbers):
        of = lambda section: {name.split(".")[1]: x for name, x in numbers.items() if name.startswith(section + ".")}
        optimizer, _ = make_optimizer(steps=this.fields.steps, **this.config["optimizer"] | of("optimizer"))
        return _with_dropout(partial(this.objective, **of("objective")), **of("model")), optimizer

    def step(numbers, state, batch):
        objective, optimizer = parts(numbers)
        options = {"accumulate": this.fields.accumulate, "ema": this.fields.ema}
        return make_train_step(structure, objective, optimizer, **options)(state, batch)

    def evaluate(numbers, parameters, batch):
        return make_evaluation_step(structure, parts(numbers)[0])(parameters, batch)

    train = jax.jit(together(step, mesh, (0, 0, 0)), donate_argnums=1)
    return train, jax.jit(together(evaluate, mesh, (0, 0, None)))


def _with_dropout(objective: Callable, dropout=None) -> Callable:
    """The objective of a model with this dropout, wherever it has one."""
    if dropout is None:
        return objective

    def changed(model, batch, key):
        for _, part in nnx.iter_modules(model):
            if isinstance(part, Dropout) and part.rate:
                part.rate = dropout
        return objective(model, batch, key)

    return changed


if __name__ == "__main__":
    main()
