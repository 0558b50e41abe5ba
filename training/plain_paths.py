"""Gives a folder another path, for libraries that do not take every character in one."""

from pathlib import Path
import tempfile

from core.errors import UserError

# Orbax reads a path as a pattern of `glob`, and TensorStore takes no backslash.
_SPECIAL = frozenset("*?[]\\")


class PlainPath:
    """A path without special characters to a folder whose own path may have some: then it is a temporary link.

    Attributes:
      path: absolute. It is valid as long as this object lives.

    Raises:
      UserError: a link is needed, and the path of the temporary folder has such characters too.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder).absolute()
        if _SPECIAL & set(str(self.path)):
            self._holder = tempfile.TemporaryDirectory(prefix="lectern-")  # is removed with this object
            link = Path(self._holder.name).absolute() / "link"
            if special := _SPECIAL & set(str(link)):
                raise UserError(
                    f"{folder} and TMPDIR = {tempfile.gettempdir()} both have special characters ({min(special)}): "
                    "set TMPDIR to another folder"
                )
            link.symlink_to(self.path, target_is_directory=True)
            self.path = link
