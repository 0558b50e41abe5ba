"""A sweep that a program wrote: a list of trials, each with a name, a config and overrides of its own.

`python -m experiments.sweep runs/compare/final.json --workdir=runs/compare/final` runs it like a sweep file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import json
from pathlib import Path

from experiments.sweep.trials import Trial
from training.workdir import write_json


@dataclass(frozen=True)
class TrialList:
    """What `experiments.sweep` needs of a sweep.

    Attributes:
      path: of the file. metric, better: what the board shows.
      listed: by the name of the trial, {"config": ..., "overrides": {...}}, and "labels" where it has any.
    """

    path: str
    metric: str
    better: str
    listed: Mapping[str, Mapping]
    search = None

    @classmethod
    def read(cls, path: str | Path) -> "TrialList":
        """Raises FileNotFoundError, and ValueError where the file is none of ours."""
        try:
            said = json.loads(Path(path).read_text())
            return cls(str(path), said["metric"], said["better"], said["listed"])
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no list of trials {path}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected a list of trials, as experiments.benchmark writes it") from error

    def write(self) -> None:
        write_json(self.path, asdict(self))

    def trials(self, workdir: str | Path) -> list[Trial]:
        """In the order of the list."""
        folder = Path(workdir) / "trials"
        return [
            Trial(folder / name, said["config"], {}, said["overrides"], said.get("labels", {}))
            for name, said in self.listed.items()
        ]
