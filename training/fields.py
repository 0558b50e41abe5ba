"""The fields that every config has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from core.errors import UserError, cut, shown
from core.ranges import Count, CountOrZero, OneOf, Range, Seed, ShareBelowAll

LoggerName = Annotated[str, OneOf(("tensorboard", "wandb", "mlflow", "trackio"))]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of every config. In a section, `name` chooses from a table; the other entries are its arguments.

    Attributes:
      seed: fixes parameters, data order, augmentation and dropout.
      steps: the number of optimizer steps.
      batch_size: examples in one step, over all devices.
      log_every, eval_every, checkpoint_every: in steps. The last step is always logged, evaluated and saved.
      model, objective, data: sections; each names a model, an objective or a data set and gives its arguments.
      optimizer: the arguments of `training.optimizer.make_optimizer`.
      mesh: the arguments of `training.mesh.make_mesh`.
      accumulate: the number of parts that a batch is computed in, one after the other, to save memory.
      ema: decay of the moving average of the parameters, which is then evaluated in their place; 0 keeps no average.
      init_from: where to take initial parameters from, for those that agree in path and shape: the workdir of a run
        (its newest checkpoint), or the folder of a published model (see `models.pretrained`). Empty: all are random.
      init_parts: where to take the parameters of whole parts of the model from: by the part's name, the workdir of a
        run, and after a "#" the name of a part of its model, as in {"vision": "runs/clip#image_encoder"}.
      freeze: patterns of parameter paths, such as "language.*" (as in a shell: * is any text, ? any character). What
        matches stays as it begins, bit for bit: without gradient, optimizer state, weight decay or average.
      keep: how many of the newest checkpoints are kept, in addition to the best one.
      keep_best: whether a checkpoint is written and kept each time that an evaluation is the best so far.
      best: the metric of the evaluation that decides which checkpoint is the best. The objective says of each metric
        whether the lowest or the highest value is the best (`core.metrics`).
      patience: how many evaluations in a row may fail to improve `best` before the run stops early; 0 never stops it.
        A run may be continued with another one.
      loggers: where metrics go besides `metrics.jsonl`: "tensorboard", "wandb", "mlflow", "trackio"; () for nowhere
        else. A run may be continued with other ones.
    """

    seed: Seed
    steps: Count
    batch_size: Annotated[int, Range(1, 2**20)]
    eval_every: Count
    checkpoint_every: Count
    model: Mapping
    objective: Mapping
    data: Mapping
    optimizer: Mapping
    mesh: Mapping = field(default_factory=dict)
    log_every: Count = 100
    accumulate: Annotated[int, Range(1, 2**20)] = 1
    ema: ShareBelowAll = 0.0
    init_from: str = ""
    init_parts: Mapping = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    keep: Annotated[int, Range(1, 10_000)] = 2
    keep_best: bool = True
    best: str = "loss"
    patience: CountOrZero = 0
    loggers: tuple[LoggerName, ...] = ("tensorboard",)

    def __post_init__(self):
        if self.batch_size % self.accumulate:
            raise UserError(f"accumulate = {self.accumulate} must divide batch_size = {self.batch_size}")
        for part, source in self.init_parts.items():
            if not isinstance(source, str) or not source:
                raise UserError(f"init_parts.{cut(part)} = {shown(source)}: expected the workdir of a run")

    @property
    def sources(self) -> list[str]:
        """Where initial parameters come from."""
        return [*filter(None, [self.init_from]), *self.init_parts.values()]

    @property
    def step_options(self) -> dict[str, Any]:
        """The options of `training.step.make_train_step`."""
        return {"accumulate": self.accumulate, "ema": self.ema, "freeze": self.freeze}
