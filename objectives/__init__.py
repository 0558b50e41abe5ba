"""What a model is trained for.

An objective is a pure function `objective(model, batch, key, **settings) -> (loss, metrics)`:

- `batch` is {"inputs": {named as the model's arguments}, "targets": ..., "weights": ...}. In training it also contains
  the number of the "step".
- `key` is a random key, or None in evaluation.
- `metrics` maps names to (sum, count), so that batches of any size add up to exact means. `metrics["loss"]` is always
  there, and the loss is its sum / count. Which way each is better is said by `core.metrics.measures`.

Arguments whose numbers may be traced are marked as such (`core.traced`), so that a population can differ in them.
"""

from core.metrics import measured_by
from objectives.archetypal import archetypal
from objectives.classification import classification
from objectives.contrastive import contrastive
from objectives.energy import energy
from objectives.language_modeling import language_modeling
from objectives.masked_language_modeling import masked_language_modeling
from objectives.reconstruction import reconstruction
from objectives.regression import regression
from objectives.segmentation import segmentation
from objectives.seq2seq import seq2seq
from objectives.sequence_variational import sequence_variational
from objectives.variational import variational

OBJECTIVES = {
    "archetypal": archetypal,
    "classification": classification,
    "contrastive": contrastive,
    "energy": energy,
    "language_modeling": language_modeling,
    "variational": variational,
    "masked_language_modeling": masked_language_modeling,
    "reconstruction": reconstruction,
    "regression": regression,
    "segmentation": segmentation,
    "seq2seq": seq2seq,
    "sequence_variational": sequence_variational,
}

BETTER = {name: better for objective in OBJECTIVES.values() for name, better in measured_by(objective).items()}
"""Whether the "min" or the "max" of a metric is better, for the metrics of all objectives."""
