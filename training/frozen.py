"""Parameters that training leaves as they are, chosen by patterns over their paths.

The optimizer never sees them: no gradient is computed for them, they have no moments, and nothing makes them decay.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from core.errors import UserError, shown
from core.parameters import Parameters


def split_frozen(parameters: Parameters, patterns: Sequence[str]) -> tuple[Parameters, Parameters]:
    """Returns the parameters that are trained, and those whose path matches one of the patterns."""
    frozen = {path: x for path, x in parameters.items() if any(fnmatchcase(path, pattern) for pattern in patterns)}
    return {path: x for path, x in parameters.items() if path not in frozen}, frozen


def check_patterns(patterns: Sequence[str], paths: Iterable[str]) -> None:
    """Checks the field `freeze` of a config against the paths of a model's parameters.

    Raises:
      UserError: a pattern matches no parameter, or nothing is left to train.
    """
    paths = list(paths)
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            parts = ", ".join(dict.fromkeys(path.split(".")[0] for path in paths))
            raise UserError(
                f"freeze: the pattern {shown(pattern)} matches no parameter. The paths begin with {parts}; one of them "
                f"is {paths[0]!r}"
            )
    if patterns and all(any(fnmatchcase(path, pattern) for pattern in patterns) for path in paths):
        raise UserError("freeze: the patterns match every parameter: nothing is left to train")
