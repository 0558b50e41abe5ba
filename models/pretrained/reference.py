"""The parts of a table between a published format and one of our models: rows for tensors, names for settings, heads.

"Theirs" is the published side, as the transformers library reads and writes it; "ours" is the module in `models/`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
import re
from typing import Any

from flax import nnx
import numpy as np

from core.errors import UserError
from models.transformer import Stack

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Their name of an activation -> ours. Where several of theirs are the same function, the first one is written."""


@dataclass(frozen=True)
class Row:
    """Tensors of theirs and parameters of ours that hold the same numbers.

    "{layer}" stands for the number of each layer, "{decoder_layer}" for that of a decoder with a depth of its own.
    `read` makes a tuple of ours from theirs, `write` a tuple of theirs from ours, both for NumPy and for JAX arrays.
    They only rearrange numbers, except where several tensors of theirs are one linear map of ours.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    read: Callable
    write: Callable

    def of_layers(self, fields: dict) -> list["Row"]:
        """Returns this row for every layer that it stands for."""
        for place, depth in (("{layer}", "depth"), ("{decoder_layer}", "decoder_depth")):
            if place in self.theirs[0]:
                numbered = lambda names, layer, place=place: tuple(name.replace(place, str(layer)) for name in names)
                return [
                    Row(numbered(self.theirs, layer), numbered(self.ours, layer), self.read, self.write)
                    for layer in range(fields[depth])
                ]
        return [self]


def same(theirs: str, ours: str) -> list[Row]:
    """Returns the row of an array that is the same on both sides."""
    return [Row((theirs,), (ours,), lambda x: (x,), lambda x: (x,))]


def matrix(theirs: str, ours: str) -> list[Row]:
    """Returns the row of a linear map without bias, whose matrix they keep transposed, as (outputs, inputs)."""
    return [Row((f"{theirs}.weight",), (f"{ours}.kernel",), lambda x: (x.T,), lambda x: (x.T,))]


def linear(theirs: str, ours: str) -> list[Row]:
    """Returns the rows of a linear map."""
    return [*matrix(theirs, ours), *same(f"{theirs}.bias", f"{ours}.bias")]


def norm(theirs: str, ours: str) -> list[Row]:
    """Returns the rows of a layer norm."""
    return [*same(f"{theirs}.weight", f"{ours}.scale"), *same(f"{theirs}.bias", f"{ours}.bias")]


@dataclass(frozen=True)
class Head:
    """A head: the fields of ours that choose it, the name of their class, its rows, and whether it has classes."""

    fields: dict[str, Any]
    architecture: str
    rows: list[Row] = field(default_factory=list)
    classes: bool = False


@dataclass(frozen=True)
class Reference:
    """The table between one published architecture and one of ours.

    Args:
      name: their `model_type`. model: our class.
      settings: our field -> their key of config.json, with its default if it may be left out.
      fixed: their key -> the only value of it that our model can compute, which is also its default.
      dropouts: their key of a dropout rate -> its default. Ours has one rate for all.
      rows: returns the rows of everything but the head, given our fields. heads: those that it may have.
      prefix: the beginning of the names of all tensors outside the head; files without a head leave it out.
      outside: the beginnings of the names of the tensors of the head.
      copies: a tensor that some files repeat -> the tensors of which it equals one.
      ignored: a pattern of names that hold no weights. constants: returns those that transformers asks for all the
        same, given our fields.
      describe: returns the fields that one of our modules was built with, without those that leave its numbers the
        same, such as `remat`.
      activations: their name of an activation -> ours.
      to_fields, to_config: settings that are more than another name, from theirs and from ours.
    """

    name: str
    model: Callable[..., Any]
    settings: dict[str, str | tuple[str, Any]]
    fixed: dict[str, Any]
    dropouts: dict[str, float]
    rows: Callable[[dict], list[Row]]
    heads: list[Head]
    prefix: str
    outside: tuple[str, ...]
    describe: Callable[[Any], dict]
    copies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: str = "$^"
    constants: Callable[[dict], dict[str, np.ndarray]] = lambda fields: {}
    activations: dict[str, str] = field(default_factory=lambda: ACTIVATIONS)
    to_fields: Callable[[dict], dict] = lambda config: {}
    to_config: Callable[[dict], dict] = lambda fields: {}

    def rename(self, name: str) -> str | None:
        """Returns the name that the table has for a tensor of a file, or None for one that holds no weights."""
        name = name if name.startswith((self.prefix, *self.outside)) else self.prefix + name
        name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))  # of files made before 2020
        return None if re.search(self.ignored, name) else name

    def fields_of(self, config: dict, *, dropout: float | None = None) -> dict:
        """Returns our fields without those of the head. Raises UserError, with every setting that ours cannot have."""
        required = [key for key in self.settings.values() if isinstance(key, str)]
        problems = [f"{key} is missing" for key in required if key not in config]
        for key, only in self.fixed.items():
            if config.get(key, only) != only:
                problems.append(f"{key} = {config[key]!r}: only {only!r} is supported here")
        if problems:
            raise UserError("; ".join(problems))
        pairs = {ours: (key, None) if isinstance(key, str) else key for ours, key in self.settings.items()}
        fields = {ours: config.get(*pair) for ours, pair in pairs.items()} | self.to_fields(config)
        if fields["activation"] not in self.activations:
            key = pairs["activation"][0]
            raise UserError(f"{key} = {fields['activation']!r}: expected one of {', '.join(self.activations)}")
        rates = {key: config.get(key, default) for key, default in self.dropouts.items()}
        if dropout is None and len(set(rates.values())) > 1:
            listed = ", ".join(f"{key} = {rate}" for key, rate in rates.items())
            raise UserError(f"{listed}: here one rate holds for all; say which, as in load(folder, dropout=0.1)")
        rate = next(iter(rates.values())) if dropout is None else dropout
        return fields | {"activation": self.activations[fields["activation"]], "dropout": rate}

    def config_of(self, fields: dict, head: Head) -> dict:
        """Returns their config.json for our fields."""
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
        """Returns the names of the tensors that are copies of others, and so no parameters of their own."""
        shapes = tensors.shapes
        equal = lambda a, b: b in shapes and shapes[a] == shapes[b] and (tensors[a] == tensors[b]).all()
        return {name for name, others in self.copies.items() if name in shapes and any(equal(name, x) for x in others)}

    def closest_head(self, fields: dict, names: Iterable[str]) -> Head:
        """Returns the head whose tensors differ least from these names, of those that the fields allow."""
        outside = set(names) - _names(self.table(fields))
        allowed = [h for h in self.heads if all(fields.get(name, value) == value for name, value in h.fields.items())]
        return min(allowed, key=lambda head: len(_names(head.rows) ^ outside))

    def table(self, fields: dict, head: Head | None = None) -> list[Row]:
        """Returns every row of a model with these fields, layer by layer; without a head those of the body."""
        rows = []
        for row in self.rows(fields) + (head.rows if head else []):
            rows += row.of_layers(fields)
        return rows

    def check(self, folder: Path, expected: dict, shapes: dict) -> None:
        """Raises UserError that names every tensor that is missing, not expected, or of another shape.

        Both dictionaries are from name to shape: those that the table expects, and those in the folder without copies.
        """
        problems = []
        for name, shape in expected.items():
            if name not in shapes:
                problems.append(f"{name} is missing, expected {shape}")
            elif shapes[name] != shape:
                problems.append(f"{name} has the shape {shapes[name]}, expected {shape}")
        for name in shapes.keys() - expected.keys():
            if name in self.copies:
                problems.append(f"{name} should equal {' or '.join(self.copies[name])}, and does not")
            else:
                problems.append(f"{name}, of shape {shapes[name]}, is not expected")
        if problems:
            lines = "".join(f"\n  {problem}" for problem in sorted(problems))
            raise UserError(f"{folder} does not hold the tensors that its config.json asks for:{lines}")


def _names(rows: list[Row]) -> set[str]:
    return {name for row in rows for name in row.theirs}


def class_count(config: dict) -> int:
    """Returns the number of classes of a classifier; 2 if config.json does not say, as in transformers."""
    return len(config["id2label"]) if "id2label" in config else config.get("num_labels", 2)


def describe_blocks(stack: Stack) -> dict:
    """Returns the fields of `Stack` and `Block` that a stack was built with, without `scan`, `remat` and `dtype`."""
    relative, block = stack.relative, stack.prototype
    attention = block.attention
    assert attention is not None
    return {
        "width": attention.query.kernel.shape[-2],
        "mlp_width": block.mlp.up.kernel.shape[-1],
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
