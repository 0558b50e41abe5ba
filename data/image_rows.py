"""Image files of the user's own as rows that `data.images.Images` reads."""

from concurrent.futures import ThreadPoolExecutor
import os
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from data.identity import file_digest, identity_of
from data.image_cache import row_type
from data.image_files import image_pixels
from data.resizing import Resizing

_ALONE = 8  # images; for fewer, threads would not pay
_SMALL = 32 * 1024  # bytes of a file; smaller ones are read faster by one thread than by several
_THREADS = min(16, len(os.sched_getaffinity(0)))


class ImageRows:
    """Image files and class numbers that can be indexed like an array of rows, see `data.image_cache.row_type`.

    Files are decoded when they are read, the files of one read in parallel. Where the whole set takes at most
    `memory_limit` bytes, decoded images are kept in memory, so each file is decoded once. `resizing`:
    see `data.image_files.image_pixels`.
    """

    def __init__(
        self, labelled: list[tuple[Path, int]], shape: tuple[int, int, int], *, resizing: Resizing | None = None,
        memory_limit: int = 2 * 1024**3,
    ):  # fmt: skip
        self._labelled = labelled
        self._shape, self._resizing = shape, resizing
        self.dtype = row_type(shape)
        self._kept = None
        if len(labelled) * self.dtype.itemsize <= memory_limit:
            self._kept = np.empty(len(labelled), self.dtype)
            self._is_kept = np.zeros(len(labelled), bool)

    def __len__(self) -> int:
        return len(self._labelled)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self._kept is None:
            return self._decode(indices)
        missing = indices[~self._is_kept[indices]]
        if missing.size:
            # Marked last, so that another thread never reads a row that is not there yet.
            self._kept[missing] = self._decode(missing)
            self._is_kept[missing] = True
        return self._kept[indices]

    def place(self, index: int) -> str:
        """Returns the path of an image."""
        return str(self._labelled[index][0])

    def _decode(self, indices: np.ndarray) -> np.ndarray:
        chosen = [self._labelled[index] for index in indices.tolist()]
        rows = np.empty(len(chosen), self.dtype)
        rows["label"] = [label for _, label in chosen]

        images = rows["image"]

        def fill(places: range) -> None:
            for place in places:
                images[place] = image_pixels(chosen[place][0], self._shape, resizing=self._resizing)

        # Pillow gives up Python's lock only while it decodes: 40 % of the time of a JPEG of 64 x 64 pixels, most of it
        # for larger ones. Threads that share small files wait for the lock: two need twice the processor time of one
        # and end later. From 192 x 192 pixels on (25 kB) they end sooner, at 512 x 512 in 58 % of the time.
        if len(chosen) < _ALONE or _THREADS == 1 or _typical_size([file for file, _ in chosen]) < _SMALL:
            fill(range(len(chosen)))
            return rows
        # A thread takes several files at once, since handing over a file needs the lock as well. Threads end with the
        # read, so no other thread, fork or end of the program has to know of them.
        size = max(1, len(chosen) // (4 * _THREADS))
        parts = [range(start, min(start + size, len(chosen))) for start in range(0, len(chosen), size)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(fill, parts):  # raises the error of the first file that has one
                pass
        return rows

    def identity(self) -> dict[str, Any]:
        """Returns how many images each folder of a class has, and a digest of their names and contents."""
        folders: dict[str, list[Path]] = {}
        for file, _ in self._labelled:
            folders.setdefault("/".join(file.parts[-3:-1]), []).append(file)
        digest = lambda file: f"{file.name} {file_digest(file)}"
        return {name: identity_of(len(files), *map(digest, sorted(files))) for name, files in sorted(folders.items())}


def _typical_size(files: list[Path]) -> float:
    """Returns the median size in bytes of about eight of the files; 0 where one of them cannot be found."""
    try:
        return median(file.stat().st_size for file in files[:: max(1, len(files) // 8)])
    except OSError:  # reading the files tells the user
        return 0
