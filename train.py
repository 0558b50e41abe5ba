"""Trains what a config says.

  python train.py --config=configs/gpt.py --workdir=runs/gpt --config.model.depth=8 --config.steps=500

The same command again continues where the run stopped. Every field of a config can be set on the command line. On
several machines: the same command on each, with --coordinator=HOST:PORT --processes=N --process=I (on a TPU pod or
under Slurm --coordinator=auto is enough).
"""

import gc

gc.disable()  # Imports make 150,000 objects that stay: looking for garbage among them takes a third of their time ...

from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
import errno
from functools import partial
import json
import os
from pathlib import Path
import sys
import time
from typing import Any

from flax import nnx
import jax
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict
import numpy as np

from data import DATASETS
from data.dataset import Dataset
from data.pipeline import evaluation_batches, train_batches
from models import MODELS, pretrained
from models.protocols import Resizable
from objectives import OBJECTIVES
from training import mesh as meshes
from training import workdir as workdirs
from training.account import Account
from training.checkpoints import Checkpoints
from training.compilation import use_compilation_cache
from training.fields import Fields
from training.loop import Interrupted, NonFinite, evaluate, fit
from training.optimizer import make_optimizer
from training.report import start_report, summary_table
from training.settings import check_settings, complete, read_command_line, resolve
from training.state import TrainState, begin_with, initialise, merge, split
from training.step import make_evaluation_step, make_train_step

gc.freeze()  # ... and would again, in training and at the end.
gc.enable()


@dataclass(frozen=True)
class Run:
    """A config with what it names: built and checked, nothing compiled."""

    config: dict  # complete: defaults and what the data decides are filled in
    fields: Fields
    dataset: Dataset
    make_model: Callable[[nnx.Rngs], nnx.Module]
    objective: Callable
    optimizer: Any
    learning_rate: Callable

    @classmethod
    def of(cls, config: Mapping) -> "Run":
        """Raises ValueError, TypeError or FileNotFoundError that says which field is wrong and what would be right."""
        config = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
        check_settings("config", config, Fields)
        fields = Fields(**config)
        make_dataset, data = resolve("data", fields.data, DATASETS)
        dataset = make_dataset(**data)
        decided = {"facts": dataset.facts, "source": fields.data["name"]}
        model_class, model = resolve("model", fields.model, MODELS, given=["rngs"], **decided)
        objective, settings = resolve("objective", fields.objective, OBJECTIVES, **decided)
        optimizer_settings = complete("optimizer", fields.optimizer, make_optimizer, given=["steps"])
        mesh = complete("mesh", fields.mesh, meshes.make_mesh)
        optimizer, learning_rate = make_optimizer(steps=fields.steps, **optimizer_settings)
        make_model = lambda rngs: model_class(**model, rngs=rngs)
        nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))  # says what does not fit together
        named = {"data": data, "model": model, "objective": settings}
        sections = {section: {"name": getattr(fields, section)["name"]} | named[section] for section in named}
        whole = asdict(fields) | sections | {"optimizer": optimizer_settings, "mesh": mesh}
        whole = json.loads(json.dumps(whole))  # as a checkpoint gives it back
        return cls(whole, fields, dataset, make_model, partial(objective, **settings), optimizer, learning_rate)

    def initialise(self) -> tuple[nnx.GraphDef, Callable[[jax.Array], TrainState]]:
        """The structure of the model, and the function from a key to the first state."""
        return initialise(self.make_model, self.optimizer, average=self.fields.ema > 0)

    def check_fit(self, evaluate: Callable, parameters, batch) -> None:
        """Raises ValueError where model, data and objective do not fit together, or nothing is called `best`."""
        try:
            metrics = evaluate(parameters, batch)
        except (TypeError, ValueError) as error:
            names = (f"{part} {getattr(self.fields, part)['name']}" for part in ("model", "data", "objective"))
            raise ValueError(f"{', '.join(names)} do not fit together: {str(error).splitlines()[0]}") from error
        if self.fields.best not in metrics:
            raise ValueError(f"best = {self.fields.best!r}: expected one of {', '.join(sorted(metrics))}")


def run(config: Mapping, workdir: str | Path) -> dict:
    """Trains, or continues, in a workdir; gives what `summary.json` holds. Raises as `Run.of` and `loop.fit` do."""
    started = time.time()
    use_compilation_cache()
    this = Run.of(config)
    fields, main, workdir = this.fields, jax.process_index() == 0, Path(workdir)
    mesh = meshes.make_mesh(**fields.mesh)
    rows = meshes.local_rows(mesh, fields.batch_size)
    batches = train_batches(this.dataset.train, batch_size=fields.batch_size, seed=fields.seed, rows=rows)
    with ExitStack() as stack:
        account = Account(workdir, this.config, stack)
        if account.summary:
            if main:
                print("The run is complete. For more, ask for more steps.")
                summary_table(account.summary, workdir)
            return account.summary
        this.dataset.keep_vocabulary(workdir / "vocabulary.json", write=main)
        programs = _compile(this, mesh)
        say = print if main else str
        state, about = begin(this, programs.create, programs.shapes, account.checkpoints, say)
        if "data" in about:
            batches.set_state(about["data"])
        put = lambda batch: meshes.put(mesh, batch, fields.batch_size)
        held_out = evaluation_batches(this.dataset.evaluation, batch_size=fields.batch_size, rows=rows)
        record = account.record(
            about, start=int(state.step), unit=programs.unit, split=this.dataset.evaluation_name,
            learning_rate=this.learning_rate,
        )  # fmt: skip
        if main:
            start_report(state.parameters, programs.step, mesh, workdir, record.start)
        state = fit(
            state, batches, record, step=programs.step, put=put,
            evaluate=partial(evaluate, programs.evaluate, put, held_out), steps=fields.steps,
            eval_every=fields.eval_every, checkpoint_every=fields.checkpoint_every,
        )  # fmt: skip
    summary = account.summarise(record, state, time.time() - started)
    if main:
        summary_table(summary, workdir)
    return summary


def begin(
    this: Run, create: Callable, shapes: TrainState, checkpoints: Checkpoints, say: Callable
) -> tuple[TrainState, dict]:
    """The newest state of a workdir; else the first one, with what fits of the parameters of `init_from`."""
    if restored := checkpoints.restore(shapes):
        _, state, about = restored
        return state, about | {"config": this.config}
    state = create(jax.random.key(this.fields.seed))
    if source := this.fields.init_from:
        if pretrained.is_published(source):
            known = pretrained.load_for(this.make_model, source)
        else:
            known, its_run = load(source)
            this.dataset.refuse_other_vocabulary(its_run.dataset, source)
        if isinstance(known, Resizable):
            known = known.resized(this.config["model"]["image_shape"])
        state, taken, new = begin_with(state, split(known)[1])
        if not taken:
            raise ValueError(f"init_from = {source}: no parameter there has a path and shape of this model's")
        say(f"begins with {source}: {len(taken)} arrays; new: {', '.join(new) or 'none'}")
    return state, {"config": this.config, "best": None, "best_step": None, "results": {}}


def load(workdir: str | Path) -> tuple[nnx.Module, Run]:
    """The model of a workdir's newest checkpoint, and the run that made it, for experiments."""
    use_compilation_cache()
    this = Run.of(workdirs.read_config(workdir))
    this.dataset.keep_vocabulary(Path(workdir) / "vocabulary.json", write=False)
    structure, create = this.initialise()
    checkpoints = Checkpoints(Path(workdir) / "checkpoints", read_only=True)
    restored = checkpoints.restore(jax.eval_shape(create, jax.random.key(0)))
    if restored is None:
        raise FileNotFoundError(f"{workdir} has no checkpoint yet")
    return merge(structure, restored[1].evaluated), this


def main(arguments: list[str]) -> None:
    """The command line: an error of the user's is one message, and no stack trace."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    with errors_in_one_line():
        given = read_command_line(arguments)
        if given.coordinator == "auto":
            jax.distributed.initialize()
        elif given.coordinator:
            jax.distributed.initialize(given.coordinator, given.processes, given.process)
        run(given.config, given.workdir)


@contextmanager
def errors_in_one_line():
    """Ends the process with a message and an exit code where training stops or fails, and shows no stack trace."""
    try:
        yield
    except Interrupted as stop:
        print(f"{stop}; saved. To go on, run the same command again.", file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        print("stopped; what was saved before is kept. To go on, run the same command again.", file=sys.stderr)
        sys.exit(130)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) or os.environ.get("LECTERN_TRACEBACK"):
            raise
        said = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")
        print(f"error: {said} What was saved before is kept. A smaller batch_size needs less, or the same in parts "
              "(accumulate), or model.remat.", file=sys.stderr, flush=True)  # fmt: skip
        sys.exit(1)
    except (ValueError, TypeError, OSError, NonFinite) as error:
        if os.environ.get("LECTERN_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)
        if getattr(error, "errno", None) == errno.ENOSPC:
            os._exit(1)  # on a full disk the exit handlers of libraries would fail too, with a stack trace each
        sys.exit(1)


@dataclass(frozen=True)
class _Programs:
    """The compiled programs of a run, and the shapes of its state with their shardings."""

    create: Callable
    step: Any
    evaluate: Callable
    shapes: TrainState
    unit: str


def _compile(this: Run, mesh) -> _Programs:
    structure, create = this.initialise()
    whole = NamedSharding(mesh, PartitionSpec())
    shapes = jax.eval_shape(create, jax.random.key(0))
    shardings = meshes.state_shardings(mesh, shapes)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    shapes = jax.tree.map(place, shapes, shardings)
    example = this.dataset.train.examples(np.arange(1))
    resize = lambda x: jax.ShapeDtypeStruct((this.fields.batch_size, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(lambda x: place(resize(x), meshes.batch_sharding(mesh)), example)
    evaluation = jax.jit(make_evaluation_step(structure, this.objective), out_shardings=whole)
    this.check_fit(evaluation.eval_shape, shapes.parameters, batch)
    options = {"accumulate": this.fields.accumulate, "ema": this.fields.ema}
    step = make_train_step(structure, this.objective, this.optimizer, **options)
    step = jax.jit(step, donate_argnums=0, out_shardings=(shardings, whole)).lower(shapes, batch).compile()
    unit = "tokens" if batch["weights"].ndim > 1 else "examples"
    return _Programs(jax.jit(create, out_shardings=shardings), step, evaluation, shapes, unit)


if __name__ == "__main__":
    main(sys.argv)
