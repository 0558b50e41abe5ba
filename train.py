"""Trains what a config says.

  python train.py --config=configs/gpt.py --workdir=runs/gpt --config.model.depth=8 --config.steps=500

The same command again continues where the run stopped. Every field of a config can be set on the command line. On
several machines, run the same command on each, with --coordinator=HOST:PORT --processes=N --process=I (on a TPU pod or
under Slurm, --coordinator=auto is enough). --help lists all flags and fields.
"""

import gc

from core.huge_pages import use_huge_pages

if __name__ == "__main__":
    use_huge_pages()
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
from ml_collections import ConfigDict
import numpy as np
import optax

from core.command import command
from core.errors import UserError, shown
from core.metrics import measured_by, refuse_unknown
from data import DATASETS
from data.dataset import Dataset
from data.images import preparation
from data.pipeline import evaluation_batches, train_batches
from data.published_tokenizer import published_tokenizer
from data.splits import make_from_config
from models import MODELS, pretrained
from models.protocols import Resizable
from objectives import OBJECTIVES
from objectives.interface import check_ability, check_parts
from training import mesh as meshes
from training import workdir as workdirs
from training.account import Account
from training.checkpoints import Checkpoints
from training.command_line import join_processes, read_config_file, read_run
from training.compilation import use_compilation_cache
from training.fields import Fields
from training.frozen import check_patterns
from training.loop import evaluate, fit
from training.noise import silence_failed_writes
from training.optimizer import make_optimizer
from training.parts import read_parts
from training.programs import compile_programs
from training.report import complete_text, start_report, summary_table
from training.settings import check_settings, check_values, complete, inherit, named, resolve
from training.state import Parameters, TrainState, abstract_model, begin_with, initialise, merge, split
from training.step import Objective
from training.together import with_the_others
from training.usage import usage

if __name__ == "__main__":
    gc.freeze()  # ... and would take as long again in training and at exit.
    gc.enable()

DataCheck = Callable[[Dataset], None]
TABLES = {"data": DATASETS, "model": MODELS, "objective": OBJECTIVES}


@dataclass(frozen=True)
class Run:
    """A config and the objects that it names, checked; nothing is compiled.

    Attributes:
      config: the complete config, with defaults and with what the data decides, as a checkpoint returns it.
      rate_factors: of learning rates, by the path of a parameter, where they are not 1.
      better: whether the "min" or the "max" of the metric `best` is better.
    """

    config: dict
    fields: Fields
    dataset: Dataset
    make_model: Callable[[nnx.Rngs], nnx.Module]
    structure: nnx.GraphDef
    rate_factors: dict[str, float]
    objective: Objective
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    better: str

    @classmethod
    def of(cls, config: Mapping | ConfigDict, check: DataCheck = lambda _: None, made: Dataset | None = None) -> "Run":
        """Returns the run of a config. Its data set is `made`, if that is not None. `check` is called with it.

        Raises UserError: says which field is wrong and what is expected.
        """
        config = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
        check_settings("config", config, Fields)
        fields = Fields(**config)
        for section, table in TABLES.items():
            target, values = named(section, getattr(fields, section), table)
            check_values(section, values, target, supplied=["rngs"])  # before the data, which may take time
        optimizer_settings = complete("optimizer", fields.optimizer, make_optimizer, supplied=["steps"])
        mesh = complete("mesh", fields.mesh, meshes.make_mesh)
        make_dataset, data = resolve("data", _with_images_of(fields), DATASETS)
        dataset = made or make_from_config(make_dataset, data)
        check(dataset)
        decided = {"facts": dataset.facts, "source": fields.data["name"]}
        model_class, model = resolve("model", fields.model, MODELS, supplied=["rngs"], **decided)
        objective, settings = resolve("objective", fields.objective, OBJECTIVES, **decided)
        check_parts(objective, fields.accumulate)
        refuse_unknown("best =", fields.best, measured_by(objective))
        better = measured_by(objective)[fields.best]
        make_model = lambda rngs: model_class(**model, rngs=rngs)
        shapes = abstract_model(model_class, model)  # the model checks its fields
        check_ability(objective, shapes)
        check_patterns(fields.freeze, split(shapes)[1])
        rate_factors = dict(getattr(shapes, "rate_factors", ()))  # see models.parametrization
        optimizer, learning_rate = make_optimizer(rate_factors, steps=fields.steps, **optimizer_settings)
        arguments = {"data": data, "model": model, "objective": settings}
        sections = {section: {"name": getattr(fields, section)["name"]} | arguments[section] for section in arguments}
        full = json.loads(json.dumps(asdict(fields) | sections | {"optimizer": optimizer_settings, "mesh": mesh}))
        built = make_model, nnx.graphdef(shapes), rate_factors, partial(objective, **settings)
        return cls(full, fields, dataset, *built, optimizer, learning_rate, better)

    def initialise(self) -> tuple[nnx.GraphDef, Callable[[jax.Array], TrainState]]:
        """Returns the structure of the model, and the function from a random key to the first state."""
        options = {"average": self.fields.ema > 0, "freeze": self.fields.freeze, "structure": self.structure}
        return initialise(self.make_model, self.optimizer, **options)


def run(config: Mapping | ConfigDict, workdir: str | Path, *, profile: str | None = None) -> dict:
    """Trains a config in a workdir, or continues the run there. Returns the content of its `summary.json`.

    Args:
      profile: the steps to trace, "first:last", see `training.profile`.

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
        account = Account(workdir, this.config, this.dataset.identity, stack, better=this.better)
        if account.summary:
            if main:
                print(complete_text(account.summary))
                summary_table(account.summary, workdir, this.config)
            return account.summary
        if main:
            this.dataset.keep_vocabulary(workdir / "vocabulary.json")
        say = print if main else str
        source = read_source(this, account.checkpoints, say)
        example = this.dataset.train.examples(np.arange(1))
        programs = compile_programs(*this.initialise(), this.objective, this.optimizer, example, fields, mesh)
        state, about = begin(this, programs.create, programs.shapes, account.checkpoints, source, say)
        if "data" in about:
            batches.set_state(about["data"])
        put = lambda batch: meshes.put(mesh, batch, fields.batch_size)
        held_out = evaluation_batches(this.dataset.evaluation, batch_size=fields.batch_size, rows=rows)
        record = account.record(
            about, start=int(state.step), unit=programs.unit, split=this.dataset.evaluation_name,
            learning_rate=this.learning_rate, peak_seconds=programs.peak_seconds, profile=profile,
        )  # fmt: skip
        if main:
            start_report(state.parameters, programs.step, programs.flops.total, mesh, workdir, record.start)
        state = fit(
            state, batches, record, step=programs.step, put=put,
            evaluate=partial(evaluate, programs.evaluate, put, held_out), steps=fields.steps,
            eval_every=fields.eval_every, checkpoint_every=fields.checkpoint_every,
        )  # fmt: skip
    summary = account.summarise(record, state, time.time() - start_time)
    if main:
        summary_table(summary, workdir, this.config)
    return summary


def begin(
    this: Run, create: Callable[[jax.Array], TrainState], shapes: TrainState, checkpoints: Checkpoints,
    source: Parameters | None, say: Callable[[str], Any],
) -> tuple[TrainState, dict]:  # fmt: skip
    """Returns the state that a run starts from, and what its checkpoint says about itself.

    This is the newest state of the workdir, or else the first state, with those parameters of `init_from` that fit.

    Args:
      create: the function from a random key to the first state.
      shapes: the shapes of the state, with their shardings.
      source: what `read_source` returned.
      say: is called with a line of text about the parameters of `init_from`.
    """
    if restored := checkpoints.restore(shapes):
        return restored[1:]
    state = create(jax.random.key(this.fields.seed))
    if source is not None:
        state, reused, new = begin_with(state, source)
        say(f"begins with {', '.join(this.fields.sources)}: {len(reused)} arrays; new: {', '.join(new) or 'none'}")
    return state, {"best": None, "best_step": None, "results": {}}


def read_source(this: Run, checkpoints: Checkpoints, say: Callable[[str], Any]) -> Parameters | None:
    """Returns the parameters of `init_from` and `init_parts`, before anything is compiled; None without these.

    Raises UserError: a source is neither a published model nor a run with a checkpoint, or does not fit.
    """
    if checkpoints.steps() or not this.fields.sources:
        return None
    ours, theirs = jax.eval_shape(this.initialise()[1], jax.random.key(0)).parameters, {}
    if source := this.fields.init_from:
        own = Path(source) / "checkpoints"
        if not pretrained.is_published(source) and not Checkpoints(own, read_only=True).steps():
            expected = "the folder of a published model, or the workdir of a run that has a checkpoint"
            raise UserError(f"init_from = {shown(source)}: expected {expected}")
        theirs = split(_initial_model(this, source, say))[1]
        if not any(path in theirs and theirs[path].shape == x.shape for path, x in ours.items()):
            raise UserError(f"init_from = {source}: no parameter there has the path and shape of one of this model")

    def read(workdir: str, whole: bool) -> Parameters:
        model, its_run = load(workdir, same_data=False)
        if whole:  # a part of a model need not read tokens
            this.dataset.refuse_other_vocabulary(its_run.dataset.vocabulary, workdir)
        return split(model)[1]

    return theirs | read_parts(this.fields.init_parts, ours, read)


def load(workdir: str | Path, *, same_data: bool = True) -> tuple[nnx.Module, Run]:
    """Returns the model of a workdir's newest checkpoint, and its run, whose data set has the names of the classes.

    All data must be as they were in training. Without `same_data` only their meaning must be, which is the classes and
    the vocabulary: enough for a model that reads something else.

    Raises UserError: there is no run in the workdir, it has no checkpoint yet, or its data have changed.
    """
    use_compilation_cache()
    config, checkpoints = workdirs.read_config(workdir), Checkpoints(Path(workdir) / "checkpoints", read_only=True)
    if (about := checkpoints.about()) is None:
        raise UserError(f"{workdir} has no checkpoint yet")
    parts = () if same_data else workdirs.MEANING
    check_data = lambda dataset: workdirs.refuse_other_data(workdir, about["identity"], dataset.identity, parts)
    this = Run.of(config, check_data)
    structure, create = this.initialise()
    restored = checkpoints.restore(jax.eval_shape(create, jax.random.key(0)))
    assert restored is not None  # there is a checkpoint, and a damaged one is an error
    return merge(structure, restored[1].evaluated), this


@command
def main(arguments: list[str]) -> None:
    """Trains what the command line says. `arguments` do not contain the program's name."""
    if {"-h", "--help"} & set(arguments):
        print(usage(str(__doc__), TABLES, read_config_file(arguments)))
        return
    options, line = read_run(arguments, DATASETS)
    if line:
        print(line, flush=True)
    silence_failed_writes()
    join_processes(options)
    with with_the_others():
        run(options.config, options.workdir, profile=options.profile)


def _with_images_of(fields: Fields) -> Mapping:
    """The section data, with what is done to the images that the parameters of `init_from` read."""
    source, name = fields.init_from, fields.data.get("name")
    if not (source and name in DATASETS and (Path(source) / "config.json").is_file()):
        return fields.data
    if pretrained.is_published(source):
        theirs = pretrained.preprocessing(source)
    else:
        theirs = preparation(workdirs.read_config(source)["data"], fields.data)
    return inherit("data", fields.data, theirs, DATASETS[name], source)


def _initial_model(this: Run, source: str, say: Callable[[str], Any]) -> nnx.Module:
    """The model that `init_from` names; one that can be resized has the image shape of this run."""
    if pretrained.is_published(source):
        model = pretrained.load_for(this.make_model, source)
        vocabulary = published_tokenizer(source) if this.dataset.vocabulary else None
        if this.dataset.vocabulary and vocabulary is None:
            say(f"{source} has no tokenizer.json: nothing shows whether it numbers tokens as the data does")
    else:
        model, its_run = load(source, same_data=False)
        vocabulary = its_run.dataset.vocabulary
    this.dataset.refuse_other_vocabulary(vocabulary, source)
    return model.resized(this.config["model"]["image_shape"]) if isinstance(model, Resizable) else model


if __name__ == "__main__":
    main()
