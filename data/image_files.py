"""Reads the user's image files: formats that are mere data, turned upright, on one background."""

from collections.abc import Iterator
from contextlib import contextmanager
import io
from pathlib import Path
import struct

import numpy as np
from PIL import Image, ImageOps

from core.errors import UserError, reason
from core.reading import refuse_special_file
from data.resizing import Resizing

# Pillow reads many more, and some start programs: Encapsulated PostScript runs Ghostscript, whatever the file's name.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
STORED = ("PNG", "JPEG")  # what the sets that TFDS publishes are stored in
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")  # Pillow's names
BACKGROUND = (255, 255, 255, 255)  # shows through where a picture is transparent

_ORIENTATION = 0x0112  # an EXIF tag; 5 to 8 exchange rows and columns


def image_size(file: Path) -> tuple[int, int]:
    """Returns (rows, columns) of an upright image, from its header alone.

    Raises UserError, which names the file, where it is no image of the `FORMATS`.
    """
    with _opened(file) as image:
        # Pillow gives the upright size of a TIFF. It would decode a whole PNG to look for an orientation at its end.
        told = image.format != "TIFF" and (image.format != "PNG" or _png_may_be_turned(file))
        turned = told and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def refuse_damaged(file: Path) -> None:
    """Raises UserError, which names the file, where it is no image of the `FORMATS` or ends too early.

    A JPEG is decoded at an eighth of its size, which takes a fraction of the time; others are decoded whole.
    """
    with _opened(file) as image:
        image.draft(image.mode, (1, 1))
        image.load()


def image_pixels(file: Path, shape: tuple[int, int, int], *, resizing: Resizing | None) -> np.ndarray:
    """Returns the pixels of an image, uint8 of `shape` (rows, columns, channels), 1 channel for grey or 3 for colour.

    The image is turned upright as its EXIF data say, transparent parts show a white background, and of an animation the
    first picture is taken.

    Args:
      resizing: how an image is brought to this size; None for images that must have it.

    Raises UserError, which names the file, where it is no image of the `FORMATS`, is damaged or has another size.
    """
    rows, columns, channels = shape
    with _opened(file) as image:
        # Each copy of a small image takes as long as a tenth of its decoding, so none is made that changes nothing.
        ImageOps.exif_transpose(image, in_place=True)
        if image.has_transparency_data:
            picture = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", picture.size, BACKGROUND), picture)
        mode = "L" if channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        if resizing is not None and (resizing.centre < 1 or image.size != (columns, rows)):
            image = resizing.picture(image, rows, columns)
        elif image.size != (columns, rows):
            raise UserError(
                f"{file} has {words((image.height, image.width))}, expected {words((rows, columns))}. "
                "Set data.size to stretch all images to one size."
            )
        return np.asarray(image).reshape(shape)


def stored_pixels(content: bytes, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns the pixels of an image in a record of a prepared set, uint8 of `shape`; None stands for any size.

    Raises ValueError where it is no image of the formats `STORED`, or has another shape.
    """
    try:
        with Image.open(io.BytesIO(content), formats=STORED) as image:
            pixels = np.asarray(image, np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises besides ValueError
        raise ValueError(f"an image cannot be read: {reason(error)}") from error
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if any(expected not in (None, actual) for expected, actual in zip(shape, pixels.shape, strict=True)):
        raise ValueError(f"an image has the shape {pixels.shape}, expected {shape}")
    return pixels


def words(size: tuple[int, int]) -> str:
    """Returns (rows, columns) in words."""
    return f"{size[0]} rows and {size[1]} columns"


def _png_may_be_turned(file: Path) -> bool:
    """Whether a PNG file has a chunk, before or behind its pixels, in which Pillow looks for an orientation."""
    with file.open("rb") as stream:
        stream.seek(8)
        while len(header := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            start = stream.read(min(length, 30)).lower()
            if kind == b"eXIf" or (kind in (b"tEXt", b"zTXt", b"iTXt") and (b"exif" in start or b"xmp" in start)):
                return True
            stream.seek(length - len(start) + 4, 1)
    return False


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Opens an image for a block. What Pillow raises in the block becomes a UserError that names the file."""
    refuse_special_file(file)
    try:
        with Image.open(file, formats=FORMATS) as image:
            _refuse_unfit(file, image)
            yield image
    except (UserError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise UserError(
            f"{file} is not an image of a format that is read here ({', '.join(FORMATS)}). Convert it, or move it away."
        ) from error
    except Exception as error:  # for a damaged or hostile file, Pillow raises exceptions of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} cannot be read as an image: {reason}. Replace it, or move it away.") from error


def _largest_of_ppm(image: Image.Image, arguments: object) -> int:
    """The number that stands for full intensity in a PPM file, which is an argument of Pillow's decoder; else 0."""
    if image.format == "PPM" and isinstance(arguments, tuple) and isinstance(arguments[-1], int):
        return arguments[-1]
    return 0


def _refuse_unfit(file: Path, image: Image.Image) -> None:
    """Raises UserError for an image whose numbers would be changed beyond recognition, or that fills the memory."""
    # Pillow cuts colours of 16 bits to 8, and clips grey ones.
    deep = (";16" in str(tile[3]) or _largest_of_ppm(image, tile[3]) > 255 for tile in getattr(image, "tile", []))
    if image.mode[0] in "IF" or any(deep):
        raise UserError(f"{file} has more than 8 bits a channel (mode {image.mode}). Convert it to 8 bits.")
    if image.mode not in MODES:
        raise UserError(f"{file} has colours in the mode {image.mode}, which are not read here. Convert it to RGB.")
    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most and pixels > most:
        raise UserError(f"{file} has {pixels:,} pixels, expected at most {most:,}. Make it smaller.")
