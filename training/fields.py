"""The fields that every config has."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of every config. Sections: `name` chooses from the table of that name, the rest are its arguments.

    Attributes:
      seed: fixes parameters, data order, augmentation and dropout.
      steps: optimizer steps. batch_size: examples a step, over all devices.
      log_every, eval_every, checkpoint_every: in steps; evaluation and checkpoint also come after the last one.
      accumulate: parts that a batch is computed in, one after the other, to save memory.
      ema: decay of the moving average of the parameters that is evaluated; 0 evaluates the parameters themselves.
      init_from: a workdir, the newest parameters of which this run begins with, wherever path and shape agree; or the
        folder of a published model, see `models.pretrained`.
      keep: checkpoints kept, besides the best. best: the metric that decides which one that is ("loss": lowest).
    """

    seed: int
    steps: int
    batch_size: int
    eval_every: int
    checkpoint_every: int
    model: Mapping
    objective: Mapping
    data: Mapping
    optimizer: Mapping
    mesh: Mapping = field(default_factory=dict)
    log_every: int = 100
    accumulate: int = 1
    ema: float = 0.0
    init_from: str = ""
    keep: int = 2
    best: str = "loss"

    def __post_init__(self):
        counts = ("steps", "batch_size", "eval_every", "checkpoint_every", "log_every", "accumulate", "keep")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected at least 1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema = {self.ema}: expected 0 <= ema < 1")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate = {self.accumulate} must divide batch_size = {self.batch_size}")
