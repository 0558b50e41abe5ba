"""How an image of any size becomes one of the size that a model reads: stretched, or cut out of its middle."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image

from core.errors import UserError
from core.ranges import OneOf, Range

RESIZING = ("resample", "centre", "proportions")
"""The fields of a data set that `Resizing` has."""
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

NewSide = Annotated[int, Range(0, 2**13)]  # 0 leaves images as they are
Resample = Annotated[str, OneOf(tuple(FILTERS))]
Centre = Annotated[float, Range(0, 1, open_low=True)]


@dataclass(frozen=True)
class Resizing:
    """What the fields `resample`, `centre` and `proportions` of a data set say, beside its `size`.

    Attributes:
      resample: "bilinear" or "bicubic" interpolation (Keys 1981), over as many pixels as one of the result covers.
      centre: the share of the rows and of the columns that is kept, in the middle. The image is first resized so that
        this share has the right number of pixels.
      proportions: False stretches each side by itself. True keeps the proportions: one side becomes as long as it
        has to be, the other one in proportion, and what is too long is cut off.
    """

    resample: str = "bilinear"
    centre: float = 1.0
    proportions: bool = False

    @classmethod
    def of(cls, size: int, resample: str, centre: float, proportions: bool) -> "Resizing":
        """Returns what the fields of a data set say. Raises UserError for what a set without `size` cannot have."""
        if not size and (centre < 1 or proportions):
            raise UserError(
                f"centre = {centre}, proportions = {proportions}: they say how an image gets its size. Set data.size, "
                "the side that it is to have."
            )
        return cls(resample, centre, proportions)

    def picture(self, picture: Image.Image, rows: int, columns: int) -> Image.Image:
        """Returns an image with this many rows and columns."""
        width, height = round(columns / self.centre), round(rows / self.centre)
        if self.proportions:
            old_width, old_height = picture.size
            # The side that has to grow most decides. The other one is rounded down, as published models do.
            if width * old_height >= height * old_width:
                height = old_height * width // old_width
            else:
                width = old_width * height // old_height
        picture = picture.resize((width, height), FILTERS[self.resample])
        left, top = (width - columns) // 2, (height - rows) // 2
        return picture.crop((left, top, left + columns, top + rows))

    def pixels(self, pixels: np.ndarray, size: int) -> np.ndarray:
        """Returns an image, uint8 (rows, columns, channels), with `size` rows and columns; 0 leaves it as it is."""
        if not size or pixels.shape[:2] == (size, size) and self.centre == 1:
            return pixels
        picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return np.asarray(self.picture(picture, size, size)).reshape(size, size, -1)

    @property
    def name(self) -> str:
        """What tells a file of images that were resized so from others; "" for the default."""
        parts = [self.resample, f"{self.centre:g}", *(["proportions"] if self.proportions else [])]
        return "" if self == STRETCHED else "-" + "-".join(parts)


STRETCHED = Resizing()
