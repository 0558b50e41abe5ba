"""How well classes are predicted: confusion, precision and recall, calibration, and the worst examples.

All is counted batch by batch, so that the predictions of large sets, or of all pixels of images, need not be kept.
"""

from dataclasses import dataclass, field
import heapq

import numpy as np

BINS = 15  # as Guo et al. 2017
SMALLEST = 1e-30  # a probability of 0 counts as this


@dataclass(frozen=True, order=True)
class Example:
    """An example with a high loss.

    Attributes:
      loss: the mean of -log p(label) over its elements, in nats.
      number: its place in the split.
      label, predicted: the classes of its worst element. probability: of the label there.
    """

    loss: float
    number: int
    label: int = field(compare=False)
    predicted: int = field(compare=False)
    probability: float = field(compare=False)


class ClassScores:
    """Counts what was predicted for which class.

    Args:
      classes: C. worst: how many of the worst examples are kept.

    Attributes:
      confusion: how often the class of the row was predicted as that of the column, int64 (C, C).
    """

    def __init__(self, classes: int, worst: int = 24):
        self.confusion = np.zeros((classes, classes), np.int64)
        self._bins = np.zeros((3, BINS))  # sums of count, confidence and right answers
        self._worst: list[Example] = []
        self._most, self._count = worst, 0

    def add(self, probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> None:
        """Counts a batch. The confidence of an answer is the probability of the predicted class.

        Args:
          probabilities: (B, ..., C). targets: classes (B, ...). weights: (B, ...) or (B,), 0 for what does not count.
        """
        weights = np.broadcast_to(weights.reshape(weights.shape + (1,) * (targets.ndim - weights.ndim)), targets.shape)
        counts = weights > 0
        predicted, confidence = probabilities.argmax(-1), probabilities.max(-1)
        np.add.at(self.confusion, (targets[counts], predicted[counts]), 1)
        # The last edge belongs to the last bin; the others to the bin that they end, as in (0.2, 0.4].
        place = np.clip(np.ceil(confidence[counts] * BINS).astype(int) - 1, 0, BINS - 1)
        for row, values in enumerate((None, confidence[counts], (predicted == targets)[counts])):
            self._bins[row] += np.bincount(place, values, minlength=BINS)
        of_target = np.take_along_axis(probabilities, targets[..., None], -1)[..., 0]
        losses = np.where(counts, -np.log(np.maximum(of_target, SMALLEST)), 0).reshape(len(targets), -1)
        totals = counts.reshape(len(targets), -1).sum(1)
        means = losses.sum(1) / np.maximum(totals, 1)
        for row in np.flatnonzero(totals):
            worst = losses[row].argmax()
            flat = lambda x, row=row, worst=worst: x[row].reshape(-1)[worst]
            example = Example(
                float(means[row]), self._count + int(row), int(flat(targets)), int(flat(predicted)),
                float(flat(of_target)),
            )  # fmt: skip
            (heapq.heappush if len(self._worst) < self._most else heapq.heappushpop)(self._worst, example)
        self._count += len(targets)

    @property
    def total(self) -> int:
        """How many answers were counted."""
        return int(self.confusion.sum())

    @property
    def worst(self) -> list[Example]:
        """The examples with the highest losses, the worst one first."""
        return sorted(self._worst, reverse=True)

    def by_class(self) -> dict[str, np.ndarray]:
        """Returns "precision", "recall" and "f1" of each class, float (C,), and "support", how often it occurs.

        The definitions are scikit-learn's; a ratio without a denominator is 0.
        """
        right, support, predicted = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        ratio = lambda a, b: np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
        precision, recall = ratio(right, predicted), ratio(right, support)
        f1 = ratio(2 * right, predicted + support)
        return {"precision": precision, "recall": recall, "f1": f1, "support": support}

    def reliability(self) -> dict[str, np.ndarray]:
        """Returns "count", and the means "confidence" and "accuracy", of each bin, float (`BINS`,); NaN if empty."""
        count, confidence, right = self._bins
        mean = lambda total: np.divide(total, count, out=np.full(BINS, np.nan), where=count > 0)
        return {"count": count, "confidence": mean(confidence), "accuracy": mean(right)}

    def calibration_error(self) -> float:
        """Returns the expected calibration error with `BINS` bins of equal width (Guo et al. 2017, eq. 3)."""
        count, confidence, right = self._bins
        return float(np.abs(confidence - right).sum() / max(count.sum(), 1))

    def summary(self, names: tuple[str, ...]) -> dict:
        """Returns all of this as JSON can hold it, with the names of the classes."""
        table, reliability = self.by_class(), self.reliability()
        row = lambda number: {name: values[number].item() for name, values in table.items()}
        averages = {f"macro_{name}": float(table[name].mean()) for name in ("precision", "recall", "f1")}
        return averages | {
            "expected_calibration_error": self.calibration_error(),
            "classes": [{"class": name} | row(number) for number, name in enumerate(names)],
            "confusion": self.confusion.tolist(),
            "reliability": {name: values.tolist() for name, values in reliability.items()},
            "worst": [
                {"example": x.number, "loss": x.loss, "label": names[x.label], "predicted": names[x.predicted],
                 "probability": x.probability}
                for x in self.worst
            ],
        }  # fmt: skip
