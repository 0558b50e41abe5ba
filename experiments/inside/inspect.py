"""Draws the inside of a model: its attention maps and masks, how far heads look, its positions, its blocks.

python -m experiments.inspect --workdir=runs/gpt [--example=3]
python -m experiments.inspect --config=configs/vit.py --out=pictures
python -m experiments.inspect --weights=gpt2 --text="The import statement" --out=pictures

The model of a config is drawn as it is before training. The example is a held-out one, or the image or text that is
given; a published model needs one, and an encoder-decoder a `--target` too. The pictures, as PNG and SVG, go to
`inspect/` in the workdir, or to `--out`; `model.svg` is the block diagram. From Python:

    from experiments.inside import inspect
    inspect.pictures(inspect.open_workdir("runs/gpt", example=3), "pictures")
"""

import argparse
from functools import partial
import math
from pathlib import Path

from flax import nnx
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
import numpy as np

from core import files
from core.command import command
from core.errors import UserError
from core.next_commands import next_commands, next_text
from experiments.figures.style import draw, drawn, grid, ink, tiles
from experiments.inside import latent
from experiments.inside.attention_maps import (
    attention_distance,
    cell_aspect,
    draw_map,
    grid_distances,
    similarity,
)
from experiments.inside.block_diagram import diagram, parts_of
from experiments.inside.inspection import Inspection, example_of, open_config, open_weights, open_workdir, pair
from experiments.use.inputs import add_inputs, read_inputs
from experiments.use.opened import open_folder
from models import Variational
from models.positions import Positions, sinusoids
from models.protocols import Translator
from training.workdir import read_config

OVERLAY = "inferno"  # over a grey image


def pictures(inspection: Inspection, folder: str | Path) -> tuple[list[Path], list[str]]:
    """Draws everything that can be seen into a folder.

    Returns:
      The paths of the pictures, and a line on each kind of picture that was left out, with the reason.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths, left_out = [folder / "model.svg"], []
    files.write_text(paths[0], diagram(parts_of(inspection.model, inspection.inputs), inspection.title))
    if inspection.scan:
        left_out.append("attention and mask: scanned layers keep no weights; train with model.scan=False")
    elif not inspection.maps:
        left_out.append("attention and mask: the model has no attention")
    else:
        for path in inspection.maps:
            rows, columns = _layout(len(inspection.maps[path]))
            side = min(3.8, 14 / columns)  # inches of a map; the colour bar and the title take the rest
            size = (side * columns + 1.4, side * rows + 0.9)
            paths += draw(partial(_attention, path=path), inspection, folder / _file_name("attention", path), size)
        if all(mask_TS.all() for mask_TS in inspection.masks.values()):
            left_out.append("mask: every query may attend to every key")
        else:
            paths += draw(_mask, inspection, folder / "mask")
        if distances := _distances(inspection):
            paths += draw(_distance, distances, folder / "distance")
    for name, (vectors_TD, shape) in _positions(inspection.model).items():
        plot = partial(_similarity, name=name, shape=shape)
        paths += draw(plot, vectors_TD, folder / _file_name("positions", name), (7.5, 5.625))
    return paths, left_out


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the paths of the pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.inspect", description=(__doc__ or "").partition("\n")[0]
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", help="folder of a run")
    source.add_argument("--config", help="config file; its model is drawn untrained")
    source.add_argument("--weights", help="folder of a published model")
    add_inputs(parser, split=False)
    parser.add_argument("--target", help="the target of a published encoder-decoder")
    parser.add_argument("--example", type=int, default=0, help="number of the example (default %(default)s)")
    parser.add_argument("--out", help="folder for the pictures (default: inspect/ in the workdir)")
    args = parser.parse_args(arguments)
    inspection = _inspection(args)
    folder = Path(args.out or Path(args.workdir) / "inspect")
    paths, left_out = pictures(inspection, folder)
    if args.workdir and isinstance(inspection.model, Variational):
        paths += latent.pictures(args.workdir, folder=folder)
    print(drawn(folder, paths), *(f"left out  {reason}" for reason in left_out), sep="\n")
    if args.workdir:
        config = read_config(args.workdir)
        names = config["model"]["name"], config["objective"]["name"]
        print(next_text(next_commands(*names, args.workdir, done="inspect")))


def _inspection(args: argparse.Namespace) -> Inspection:
    """The inspection that the command line asks for."""
    has_input = args.text is not None or args.file or args.images or args.arrays
    if args.config:
        if not args.out:
            raise UserError("--config needs --out, the folder for the pictures")
        if has_input:
            raise UserError("--config draws a held-out example: choose it by --example")
        return open_config(args.config, args.example)
    if args.workdir:
        inputs = read_inputs(args, open_folder(args.workdir)) if has_input else None
        return open_workdir(args.workdir, args.example, inputs)
    if not (args.out and has_input):
        raise UserError("--weights needs --out, the folder for the pictures, and something to read, such as --text")
    opened = open_folder(args.weights)
    if isinstance(opened.model, Translator):
        return open_weights(opened, pair(opened, args.text, args.target))
    return open_weights(opened, example_of(read_inputs(args, opened).source, args.example))


def _file_name(kind: str, path: str) -> str:
    return f"{kind}_{path}".replace(".", "_").replace(" #", "_").replace(f"_{kind}", "")


# ---- pictures -------------------------------------------------------------------------------------------------------


def _attention(figure: Figure, inspection: Inspection, path: str) -> None:
    """One map per head: over the image if the keys are patches, otherwise queries by keys, with their tokens.

    All heads share the colours of one bar.
    """
    weights_HTS = inspection.maps[path]
    heads, queries, keys = weights_HTS.shape
    rows, columns = _layout(heads)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    places = inspection.places(path, keys)
    drawn_weights = weights_HTS if places is None else weights_HTS.mean(1)[:, -places[0] * places[1] :]
    norm = PowerNorm(0.5, vmin=0, vmax=float(drawn_weights.max()))
    labels = {"queries": inspection.labels(path, queries, keys=False), "keys": inspection.labels(path, keys, keys=True)}
    for head, (axes, weights) in enumerate(zip(panels, drawn_weights)):
        axes.set_title(f"head {head}", fontsize=13, pad=4)
        if places is None:
            draw_map(weights, **labels, axes=axes).images[-1].set_norm(norm)
        else:
            _over_the_image(axes, inspection.image, weights, places, norm)
    for axes in panels[heads:]:
        axes.set_axis_off()
    figure.colorbar(panels[0].images[-1], ax=panels, label="weight", fraction=0.05, pad=0.02, alpha=1.0)
    legend = ", mean over the queries" if places else ": queries down, keys across"
    figure.suptitle(f"{path}{legend}", fontsize=16)


def _layout(panels: int) -> tuple[int, int]:
    """The rows and columns of panels that are about as many down as across."""
    columns = math.ceil(math.sqrt(panels))
    return math.ceil(panels / columns), columns


def _over_the_image(
    axes: Axes, image: np.ndarray | None, weights_S: np.ndarray, places: tuple[int, int], norm: PowerNorm
) -> None:  # fmt: skip
    """Weights of patches over the image that they were cut from: what has little weight is veiled."""
    assert image is not None  # there are no places without an image
    rows, columns, channels = image.shape
    low, high = image.min(), image.max()
    picture = (image - low) / max(high - low, 1e-6)
    picture = picture if channels == 3 else picture.mean(-1)
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.imshow(picture, cmap="gray", extent=extent)
    axes.imshow(weights_S.reshape(places), cmap=OVERLAY, alpha=0.55, extent=extent, norm=norm)
    axes.set(xticks=[], yticks=[])


def _mask(figure: Figure, inspection: Inspection) -> None:
    """Each distinct mask once, with the attentions that have it."""
    paths_of: dict[bytes, list[str]] = {}
    for path, mask_TS in inspection.masks.items():
        paths_of.setdefault(repr(mask_TS.shape).encode() + mask_TS.tobytes(), []).append(path)
    for axes, paths in zip(figure.subplots(1, len(paths_of), squeeze=False)[0], paths_of.values()):
        mask_TS = inspection.masks[paths[0]]
        axes.imshow(mask_TS, vmin=0, vmax=1, cmap="cividis", aspect=cell_aspect(mask_TS.shape))
        more = f"\nand {len(paths) - 1} more" if len(paths) > 1 else "\n"
        axes.set_title(f"{paths[0]}{more}", fontsize=13)
        axes.set(xlabel="key", ylabel="query", xticks=[0, mask_TS.shape[1] - 1], yticks=[0, mask_TS.shape[0] - 1])
        axes.set_xticklabels([1, mask_TS.shape[1]])
        axes.set_yticklabels([1, mask_TS.shape[0]])
    figure.suptitle("Which query may attend to which key (light: it may)", fontsize=16)


def _distances(inspection: Inspection) -> dict[str, tuple[np.ndarray, float]]:
    """The mean distance of each head, and that of uniform attention, by path, where queries and keys have places."""
    distances_of = {}
    for path, weights_HTS in inspection.maps.items():
        _, queries, keys = weights_HTS.shape
        places = inspection.places(path, queries)
        if queries != keys or not inspection.reads_input(path) or (inspection.image is not None and places is None):
            continue
        line = np.arange(queries)
        distances_TS = grid_distances(*places) if places else np.abs(np.subtract.outer(line, line))
        # Without a first token, which has no place.
        weights_BHTS = weights_HTS[None, :, -len(distances_TS) :, -len(distances_TS) :]
        weights_BHTS = weights_BHTS / np.maximum(weights_BHTS.sum(-1, keepdims=True), 1e-9)
        distances_of[path] = attention_distance(weights_BHTS, distances_TS), float(distances_TS.mean())
    return distances_of


def _distance(figure: Figure, distances: dict[str, tuple[np.ndarray, float]]) -> None:
    axes = figure.subplots()
    for column, (heads, uniform) in enumerate(distances.values()):
        axes.plot([column] * len(heads), heads, "C0o", markersize=11, alpha=0.8, label="a head" * (column == 0))
        label = "uniform attention, no mask" * (column == 0)
        axes.plot(column, uniform, "_", color=ink(), markersize=34, label=label)
    names = [path.replace(".attention", "").replace(".blocks", "\nblocks") for path in distances]
    axes.set_xticks(range(len(distances)), names)
    top = max(max(uniform, heads.max()) for heads, uniform in distances.values())
    axes.set(ylabel="mean distance (tokens or patches)", ylim=(0, 1.3 * top), xlim=(-0.5, len(distances) - 0.5))
    axes.set_title("How far each head looks")
    axes.legend(loc="upper left", ncols=2)
    grid(axes, "y")


def _positions(model: nnx.Module) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    """The vectors `TD` of all positions and the shape of their grid, by the path of the module that has them."""
    vectors_of = {}
    for path, module in nnx.iter_modules(model):
        if isinstance(module, Positions) and module.kind != "none":
            learned = module.table[...] if module.kind == "learned" and module.table is not None else None
            vectors_TD = sinusoids(module.shape, module.width) if learned is None else learned
            vectors_of[".".join(map(str, path))] = np.array(vectors_TD), module.shape
    return vectors_of


def _similarity(figure: Figure, vectors_TD: np.ndarray, name: str, shape: tuple[int, ...]) -> None:
    """The cosines between all positions: as a grid of grids if the positions are those of a small image."""
    cosines_TT = similarity(vectors_TD)
    axes = figure.subplots()
    if len(shape) == 2 and len(cosines_TT) <= 256:
        picture = tiles(axes, cosines_TT.reshape(*shape, *shape), vmin=-1, vmax=1)
        axes.set(title=f"{name}: similarity of each place to all places", xlabel="column", ylabel="row")
        axes.set_yticks(axes.get_yticks(), [str(row) for row in range(shape[0])])
        axes.set_xticks(axes.get_xticks(), [str(column) for column in range(shape[1])])
    else:
        picture = axes.imshow(cosines_TT, vmin=-1, vmax=1)
        axes.set(title=f"{name}: similarity of positions", xlabel="position", ylabel="position")
    figure.colorbar(picture, ax=axes, label="cosine")


if __name__ == "__main__":
    main()
