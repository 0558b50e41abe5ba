"""The block diagram of a model, drawn from its module tree: boxes in boxes, with shapes and parameter counts.

Blocks that are the same are drawn once, with their number. A box says what the module is called, its class, the shape
of what it gave for one example, and how many parameters are in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape

from flax import nnx
import jax

from models.attention import Attention
from models.layers import MLP, Embedding
from models.positions import Positions
from models.transformer import Stack
from training.state import merge, split

WIDTH, ROW, GAP, EDGE = 720, 26, 8, 14  # pixels
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222; } .name { font-weight: 600; } .right { text-anchor: end; }
rect { fill: #8881; stroke: #888; } .ground { fill: #fff; stroke: none; } .attention { fill: #0072B233; }
.mlp { fill: #D55E0033; } .norm { fill: #E69F0033; } .embedding { fill: #009E7333; }
@media (prefers-color-scheme: dark) { text { fill: #eee; } .ground { fill: #15181C; } }
"""


@dataclass(frozen=True)
class Part:
    """A module or an array: `shape` is of the array, or of what the module gave; `count` parts like it in a row."""

    name: str
    kind: str
    style: str
    parameters: int
    shape: tuple[int, ...] | None = None
    parts: list["Part"] = field(default_factory=list)
    count: int = 1


class _Output(nnx.Intermediate):
    """What a module gave."""


def parts_of(model: nnx.Module, inputs: Mapping) -> Part:
    """The tree of a model, with the shapes that these inputs, named as its arguments, have in it. Computes nothing."""
    structure, parameters = split(model)

    def look(parameters, inputs):
        _, seen = nnx.capture(merge(structure, parameters), _Output, method_outputs=_Output)(**inputs)
        return {path: jax.tree.leaves(variable.get_value()) for path, variable in nnx.to_flat_state(seen)}

    outputs = jax.eval_shape(look, parameters, dict(inputs))
    shapes = {path[:-1]: found[0].shape for path, found in outputs.items() if path[-1] == "__call__" and found}
    return _part("model", model, (), shapes)


def draw(part: Part, title: str) -> str:
    """The diagram as SVG."""
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


# ---- the tree -------------------------------------------------------------------------------------------------------


def _part(name: str, module: nnx.Module, path: tuple, shapes: Mapping) -> Part:
    found = []
    for key, value in vars(module).items():
        if isinstance(value, nnx.Param):
            found.append(Part(key, "parameter", "", value[...].size, value[...].shape))
        elif isinstance(value, nnx.List):
            each = [_part(str(i), item, (*path, key, i), shapes) for i, item in enumerate(value)]
            found += [replace(part, name=f"{key} {part.name}") for part in _together(each)]
        elif isinstance(value, nnx.Module) and (_size(value) or getattr(value, "kind", "none") != "none"):
            part = _part(key, value, (*path, key), shapes)
            scanned = isinstance(module, Stack) and module.scan
            found.append(replace(part, count=module.depth) if scanned else part)
    return Part(name, type(module).__name__, _style(name, module), _size(module), shapes.get(path), found)


def _together(parts: list[Part]) -> list[Part]:
    """Parts that are alike, one after the other, as one."""
    found = []
    for part in parts:
        alike = bool(found) and replace(found[-1], name="", count=1) == replace(part, name="")
        if alike:
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(part)
    last = lambda part: int(part.name) + part.count - 1
    return [part if part.count == 1 else replace(part, name=f"{part.name} to {last(part)}") for part in found]


def _size(module: nnx.Module) -> int:
    return sum(x.size for x in split(module)[1].values())


def _style(name: str, module: nnx.Module) -> str:
    kinds = {Attention: "attention", MLP: "mlp", Embedding: "embedding", Positions: "embedding"}
    return "norm" if "norm" in name else kinds.get(type(module), "")


# ---- the boxes ------------------------------------------------------------------------------------------------------


def _flat(part: Part) -> bool:
    """Whether a part is one line: an array, or a module of arrays alone."""
    return all(inside.kind == "parameter" for inside in part.parts)


def _height(part: Part) -> int:
    inside = 0 if _flat(part) else sum(_height(child) + GAP for child in part.parts)
    return ROW + inside + (GAP if part.count > 1 else 0)


def _boxes(part: Part, x: int, y: int, width: int) -> list[str]:
    height = _height(part) - (GAP if part.count > 1 else 0)
    rectangle = lambda dx: (
        f'<rect class="{part.style}" x="{x + dx}" y="{y + dx}" width="{width - dx}" height="{height}" rx="5"/>'
    )
    behind = [rectangle(GAP // 2)] if part.count > 1 else []
    each = " each" if part.count > 1 else ""
    kernels = [inside.shape for inside in part.parts if inside.kind == "parameter" and inside.name == "kernel"]
    said = part.kind if part.kind != "parameter" else ""
    if kernels:
        said += f" {_shape(kernels[0])}"
    gives = f"gives {_shape(part.shape)}" if part.shape and part.kind != "parameter" else _shape(part.shape)
    times = f" × {part.count}" if part.count > 1 else ""
    texts = [
        f'<text class="name" x="{x + 10}" y="{y + 18}">{escape(part.name)}{times}</text>',
        f'<text x="{x + 0.3 * width:.0f}" y="{y + 18}">{escape(said)}</text>',
        f'<text x="{x + 0.56 * width:.0f}" y="{y + 18}">{gives}</text>',
        f'<text class="right" x="{x + width - 10}" y="{y + 18}">{part.parameters:,}{each}</text>',
    ]
    inside, below = [], y + ROW
    for child in [] if _flat(part) else part.parts:
        inside += _boxes(child, x + EDGE, below, width - 2 * EDGE)
        below += _height(child) + GAP
    return behind + [rectangle(0)] + texts + inside


def _shape(shape) -> str:
    return "" if shape is None else " × ".join(map(str, shape)) or "a number"
