"""Pictures of the inside of a model: what it attends to, how far, what it may see, its positions, its blocks.

python -m experiments.inspect --workdir=runs/gpt [--example=3]
python -m experiments.inspect --config=configs/vit.py --out=pictures

A config is drawn as it is before training. The example is one of the held-out ones. Leaves PNG and SVG in `inspect/` of
the workdir, or in `--out`; `model.svg` is the block diagram.
"""

import argparse
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from flax import nnx
from matplotlib.colors import PowerNorm
import numpy as np

from experiments.figures.style import draw, grid, ink, tiles
from experiments.inside import latent
from experiments.inside.attention_maps import attention_distance, attention_maps, grid_distances, similarity
from experiments.inside.block_diagram import draw as draw_blocks
from experiments.inside.block_diagram import parts_of
from models.bottleneck import Variational
from models.perceiver import Perceiver
from models.positions import Positions, sinusoids
import train
from training.command_line import read_command_line

MOST = 40  # tokens whose names are written on a map


@dataclass(frozen=True)
class Inside:
    """A model with one held-out example, and what can be seen of it there."""

    title: str
    model: nnx.Module
    run: train.Run
    number: int

    @cached_property
    def inputs(self) -> dict:
        """The inputs of the example, a batch of one."""
        return self.run.dataset.evaluation.examples(np.array([self.number]))["inputs"]

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """Attention weights `HTS` by path."""
        return {path: weights[0] for path, weights in attention_maps(self.model, self.inputs).items()}

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Which pairs may meet, `TS` by path: where a model with random parameters has any weight."""
        fresh = self.run.make_model(nnx.Rngs(0))
        return {path: weights[0].any(0) for path, weights in attention_maps(fresh, self.inputs).items()}

    @cached_property
    def image(self) -> np.ndarray | None:
        """The image of the example, (rows, columns, channels), or None."""
        return self.inputs["images"][0] if "images" in self.inputs else None

    def reads_input(self, path: str) -> bool:
        """Whether the keys of an attention are places of the input, and not the latents of a Perceiver."""
        return not isinstance(self.model, Perceiver) or path.startswith("crosses")

    def places(self, path: str, count: int) -> tuple[int, int] | None:
        """The grid (rows, columns) of `count` places on the image, a first token left out, or None."""
        if self.image is None or not self.reads_input(path):
            return None
        rows, columns, _ = self.image.shape
        for places in (count, count - 1):
            side = (rows * columns / max(places, 1)) ** 0.5
            if side == int(side) and rows % side == columns % side == 0:
                return rows // int(side), columns // int(side)
        return None

    def names(self, path: str, count: int, *, keys: bool) -> list[str] | None:
        """The tokens along an axis of a map, where there are that many."""
        source = keys and path.endswith("cross") or path.startswith("encoder")
        tokens = self.inputs.get("source" if source and "source" in self.inputs else "tokens")
        if tokens is None or tokens.shape[1] != count or count > MOST:
            return None
        if isinstance(self.model, Perceiver) and not (keys and self.reads_input(path)):
            return None
        vocabulary = self.run.dataset.vocabulary
        piece = lambda token: repr(vocabulary.decode(np.array([token])))[1:-1] if vocabulary else str(token)
        return [piece(int(token)) or str(int(token)) for token in tokens[0]]


def inspect(inside: Inside, folder: str | Path) -> tuple[list[Path], list[str]]:
    """Draws what there is to see into a folder; gives the paths, and what was left out and why."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths, left_out = [folder / "model.svg"], []
    paths[0].write_text(draw_blocks(parts_of(inside.model, inside.inputs), inside.title), encoding="utf-8")
    if inside.run.config["model"].get("scan"):
        left_out.append("attention and mask: layers that are scanned keep no weights; train with model.scan=False")
    elif not inside.maps:
        left_out.append("attention and mask: the model has no attention")
    else:
        for path in inside.maps:
            paths += draw(partial(_attention, path=path), inside, folder / _file_name("attention", path))
        paths += draw(_mask, inside, folder / "mask")
        if far := _distances(inside):
            paths += draw(_distance, far, folder / "distance")
    for name, vectors in _positions(inside.model).items():
        paths += draw(_similarity, (name, *vectors), folder / _file_name("positions", name))
    return paths, left_out


def open_workdir(workdir: str, number: int) -> Inside:
    """The newest model of a run."""
    model, run = train.load(workdir)
    return Inside(f"{workdir}: {type(model).__name__}", model, run, number)


def open_config(config: str, number: int) -> Inside:
    """A config's model as it is before training; `config` is a file."""
    run = train.Run.of(read_command_line([f"--config={config}", "--workdir=none"]).config)
    model = run.make_model(nnx.Rngs(run.fields.seed))
    return Inside(f"{config}: {type(model).__name__}, untrained", model, run, number)


def main(arguments: list[str] | None = None) -> None:
    """The command line: the paths; an error as one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.inspect", description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--workdir", help="folder of a run")
    which.add_argument("--config", help="config file; its model is drawn untrained")
    parser.add_argument("--example", type=int, default=0, help="number of a held-out example (default %(default)s)")
    parser.add_argument("--out", help="folder for the pictures (default: inspect/ in the workdir)")
    given = parser.parse_args(arguments)
    with train.errors_in_one_line():
        if given.config and not given.out:
            raise ValueError("--config needs --out, the folder for the pictures")
        inside = (open_workdir if given.workdir else open_config)(given.workdir or given.config, given.example)
        count = len(inside.run.dataset.evaluation)
        if not 0 <= given.example < count:
            raise ValueError(f"--example={given.example}: expected 0 to {count - 1:,}")
        folder = Path(given.out or Path(given.workdir) / "inspect")
        paths, left_out = inspect(inside, folder)
        if given.workdir and isinstance(inside.model, Variational):
            paths += latent.pictures(given.workdir, folder=folder)
    print(*paths, *(f"left out: {reason}" for reason in left_out), sep="\n")


def _file_name(kind: str, path: str) -> str:
    return f"{kind}_{path}".replace(".", "_").replace(" #", "_").replace(f"_{kind}", "")


# ---- pictures -------------------------------------------------------------------------------------------------------


def _attention(figure, inside: Inside, path: str) -> None:
    """One map of each head: over the image where its keys are patches, else queries by keys, with their tokens."""
    weights_HTS = inside.maps[path]
    columns = min(4, len(weights_HTS))
    every = list(figure.subplots(-(-len(weights_HTS) // columns), columns, squeeze=False).flat)
    places = inside.places(path, weights_HTS.shape[2])
    for head, (axes, weights_TS) in enumerate(zip(every, weights_HTS), 1):
        axes.set_title(f"head {head}", fontsize=13)
        if places is None:
            _matrix(axes, inside, path, weights_TS)
        else:
            _over_the_image(axes, inside.image, weights_TS.mean(0), places)
    for axes in every[len(weights_HTS) :]:
        axes.set_axis_off()
    mean = ", mean over the queries" if places else ": queries down, keys across"
    figure.suptitle(f"{path}{mean}", fontsize=16)


def _over_the_image(axes, image, weights_S, places: tuple[int, int]) -> None:
    rows, columns, channels = image.shape
    low, high = image.min(), image.max()
    picture = (image - low) / max(high - low, 1e-6)
    picture = picture if channels == 3 else picture.mean(-1)
    grid_weights = weights_S[-places[0] * places[1] :].reshape(places)
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.imshow(picture, cmap="gray", extent=extent)
    axes.imshow(grid_weights, alpha=0.6, extent=extent, vmin=0)
    axes.set(xticks=[], yticks=[])


def _matrix(axes, inside: Inside, path: str, weights_TS) -> None:
    # The root of a weight, since many small ones beside a large one would be black.
    norm = PowerNorm(0.5, vmin=0, vmax=weights_TS.max())
    axes.imshow(weights_TS, norm=norm, aspect=_aspect(weights_TS.shape), cmap="cividis")
    queries, keys = weights_TS.shape
    for axis, count, is_keys in (("x", keys, True), ("y", queries, False)):
        names = inside.names(path, count, keys=is_keys)
        turned = {"rotation": 90} if is_keys else {}
        ticks = (range(count), names) if names else ([0, count - 1], [1, count])
        size = max(6, min(11, 140 // count)) if names else 11
        getattr(axes, f"set_{axis}ticks")(*ticks, fontsize=size, **(turned if names else {}))


def _aspect(shape: tuple[int, int]) -> str:
    """Square cells, unless the whole would be a narrow strip."""
    return "equal" if max(shape) <= 4 * min(shape) else "auto"


def _mask(figure, inside: Inside) -> None:
    """Each mask once, with all attentions that have it."""
    found: dict[bytes, list] = {}
    for path, mask_TS in inside.masks.items():
        found.setdefault(repr(mask_TS.shape).encode() + mask_TS.tobytes(), [mask_TS]).append(path)
    for axes, (mask_TS, *paths) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.values()):
        axes.imshow(mask_TS, vmin=0, vmax=1, cmap="cividis", aspect=_aspect(mask_TS.shape))
        more = f"\nand {len(paths) - 1} more" if len(paths) > 1 else "\n"
        axes.set_title(f"{paths[0]}{more}", fontsize=13)
        axes.set(xlabel="key", ylabel="query", xticks=[0, mask_TS.shape[1] - 1], yticks=[0, mask_TS.shape[0] - 1])
        axes.set_xticklabels([1, mask_TS.shape[1]])
        axes.set_yticklabels([1, mask_TS.shape[0]])
    figure.suptitle("Which query may look at which key: light, it may", fontsize=16)


def _distances(inside: Inside) -> dict[str, tuple[np.ndarray, float]]:
    """How far each head looks, and how far looking everywhere alike is, by path, where queries and keys have places."""
    found = {}
    for path, weights_HTS in inside.maps.items():
        _, queries, keys = weights_HTS.shape
        places = inside.places(path, queries)
        if queries != keys or not inside.reads_input(path) or (inside.image is not None and places is None):
            continue
        line = np.arange(queries)
        distances = grid_distances(*places) if places else np.abs(np.subtract.outer(line, line))
        seen = weights_HTS[None, :, -len(distances) :, -len(distances) :]  # without a first token that stands nowhere
        seen = seen / np.maximum(seen.sum(-1, keepdims=True), 1e-9)
        found[path] = attention_distance(seen, distances), float(distances.mean())
    return found


def _distance(figure, far: dict[str, tuple[np.ndarray, float]]) -> None:
    axes = figure.subplots()
    for place, (heads, uniform) in enumerate(far.values()):
        axes.plot([place] * len(heads), heads, "C0o", markersize=11, alpha=0.8, label="a head" * (place == 0))
        axes.plot(place, uniform, "_", color=ink(), markersize=34, label="everywhere alike, no mask" * (place == 0))
    axes.set_xticks(range(len(far)), [path.replace(".attention", "").replace(".blocks", "\nblocks") for path in far])
    top = max(max(uniform, heads.max()) for heads, uniform in far.values())
    axes.set(ylabel="mean distance (tokens or patches)", ylim=(0, 1.3 * top), xlim=(-0.5, len(far) - 0.5))
    axes.set_title("How far each head looks")
    axes.legend(loc="upper left", ncols=2)
    grid(axes, "y")


def _positions(model: nnx.Module) -> dict[str, tuple[np.ndarray, tuple]]:
    """The vectors of the positions `TD` and the shape of their grid, by the path of the module that has them."""
    found = {}
    for path, part in nnx.iter_modules(model):
        if isinstance(part, Positions) and part.kind != "none":
            table = part.table[...] if part.kind == "learned" else sinusoids(part.shape, part.width)
            found[".".join(map(str, path))] = np.array(table), part.shape
    return found


def _similarity(figure, positions: tuple[str, np.ndarray, tuple]) -> None:
    name, vectors_TD, shape = positions
    alike = similarity(vectors_TD)
    axes = figure.subplots()
    if len(shape) == 2 and len(alike) <= 256:
        shown = tiles(axes, alike.reshape(*shape, *shape), vmin=-1, vmax=1)
        axes.set_title(f"{name}: similarity of each place to all places")
    else:
        shown = axes.imshow(alike, vmin=-1, vmax=1)
        axes.set(title=f"{name}: similarity of positions", xlabel="position", ylabel="position")
    figure.colorbar(shown, ax=axes, label="cosine")


if __name__ == "__main__":
    main()
