"""Image files: which formats are read, how they are turned and composited, and that every failure names the file."""

import io
import os
import stat
import struct
import zlib

import numpy as np
from PIL import Image, TiffImagePlugin
import pytest

from core.errors import UserError
from data import image_files
from data.image_files import FORMATS, image_pixels, image_size
from data.resizing import STRETCHED

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [90, 90, 90], [255, 255, 255]]], np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_every_format_that_is_read_gives_its_pixels(tmp_path):
    for name in FORMATS:
        file = saved(tmp_path / f"{name}.data", Image.fromarray(CORNERS), format=name, **_lossless(name))
        assert image_size(file) == (2, 3)
        tolerance = 40 if name == "JPEG" else 0
        np.testing.assert_allclose(image_pixels(file, (2, 3, 3), resizing=None), CORNERS, atol=tolerance)


def _lossless(name):
    return {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(name, {})


@pytest.mark.parametrize("chunk", ["exif", "profile"])
def test_an_orientation_behind_the_pixels_of_a_png_turns_its_size_as_well(tmp_path, chunk):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(np.rot90(CORNERS).copy()).save(content, format="PNG")
    data = exif.tobytes().removeprefix(b"Exif\x00\x00")
    kind = b"eXIf"
    if chunk == "profile":
        profile = f"\nexif\n{len(data) + 6:8}\n{(b'Exif' + bytes(2) + data).hex()}\n".encode()
        kind, data = b"zTXt", b"Raw profile type exif\x00\x00" + zlib.compress(profile)
    late = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    end = content.getvalue().index(b"IEND") - 4
    (tmp_path / "x.png").write_bytes(content.getvalue()[:end] + late + content.getvalue()[end:])
    assert image_size(tmp_path / "x.png") == (2, 3)
    np.testing.assert_array_equal(image_pixels(tmp_path / "x.png", (2, 3, 3), resizing=None), CORNERS)


@pytest.mark.parametrize("header, numbers", [("P6", None), ("P3", " 0 65535 256 1 2 3")])
def test_colours_of_16_bits_are_refused_in_a_ppm_too(tmp_path, header, numbers):
    body = numbers.encode() if numbers else bytes(12)
    (tmp_path / "x.ppm").write_bytes(f"{header} 2 1 65535\n".encode() + body)
    for use in (image_size, lambda file: image_pixels(file, (1, 2, 3), resizing=None)):
        with pytest.raises(UserError, match="x.ppm has more than 8 bits a channel"):
            use(tmp_path / "x.ppm")


def test_a_stored_image_is_png_or_jpeg_of_the_shape_that_the_set_states():
    for name in FORMATS:
        content = io.BytesIO()
        Image.fromarray(CORNERS).save(content, format=name, **_lossless(name))
        if name in image_files.STORED:
            assert image_files.stored_pixels(content.getvalue(), (None, 3, 3)).shape == (2, 3, 3)
            with pytest.raises(ValueError, match=r"shape \(2, 3, 3\), expected \(7, 3, 3\)"):
                image_files.stored_pixels(content.getvalue(), (7, 3, 3))
        else:
            with pytest.raises(ValueError):
                image_files.stored_pixels(content.getvalue(), (2, 3, 3))


def test_no_other_format_is_read_and_no_program_started(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    file = tmp_path / "photo.png"
    file.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 2\n%%EndComments\nshowpage\n%%EOF\n")
    for use in (image_size, lambda file: image_pixels(file, (2, 3, 3), resizing=STRETCHED)):
        with pytest.raises(UserError, match="photo.png is not an image of a format that is read here"):
            use(file)
    assert not (tmp_path / "started").exists()
    Image.init()
    for name in sorted(set(Image.SAVE) - set(FORMATS) - {"MPO"}):  # MPO is JPEG
        content = io.BytesIO()
        try:
            Image.fromarray(CORNERS).save(content, format=name)
        except (OSError, KeyError, ValueError, AttributeError):  # cannot hold such an image
            continue
        file.write_bytes(content.getvalue())
        try:
            image_size(file)
        except UserError as error:
            assert "photo.png" in str(error)
        else:
            assert Image.open(file, formats=FORMATS).format in FORMATS  # DIB, JPEG 2000 and the like


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_stand_upright_as_their_orientation_says(tmp_path, orientation, kind):
    # How the upright picture is stored, by the EXIF standard.
    stored = {
        1: CORNERS, 2: CORNERS[:, ::-1], 3: CORNERS[::-1, ::-1], 4: CORNERS[::-1], 5: CORNERS.swapaxes(0, 1),
        6: np.rot90(CORNERS), 7: CORNERS[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(CORNERS, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    file = saved(tmp_path / "x", image, format=kind, exif=exif, **_lossless(kind))
    assert image_size(file) == (2, 3)
    pixels = image_pixels(file, (2, 3, 3), resizing=None)
    np.testing.assert_allclose(pixels, CORNERS, atol=40 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_is_white_whatever_colour_lies_below(tmp_path, kind):
    colours = np.array([[[200, 10, 10, 0], [200, 10, 10, 255], [0, 0, 0, 51]]], np.uint8)
    file = saved(tmp_path / "x", Image.fromarray(colours), format=kind, **_lossless(kind) | _exact(kind))
    expected = [[[255, 255, 255], [200, 10, 10], [204, 204, 204]]]
    np.testing.assert_allclose(image_pixels(file, (1, 3, 3), resizing=None), expected, atol=1)


def _exact(kind):
    return {"exact": True} if kind == "WEBP" else {}


def test_palettes_grey_with_alpha_and_a_transparent_colour(tmp_path):
    grey = saved(tmp_path / "la.png", Image.fromarray(np.array([[[40, 0], [40, 255]]], np.uint8), "LA"))
    assert image_pixels(grey, (1, 2, 1), resizing=None)[..., 0].tolist() == [[255, 40]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([7, 7, 7, 70, 70, 70])
    for name in ("p.png", "p.gif"):
        file = saved(tmp_path / name, palette, transparency=0)
        assert image_pixels(file, (1, 2, 1), resizing=None)[..., 0].tolist() == [[255, 70]]
    colour = saved(tmp_path / "rgb.png", Image.fromarray(CORNERS), transparency=(255, 0, 0))
    assert image_pixels(colour, (2, 3, 3), resizing=None)[0].tolist() == [[255] * 3, [0, 255, 0], [0, 0, 255]]


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    frames = [Image.fromarray(np.full((2, 3), value, np.uint8)) for value in (10, 90, 170)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"save_all": True, "append_images": frames[1:]} | _lossless(kind)
        file = saved(tmp_path / "x", frames[0], format=kind, **options)
        assert (image_pixels(file, (2, 3, 1), resizing=None) == 10).all()


def test_cmyk_becomes_colours(tmp_path):
    image = Image.fromarray(np.full((2, 3, 4), (0, 255, 255, 0), np.uint8), "CMYK")
    assert image_pixels(saved(tmp_path / "x.tif", image), (2, 3, 3), resizing=None)[1, 2].tolist() == [255, 0, 0]


# ---- refusals -------------------------------------------------------------------------------------------------------


def png(width, height, colour_type, depth, raw, *chunks):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    rest = b"".join(chunk(*each) for each in chunks) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + rest


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_a_channel_are_refused(tmp_path, colour_type, channels):
    (tmp_path / "x.png").write_bytes(png(1, 1, colour_type, 16, b"\0" + b"\x12\x34" * channels))
    with pytest.raises(UserError, match="x.png has more than 8 bits a channel"):
        image_pixels(tmp_path / "x.png", (1, 1, 3), resizing=None)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_oversized_texts_and_unknown_colours_name_the_file(tmp_path):
    text = zlib.compress(b" " * 2**21)
    content = {
        "pixels": png(30_000, 30_000, 0, 8, b""),
        "more": png(10_000, 10_000, 0, 8, b""),
        "text": png(1, 1, 0, 8, b"\0\0", (b"zTXt", b"Comment\0\0" + text)),
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    Image.new("LAB", (3, 2)).save(tmp_path / "lab", format="TIFF")
    for name in (*content, "lab"):
        with pytest.raises(UserError, match=rf"{name} (has|cannot be read|is not an image)"):
            image_pixels(tmp_path / name, (2, 3, 3), resizing=STRETCHED)


@pytest.mark.parametrize(
    "error", [OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError,
              AttributeError, OverflowError, ZeroDivisionError, RecursionError, Image.DecompressionBombError,
              AssertionError, NotImplementedError, RuntimeError]
)  # fmt: skip
def test_every_exception_of_the_image_library_names_the_file(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error("of the library")

    file = saved(tmp_path / "x.png", Image.fromarray(CORNERS))
    for place, name in ((image_files.Image, "open"), (image_files.ImageOps, "exif_transpose")):
        with monkeypatch.context() as patch, pytest.raises(UserError, match=r"x.png .*of the library"):
            patch.setattr(place, name, fail)
            image_pixels(file, (2, 3, 3), resizing=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_thousand_damaged_images_are_read_or_refused_by_name(tmp_path):
    generator = np.random.default_rng(0)
    picture = Image.fromarray(generator.integers(0, 255, (29, 31, 3), np.uint8))
    TiffImagePlugin.WRITE_LIBTIFF = False
    for name in FORMATS:
        content = io.BytesIO()
        picture.save(content, format=name)
        for _ in range(150):
            damaged = bytearray(content.getvalue())
            for place in generator.integers(0, len(damaged), 3):
                damaged[place] = generator.integers(256)
            (tmp_path / "damaged").write_bytes(damaged[: generator.integers(len(damaged) // 2, len(damaged) + 1)])
            try:
                image_pixels(tmp_path / "damaged", (29, 31, 3), resizing=STRETCHED)
            except UserError as error:
                assert "damaged" in str(error)
