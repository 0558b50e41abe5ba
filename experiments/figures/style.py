"""The look of everything that is drawn: one style, readable from the back row, for light and for dark slides.

A plot names the colours of the theme: "C0", "C1", ... and `ink()`. Those of the light theme are by Okabe & Ito (2008),
which can be told apart with any kind of colour vision; the dark theme has lighter ones. Colour maps are viridis.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from cycler import cycler
import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
import numpy as np
from numpy.typing import ArrayLike

from core.files import save_figure

Results = TypeVar("Results")

SIZE = (10, 5.625)  # inches, 16:9
_SHARED = {
    "font.size": 15, "axes.titlesize": 16, "axes.labelsize": 15, "xtick.labelsize": 13, "ytick.labelsize": 13,
    "legend.fontsize": 13, "legend.frameon": False, "axes.titlelocation": "left", "lines.linewidth": 2.6,
    "lines.markersize": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.titlepad": 10, "image.cmap": "viridis", "svg.hashsalt": "lectern", "savefig.dpi": 160,
    "figure.constrained_layout.w_pad": 0.12, "figure.constrained_layout.h_pad": 0.12,
}  # fmt: skip


def _theme(ink: str, background: str, faint: str, colours: list[str]) -> dict[Any, Any]:
    texts = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    backgrounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    return (
        _SHARED
        | dict.fromkeys(texts, ink)
        | dict.fromkeys(backgrounds, background)
        | {"grid.color": faint, "axes.prop_cycle": cycler(color=colours)}
    )


# The themes by the ending of their files' names.
THEMES = {
    "": _theme("#222222", "#FFFFFF", "#E3E3E3", ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]),
    "_dark": _theme("#EEEEEE", "#15181C", "#3A4047", ["#56B4E9", "#E69F00", "#2FBF94", "#DE9BC1", "#F0E442"]),
}


def draw(
    plot: Callable[[Figure, Results], None], results: Results, stem: Path, size: tuple[float, float] = SIZE
) -> list[Path]:  # fmt: skip
    """Calls `plot(figure, results)` in each theme, and saves the figures as PNG and SVG.

    Args:
      plot: draws into an empty figure.
      results: what it draws.
      stem: the path of the files without their endings.
      size: of the figure, in inches.

    Returns:
      The paths of all files.
    """
    paths = []
    for suffix, theme in THEMES.items():
        with matplotlib.rc_context(theme):
            figure = Figure(figsize=size, layout="constrained")
            plot(figure, results)
            for kind in ("png", "svg"):
                paths.append(stem.with_name(f"{stem.name}{suffix}.{kind}"))
                save_figure(paths[-1], figure, metadata={"Date": None} if kind == "svg" else None)
    return paths


def drawn(folder: str | Path, paths: Sequence[Path]) -> str:
    """Returns a line that names the pictures among `paths`, once for all themes and formats."""
    names = dict.fromkeys(path.stem.removesuffix("_dark") for path in paths)
    return f"{folder}: {', '.join(names)} (PNG and SVG, light and dark)"


def ink() -> str:
    """Returns the colour of text in the current theme."""
    return matplotlib.rcParams["text.color"]


def visible_viridis() -> ListedColormap:
    """Returns viridis for lines, without the end that cannot be seen on the background of the current theme."""
    red, green, blue = to_rgb(matplotlib.rcParams["figure.facecolor"])
    low, high = (0.25, 1) if red + green + blue < 1.5 else (0, 0.88)
    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(low, high, 256)))


def split(figure: Figure | SubFigure, rows: int, columns: int, **ratios) -> list[SubFigure]:
    """Splits a figure into subfigures, row by row; `ratios` are `width_ratios` and `height_ratios`."""
    return list(figure.subfigures(rows, columns, squeeze=False, **ratios).flat)


def matrix(axes: Axes, values: ArrayLike, form: str | None = None, *, size: float = 14, **image) -> AxesImage:
    """Draws a matrix as an image.

    Args:
      axes: where to draw.
      values: (rows, columns).
      form: the format in which entries are written on the image, such as ".2f"; None leaves them out.
      size: of the entries' font, in points.
      image: arguments of `imshow`.
    """
    values = np.asarray(values)
    drawn = axes.imshow(values, aspect=image.pop("aspect", "equal"), **image)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if form is not None:
        for (row, column), value in np.ndenumerate(values):
            red, green, blue, _ = np.asarray(drawn.cmap(drawn.norm(value)))
            colour = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(column, row, format(value, form), ha="center", va="center", color=colour, fontsize=size)
    return drawn


def tiles(axes: Axes, images: ArrayLike, **image) -> AxesImage:
    """Draws a grid of images (rows, columns, height, width) with gaps; `image` are arguments of `imshow`.

    The ticks are at the middles of the rows and columns, without labels.
    """
    rows, columns, height, width = np.shape(images)
    tiled = np.full((rows, height + 1, columns, width + 1), np.nan)
    tiled[:, :height, :, :width] = np.moveaxis(np.asarray(images), 2, 1)
    drawn = axes.imshow(tiled.reshape(rows * (height + 1), -1)[:-1, :-1], **image)
    axes.spines[:].set_visible(False)
    axes.set_xticks((width + 1) * np.arange(columns) + (width - 1) / 2, [""] * columns)
    axes.set_yticks((height + 1) * np.arange(rows) + (height - 1) / 2, [""] * rows)
    axes.tick_params(length=0)
    return drawn


def bars(axes: Axes, labels: list[str], values, form: str = ".3g", color: list[str] | None = None) -> None:
    """Draws horizontal bars, the first one at the top, with their values in the format `form`.

    Without `color`, each bar has its own.
    """
    drawn = axes.barh(labels, values, color=color or [f"C{i}" for i in range(len(labels))])
    axes.bar_label(drawn, [f" {value:{form}}" for value in values], color=ink(), fontsize=14)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def grid(axes: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Draws faint lines behind the plot, along one axis or both."""
    axes.grid(axis=axis, linewidth=1)
