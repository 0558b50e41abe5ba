"""What a run shows and writes while it trains: progress, `metrics.jsonl`, and what its loggers keep.

A line of `metrics.jsonl` is one JSON object: `step`, `split`, `time` in seconds since the run began (a run that is
continued counts on), and one number for each metric. JSON has no NaN and no infinity: both become null.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count, islice
import json
import math
from pathlib import Path
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from core import files
from core.errors import UserError, reason
from core.metrics import HIGHER, measures
from training.loggers import LOGGERS, LoggedRun

AT_ONCE = 1000  # lines that are parsed at once


class Display:
    """The progress of a run of `steps` steps from `start_step` on, of which none has begun yet.

    On a terminal this is a bar, from the first step on; elsewhere one line is printed each time that metrics are
    logged. Both show the time that is left at the pace so far.
    """

    def __init__(self, steps: int, start_step: int = 0):
        self._steps, self._start_step, self._began = steps, start_step, time.monotonic()
        self._console = Console()
        self._bar = _bar(self._console) if self._console.is_terminal else None
        if self._bar:
            self._task = self._bar.add_task("", total=steps, completed=start_step, text="", left="-:--")

    def step(self, step: int) -> None:
        """Moves the bar on a terminal; called at every step."""
        if self._bar:
            self._bar.start()  # here, so that what is printed before the first step does not meet the bar
            self._bar.update(self._task, completed=step, left=self._time_left(step))

    def progress(self, step: int, text: str) -> None:
        """Shows `text` and the remaining time, beside the bar or as a line."""
        if self._bar:
            self._bar.start()
            self._bar.update(self._task, text=text)
        else:
            print(f"{self._position(step)}  {text}  left {self._time_left(step)}", flush=True)

    def line(self, step: int, text: str) -> None:
        """Prints a line about a step, which stays above the bar."""
        self.say(f"{self._position(step)}  {text}")

    def say(self, text: str) -> None:
        """Prints a line that is not about a step."""
        if self._bar:
            self._console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar:
            self._bar.stop()

    def _position(self, step: int) -> str:
        return f"step {step:>{len(str(self._steps))}}/{self._steps}"

    def _time_left(self, step: int) -> str:
        if step == self._start_step:
            return "-:--"
        pace = (time.monotonic() - self._began) / (step - self._start_step)
        seconds = round(pace * (self._steps - step))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Log:
    """The log of one run of `steps` steps in the folder `workdir`.

    A run that continues from `start_step` drops all records after that step, which it makes again. One that begins
    with step 0 puts an earlier log aside, as `metrics-1.jsonl`, `metrics-2.jsonl` and so on.

    Args:
      unit: what is counted per second: "examples", "tokens", "nodes" or "pixels".
      enabled: False shows and writes nothing, for all processes but the first.
      display: False writes everything but shows nothing.
      loggers: names of `training.loggers.LOGGERS`.
      config: of the run, for the loggers.
      peak_seconds: how long the devices take for one unit at their published peak; None if that is not known.
    """

    def __init__(
        self, workdir: str | Path, *, steps: int, unit: str = "examples", start_step: int = 0, enabled: bool = True,
        display: bool = True, loggers: Sequence[str] = ("tensorboard",), config: Mapping | None = None,
        peak_seconds: float | None = None,
    ):  # fmt: skip
        self._enabled = enabled
        self._counted_since = time.monotonic()
        if not enabled:
            return
        self._unit, self._peak_seconds = unit, peak_seconds
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "metrics.jsonl"
        earlier_lines, earlier_seconds, logged = [], 0.0, set()
        for line, record in _complete_lines(path):
            logged.add((record["step"], str(record.get("split"))))
            if start_step and record["step"] <= start_step:
                earlier_lines.append(line)
                earlier_seconds = record.get("time", 0.0)
        if logged and not start_step:
            path.rename(next(aside for n in count(1) if not (aside := workdir / f"metrics-{n}.jsonl").exists()))
        files.write_text(path, b"".join(earlier_lines).decode())
        self._began = time.monotonic() - earlier_seconds
        self._file = path.open("a")
        run = LoggedRun(workdir, config or {}, start_step, frozenset(logged))
        self._loggers = [LOGGERS[name](run) for name in loggers]
        self._steps, self._last_step = steps, start_step
        self._display = Display(steps, start_step) if display else None

    def step(self, step: int) -> None:
        """Moves the bar on a terminal; called at every step."""
        if self._enabled and self._display:
            self._display.step(step)

    @measures(
        examples_per_second=HIGHER, tokens_per_second=HIGHER, nodes_per_second=HIGHER, pixels_per_second=HIGHER,
        model_flops_utilisation=HIGHER,
    )  # fmt: skip
    def train(self, step: int, metrics: dict[str, float], amount: float) -> dict[str, float]:
        """Records training metrics at `step`, and `<unit>_per_second`. Shows `loss` and `learning_rate`.

        Where the peak of the devices is known, it also records, shows and returns "model_flops_utilisation", the share
        of the peak that the products of the step reach (Chowdhery et al. 2022).

        Args:
          amount: the number of units since the last call of this method.
        """
        if not self._enabled:
            return {}
        now = time.monotonic()
        rate = amount / max(now - self._counted_since, 1e-9)
        self._counted_since = now
        efficiency = {} if self._peak_seconds is None else {"model_flops_utilisation": rate * self._peak_seconds}
        self._write(step, "train", metrics | {f"{self._unit}_per_second": rate} | efficiency)
        if self._display:
            text = f"loss {metrics['loss']:.4f}  " if "loss" in metrics else ""
            text += f"lr {metrics['learning_rate']:.1e}  " if "learning_rate" in metrics else ""
            text += f"{rate:,.0f} {self._unit}/s"
            text += "".join(f"  {100 * value:.3g} % of peak" for value in efficiency.values())
            self._display.progress(step, text)
        return efficiency

    def evaluation(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Records and shows the metrics of a whole split at `step`."""
        if not self._enabled:
            return
        self._write(step, split, metrics)
        if self._display:
            text = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            self._display.line(step, f"{split}  {text}")

    def stop_early(self, step: int, reason: str) -> None:
        """Shows why the run is complete at this step, before the last one."""
        if self._enabled:
            self._steps = step
            if self._display:
                self._display.line(step, reason)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """A context, such as for an evaluation, whose time does not count in the units per second."""
        began = time.monotonic()
        yield
        self._counted_since += time.monotonic() - began

    def close(self) -> None:
        """Ends the display and closes the files."""
        if not self._enabled:
            return
        if self._display:
            self._display.close()
        for logger in self._loggers:
            with suppress(OSError):  # a full disk: an error here must not hide the reason why the run ended
                logger.close(complete=self._last_step == self._steps)
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
        self._last_step = int(step)
        for logger in self._loggers:
            logger.log(int(step), split, {name: value for name, value in metrics.items() if math.isfinite(value)})


def read(path: str | Path) -> list[dict]:
    """Returns the `records` of a `metrics.jsonl` as a list."""
    return list(records(path))


def records(path: str | Path) -> Iterator[dict]:
    """Yields the records of a `metrics.jsonl`, in order. null becomes NaN; an incomplete last line is left out.

    Raises:
      UserError: there is no such file, or another line is not a record.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: is this the workdir of a run?")
    for _, record in _complete_lines(path):
        lacks = [name for name, value in record.items() if value is None]
        yield record | dict.fromkeys(lacks, math.nan) if lacks else record


def _bar(console: Console) -> Progress:
    left, text = TextColumn("left {task.fields[left]}"), TextColumn("{task.fields[text]}", markup=False)
    columns = [BarColumn(bar_width=24), MofNCompleteColumn(), left, text]
    return Progress(*columns, console=console, refresh_per_second=4)


def parse_lines(path: Path, first: int, lines: Sequence[bytes]) -> list[dict]:
    """Returns the records in lines of a log, of which the first is line number `first`.

    Raises:
      UserError: names the first line that is not a record.
    """
    try:
        parsed = files.parse_json_lines(lines)
        if len(parsed) == len(lines) and all(isinstance(record["step"], int) for record in parsed):
            return parsed
    except (ValueError, TypeError, KeyError):
        pass
    for number, line in enumerate(lines, first):
        try:
            if not isinstance(files.parse_json(line)["step"], int):
                raise ValueError("its step is no whole number")
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}, line {number}, is not a record of a run: {reason(error)}") from None
    raise UserError(f"{path}, line {first}, is not a record of a run")


def _complete_lines(path: Path) -> Iterator[tuple[bytes, dict]]:
    """The lines of a JSON-lines file, each with its record; none if there is no file.

    A last line without a line break was cut off by a crash, and is left out.
    """
    if not path.exists():
        return
    first = 1
    with path.open("rb") as file:
        while lines := [line for line in islice(file, AT_ONCE) if line.endswith(b"\n")]:
            yield from zip(lines, parse_lines(path, first, lines))
            first += len(lines)
