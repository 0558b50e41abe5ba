"""Runs all trials of a sweep file, or continues where it was stopped.

python -m experiments.sweep experiments/sweeps/decoder_width.py --workdir=runs/decoder_width --jobs=2

Each trial is a run of `train.py` in `<workdir>/trials/<its overrides>`. A trial that fails is marked, and the others go
on. However the command is stopped, the same command continues: complete trials are not repeated, and interrupted ones
resume. Several such commands, on one machine or on several that share the folder, divide the trials among them.
`experiments/sweep/sweep_file.py` says what a sweep file contains.
"""

import argparse

import jax

from core.command import command
from experiments.sweep import engine
from experiments.sweep.options import Options
from experiments.sweep.sweep_file import Sweep
from experiments.sweep.trial_list import TrialList


@command
def main(arguments: list[str]) -> int:
    """Runs the sweep that the command line names. Returns 1 if a trial failed or is left, else 0."""
    args = parser().parse_args(arguments)
    jax.config.update("jax_platforms", "cpu")  # this process computes nothing: the accelerators are for the trials
    sweep = TrialList.read(args.file) if args.file.endswith(".json") else Sweep.read(args.file)
    return 0 if engine.run(sweep, Options.of(args, args.workdir)) else 1


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="the sweep, such as experiments/sweeps/decoder_width.py")
    parser.add_argument("--workdir", required=True, help="folder for the trials and the results")
    Options.add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
