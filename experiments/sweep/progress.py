"""How far a run is, read from what it writes."""

import json
import math
import os
from pathlib import Path


class Progress:
    """Follows the `metrics.jsonl` of a run of `steps` steps; only what is new is read."""

    def __init__(self, path: Path, steps: int):
        self._path, self._place, self._file = path, 0, None
        self.step, self.steps, self.records = 0, steps, []

    @property
    def share(self) -> float:
        """The part of the steps that is done."""
        return self.step / self.steps

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                if (identity := os.fstat(file.fileno()).st_ino) != self._file:  # a resumed run writes a new one
                    self._file, self._place, self.records = identity, 0, []
                file.seek(self._place)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._place += len(whole)
        self.records += [json.loads(line) for line in whole.splitlines()]
        if self.records:
            self.step = self.records[-1]["step"]

    def values(self, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric, "split/name", where it is a number."""
        split, name = metric.split("/", 1)
        found = [(r["step"], r[name]) for r in self.records if r["split"] == split and r.get(name) is not None]
        return [(step, value) for step, value in found if math.isfinite(value)]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as clocks show them."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
