"""Studies: the whole tuning again, with other seeds and another division into training and validation data.

The first study is that of the suite. In study k the seeds are 1000 (k - 1) higher, and the validation part has moved by
k - 1 times its own size: after train[:80%] and train[80%:] come train[:60%]+train[80%:] and train[60%:80%]. Where the
set has a validation split of its own, each further study validates on another tenth of the training split instead.
"""

from pathlib import Path
import re

from core.errors import UserError

SEEDS = 1000  # between two studies


def tuning_seed(study: int) -> int:
    """Returns the seed of the tuning of a study, which is counted from 0."""
    return SEEDS * study


def final_seed(study: int, number: int) -> int:
    """Returns the seed of the final run of this number, from 1 on."""
    return SEEDS * study + number


def folder(workdir: Path, phase: str, study: int) -> Path:
    """Returns the folder of a phase of a study: "tuning", then "tuning_2" and so on."""
    return workdir / (f"{phase}_{study + 1}" if study else phase)


def folders(workdir: Path, phase: str) -> list[Path]:
    """Returns the folders of a phase that exist, by study."""
    paths, study = [], 0
    while (path := folder(workdir, phase, study)).exists():
        paths.append(path)
        study += 1
    return paths


def splits(train: str, evaluation: str, study: int) -> tuple[str, str]:
    """Returns the training and validation splits of a study, from those of the first.

    Raises UserError if these are neither two parts of one split, in percent, nor two whole splits.
    """
    if study == 0:
        return train, evaluation
    parts = [re.fullmatch(r"([A-Za-z_][\w.-]*)(?:\[(?:(\d+)%)?:(?:(\d+)%)?\])?", spec.strip())
             for spec in (train, evaluation)]  # fmt: skip
    if parts[0] is None or parts[1] is None:
        raise UserError(
            f"--studies: cannot divide {train!r} and {evaluation!r} in another way: expected parts in percent, such as "
            "train[:80%] and train[80%:]"
        )
    (name, *ends), (other, *other_ends) = parts[0].groups(), parts[1].groups()
    (start, stop), (low, high) = ((int(a or 0), int(b or 100)) for a, b in (ends, other_ends))
    if name == other:
        shift = study * (high - low)
        return _arc(name, start - shift, stop - shift), _arc(name, low - shift, high - shift)
    if (start, stop, low, high) != (0, 100, 0, 100) or study > 10:
        raise UserError(
            f"--studies: cannot divide {train!r} and {evaluation!r} in another way: expected two whole splits, or "
            "parts of one split, and at most 10 studies"
        )
    low = 100 - 10 * study
    return f"{_arc(name, low + 10, low + 100)}+{other}", _arc(name, low, low + 10)


def _arc(name: str, start: int, stop: int) -> str:
    """A part of a split in percent, which goes on at the beginning if it reaches beyond the end."""
    length, start = stop - start, start % 100
    pieces = [(start, min(100, start + length)), (0, max(0, start + length - 100))]
    ranges = sorted(piece for piece in pieces if piece[0] < piece[1])
    text = lambda low, high: f"{name}[{f'{low}%' if low else ''}:{f'{high}%' if high < 100 else ''}]"
    return "+".join(name if piece == (0, 100) else text(*piece) for piece in ranges)
