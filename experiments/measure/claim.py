"""What the docstring of a config claims.

A docstring has one line of each of these kinds ("Needs" and "Published" are optional, "Reaches" and "Published" may
occur several times):

  Command:   python train.py --config=configs/vit.py --workdir=runs/vit
  Time:      25 s on 2 CPU cores
  Needs:     mnist, gpu
  Reaches:   test/accuracy >= 0.98
  Published: test/accuracy 0.985, Author et al. 2021, table 3

"Published" is a number that somebody else reported for what the config repeats, and where.
"""

import ast
from dataclasses import dataclass
import operator
from pathlib import Path
import re
import shlex

import jax

from core.errors import UserError
from core.files import ROOT
from data.storage import open_official

COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Goal:
    """One line "Reaches:": the value that a metric must reach, and from which side."""

    metric: str
    sign: str
    value: float

    def met_by(self, measured: float) -> bool:
        """Returns whether a measured value reaches the goal; the value of the goal itself does."""
        return COMPARE[self.sign](measured, self.value)

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.value:g}"


@dataclass(frozen=True)
class Published:
    """One line "Published:": the value of a metric that somebody else reported, and where."""

    metric: str
    value: float
    source: str


@dataclass(frozen=True)
class Claim:
    """What the docstring of a config claims.

    Attributes:
      config: path of the config file.
      title: the first line of the docstring.
      command: the words of "python train.py --config=... --workdir=...".
      time: such as "25 s on 2 CPU cores", or "not measured" and the reason.
      needs: names of TFDS sets that must be on disk, paths (with a "/") from the root of the project, "gpu", "tpu".
      goals: the lines "Reaches:"; none if it says "not measured" there.
      published: the lines "Published:".
    """

    config: str
    title: str
    command: list[str]
    time: str
    needs: list[str]
    goals: list[Goal]
    published: list[Published]

    @classmethod
    def read(cls, path: str | Path) -> "Claim":
        """Reads a config file. Raises UserError that names the line of the docstring that is missing or malformed."""
        docstring = ast.get_docstring(ast.parse(Path(path).read_text())) or ""
        lines: dict[str, list[str]] = {name: [] for name in ("Needs", *_FORMS)}
        for name, text in _LINE.findall(docstring):
            lines[name].append(text.strip())
        for name, form in _FORMS.items():
            few, many = name != "Published" and not lines[name], name in _ONCE and len(lines[name]) > 1
            if few or many:
                raise UserError(f"{path}: its docstring has {len(lines[name])} lines {name!r}, expected one: {form}")
            for text in lines[name]:
                if not re.fullmatch(_PATTERNS[name], text):
                    raise UserError(f"{path}: {name}: {text!r}, expected a line like: {form}")
        needs = [need.strip() for text in lines["Needs"] for need in text.split(",")]
        measured = [text.split() for text in lines["Reaches"] if not text.startswith("not measured")]
        goals = [Goal(metric, sign, float(value)) for metric, sign, value in measured]
        reported = [text.split(None, 2) for text in lines["Published"]]
        published = [Published(metric, float(value.rstrip(",")), source) for metric, value, source in reported]
        title, command = docstring.splitlines()[0], shlex.split(lines["Command"][0])
        return cls(str(path), title, command, lines["Time"][0], needs, goals, published)

    def missing(self) -> list[str]:
        """Returns those of its needs that this machine does not have."""
        return [need for need in self.needs if not _available(need)]


_LINE = re.compile(r"^(Command|Time|Needs|Reaches|Published):(.*)$", re.MULTILINE)
_ONCE = ("Command", "Time")
_FORMS = {
    "Command": "python train.py --config=configs/vit.py --workdir=runs/vit",
    "Time": "25 s on 2 CPU cores",
    "Reaches": "test/accuracy >= 0.98",
    "Published": "test/accuracy 0.985, Author et al. 2021, table 3",
}
_PATTERNS = {
    "Command": r"python train\.py (?=.*--config=\S).*--workdir=\S+.*",
    "Time": r"\d+(\.\d+)? (s|min|h) on .+|not measured.*",
    "Reaches": r"\S+ (>=|<=) -?\d+(\.\d+)?|not measured.*",
    "Published": r"\S+ -?\d+(\.\d+)?, .+",
}


def _available(need: str) -> bool:
    if need in ("gpu", "tpu"):
        return jax.default_backend() == need
    if re.search(r"[./]", need) and (ROOT / need).exists():  # a file or folder of the user's
        return True
    try:
        open_official(need)
    except UserError:  # also for a path, which is no name of a set
        return False
    return True
