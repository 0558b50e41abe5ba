"""A sweep that a program wrote: a list of trials, each with its own name, config and overrides.

`python -m experiments.sweep runs/compare/final.json --workdir=runs/compare/final` runs it like a sweep file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from core.errors import UserError
from core.files import parse_json, refuse_unknown_keys, write_json
from core.reading import read_text
from experiments.sweep.trials import Trial


@dataclass(frozen=True)
class TrialList:
    """A list of trials, with what `experiments.sweep` needs of a sweep.

    Attributes:
      path: of the file.
      metric, better: what the trials are compared by while they run.
      listed: for each name of a trial, {"config": ..., "overrides": {...}}, and "labels" if it has any.
    """

    path: str
    metric: str
    better: str
    listed: Mapping[str, Mapping]

    @classmethod
    def read(cls, path: str | Path) -> "TrialList":
        """Returns the list in a file.

        Raises:
          UserError: there is no such file, or it holds no list of trials.
        """
        try:
            content = parse_json(read_text(path))
            refuse_unknown_keys(path, content, [field.name for field in fields(cls)])
            if content["listed"] == {}:
                raise UserError(f"{path}: listed holds no trial: expected at least one")
            for name, entry in content["listed"].items():
                refuse_unknown_keys(f"{path}: trial {name}", entry, ("config", "overrides", "labels"))
                if not isinstance(entry["config"], str) or not isinstance(entry["overrides"], dict):
                    raise UserError(f"{path}: trial {name}: expected a config file and a dict of overrides")
            return cls(str(path), content["metric"], content["better"], content["listed"])
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: expected a list of trials, as experiments.benchmark writes it") from error

    def write(self) -> None:
        """Writes the list to its `path`."""
        write_json(self.path, asdict(self))

    def trials(self, workdir: str | Path) -> list[Trial]:
        """Returns the trials in the order of the list."""
        folder = Path(workdir) / "trials"
        return [
            Trial(folder / name, entry["config"], {}, entry["overrides"], entry.get("labels", {}))
            for name, entry in self.listed.items()
        ]
