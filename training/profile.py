"""A trace of some steps of a run, for XProf and Perfetto: `train.py --profile=10:15`."""

from pathlib import Path
import re

import jax

from core.errors import UserError


class Profile:
    """Traces the steps `first` to `last` into a folder.

    The devices work while Python goes on. So the trace begins after the step before was given to the devices, and ends
    once the metrics of the last step are here.
    """

    def __init__(self, first: int, last: int, folder: Path):
        self._first, self._last, self.folder = first, last, folder
        self._state = "before"

    @classmethod
    def of(cls, text: str, folder: Path, *, start: int, steps: int) -> "Profile":
        """Returns the profile that "10:15" asks for, of a run that continues from step `start` to `steps`.

        Raises:
          UserError: the text does not say two steps, or the run does not train them.
        """
        match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
        first, last = map(int, match.groups()) if match else (0, 0)
        if not 1 <= first <= last:
            raise UserError(f"--profile={text}: expected the first and the last step of the trace, such as 10:15")
        if last > steps or first <= start:
            left = f"{start + 1:,} to {steps:,}" if start < steps else "none"
            raise UserError(f"--profile={text}: expected steps that are still to be trained: {left}")
        return cls(first, last, folder)

    def given(self, step: int) -> None:
        """Notes that the devices were given this step; 0, or the step of a checkpoint, before the first."""
        if self._state == "before" and step >= self._first - 1:
            jax.profiler.start_trace(str(self.folder), create_perfetto_trace=True)
            self._state = "tracing"

    def done(self, step: int) -> None:
        """Notes that the metrics of this step are here."""
        if step >= self._last:
            self.close()

    def close(self) -> None:
        """Writes the trace if it was begun."""
        if self._state == "tracing":
            self._state = "written"
            jax.profiler.stop_trace()
            print(f"profile   {self.folder}: see docs/profiling.md", flush=True)
