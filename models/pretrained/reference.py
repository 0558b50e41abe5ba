"""What a table of `models/pretrained/` is made of: rows for tensors, names for settings, heads."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
import re
from typing import Any

from flax import nnx
import numpy as np

from models.transformer import Stack

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Their name of an activation -> ours. Several of theirs are the same function; the first is the one written."""


@dataclass(frozen=True)
class Row:
    """Tensors of theirs and parameters of ours that hold the same numbers.

    "{layer}" stands for each layer's number, "{decoder_layer}" for those of a decoder that has its own depth.
    `read` makes a tuple of ours from theirs, `write` a tuple of theirs from ours, of NumPy and of JAX arrays. Both
    rearrange only, but where several tensors of theirs are one map of ours.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    read: Callable
    write: Callable

    def of_layers(self, fields: dict) -> list["Row"]:
        """This row for every layer that it stands for."""
        for place, depth in (("{layer}", "depth"), ("{decoder_layer}", "decoder_depth")):
            if place in self.theirs[0]:
                numbered = lambda names, layer, place=place: tuple(name.replace(place, str(layer)) for name in names)
                return [
                    Row(numbered(self.theirs, layer), numbered(self.ours, layer), self.read, self.write)
                    for layer in range(fields[depth])
                ]
        return [self]


def same(theirs: str, ours: str) -> list[Row]:
    """The same array."""
    return [Row((theirs,), (ours,), lambda x: (x,), lambda x: (x,))]


def matrix(theirs: str, ours: str) -> list[Row]:
    """A linear map without bias, whose matrix they keep transposed, as (outputs, inputs)."""
    return [Row((f"{theirs}.weight",), (f"{ours}.kernel",), lambda x: (x.T,), lambda x: (x.T,))]


def linear(theirs: str, ours: str) -> list[Row]:
    """A linear map."""
    return [*matrix(theirs, ours), *same(f"{theirs}.bias", f"{ours}.bias")]


def norm(theirs: str, ours: str) -> list[Row]:
    """A layer norm."""
    return [*same(f"{theirs}.weight", f"{ours}.scale"), *same(f"{theirs}.bias", f"{ours}.bias")]


@dataclass(frozen=True)
class Head:
    """A head: the fields of ours that choose it, their class, its rows, and whether it has classes."""

    fields: dict[str, Any]
    architecture: str
    rows: list[Row] = field(default_factory=list)
    classes: bool = False


@dataclass(frozen=True)
class Reference:
    """How one published architecture is one of ours.

    Args:
      name: their `model_type`. model: our class.
      settings: our field -> their key of config.json, with its default where it may be left out.
      fixed: their key -> the value it must have (and has where it is left out), since ours knows no other.
      dropouts: their key of a dropout rate -> its default. Ours is one rate.
      rows: the table of all but the head, given our fields. heads: those it may have.
      prefix: begins the names of all tensors outside the head, but for files of the body alone; `outside` begins those
        of the head.
      copies: a tensor that some files repeat -> the one it equals, or those of which it equals one. ignored: pattern of
        names that hold no weights. constants: such tensors that the reference asks for, given our fields.
      describe: our fields that a module was built with, but for how it is computed.
      activations: their name of an activation -> ours.
      to_fields, to_config: settings that are more than another name, from theirs and from ours.
    """

    name: str
    model: type[nnx.Module]
    settings: dict[str, str | tuple[str, Any]]
    fixed: dict[str, Any]
    dropouts: dict[str, float]
    rows: Callable[[dict], list[Row]]
    heads: list[Head]
    prefix: str
    outside: tuple[str, ...]
    describe: Callable[[nnx.Module], dict]
    copies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: str = "$^"
    constants: Callable[[dict], dict[str, np.ndarray]] = lambda fields: {}
    activations: dict[str, str] = field(default_factory=lambda: ACTIVATIONS)
    to_fields: Callable[[dict], dict] = lambda config: {}
    to_config: Callable[[dict], dict] = lambda fields: {}

    def rename(self, name: str) -> str | None:
        """The name that the table has for a tensor of a file, None for one that holds no weights."""
        name = name if name.startswith((self.prefix, *self.outside)) else self.prefix + name
        name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))  # of files made before 2020
        return None if re.search(self.ignored, name) else name

    def fields_of(self, config: dict, *, dropout: float | None = None) -> dict:
        """Our fields, all but those of the head. Raises ValueError that names every setting that ours cannot have."""
        required = [key for key in self.settings.values() if isinstance(key, str)]
        problems = [f"{key} is missing" for key in required if key not in config]
        for key, only in self.fixed.items():
            if config.get(key, only) != only:
                problems.append(f"{key} = {config[key]!r}: only {only!r} is known here")
        if problems:
            raise ValueError("; ".join(problems))
        pairs = {ours: (key, None) if isinstance(key, str) else key for ours, key in self.settings.items()}
        fields = {ours: config.get(*pair) for ours, pair in pairs.items()} | self.to_fields(config)
        if fields["activation"] not in self.activations:
            key = pairs["activation"][0]
            raise ValueError(f"{key} = {fields['activation']!r}: expected one of {', '.join(self.activations)}")
        rates = {key: config.get(key, default) for key, default in self.dropouts.items()}
        if dropout is None and len(set(rates.values())) > 1:
            said = ", ".join(f"{key} = {rate}" for key, rate in rates.items())
            raise ValueError(f"{said}: here one rate holds for all; say which, as in load(folder, dropout=0.1)")
        rate = next(iter(rates.values())) if dropout is None else dropout
        return fields | {"activation": self.activations[fields["activation"]], "dropout": rate}

    def config_of(self, fields: dict, head: Head) -> dict:
        """Their config.json for our fields."""
        keys = {ours: key if isinstance(key, str) else key[0] for ours, key in self.settings.items()}
        activation = {ours: theirs for theirs, ours in reversed(self.activations.items())}
        config = {"architectures": [head.architecture], "model_type": self.name, "dtype": "float32"}
        config |= {key: fields[ours] for ours, key in keys.items()} | self.fixed | self.to_config(fields)
        config |= dict.fromkeys(self.dropouts, fields["dropout"])
        config[keys["activation"]] = activation.get(fields["activation"], fields["activation"])
        if head.classes:
            labels = [f"LABEL_{number}" for number in range(fields["classes"])]
            config |= {"id2label": {str(number): label for number, label in enumerate(labels)}}
            config |= {"label2id": {label: number for number, label in enumerate(labels)}}
        return config

    def repeated(self, tensors) -> set[str]:
        """The tensors that are copies of others, and no parameters."""
        found = tensors.shapes
        equal = lambda a, b: b in found and found[a] == found[b] and (tensors[a] == tensors[b]).all()
        return {name for name, others in self.copies.items() if name in found and any(equal(name, x) for x in others)}

    def closest_head(self, fields: dict, names: Iterable[str]) -> Head:
        """The head whose tensors differ least from these, of those that the fields allow."""
        rest = set(names) - _names(self.table(fields))
        allowed = [h for h in self.heads if all(fields.get(name, value) == value for name, value in h.fields.items())]
        return min(allowed, key=lambda head: len(_names(head.rows) ^ rest))

    def table(self, fields: dict, head: Head | None = None) -> list[Row]:
        """Every row of a model with these fields, layer by layer; without a head those of the body."""
        rows = []
        for row in self.rows(fields) + (head.rows if head else []):
            rows += row.of_layers(fields)
        return rows

    def check(self, folder: Path, expected: dict, found: dict) -> None:
        """Raises ValueError that names every tensor that is missing, not expected, or of another shape.

        Both are from name to shape; `found` has no copies.
        """
        problems = []
        for name, shape in expected.items():
            if name not in found:
                problems.append(f"{name} is missing, expected {shape}")
            elif found[name] != shape:
                problems.append(f"{name} has the shape {found[name]}, expected {shape}")
        for name in found.keys() - expected.keys():
            if name in self.copies:
                problems.append(f"{name} should equal {' or '.join(self.copies[name])}, and does not")
            else:
                problems.append(f"{name}, of shape {found[name]}, is not expected")
        if problems:
            lines = "".join(f"\n  {problem}" for problem in sorted(problems))
            raise ValueError(f"{folder} does not hold the tensors that its config.json asks for:{lines}")


def _names(rows: list[Row]) -> set[str]:
    return {name for row in rows for name in row.theirs}


def class_count(config: dict) -> int:
    """How many classes a folder's classifier has; 2 where nothing is said, as in the references."""
    return len(config["id2label"]) if "id2label" in config else config.get("num_labels", 2)


def describe_blocks(stack: Stack) -> dict:
    """The fields of `Stack` and `Block` that a stack was built with, but for how it is computed."""
    relative = stack.relative
    block = stack.blocks if stack.scan else stack.blocks[0]
    attention, kernels = block.attention, (block.attention.query.kernel, block.mlp.up.kernel)
    return {
        "width": kernels[0].shape[-2],
        "mlp_width": kernels[1].shape[-1],
        "depth": stack.depth,
        "heads": attention.heads,
        "head_size": attention.head_size,
        "value_size": attention.value_size,
        "kv_heads": attention.kv_heads,
        "rotary": attention.rotary,
        "qk_norm": attention.query_norm is not None,
        "scaled": attention.scaled,
        "relative_buckets": 0 if relative is None else len(relative.table),
        "relative_farthest": None if relative is None else relative.farthest,
        "norm": "layer" if isinstance(block.mlp_norm, nnx.LayerNorm) else "rms",
        "norm_order": "pre" if block.pre else "post",
        "final_norm": stack.norm is not None or not block.pre,
        "epsilon": block.mlp_norm.epsilon,
        "activation": block.mlp.activation,
        "bias": block.mlp.up.bias is not None,
        "qkv_bias": attention.query.bias is not None,
        "dropout": block.dropout.rate,
    }
