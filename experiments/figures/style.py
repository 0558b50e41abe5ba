"""How the figures of lectures look: one style for all, readable from the back row, on light and on dark slides.

Colours are the theme's: a plot names them "C0", "C1", ... and `ink()`. They are those of Okabe & Ito 2008, which people
with any colour vision tell apart; on dark, lighter ones. Maps are viridis.
"""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
import numpy as np

SIZE = (10, 5.625)  # inches, 16:9
_SHARED = {
    "font.size": 15, "axes.titlesize": 16, "axes.labelsize": 15, "xtick.labelsize": 13, "ytick.labelsize": 13,
    "legend.fontsize": 13, "legend.frameon": False, "axes.titlelocation": "left", "lines.linewidth": 2.6,
    "lines.markersize": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.titlepad": 10, "image.cmap": "viridis", "svg.hashsalt": "lectern", "savefig.dpi": 160,
    "figure.constrained_layout.w_pad": 0.12, "figure.constrained_layout.h_pad": 0.12,
}  # fmt: skip


def _theme(ink: str, ground: str, faint: str, colours: list[str]) -> dict:
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    return (
        _SHARED
        | dict.fromkeys(inked, ink)
        | dict.fromkeys(grounds, ground)
        | {"grid.color": faint, "axes.prop_cycle": matplotlib.cycler(color=colours)}
    )


THEMES = {
    "": _theme("#222222", "#FFFFFF", "#E3E3E3", ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]),
    "_dark": _theme("#EEEEEE", "#15181C", "#3A4047", ["#56B4E9", "#E69F00", "#2FBF94", "#DE9BC1", "#F0E442"]),
}


def draw(plot: Callable[[Figure, dict], None], found: dict, stem: Path) -> list[Path]:
    """Calls `plot(figure, found)` for every theme and saves PNG and SVG; gives the paths."""
    paths = []
    for suffix, theme in THEMES.items():
        with matplotlib.rc_context(theme):
            figure = Figure(figsize=SIZE, layout="constrained")
            plot(figure, found)
            for kind in ("png", "svg"):
                paths.append(stem.with_name(f"{stem.name}{suffix}.{kind}"))
                figure.savefig(paths[-1], metadata={"Date": None} if kind == "svg" else None)
    return paths


def ink() -> str:
    """The colour of text in the theme being drawn."""
    return matplotlib.rcParams["text.color"]


def matrix(axes, values, form: str | None = None, *, size: float = 14, **image):
    """A matrix as an image, its entries written on it in the format `form`, such as ".2f". Gives the image."""
    values = np.asarray(values)
    shown = axes.imshow(values, aspect=image.pop("aspect", "equal"), **image)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if form is not None:
        for (row, column), value in np.ndenumerate(values):
            red, green, blue, _ = shown.cmap(shown.norm(value))
            colour = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(column, row, format(value, form), ha="center", va="center", color=colour, fontsize=size)
    return shown


def tiles(axes, images, **image):
    """Images (rows, columns, height, width) beside and below one another, with a gap. Gives the image, see `matrix`."""
    rows, columns, height, width = np.shape(images)
    whole = np.full((rows, height + 1, columns, width + 1), np.nan)
    whole[:, :height, :, :width] = np.moveaxis(np.asarray(images), 2, 1)
    shown = axes.imshow(whole.reshape(rows * (height + 1), -1)[:-1, :-1], **image)
    axes.spines[:].set_visible(False)
    axes.set_xticks((width + 1) * np.arange(columns) + (width - 1) / 2, [""] * columns)
    axes.set_yticks((height + 1) * np.arange(rows) + (height - 1) / 2, [""] * rows)
    axes.tick_params(length=0)
    return shown


def bars(axes, labels: list[str], values, form: str = ".3g", color: list[str] | None = None) -> None:
    """Horizontal bars, first at the top, each with its number behind it and, without `color`, a colour of its own."""
    drawn = axes.barh(labels, values, color=color or [f"C{i}" for i in range(len(labels))])
    axes.bar_label(drawn, [f" {value:{form}}" for value in values], color=ink(), fontsize=14)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def grid(axes, axis: str = "both") -> None:
    """Faint lines behind the plot, along "x", "y" or "both"."""
    axes.grid(axis=axis, linewidth=1)
