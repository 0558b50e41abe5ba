"""The learning-rate range test (Smith 2017): the loss while the learning rate rises from step to step.

python -m experiments.rates --config=configs/gpt.py --workdir=runs/gpt_rates [--low=1e-6 --high=1 --steps=200]

The rate grows by the same factor in each step of a short run of the config. Where the loss falls fastest, a rate is
good to begin a search with; where it rises again, it is too high. Writes `rates.json`, and `rates.png` and `.svg`,
light and dark, to the workdir. The run itself is not kept.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import math
from pathlib import Path
import shlex

import jax
from matplotlib.figure import Figure
import numpy as np

from core.command import command
from core.errors import UserError
from core.files import write_json
from core.next_commands import next_text
from data.pipeline import train_batches
from experiments.figures.style import draw, drawn, grid, ink
from train import Run
from training.command_line import add_config, read_command_line
from training.compilation import use_compilation_cache
from training.optimizer import make_optimizer
from training.state import TrainState
from training.step import Batch, make_train_step

SMOOTHING = 0.95  # the share of the average before that stays in it
DIVERGED = 3.0  # a loss so many times the first one ends the test, as one that is not finite does


@dataclass(frozen=True)
class Rates:
    """The result of a range test.

    Attributes:
      rates: of each step.
      losses: of the batch of each step, before the step.
      smooth: their exponential averages, corrected for the start as in Adam.
      suggestion: the rate at which `smooth` falls fastest against the logarithm of the rate; None if it never falls.
      lowest: the rate at which `smooth` is lowest.
    """

    rates: list[float]
    losses: list[float]
    smooth: list[float]
    suggestion: float | None
    lowest: float


def measure(run: Run, *, low: float = 1e-6, high: float = 1.0, steps: int = 200) -> Rates:
    """Trains a run for some steps with a learning rate that rises from `low` to `high`.

    The schedule and the warm-up of its optimizer are left out; everything else is as in the run.

    Raises:
      UserError: the rates or the number of steps make no test.
    """
    if not 0 < low < high <= 1000:
        raise UserError(f"--low={low:g} --high={high:g}: expected 0 < low < high <= 1000")
    if not 10 <= steps <= 100_000:
        raise UserError(f"--steps={steps}: expected 10 to 100,000")
    structure, create = run.initialise()
    settings = run.config["optimizer"] | {"schedule": "constant", "warmup": 0}

    def step(state: TrainState, batch: Batch, rate):
        optimizer, _ = make_optimizer(run.rate_factors, steps=steps, **settings | {"learning_rate": rate})
        return make_train_step(structure, run.objective, optimizer, **run.fields.step_options)(state, batch)

    compiled, state = jax.jit(step, donate_argnums=0), jax.jit(create)(jax.random.key(run.fields.seed))
    batches = train_batches(run.dataset.train, batch_size=run.fields.batch_size, seed=run.fields.seed)
    rates, losses = [], []
    for rate in np.geomspace(low, high, steps):
        state, metrics = compiled(state, next(batches), np.float32(rate))
        total, count = jax.device_get(metrics["loss"])
        loss = float(total) / max(float(count), 1e-30)
        if not math.isfinite(loss) or (losses and abs(loss - losses[0]) > (DIVERGED - 1) * abs(losses[0])):
            break
        rates.append(float(rate))
        losses.append(loss)
    if len(rates) < 10:
        raise UserError(f"the loss diverged within {len(rates) + 1} steps: begin with a lower --low than {low:g}")
    return analyse(rates, losses)


def analyse(rates: Sequence[float], losses: Sequence[float]) -> Rates:
    """Returns the result for the losses of rising rates."""
    average, smooth = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smooth.append(average / (1 - SMOOTHING**number))
    slopes = np.gradient(smooth, np.log(rates))
    lowest = int(np.argmin(smooth))
    before = slopes[: lowest + 1]
    steepest = int(np.argmin(before))
    suggestion = float(rates[steepest]) if before[steepest] < 0 else None
    return Rates(list(rates), list(losses), smooth, suggestion, float(rates[lowest]))


def picture(figure: Figure, results: Rates) -> None:
    """Draws the loss against the rate."""
    axes = figure.subplots()
    axes.plot(results.rates, results.losses, color=ink(), alpha=0.25, linewidth=1.2, label="loss of a batch")
    axes.plot(results.rates, results.smooth, color="C0", label="average")
    if results.suggestion is not None:
        at = results.smooth[results.rates.index(results.suggestion)]
        axes.plot(results.suggestion, at, "C1o", label=f"falls fastest: {results.suggestion:.2g}")
    at = results.smooth[results.rates.index(results.lowest)]
    axes.plot(results.lowest, at, "C2s", label=f"lowest: {results.lowest:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    margin = 0.15 * (max(results.smooth) - min(results.smooth)) or 1.0
    axes.set_ylim(min(results.smooth) - margin, max(results.smooth) + margin)
    axes.legend()
    grid(axes)


@command
def main(arguments: list[str]) -> None:
    """Runs the test that the command line asks for, and prints what it suggests."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.rates", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    add_config(parser)
    parser.add_argument("--workdir", required=True, help="folder for the results")
    parser.add_argument("--low", type=float, default=1e-6, help="the first learning rate (default %(default)s)")
    parser.add_argument("--high", type=float, default=1.0, help="the last one (default %(default)s)")
    parser.add_argument("--steps", type=int, default=200, help="from the first to the last (default %(default)s)")
    args, others = parser.parse_known_args(arguments)
    flags = [f"--config={args.config}", *others]
    config = read_command_line([*flags, f"--workdir={args.workdir}"]).config
    use_compilation_cache()
    results = measure(Run.of(config), low=args.low, high=args.high, steps=args.steps)
    folder = Path(args.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "rates.json", vars(results))
    paths = draw(picture, results, folder / "rates")
    print(f"lowest loss at learning rate {results.lowest:.2g}; too high from there on")
    if results.suggestion is None:
        print("the loss never falls: try a wider range, or more steps")
    else:
        print(f"falls fastest at {results.suggestion:.2g}")
    print(f"results  {folder / 'rates.json'}")
    print(f"pictures {drawn(folder, paths)}")
    if results.suggestion is not None:
        rate = f"--config.optimizer.learning_rate={results.suggestion:.2g}"
        line = f"python train.py {shlex.join(flags)} --workdir={shlex.quote(args.workdir + '_run')} {rate}"
        print(next_text([line]))


if __name__ == "__main__":
    main()
