"""The options of a sweep: how its trials are run. They are arguments in Python, and flags on a command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError

MEMBERS = 16  # of a population at most, by default


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the trials of a sweep are run.

    Attributes:
      workdir: the folder for the trials and the results.
      jobs: how many processes train at a time; with several, each has one GPU.
      only: if not empty, only trials with one of these texts in their name run. The texts may be patterns with "*".
      dry_run: trials are listed, and nothing runs.
      topology: of a dry run: accelerators whose least time is estimated, such as "h100:1" and "v5e:2x2".
      retry_failed: trials that failed are continued.
      wait: also for trials that other runners work on.
      population: how many trials one program may train together, where they differ only in numbers.
      storage: of a search: "sqlite", "journal" (for a folder on a network file system), or the URL of a database.
      launcher: "local", or "slurm" for a job array of `jobs` runners.
      slurm: options of the job array, such as "partition=gpu".

    Raises:
      UserError: a value is not as expected.
    """

    workdir: str | Path
    jobs: int = 1
    only: Sequence[str] = ()
    dry_run: bool = False
    topology: Sequence[str] = ()
    retry_failed: bool = False
    wait: bool = True
    population: int = MEMBERS
    storage: str = "sqlite"
    launcher: str = "local"
    slurm: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not str(self.workdir).strip():
            raise UserError("--workdir is empty: expected the folder for the trials and the results")
        if Path(self.workdir).exists() and not Path(self.workdir).is_dir():
            raise UserError(f"--workdir={self.workdir}: expected a folder, and this is a file")
        for name in ("jobs", "population"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name}={getattr(self, name)}: expected at least 1")
        if self.topology and not self.dry_run:
            raise UserError("--topology is for --dry_run: it says what the trials would cost there")
        if self.launcher not in ("local", "slurm"):
            raise UserError(f"--launcher={self.launcher}: expected local or slurm")

    @staticmethod
    def add_flags(parser: argparse.ArgumentParser) -> None:
        """Adds a flag for each option to a parser, but for the workdir."""
        add = parser.add_argument
        add("--jobs", type=int, default=1, help="runs at a time; with several, each has one GPU (default: 1)")
        add("--only", nargs="+", default=[], metavar="TEXT", help="trials with this text in their name, such as seed=0")
        add("--dry_run", action="store_true", help="list the trials and what they cost; run nothing")
        add("--topology", nargs="+", default=[], metavar="NAME",
            help="with --dry_run: the least time on accelerators such as h100:1 or v5e:2x2")  # fmt: skip
        add("--retry_failed", action="store_true", help="continue the trials that failed")
        add("--no_wait", action="store_true", help="do not wait for trials that other runners work on")
        add(
            "--population",
            type=_population,
            default="auto",
            metavar="auto|N|off",
            help=f"trials that one program may train together, if they differ only in numbers (auto: {MEMBERS})",
        )
        add("--storage", default="sqlite", help="of a search: sqlite (default), journal, or the URL of a database")
        add("--launcher", choices=["local", "slurm"], default="local", help="slurm: a job array of --jobs runners")
        add("--slurm", nargs="+", default=[], metavar="NAME=VALUE",
            help="options of the job array, such as partition=gpu time=60 mem=8GB")  # fmt: skip

    @classmethod
    def of(cls, args: argparse.Namespace, workdir: str | Path) -> "Options":
        """Returns the options that were parsed with the flags of `add_flags`."""
        return cls(
            workdir=workdir, jobs=args.jobs, only=args.only, dry_run=args.dry_run, topology=args.topology,
            retry_failed=args.retry_failed, wait=not args.no_wait, population=args.population, storage=args.storage,
            launcher=args.launcher, slurm=args.slurm,
        )  # fmt: skip


def _population(text: str) -> int:
    if text in ("auto", "off"):
        return MEMBERS if text == "auto" else 1
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected auto, off or a number of at least 1")
    return int(text)
