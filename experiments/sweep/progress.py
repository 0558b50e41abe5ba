"""How far a run is, read from the files that it writes."""

import math
import os
from pathlib import Path

from core.errors import UserError
from core.files import parse_json


class Progress:
    """Follows the `metrics.jsonl` of a run, and reads only what is new.

    Attributes:
      step: the last step that was logged.
      steps: the number of steps of the run.
      records: the lines of the log.
    """

    def __init__(self, path: Path, steps: int):
        self._path, self._offset, self._inode = path, 0, None
        self.step, self.steps = 0, steps
        self.records: list[dict] = []

    @property
    def share(self) -> float:
        """The share of the steps that is done."""
        return self.step / self.steps

    def read(self) -> None:
        """Reads the lines that were added since the last call."""
        try:
            with self._path.open("rb") as file:
                if (inode := os.fstat(file.fileno()).st_ino) != self._inode:  # a resumed run writes a new file
                    self._inode, self._offset, self.records = inode, 0, []
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return
        complete_lines = new[: new.rfind(b"\n") + 1]
        self._offset += len(complete_lines)
        try:
            self.records += [parse_json(line) for line in complete_lines.splitlines()]
        except ValueError as error:
            raise UserError(f"{self._path} is damaged: a line is not JSON ({error})") from error
        if self.records:
            self.step = self.records[-1]["step"]

    def values(self, metric: str, *, finite: bool = True) -> list[tuple[int, float]]:
        """Returns the values of a metric, "split/name", with their steps: those that are `finite`, or all.

        The log has null for NaN and infinity. They are returned as NaN.
        """
        split, _, name = metric.rpartition("/")
        points = [(r["step"], r[name]) for r in self.records if r["split"] == split and name in r]
        numbers = [(step, math.nan if value is None else value) for step, value in points]
        return [(step, value) for step, value in numbers if math.isfinite(value) or not finite]


def clock(seconds: float) -> str:
    """Returns a duration as hours, minutes and seconds: "1:02:03", or "2:03"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
