"""How far a run is, read from the files that it writes."""

from array import array
from collections.abc import Sequence
from itertools import islice
import math
import os
from pathlib import Path

from core.errors import UserError, reason
from training.log import AT_ONCE, parse_lines


class Progress:
    """Follows the `metrics.jsonl` of a run, and reads only what is new.

    Attributes:
      step: the last step that was logged.
      steps: the number of steps of the run.
      seconds: from the beginning of the run to its last record.
      last: the last value of each metric, by "split/name"; NaN where it was not finite.
    """

    def __init__(self, path: Path, steps: int):
        self._path, self._inode, self.steps = path, None, steps
        self._forget()

    @property
    def share(self) -> float:
        """The share of the steps that is done."""
        return self.step / self.steps

    def read(self) -> None:
        """Reads the lines that were added since the last call.

        Raises:
          UserError: a line is not a record of a run.
        """
        try:
            with self._path.open("rb") as file:
                if (inode := os.fstat(file.fileno()).st_ino) != self._inode:  # a resumed run writes a new file
                    self._inode = inode
                    self._forget()
                file.seek(self._offset)
                while complete_lines := [line for line in islice(file, AT_ONCE) if line.endswith(b"\n")]:
                    self._add(complete_lines)
        except FileNotFoundError:
            return

    def values(self, metric: str, *, finite: bool = True) -> list[tuple[int, float]]:
        """Returns the values of a metric, "split/name", with their steps: those that are `finite`, or all.

        The log has null for NaN and infinity. They are returned as NaN.
        """
        points = zip(*self.curve(metric))
        return [(step, value) for step, value in points if math.isfinite(value) or not finite]

    def curve(self, metric: str) -> tuple[Sequence[int], Sequence[float]]:
        """Returns the steps at which a metric, "split/name", was logged, and its values; both empty if it never was."""
        return self._curves.get(metric, ((), ()))

    def _forget(self) -> None:
        self._offset, self._lines, self.step, self.seconds = 0, 0, 0, 0.0
        self.last: dict[str, float] = {}
        self._curves: dict[str, tuple[array, array]] = {}  # steps and values: a list of records would need ten times it

    def _add(self, lines: Sequence[bytes]) -> None:
        try:
            alike: dict[tuple, list[dict]] = {}  # the records of one split that have the same metrics, added at once
            for record in (records := parse_lines(self._path, self._lines + 1, lines)):
                alike.setdefault((record["split"], *record), []).append(record)
            for (split, *names), group in alike.items():
                steps = [record["step"] for record in group]
                for name in names:
                    if name not in NOT_METRICS:
                        self._add_curve(f"{split}/{name}", steps, [record[name] for record in group])
            self.step, self.seconds = records[-1]["step"], records[-1]["time"]
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self._path} is damaged: a line is not a record of a run ({reason(error)})") from error
        self._lines += len(lines)
        self._offset += sum(map(len, lines))

    def _add_curve(self, name: str, steps: list, values: list) -> None:
        numbers = [math.nan if value is None else float(value) for value in values]
        all_steps, all_values = self._curves.setdefault(name, (array("q"), array("d")))
        all_steps.extend(steps)
        all_values.extend(numbers)
        self.last[name] = numbers[-1]


NOT_METRICS = ("step", "split", "time")


def clock(seconds: float) -> str:
    """Returns a duration as hours, minutes and seconds: "1:02:03", or "2:03"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
