"""The block diagram of a model, drawn from its module tree: boxes in boxes, with shapes and parameter counts.

Each box has the name of a module, its class, the shape of its output for one example, and its number of parameters.
Equal blocks in a row are drawn once, with their number. Lines at the left are residual connections and the skip
connections of a U-Net. From Python:

    Path("gpt.svg").write_text(diagram(parts_of(model, {"tokens": tokens}), "GPT"))
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import escape
import sys

from flax import nnx
import jax

from models.attention import Attention
from models.layers import MLP, Embedding
from models.positions import Positions
from models.transformer import Block, Stack
from models.unet import UNet
from training.state import merge, split

WIDTH, ROW, GAP, EDGE, SIDE, LANE = 720, 26, 8, 14, 16, 9  # pixels
TIED = "attend"  # the method with which a tied embedding gives logits
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222; } .name { font-weight: 600; } .right { text-anchor: end; }
.sum { text-anchor: middle; } .residual { fill: none; stroke: #888; } circle.residual { fill: #ddd; }
rect { fill: #8881; stroke: #888; } .ground { fill: #fff; stroke: none; } .attention { fill: #0072B233; }
.mlp { fill: #D55E0033; } .norm { fill: #E69F0033; } .embedding { fill: #009E7333; }
@media (prefers-color-scheme: dark) { text { fill: #eee; } .ground { fill: #15181C; }
circle.residual { fill: #444; } }
"""


@dataclass(frozen=True)
class Part:
    """A module or a parameter in the diagram.

    Attributes:
      name: of the attribute that holds it.
      kind: the class of the module, or "parameter".
      style: the CSS class of its box.
      parameters: the number of parameters in it.
      shape: of the parameter, or of the module's output; None for a module that was not called.
      parts: what it consists of.
      count: how many equal parts in a row this one stands for.
      residual: how many parts, up to this one, a residual connection goes around; 0 for none.
      reads: the name of an earlier part beside it whose output this one reads too; "" for none.
    """

    name: str
    kind: str
    style: str
    parameters: int
    shape: tuple[int, ...] | None = None
    parts: list["Part"] = field(default_factory=list)
    count: int = 1
    residual: int = 0
    reads: str = ""


class _Output(nnx.Intermediate):
    """The output of a module."""


def parts_of(model: nnx.Module, inputs: Mapping) -> Part:
    """Returns the module tree of a model with the shapes for these inputs, without computing anything.

    Args:
      model: any model of this project.
      inputs: arrays, or their shapes, by the names of the model's arguments.
    """
    structure, parameters = split(model)
    runs: dict[tuple, int] = {}

    def outputs_of_modules(parameters, inputs):
        merged = merge(structure, parameters)
        with _noted_calls(merged, runs):
            _, captured = nnx.capture(merged, _Output, method_outputs=_Output)(**inputs)
        return {path: jax.tree.leaves(variable.get_value()) for path, variable in nnx.to_flat_state(captured)}

    outputs = jax.eval_shape(outputs_of_modules, parameters, dict(inputs))
    shapes = {path: arrays[0].shape for path, arrays in outputs.items() if arrays}
    shapes = {path[:-1] if path[-1] == "__call__" else path: shape for path, shape in shapes.items()}
    return _part("model", model, (), shapes, runs)


def diagram(part: Part, title: str) -> str:
    """Returns the diagram as SVG."""
    height = _height(part) + 2 * EDGE + ROW
    boxes = _boxes(part, EDGE, EDGE + ROW, WIDTH - 2 * EDGE)
    size = f'width="{WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height}">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            f'<rect class="ground" {size}/>',
            f'<text class="name" x="{EDGE}" y="{EDGE + 12}">{escape(title)}</text>',
            *boxes,
            "</svg>\n",
        ]
    )


@contextmanager
def _noted_calls(model: nnx.Module, runs: dict[tuple, int]) -> Iterator[None]:
    """Numbers the modules of a model, by path, in the order in which they are first called inside the block.

    Captured outputs are in the order of the alphabet, so Python is asked to report calls.
    """
    paths = {id(module): path for path, module in nnx.iter_modules(model)}

    def note(frame, event, _):
        if event == "call" and (method := frame.f_code.co_name) in ("__call__", TIED):
            if (path := paths.get(id(frame.f_locals.get("self")))) is not None:
                runs.setdefault(path if method == "__call__" else (*path, TIED), len(runs))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


# ---- the tree -------------------------------------------------------------------------------------------------------


def _part(
    name: str, module: nnx.Module, path: tuple, shapes: Mapping[tuple, tuple[int, ...]], runs: Mapping[tuple, int]
) -> Part:  # fmt: skip
    """A module with its parts in the order in which data pass them; what is not called by itself comes first."""
    parts: list[tuple[int, str, Part]] = []  # when it first runs, the list that it is in or "", and what it is
    first_run = lambda *place: min((n for p, n in runs.items() if p[: len(path + place)] == path + place), default=-1)
    for key, value in vars(module).items():
        if isinstance(value, nnx.Param):
            parts.append((-1, "", Part(key, "parameter", "", value[...].size, value[...].shape)))
        elif isinstance(value, nnx.List):
            for i, item in enumerate(value):
                parts.append((first_run(key, i), key, _part(str(i), item, (*path, key, i), shapes, runs)))
        elif isinstance(value, nnx.Module) and (_size(value) or getattr(value, "kind", "none") != "none"):
            part = _part(key, value, (*path, key), shapes, runs)
            if isinstance(module, Stack) and module.scan:
                part = replace(part, count=module.depth)
            parts.append((first_run(key), "", part))
            if (tied := (*path, key, TIED)) in runs and isinstance(value, Embedding):
                shape = shapes.get(tied)
                parts.append((runs[tied], "", Part(f"{key}, transposed", "Embedding", "embedding", 0, shape)))
    inside = _merged([(key, part) for _, key, part in sorted(parts, key=lambda entry: entry[0])])
    if isinstance(module, Block):
        inside = [_with_residual(inside, place, module.pre) for place in range(len(inside))]
    if isinstance(module, UNet) and module.skips:
        levels = len(module.up)
        reads = {f"up {level}": f"down {levels - 1 - level}" for level in range(levels)}
        inside = [replace(part, reads=reads.get(part.name, "")) for part in inside]
    return Part(name, type(module).__name__, _style(name, module), _size(module), shapes.get(path), inside)


def _with_residual(parts: list[Part], place: int, pre: bool) -> Part:
    """A part of a block; attention and MLP are added to what comes in, in pre-norm blocks with the norm before."""
    part = parts[place]
    if part.style not in ("attention", "mlp"):
        return part
    with_norm = pre and place > 0 and parts[place - 1].style == "norm"
    return replace(part, residual=2 if with_norm else 1)


def _merged(parts: list[tuple[str, Part]]) -> list[Part]:
    """The parts with the names of their lists, where equal neighbours of a list become one part with their count."""
    merged: list[tuple[str, Part]] = []
    for key, part in parts:
        last_key, last = merged[-1] if merged else ("", part)
        follows = key and key == last_key and int(part.name) == int(last.name) + last.count
        if follows and replace(last, name="", count=1) == replace(part, name=""):
            merged[-1] = (key, replace(last, count=last.count + 1))
        else:
            merged.append((key, part))
    numbers = lambda part: part.name if part.count == 1 else f"{part.name} to {int(part.name) + part.count - 1}"
    return [replace(part, name=f"{key} {numbers(part)}") if key else part for key, part in merged]


def _size(module: nnx.Module) -> int:
    return sum(x.size for x in split(module)[1].values())


def _style(name: str, module: nnx.Module) -> str:
    kinds = {Attention: "attention", MLP: "mlp", Embedding: "embedding", Positions: "embedding"}
    return "norm" if "norm" in name else kinds.get(type(module), "")


# ---- the boxes ------------------------------------------------------------------------------------------------------


def _flat(part: Part) -> bool:
    """Whether a part is a single line: a parameter, or a module that has only parameters."""
    return all(child.kind == "parameter" for child in part.parts)


def _height(part: Part) -> int:
    children = 0 if _flat(part) else sum(_height(child) + GAP for child in part.parts)
    below = GAP if any(child.residual for child in part.parts) else 0  # the last sum is there
    return ROW + children + below + (GAP if part.count > 1 else 0)


def _boxes(part: Part, x: int, y: int, width: int) -> list[str]:
    """The SVG elements of a part and all inside it, its upper left corner at (x, y)."""
    height = _height(part) - (GAP if part.count > 1 else 0)
    rectangle = lambda dx: (
        f'<rect class="{part.style}" x="{x + dx}" y="{y + dx}" width="{width - dx}" height="{height}" rx="5"/>'
    )
    behind = [rectangle(GAP // 2)] if part.count > 1 else []
    each = " each" if part.count > 1 else ""
    kernels = [child.shape for child in part.parts if child.kind == "parameter" and child.name == "kernel"]
    kind = part.kind if part.kind != "parameter" else ""
    if kernels:
        kind += f" {_shape(kernels[0])}"
    output = f"gives {_shape(part.shape)}" if part.shape and part.kind != "parameter" else _shape(part.shape)
    times = f" × {part.count}" if part.count > 1 else ""
    texts = [
        f'<text class="name" x="{x + 10}" y="{y + 18}">{escape(part.name)}{times}</text>',
        f'<text x="{x + 0.3 * width:.0f}" y="{y + 18}">{escape(kind)}</text>',
        f'<text x="{x + 0.56 * width:.0f}" y="{y + 18}">{output}</text>',
        f'<text class="right" x="{x + width - 10}" y="{y + 18}">{part.parameters:,}{each}</text>',
    ]
    children, lines, sums, top, tops = [], [], [], y + ROW, []
    readers = [child for child in part.parts if child.reads]
    side = max(SIDE if any(child.residual for child in part.parts) else 0, LANE * len(readers) + LANE * bool(readers))
    for child in [] if _flat(part) else part.parts:
        tops.append(top)
        children += _boxes(child, x + EDGE + side, top, width - 2 * EDGE - side)
        top += _height(child) + GAP
        if child.residual:
            line, *plus = _around(x + EDGE, tops[-child.residual] - GAP / 2, top - GAP / 2)
            lines.append(line)
            sums += plus  # over all lines, because the next connection begins there
        if child.reads:
            source = next(place for place, other in enumerate(part.parts) if other.name == child.reads)
            lane = x + EDGE + side - LANE * (1 + readers.index(child))
            end = tops[source] + _height(part.parts[source]) - ROW / 2
            lines.append(_skip(x + EDGE + side, lane, end, tops[-1] + ROW / 2))
    return behind + [rectangle(0)] + texts + children + lines + sums


def _around(x: float, top: float, bottom: float) -> list[str]:
    """A residual connection around what lies between two heights, with the sum at its end."""
    left, right = x, x + SIDE
    line = f"M {right} {top} H {left + 6} V {bottom} H {right}"
    return [
        f'<path class="residual" d="{line}"/>',
        f'<circle class="residual" cx="{left + 6}" cy="{bottom}" r="6"/>',
        f'<text class="sum" x="{left + 6}" y="{bottom + 4}">+</text>',
    ]


def _skip(x: float, lane: float, top: float, bottom: float) -> str:
    """A connection from the end of a part to one further below, along a lane of its own, with an arrow."""
    return f'<path class="residual" d="M {x} {top} H {lane} V {bottom} H {x} m -5 -4 l 5 4 l -5 4"/>'


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else " × ".join(map(str, shape)) or "a number"
