"""Trains what a config says.

  python train.py --config=configs/gpt.py --workdir=runs/gpt --config.model.depth=8 --config.steps=500

The same command again continues where the run stopped. Every field of a config can be set on the command line. On
several machines, run the same command on each, with --coordinator=HOST:PORT --processes=N --process=I (on a TPU pod or
under Slurm, --coordinator=auto is enough). --traceback shows where in the code an error was raised.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # Imports create 150,000 objects that stay. Searching them for garbage takes a third of their time ...

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
import json
from pathlib import Path
import time
from typing import Any

from flax import nnx
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict
import numpy as np
import optax

from core.command import command
from core.errors import UserError
from data import DATASETS
from data.dataset import Dataset
from data.pipeline import evaluation_batches, train_batches
from data.published_tokenizer import published_tokenizer
from models import MODELS, pretrained
from models.protocols import Resizable
from objectives import OBJECTIVES
from training import mesh as meshes
from training import workdir as workdirs
from training.account import Account
from training.checkpoints import Checkpoints
from training.command_line import read_command_line
from training.compilation import use_compilation_cache
from training.fields import Fields
from training.loop import evaluate, fit
from training.noise import silence_failed_writes
from training.optimizer import make_optimizer
from training.report import start_report, summary_table
from training.settings import check_settings, complete, inherit, resolve
from training.state import Parameters, TrainState, begin_with, initialise, merge, split
from training.step import Batch, Metrics, Objective, make_evaluation_step, make_train_step

if __name__ == "__main__":
    gc.freeze()  # ... and would take as long again in training and at exit.
    gc.enable()


@dataclass(frozen=True)
class Run:
    """A config and the objects that it names, checked; nothing is compiled.

    Attributes:
      config: the complete config, with defaults and with what the data decides.
    """

    config: dict
    fields: Fields
    dataset: Dataset
    make_model: Callable[[nnx.Rngs], nnx.Module]
    objective: Objective
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule

    @classmethod
    def of(cls, config: Mapping | ConfigDict) -> "Run":
        """Returns the run of a config.

        Raises:
          UserError: says which field is wrong and what is expected.
        """
        config = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
        check_settings("config", config, Fields)
        fields = Fields(**config)
        make_dataset, data = resolve("data", _with_images_of(fields), DATASETS)
        dataset = make_dataset(**data)
        decided = {"facts": dataset.facts, "source": fields.data["name"]}
        model_class, model = resolve("model", fields.model, MODELS, supplied=["rngs"], **decided)
        objective, settings = resolve("objective", fields.objective, OBJECTIVES, **decided)
        optimizer_settings = complete("optimizer", fields.optimizer, make_optimizer, supplied=["steps"])
        mesh = complete("mesh", fields.mesh, meshes.make_mesh)
        optimizer, learning_rate = make_optimizer(steps=fields.steps, **optimizer_settings)
        make_model = lambda rngs: model_class(**model, rngs=rngs)
        nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))  # the model checks its fields
        arguments = {"data": data, "model": model, "objective": settings}
        sections = {section: {"name": getattr(fields, section)["name"]} | arguments[section] for section in arguments}
        full = asdict(fields) | sections | {"optimizer": optimizer_settings, "mesh": mesh}
        full = json.loads(json.dumps(full))  # as a checkpoint returns it
        return cls(full, fields, dataset, make_model, partial(objective, **settings), optimizer, learning_rate)

    def initialise(self) -> tuple[nnx.GraphDef, Callable[[jax.Array], TrainState]]:
        """Returns the structure of the model, and the function from a random key to the first state."""
        return initialise(self.make_model, self.optimizer, average=self.fields.ema > 0)

    def check_fit(
        self, evaluate: Callable[[Parameters, Batch], Metrics], parameters: Parameters, batch: Batch
    ) -> None:  # fmt: skip
        """Checks that model, data and objective fit together, and that `best` is one of the metrics.

        Raises:
          UserError: says what does not fit.
        """
        try:
            metrics = evaluate(parameters, batch)
        except UserError as error:  # any other exception is a bug
            names = (f"{part} {getattr(self.fields, part)['name']}" for part in ("model", "data", "objective"))
            raise UserError(f"{', '.join(names)} do not fit together: {error}") from error
        if self.fields.best not in metrics:
            raise UserError(f"best = {self.fields.best!r}: expected one of {', '.join(sorted(metrics))}")


def run(config: Mapping | ConfigDict, workdir: str | Path) -> dict:
    """Trains a config in a workdir, or continues the run there. Returns the content of its `summary.json`.

    Raises:
      UserError: as `Run.of`, or the workdir cannot be used.
      NonFinite, Interrupted: as `training.loop.fit`.
    """
    start_time = time.time()
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
                print("The run is complete. To continue it, set more steps.")
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
    summary = account.summarise(record, state, time.time() - start_time)
    if main:
        summary_table(summary, workdir)
    return summary


def begin(
    this: Run, create: Callable[[jax.Array], TrainState], shapes: TrainState, checkpoints: Checkpoints,
    say: Callable[[str], Any],
) -> tuple[TrainState, dict]:  # fmt: skip
    """Returns the state that a run starts from, and what its checkpoint says about itself.

    This is the newest state of the workdir, or else the first state, with those parameters of `init_from` that fit.

    Args:
      create: the function from a random key to the first state.
      shapes: the shapes of the state, with their shardings.
      say: is called with a line of text about the parameters of `init_from`.
    """
    if restored := checkpoints.restore(shapes):
        _, state, about = restored
        return state, about | {"config": this.config}
    state = create(jax.random.key(this.fields.seed))
    if source := this.fields.init_from:
        model = _initial_model(this, source, say)
        state, reused, new = begin_with(state, split(model)[1])
        if not reused:
            raise UserError(f"init_from = {source}: no parameter there has the path and shape of one of this model")
        say(f"begins with {source}: {len(reused)} arrays; new: {', '.join(new) or 'none'}")
    return state, {"config": this.config, "best": None, "best_step": None, "results": {}}


def load(workdir: str | Path) -> tuple[nnx.Module, Run]:
    """Returns the model of a workdir's newest checkpoint, and its run.

    Raises:
      UserError: there is no run in the workdir, or it has no checkpoint yet.
    """
    use_compilation_cache()
    this = Run.of(workdirs.read_config(workdir))
    this.dataset.keep_vocabulary(Path(workdir) / "vocabulary.json", write=False)
    structure, create = this.initialise()
    checkpoints = Checkpoints(Path(workdir) / "checkpoints", read_only=True)
    restored = checkpoints.restore(jax.eval_shape(create, jax.random.key(0)))
    if restored is None:
        raise UserError(f"{workdir} has no checkpoint yet")
    return merge(structure, restored[1].evaluated), this


@command
def main(arguments: list[str]) -> None:
    """Trains what the command line says. `arguments` do not contain the program's name."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    options = read_command_line(arguments)
    silence_failed_writes()
    if options.coordinator:
        _join(options.coordinator, options.processes, options.process)
    run(options.config, options.workdir)




def _join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Makes this process one of several that train together."""
    try:
        if coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, processes, process)
    except (ValueError, RuntimeError) as error:  # what JAX raises for arguments that are missing or wrong
        flags = f"--coordinator={coordinator}, --processes={processes}, --process={process}"
        raise UserError(f"{flags}: {error}") from error


def _with_images_of(fields: Fields) -> Mapping:
    """The section data, with what is done to the images that the parameters of `init_from` read."""
    source, name = fields.init_from, fields.data.get("name")
    if not (source and name in DATASETS and (Path(source) / "config.json").is_file()):
        return fields.data
    if pretrained.is_published(source):
        theirs = pretrained.preprocessing(source)
    else:
        data = workdirs.read_config(source)["data"]
        theirs = {field: data.get(field) or () for field in ("mean", "std")}
    return inherit("data", fields.data, theirs, DATASETS[name], source)


def _initial_model(this: Run, source: str, say: Callable[[str], Any]) -> nnx.Module:
    """The model that `init_from` names; one that can be resized has the image shape of this run."""
    if pretrained.is_published(source):
        model = pretrained.load_for(this.make_model, source)
        vocabulary = published_tokenizer(source) if this.dataset.vocabulary else None
        if this.dataset.vocabulary and vocabulary is None:
            say(f"{source} has no tokenizer.json: nothing shows whether it numbers tokens as the data does")
    else:
        model, its_run = load(source)
        vocabulary = its_run.dataset.vocabulary
    this.dataset.refuse_other_vocabulary(vocabulary, source)
    return model.resized(this.config["model"]["image_shape"]) if isinstance(model, Resizable) else model


@dataclass(frozen=True)
class _Programs:
    """The compiled programs of a run, and the shapes of its state with their shardings."""

    create: Callable[[jax.Array], TrainState]
    step: Any
    evaluate: Callable[[Parameters, Batch], Metrics]
    shapes: TrainState
    unit: str


def _compile(this: Run, mesh: Mesh) -> _Programs:
    structure, create = this.initialise()
    replicated = NamedSharding(mesh, PartitionSpec())
    shapes = jax.eval_shape(create, jax.random.key(0))
    shardings = meshes.state_shardings(mesh, shapes)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    shapes = jax.tree.map(place, shapes, shardings)
    example = this.dataset.train.examples(np.arange(1))
    resize = lambda x: jax.ShapeDtypeStruct((this.fields.batch_size, *x.shape[1:]), x.dtype)
    batch = jax.tree.map(lambda x: place(resize(x), meshes.batch_sharding(mesh)), example)
    evaluation = jax.jit(make_evaluation_step(structure, this.objective), out_shardings=replicated)
    this.check_fit(evaluation.eval_shape, shapes.parameters, batch)
    options = {"accumulate": this.fields.accumulate, "ema": this.fields.ema}
    step = make_train_step(structure, this.objective, this.optimizer, **options)
    step = jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated)).lower(shapes, batch).compile()
    unit = "tokens" if batch["weights"].ndim > 1 else "examples"
    return _Programs(jax.jit(create, out_shardings=shardings), step, evaluation, shapes, unit)


if __name__ == "__main__":
    main()
