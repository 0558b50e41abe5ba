"""Trains several runs that differ only in numbers as one program. Each leaves the same workdir as a run on its own.

python -m experiments.population trials.json

The file holds {"trials": [{"config": "configs/vit.py", "overrides": {"seed": 1, "optimizer.learning_rate": 0.001},
"workdir": "runs/lr/1"}, ...]}. The runs may differ in the fields that `traced_fields` returns. The same command
continues them, and leaves complete runs as they are. A run whose loss is not finite is left out, and the reason is
written to `failed.txt` in its workdir; it stays out until that file is removed. Each run has one device, whatever its
mesh says. A single run in a file is trained as by `train.py`, on all devices of its mesh. Runs that do not fit into
memory as one program are trained in two parts, one after the other, and each part is divided again if needed.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count
import json
from pathlib import Path
import time
from typing import Any, TypeVar

from flax import nnx
import jax
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict
import numpy as np
from rich.console import Console
from rich.table import Table

from core.command import command
from core.errors import UserError, shown
from core.files import parse_json, refuse_unknown_keys, write_text
from core.reading import read_text
from core.traced import traced_arguments
from data import DATASETS
from data.pipeline import evaluation_batches, population_batches
from models import MODELS
from models.layers import Dropout
from objectives import OBJECTIVES
import train
from train import Run, begin
from training.account import Account
from training.command_line import read_run
from training.compilation import quickly_compiled, use_compilation_cache
from training.flops import of_jaxpr
from training.log import Display
from training.loop import NonFinite, fit, means_over
from training.memory import cpu_cores, keep_memory, program_memory
from training.noise import silence_failed_writes
from training.optimizer import make_optimizer
from training.population import Group, for_all_members, make_mesh, member_getter, member_setter, placement
from training.population import stack as stack_members
from training.programs import check_fit, unit_of
from training.report import best_text, memory, start_report
from training.settings import accepted
from training.state import TrainState
from training.step import Batch, make_evaluation_step, make_train_step

# The fields that one program can have many numbers for. True: the code compares it with 0 to leave a part out, so 0
# gives another program. Objectives and the optimizer mark theirs (`core.traced`).
TRACED = {"seed": False, "model.dropout": True} | {
    f"{section}.{name}": zero_differs
    for section, functions in (("objective", OBJECTIVES.values()), ("optimizer", [make_optimizer]))
    for function in functions
    for name, zero_differs in traced_arguments(function).items()
}
FAILED = "failed.txt"

T = TypeVar("T")


def traced_fields() -> set[str]:
    """Returns the fields of a config, by dotted name, in which the runs of a group may differ."""
    return set(TRACED)


def groups(trials: Sequence[Mapping]) -> list[list[Mapping]]:
    """Returns the trials (as in the file, see above) in groups that can share a program, in the order of the trials.

    A trial that may stop early is alone.
    """
    by_kind: dict[str, list[Mapping]] = {}
    for trial in trials:
        config = read(trial)
        own = trial["workdir"] if config.get("patience") else ""
        by_kind.setdefault(_kind(config) + own, []).append(trial)
    return list(by_kind.values())


def read(trial: Mapping) -> ConfigDict:
    """Returns the config of a trial, as `train.py` reads it from the same flags.

    Raises:
      UserError: the trial lacks something, or its config is wrong.
    """
    return _read(trial)[0]


def _read(trial: Mapping) -> tuple[ConfigDict, str]:
    """The config of a trial, and a line on the fields of another data set that it leaves out, or ""."""
    if missing := {"config", "workdir"} - set(trial):
        raise UserError(f"a trial needs {' and '.join(sorted(missing))}: {json.dumps(trial)[:300]}")
    refuse_unknown_keys("a trial", trial, ("config", "overrides", "workdir"))
    if not isinstance(trial.get("overrides", {}), Mapping):
        raise UserError('overrides: expected fields and values, {"steps": 300}')
    overrides = (f"--config.{name}={value}" for name, value in trial.get("overrides", {}).items())
    flags = [f"--config={trial['config']}", f"--workdir={trial['workdir']}", *overrides]
    options, line = read_run(flags, DATASETS)
    assert options.config is not None
    return options.config, line


def _naming(trial: Mapping, function: Callable[[Any], T], argument: Any) -> T:
    """Calls a function, and has the message of a UserError name the trial."""
    try:
        return function(argument)
    except UserError as error:
        raise UserError(f"trial {shown(trial.get('workdir'))}: {error}") from error


def run(trials: Sequence[Mapping]) -> list[dict | None]:
    """Trains all trials, or continues them. Returns the content of each `summary.json`, or None for a run that failed.

    Raises:
      UserError: as `Run.of`, or the trials cannot share a program.
      Interrupted: as `training.loop.fit`.
    """
    started = time.time()
    use_compilation_cache()
    configs, lines = zip(*(_naming(trial, _read, trial) for trial in trials))
    print(*(f"{line}\n" for line in dict.fromkeys(lines) if line), sep="", end="", flush=True)
    workdirs = [Path(trial["workdir"]) for trial in trials]
    if len({_kind(config) for config in configs}) != 1:
        raise UserError(f"these runs cannot share a program: they may differ in {', '.join(sorted(TRACED))} only, and "
                        "not in what is left out (a dropout, label smoothing or clip of 0)")  # fmt: skip
    if len(trials) > 1 and any(config.get("patience") for config in configs):
        raise UserError("patience: runs that may stop early cannot share a program; train each by itself")
    if len({workdir.resolve() for workdir in workdirs}) < len(workdirs):
        raise UserError("two runs have the same workdir: expected a folder for each run")
    if len(trials) == 1:
        return [_train_alone(configs[0], workdirs[0])]
    keep_memory()
    runs = [_naming(trials[0], Run.of, configs[0])]
    with_data = partial(Run.of, made=runs[0].dataset)  # that of all, because their configs name the same data
    runs += [_naming(trial, with_data, config) for trial, config in zip(trials[1:], configs[1:])]
    with ExitStack() as stack:
        data = runs[0].dataset.identity
        accounts = [
            Account(workdir, run.config, data, stack, better=run.better) for workdir, run in zip(workdirs, runs)
        ]
        summaries = {i: account.summary for i, account in enumerate(accounts) if account.summary}
        active = [i for i, workdir in enumerate(workdirs) if i not in summaries and not (workdir / FAILED).exists()]
        if active:
            summaries |= _train_in_parts(runs, accounts, active, started)
    return [summaries.get(i) for i in range(len(trials))]


@command
def main(arguments: list[str]) -> None:
    """Runs the command line. The exit code is 0 even if runs failed, as long as the others are complete."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m experiments.population", description=description)
    parser.add_argument("file", help="the trials, as JSON")
    file = parser.parse_args(arguments).file
    trials = _read_file(file)
    # On a CPU, one device for each core: the steps of small networks keep only one core busy. With more devices than
    # cores, jobs that run at a time would hinder each other, and five members on two devices leave a sixth place empty.
    silence_failed_writes()
    jax.config.update("jax_num_cpu_devices", min(cpu_cores(), len(trials)))
    try:
        summaries = run(trials)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    _print_summaries(trials, summaries)


def _read_file(path: str) -> list[Mapping]:
    try:
        content = parse_json(read_text(path))
        trials = content["trials"]
    except UserError:
        raise
    except (ValueError, KeyError, TypeError):
        content, trials = {}, None
    if not (isinstance(trials, list) and trials and all(isinstance(trial, dict) for trial in trials)):
        raise UserError(f'{path}: expected JSON such as {{"trials": [{{"config": ..., "workdir": ...}}]}}')
    refuse_unknown_keys(path, content, ("trials",))
    for number, trial in enumerate(trials, start=1):
        refuse_unknown_keys(f"{path}: trial {number}", trial, ("config", "overrides", "workdir"))
        for key in ("config", "workdir"):
            if not isinstance(trial.get(key), str) or not trial[key].strip():
                raise UserError(f"{path}: trial {number}: {key} = {shown(trial.get(key))}: expected the name of a path")
    return trials


def _print_summaries(trials: Sequence[Mapping], summaries: Sequence[dict | None]) -> None:
    table = Table("run", "best", "seconds", box=None)
    for trial, summary in zip(trials, summaries):
        cells = ["failed"]
        if summary:
            best = summary["best"]
            cells = [f"{best['metric']} {best_text(best)}", str(summary["seconds"])]
        table.add_row(trial["workdir"], *cells)
    Console(highlight=False, markup=False).print(table)


def _train_alone(config: ConfigDict, workdir: Path) -> dict | None:
    """Trains a single run, which needs no axis of members and does not pay for one."""
    if (workdir / FAILED).exists():
        return None
    try:
        return train.run(config, workdir)
    except NonFinite as error:
        write_text(workdir / FAILED, f"{error}\n")
        print(f"{workdir} failed: {error}", flush=True)
        return None


def _kind(config: ConfigDict) -> str:
    """What the configs of one program have in common, as a text."""
    fields = config.to_dict()
    kind: dict[str, Any] = {"config": fields}
    for name, zero_differs in TRACED.items():
        *sections, field = name.split(".")
        section = fields.setdefault(sections[0], {}) if sections else fields
        value = section.get(field, _default(name, section))
        if value is not None and not (field == "dropout" and section.get("scan")):  # a scan needs one for each layer
            kind[name] = zero_differs and value == 0
            section[field] = None
    return json.dumps(kind, sort_keys=True, default=str)


def _default(name: str, section: Mapping) -> Any:
    """The default of a field that one program can have many numbers for; None if the section's function lacks it."""
    part, _, field = name.rpartition(".")
    table = {"model": MODELS, "objective": OBJECTIVES, "optimizer": {}, "": {}}[part]
    function = make_optimizer if part == "optimizer" else table.get(section.get("name", ""))
    parameter = accepted(function).get(field) if function else None
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


# ---- training -------------------------------------------------------------------------------------------------------


class _TooLarge(Exception):
    """The program of so many runs does not fit into memory."""


def _train_in_parts(
    runs: Sequence[Run], accounts: Sequence[Account], active: Sequence[int], started: float
) -> dict[int, dict]:  # fmt: skip
    """Does what `_train` does, with as few programs, one after the other, as memory allows."""
    try:
        with ExitStack() as stack:
            return _train(runs, accounts, active, stack, started)
    except _TooLarge as error:
        print(f"{error}: in two parts", flush=True)
    middle, summaries = (len(runs) + 1) // 2, {}
    for part in (slice(0, middle), slice(middle, len(runs))):
        places = range(len(runs))[part]
        if active_here := [i - places.start for i in active if i in places]:
            of_part = _train_in_parts(runs[part], accounts[part], active_here, started)
            summaries |= {places.start + i: summary for i, summary in of_part.items()}
            started = time.time()
    return summaries


def _train(
    runs: Sequence[Run], accounts: Sequence[Account], active: Sequence[int], stack: ExitStack, started: float
) -> dict[int, dict]:  # fmt: skip
    """Trains the runs `active` to their end as one program. Returns the summary of each that did not fail.

    Runs that failed or are complete keep their places in the program, though their results are not used. So the others
    are computed to the same bits after a restart.

    Raises:
      _TooLarge: before anything is trained.
    """
    run, fields = runs[0], runs[0].fields
    mesh, places = make_mesh(len(runs))
    structure, create = run.initialise()
    members = _begin(runs, accounts, active, create, mesh, places)
    first, get_member = members.first, member_getter(mesh)
    held_out = evaluation_batches(run.dataset.evaluation, batch_size=fields.batch_size)
    held_out_example = next(iter(held_out))
    evaluate_one = make_evaluation_step(structure, run.objective)
    parameters = get_member(members.state, first).parameters
    check_fit(partial(jax.eval_shape, evaluate_one), parameters, held_out_example, fields)

    at_all_places = [*runs, *[run] * (places - len(runs))]
    batches = population_batches(
        run.dataset.train, batch_size=fields.batch_size, seeds=[each.fields.seed for each in at_all_places]
    )
    position = members.about[first].get("data", batches.get_state())
    example = next(batches)
    batches.set_state(position)
    programs = _compile(at_all_places, structure, mesh, members.state, example, held_out_example)
    _check_memory(programs, mesh, len(runs))

    display = Display(fields.steps, members.start[first])
    stack.enter_context(closing(display))
    unit = unit_of(example, members=True)
    records = {
        i: accounts[i].record(
            members.about[i], start=members.start[i], unit=unit, split=run.dataset.evaluation_name,
            learning_rate=runs[i].learning_rate, display=False,
        )
        for i in active
    }  # fmt: skip

    def leave(i: int, reason: str) -> None:
        write_text(accounts[i].workdir / FAILED, reason + "\n")
        display.say(f"{accounts[i].workdir} failed: {reason}")

    group = Group(records, places=places, take=get_member, leave=leave, display=display)
    report_title = f"{len(active)} runs, the first {accounts[first].workdir}"
    start_report(parameters, programs.step, programs.flops, mesh, report_title, group.start)
    del parameters
    try:
        state = fit(
            members.state, batches, group, step=_with_late_members(programs, members, mesh),
            put=lambda batch: jax.device_put(batch, placement(mesh)),
            evaluate=lambda parameters: programs.means(parameters, held_out, places), steps=fields.steps,
            eval_every=fields.eval_every, checkpoint_every=fields.checkpoint_every,
        )  # fmt: skip
    except NonFinite:  # of the last run that was left
        return {}
    seconds = time.time() - started
    last = lambda i: members.late.get(i) or get_member(state, i)  # one that was at its end already never joined
    return {i: accounts[i].summarise(records[i], last(i), seconds) for i in group.records}


@dataclass
class _Members:
    """The runs of a group before their next step.

    Attributes:
      state: of all places. Places without an active run have the state of `first`.
      first: the active run that has done the fewest steps.
      start: the step that each active run continues from.
      about: what the checkpoint of each active run says about itself.
      late: the states of active runs that are ahead of `first`. A kill between the saves of two runs leaves one of
        them behind. It catches up first, and the others join at their own steps.
    """

    state: TrainState
    first: int
    start: dict[int, int]
    about: dict[int, dict]
    late: dict[int, TrainState]


def _begin(
    runs: Sequence[Run], accounts: Sequence[Account], active: Sequence[int], create: Callable[[jax.Array], TrainState],
    mesh: Mesh, places: int,
) -> _Members:  # fmt: skip
    """Restores or creates the states of the active runs."""
    shapes, create = jax.eval_shape(create, jax.random.key(0)), quickly_compiled(create)
    states, about = {}, {}
    for i in active:
        runs[i].dataset.keep_vocabulary(accounts[i].workdir / "vocabulary.json")
        source = train.read_source(runs[i], accounts[i].checkpoints, print)
        states[i], about[i] = begin(runs[i], create, shapes, accounts[i].checkpoints, source, print)
    start = {i: int(state.step) for i, state in states.items()}
    first = min(active, key=lambda i: start[i])
    state = stack_members([states.get(i, states[first]) for i in range(places)], mesh)
    late = {i: states[i] for i in active if start[i] > start[first]}
    return _Members(state, first, start, about, late)


@dataclass(frozen=True)
class _Programs:
    """The compiled steps of all members.

    Attributes:
      numbers: the values of the fields in which the runs differ, by dotted name, with an axis of members.
      step: training, from numbers, state and batches.
      evaluate: from numbers, parameters and one batch for all members.
      shared: where such a batch is placed.
      flops: of `step`, for all places.
    """

    numbers: Any
    step: jax.stages.Compiled
    evaluate: jax.stages.Compiled
    shared: NamedSharding
    flops: float

    def means(self, parameters: Any, batches: Iterable[Batch], places: int) -> list[dict[str, float]]:
        """Returns the metrics of each member over all batches."""
        put = lambda batch: jax.device_put(batch, self.shared)
        metrics = jax.device_get([self.evaluate(self.numbers, parameters, put(batch)) for batch in batches])
        return [means_over(jax.tree.map(lambda x, i=i: x[i], metrics)) for i in range(places)]


def _compile(
    runs: Sequence[Run], structure: nnx.GraphDef, mesh: Mesh, state: TrainState, batch: Batch, evaluation_batch: Batch
) -> _Programs:
    """Compiles the steps of runs at all places, for batches of these shapes."""
    by_member, shared = placement(mesh), placement(mesh, shared=True)
    numbers = jax.device_put(_differing(runs), by_member)
    step, evaluate = _steps(runs[0], structure, mesh)
    traced = step.trace(numbers, state, jax.device_put(batch, by_member))
    evaluation_batch = jax.device_put(evaluation_batch, shared)
    evaluate = evaluate.lower(numbers, state.parameters, evaluation_batch).compile()
    return _Programs(numbers, traced.lower().compile(), evaluate, shared, of_jaxpr(traced.jaxpr).total)


def _check_memory(programs: _Programs, mesh: Mesh, runs: int) -> None:
    """Raises _TooLarge if the programs of several runs need more memory than there is."""
    needed = max(memory(programs.step), memory(programs.evaluate))
    available = program_memory(mesh.size)
    if needed > available and runs > 1:
        needed, available = needed / 2**30, available / 2**30
        raise _TooLarge(f"{runs} runs need {needed:.1f} GiB per device, and there are {available:.1f}")
    keep_memory(needed < available / 2)


def _with_late_members(programs: _Programs, members: _Members, mesh: Mesh) -> Callable:
    """Returns the step of training, in which late members join at their own steps."""
    set_member, numbers_of_steps = member_setter(mesh), count(members.start[members.first])

    def step(state: TrainState, batch: Batch):
        number = next(numbers_of_steps)
        for i in [i for i in members.late if members.start[i] == number]:
            state = set_member(state, i, members.late.pop(i))
        return programs.step(programs.numbers, state, batch)

    return step


def _differing(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """The numbers of each run, by dotted field, for the fields that are not the same in all runs."""
    paths = {name: name.split(".") for name in TRACED if name != "seed"}
    values = {name: [run.config[section].get(field) for run in runs] for name, (section, field) in paths.items()}
    return {name: np.array(row, np.float32) for name, row in values.items() if len(set(row)) > 1}


def _steps(run: Run, structure: nnx.GraphDef, mesh: Mesh) -> tuple[Any, Any]:
    """The steps of training and evaluation of all members, from their numbers, states or parameters, and batches."""

    def objective_and_optimizer(numbers):
        def fields_of(section: str) -> dict:
            return {name.split(".")[1]: x for name, x in numbers.items() if name.startswith(section + ".")}

        settings = run.config["optimizer"] | fields_of("optimizer")
        optimizer, _ = make_optimizer(run.rate_factors, steps=run.fields.steps, **settings)
        return _with_dropout(partial(run.objective, **fields_of("objective")), **fields_of("model")), optimizer

    def step(numbers, state, batch):
        objective, optimizer = objective_and_optimizer(numbers)
        return make_train_step(structure, objective, optimizer, **run.fields.step_options)(state, batch)

    def evaluate(numbers, parameters, batch):
        return make_evaluation_step(structure, objective_and_optimizer(numbers)[0])(parameters, batch)

    train_step = jax.jit(for_all_members(step, mesh, (0, 0, 0)), donate_argnums=1)
    return train_step, jax.jit(for_all_members(evaluate, mesh, (0, 0, None)))


def _with_dropout(objective: Callable, dropout: Any = None) -> Callable:
    """Returns the objective of the model with this rate in every dropout that has one."""
    if dropout is None:
        return objective

    def with_dropout(model, batch, key):
        for _, part in nnx.iter_modules(model):
            if isinstance(part, Dropout) and part.rate:
                part.rate = nnx.data(dropout)  # an array, where a number was
        return objective(model, batch, key)

    return with_dropout


if __name__ == "__main__":
    main()
