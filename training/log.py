"""What a run shows and writes while it trains: progress, `metrics.jsonl` and TensorBoard events.

A line of `metrics.jsonl` is one JSON object: `step`, `split`, `time` in seconds since the run began (a
resumed run counts on), and one number for each metric. JSON has no NaN and no infinity: both become null.
"""

from contextlib import contextmanager, suppress
import json
import math
from pathlib import Path
import threading
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from tensorboardX import SummaryWriter


class Display:
    """The progress of `steps` steps from `start_step` on: a bar on a terminal, elsewhere a plain line a record."""

    def __init__(self, steps: int, start_step: int = 0):
        self._steps = steps
        self._first = None  # (step, time) of the first record: what came before it is compilation
        self._console = Console()
        self._bar = _bar(self._console) if self._console.is_terminal else None
        if self._bar:
            self._task = self._bar.add_task("", total=steps, completed=start_step, shown="")
            self._bar.start()

    def step(self, step: int) -> None:
        """Moves the bar on a terminal; called at every step."""
        if self._bar:
            self._bar.update(self._task, completed=step)

    def progress(self, step: int, text: str) -> None:
        """Shows `text` and the time left: beside the bar, or as a line."""
        text += f"  left {self._time_left(step, time.monotonic())}"
        if self._bar:
            self._bar.update(self._task, shown=text)
        else:
            print(f"{self._place(step)}  {text}", flush=True)

    def line(self, step: int, text: str) -> None:
        """Shows a line that stays."""
        self.say(f"{self._place(step)}  {text}")

    def say(self, text: str) -> None:
        """Shows a line that belongs to no step."""
        if self._bar:
            self._console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar:
            self._bar.stop()

    def _place(self, step: int) -> str:
        return f"step {step:>{len(str(self._steps))}}/{self._steps}"

    def _time_left(self, step: int, now: float) -> str:
        if self._first is None:
            self._first = (step, now)
            return "-:--"
        first_step, first_time = self._first
        seconds = round((now - first_time) / max(step - first_step, 1) * (self._steps - step))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Log:
    """The record of one run of `steps` steps in the folder `workdir`.

    `unit` is what is counted each second, "examples" or "tokens". A run that continues from `start_step` drops
    what was recorded after that step; at 0 it begins anew. With `enabled=False` nothing is shown or written, as
    the processes other than the first want it; with `shown=False` it is written and not shown.
    """

    def __init__(
        self, workdir, *, steps: int, unit: str = "examples", start_step: int = 0, enabled: bool = True,
        shown: bool = True,
    ):  # fmt: skip
        self._enabled = enabled
        self._counted_since = time.monotonic()
        if not enabled:
            return
        self._unit = unit
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "metrics.jsonl"
        kept = [(line, record) for line, record in _whole_lines(path) if start_step and record["step"] <= start_step]
        _replace(path, [line for line, _ in kept])
        earlier = kept[-1][1]["time"] if kept else 0.0
        self._began = time.monotonic() - earlier
        self._file = path.open("a")
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1 if start_step else 0)
        self._display = Display(steps, start_step) if shown else None

    def step(self, step: int) -> None:
        """Moves the bar on a terminal; called at every step."""
        if self._enabled and self._display:
            self._display.step(step)

    def train(self, step: int, metrics: dict[str, float], amount: float) -> None:
        """Records training metrics at `step`. `amount`: units since the last call of this method.

        `loss` and `learning_rate` are shown; `<unit>_per_second` is added to what is written.
        """
        if not self._enabled:
            return
        now = time.monotonic()
        rate = amount / max(now - self._counted_since, 1e-9)
        self._counted_since = now
        self._write(step, "train", metrics | {f"{self._unit}_per_second": rate})
        if self._display:
            text = f"loss {metrics['loss']:.4f}  " if "loss" in metrics else ""
            text += f"lr {metrics['learning_rate']:.1e}  " if "learning_rate" in metrics else ""
            self._display.progress(step, f"{text}{rate:,.0f} {self._unit}/s")

    def evaluation(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Records and shows the metrics of a whole split at `step`."""
        if not self._enabled:
            return
        self._write(step, split, metrics)
        if self._display:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            self._display.line(step, f"{split}  {shown}")

    @contextmanager
    def pause(self):
        """A block, such as an evaluation, whose time does not count against the units a second."""
        began = time.monotonic()
        yield
        self._counted_since += time.monotonic() - began

    def close(self) -> None:
        """Ends the display and the files."""
        if not self._enabled:
            return
        if self._display:
            self._display.close()
        with suppress(OSError):  # a full disk: what goes wrong here must not hide why the run ended
            self._events.flush()
            self._events.close()
        with suppress(OSError):
            self._file.close()

    def _write(self, step: int, split: str, metrics: dict[str, float]) -> None:
        metrics = {name: float(value) for name, value in metrics.items()}
        record = {"step": int(step), "split": split, "time": round(time.monotonic() - self._began, 3)}
        record |= {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        try:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, f"{self._file.name} could not be written: {error.strerror}") from error
        for name, value in metrics.items():
            if math.isfinite(value):
                self._events.add_scalar(f"{split}/{name}", value, step)


def read(path) -> list[dict]:
    """The records of a `metrics.jsonl`, in order. null becomes NaN; a torn last line is left out.

    Raises FileNotFoundError, and ValueError for another line that is not JSON.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: is this the workdir of a run?")
    records = [record for _, record in _whole_lines(path)]
    return [{name: math.nan if value is None else value for name, value in record.items()} for record in records]


def _bar(console: Console) -> Progress:
    columns = [BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[shown]}", markup=False)]
    return Progress(*columns, console=console, refresh_per_second=4)


def _whole_lines(path: Path) -> list[tuple[str, dict]]:
    """The lines of a JSON-lines file that need not exist, each with what it says. One without end was torn."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        try:
            if line.endswith("\n"):
                found.append((line, json.loads(line)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not JSON: {error}") from None
    return found


def _replace(path: Path, lines: list[str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(lines))
    temporary.replace(path)


def _without_a_full_disk(failure) -> None:
    """TensorBoard's thread dies of a full disk with a stack trace. The next record says the same in one line."""
    if not issubclass(failure.exc_type, OSError):
        threading.__excepthook__(failure)


threading.excepthook = _without_a_full_disk
