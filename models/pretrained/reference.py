"""The table between a published format and one of our models: rows for tensors, names for settings, heads.

"Theirs" is the published side, as the transformers library reads and writes it; "ours" is the module in `models/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
import re
import sys
from typing import Any

import numpy as np

from core.errors import UserError, cut, printable, shown
from models.pretrained.files import Tensors
from models.pretrained.rows import Row
from models.pretrained.settings import FIXED, HARMLESS, architecture, expect, same_value

_LISTED = 10  # tensors in the message about a folder that does not fit its config.json

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "quick_gelu": "gelu_sigmoid",
    "silu": "silu",
    "swish": "silu",
}
"""Their name of an activation -> ours. Where several of theirs are the same function, the first one is written."""


@dataclass(frozen=True)
class Head:
    """A head of one of our models, and of theirs.

    Args:
      fields: those of ours that choose it. architectures: their classes that have it; the first one is written.
      rows: its tensors. classes: whether it has a number of classes.
      twins: tensors of its own that are copies of others if `tie_word_embeddings` is true, as it is by default.
    """

    fields: dict[str, Any]
    architectures: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    classes: bool = False
    twins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The table between one published architecture and one of ours.

    Args:
      name: their `model_type`. model: our class.
      settings: our field -> their key of config.json, with its default if it may be left out.
      read: further keys that are read -> their kind, see `models.pretrained.settings.expect`.
      fixed: their key -> the only value of it that our model can compute, which is also its default.
      harmless: further keys that change nothing in the classes that are here.
      aliases: another name that they have for a key -> the key.
      dropouts: their key of a dropout rate -> its default, None for "as the others". Ours has one rate for all.
      rows: returns the rows of everything but the head, given our fields. heads: those that it may have.
      prefix: the beginning of the names of all tensors outside the head; files without a head leave it out.
      outside: the beginnings of the names of the tensors of the head. inside: of all others, where there is no prefix.
      copies: a tensor that some files repeat -> the tensors of which it equals one. A file may hold it alone.
      ignored: a pattern of names that hold no weights. constants: returns those that transformers asks for all the
        same, given our fields.
      describe: returns the fields that one of our modules was built with, without those that leave its numbers the
        same, such as `remat`.
      nested: their keys that hold settings of a part of the model; in the table, a key such as text_config.hidden_size
        names one of them. values: checks the numbers in tensors, and raises UserError.
      activations: their name of an activation -> ours.
      to_fields, to_config: settings that are more than another name, from theirs and from ours.
    """

    name: str
    model: Callable[..., Any]
    settings: dict[str, str | tuple[str, Any]]
    fixed: dict[str, Any]
    dropouts: Mapping[str, float | None]
    rows: Callable[[dict], list[Row]]
    heads: list[Head]
    prefix: str
    outside: tuple[str, ...]
    describe: Callable[[Any], dict]
    inside: tuple[str, ...] = ()
    read: dict[str, str] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    copies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: str = "$^"
    constants: Callable[[dict], dict[str, np.ndarray]] = lambda fields: {}
    nested: tuple[str, ...] = ()
    values: Callable[[Tensors], None] = lambda tensors: None
    activations: dict[str, str] = field(default_factory=lambda: ACTIVATIONS)
    to_fields: Callable[[dict], dict] = lambda config: {}
    to_config: Callable[[dict], dict] = lambda fields: {}

    def rename(self, names: list[str]) -> dict[str, str | None]:
        """Returns the names that the table has for the tensors of a file, or None for those that hold no weights."""
        complete = sum(name.startswith(self.prefix) for name in names) > len(names) / 2
        renamed = {}
        for stored in names:
            name = stored if complete or stored.startswith((self.prefix, *self.outside)) else self.prefix + stored
            name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))  # of files made before 2020
            renamed[stored] = None if re.search(self.ignored, name) else name
        return renamed

    def fields_of(self, config: dict, *, dropout: float | None = None) -> dict:
        """Returns our fields without those of the head. Raises UserError, with every setting that ours cannot have."""
        config = self._checked(self._flat(config))
        pairs = {ours: (key, None) if isinstance(key, str) else key for ours, key in self.settings.items()}
        fields = {ours: config.get(*pair) for ours, pair in pairs.items()} | self.to_fields(config)
        if "activation" in fields:
            if fields["activation"] not in self.activations:
                key = pairs["activation"][0]
                raise UserError(f"{key} = {shown(fields['activation'])}: expected one of {', '.join(self.activations)}")
            fields["activation"] = self.activations[fields["activation"]]
        rates = {key: config.get(key, default) for key, default in self.dropouts.items()}
        rates = {key: rate for key, rate in rates.items() if rate is not None}
        if dropout is None and len(set(rates.values())) > 1:
            listed = ", ".join(f"{key} = {rate}" for key, rate in rates.items())
            raise UserError(f"{listed}: here one rate holds for all; say which, as in load(folder, dropout=0.1)")
        rate = next(iter(rates.values()), 0.0) if dropout is None else dropout
        return fields | {"dropout": rate}

    def _flat(self, config: dict) -> dict:
        """Returns settings in which those of a part have the name of the part in front of theirs."""
        if not self.nested:
            return config
        flat = {}
        for part in self.nested:
            # Where the second one is there, the reference reads it instead, as older versions wrote both.
            settings = config.get(f"{part}_dict") or config.get(part) or {}
            if not isinstance(settings, dict):
                raise UserError(f"{part} = {settings!r:.60}: expected settings by name")
            flat |= {f"{part}.{key}": value for key, value in settings.items()}
        return flat | {k: v for k, v in config.items() if k.removesuffix("_dict") not in self.nested}

    def _checked(self, config: dict) -> dict:
        """Returns their settings under the names that the table has, all of which are known and of the right kind."""
        config = dict(config)
        required = [key for key in self.settings.values() if isinstance(key, str)]
        kinds, fixed, problems = self._kinds(), FIXED | self.fixed, []
        for other, key in self.aliases.items():
            if other in config and config.setdefault(key, config[other]) != config[other]:
                values = f"{other} = {shown(config[other])}, but {key} = {shown(config[key])}"
                problems.append(f"{values}: they are the same setting")
        problems += [f"{key} is missing" for key in required if key not in config]
        for key, value in config.items():
            if key in kinds:
                problems += filter(None, [expect(key, value, kinds[key])])
            elif (name := _own_name(key)) in fixed or key in fixed:
                expected = fixed.get(key, fixed.get(name))
                if not same_value(value, expected):
                    problems.append(f"{cut(key)} = {shown(value)}: only {expected!r} is supported here")
            elif name not in HARMLESS and key not in self.harmless and key not in self.aliases:
                problems.append(f"{cut(key)} = {shown(value)} is not a setting that is known here")
        if problems:
            raise UserError("; ".join(problems))
        return config

    def _kinds(self) -> dict[str, str]:
        """The kind of each setting that is read."""
        of_ours = {"activation": "word", "epsilon": "number", "qkv_bias": "flag", "cross_residual": "flag"}
        kinds = self.read | {key: "rate" if rate is not None else "rate?" for key, rate in self.dropouts.items()}
        for ours, key in self.settings.items():
            kind = of_ours.get(ours, "size")
            if isinstance(key, str):
                kinds[key] = kind
            else:
                kinds[key[0]] = kind if key[1] is not None else f"{kind}?"
        return kinds

    def config_of(self, fields: dict, head: Head) -> dict:
        """Returns their config.json for our fields."""
        keys = {ours: key if isinstance(key, str) else key[0] for ours, key in self.settings.items()}
        activations = {ours: theirs for theirs, ours in reversed(self.activations.items())}
        config = {"architectures": [head.architectures[0]], "model_type": self.name, "dtype": "float32"}
        config |= {key: fields[ours] for ours, key in keys.items()}
        config |= {key: fields["dropout"] for key, default in self.dropouts.items() if default is not None}
        if "activation" in keys:
            config[keys["activation"]] = activations.get(fields["activation"], fields["activation"])
        config |= self.to_config(fields)
        for part in self.nested:
            own = [key for key in config if key.startswith(f"{part}.")]
            config[part] = {_own_name(key): config.pop(key) for key in own}
        if head.classes:
            labels = [f"LABEL_{number}" for number in range(fields["classes"])]
            config |= {"id2label": {str(number): label for number, label in enumerate(labels)}}
            config |= {"label2id": {label: number for number, label in enumerate(labels)}}
        return config

    def head_of(self, config: dict, fields: dict, tensors: Tensors) -> tuple[Head, set[str]]:
        """Returns the head of a folder, and the names of the tensors that are copies, and so no parameters of ours.

        `architectures` in config.json decides. Where it leaves a choice, or is not there, it is the head whose tensors
        differ least from those of the folder. A tensor of which the folder has only a copy is read from there.
        """
        body, tied = _names(self.table(fields)), config.get("tie_word_embeddings", True)
        heads = {name for head in self.heads for name in _names(head.rows)}
        copies = set()
        for twin, originals in self.copies.items():
            if twin in body or twin not in tensors.shapes:
                continue
            original = next(name for name in originals if name in body | heads)
            if original not in tensors.shapes and (tied or not any(twin in head.twins for head in self.heads)):
                tensors.alias(original, twin)
            same_shape = tensors.shapes.get(original) == tensors.shapes[twin]
            if same_shape and np.array_equal(tensors[original], tensors[twin]):
                copies.add(twin)
        outside = tensors.shapes.keys() - body - (copies if tied else copies - heads)
        name = architecture(config)
        candidates = [head for head in self.heads if name in (None, *head.architectures)]
        if not candidates:
            names = dict.fromkeys(name for head in self.heads for name in head.architectures)
            raise UserError(f"architectures = {[name]}: expected one of {', '.join(names)}")
        allowed = [h for h in candidates if all(fields.get(name, value) == value for name, value in h.fields.items())]
        return min(allowed, key=lambda head: len(_names(head.rows) ^ outside)), copies

    def table(self, fields: dict, head: Head | None = None) -> list[Row]:
        """Returns every row of a model with these fields, layer by layer; without a head those of the body."""
        rows = []
        for row in self.rows(fields) + (head.rows if head else []):
            rows += row.of_layers(fields)
        return rows

    def check(self, folder: Path, config: dict, expected: dict, shapes: dict, head: Head, copies: set[str]) -> None:
        """Checks the tensors of a folder, and says which of them its class does not use.

        Args:
          expected: those that the table asks for, and their shapes. shapes: those in the folder.
          head, copies: see `head_of`.

        Raises UserError that names the tensors that are missing, not expected, or of another shape.
        """
        problems, unused, name_of_class = [], [], architecture(config)
        others = {name for other in self.heads for name in (*_names(other.rows), *other.twins)}
        for name, shape in expected.items():
            if name not in shapes:
                problems.append(f"{name} is missing, expected {shape}")
            elif shapes[name] != shape:
                problems.append(f"{name} has the shape {shapes[name]}, expected {shape}")
        if not config.get("tie_word_embeddings", True):
            missing = [name for name in head.twins if name not in shapes]
            problems += [f"{name} is missing, as tie_word_embeddings is false" for name in missing]
        for name in shapes.keys() - expected.keys() - copies:
            of_other_head = name in others or not name.startswith(self.inside or (self.prefix,))
            is_copy = name not in others and any(original in expected for original in self.copies.get(name, ()))
            if name in head.twins or is_copy:
                problems.append(f"{name} should equal {' or '.join(self.copies[name])}, and does not")
            elif name_of_class is not None and (of_other_head or name in self.copies):
                unused.append(name)
            else:
                problems.append(f"{name}, of shape {shapes[name]}, is not expected")
        if problems:
            lines = "".join(f"\n  {problem}" for problem in sorted(problems)[:_LISTED])
            lines += f"\n  and {len(problems) - _LISTED:,} more" if len(problems) > _LISTED else ""
            raise UserError(f"{folder} does not hold the tensors that its config.json asks for:{lines}")
        if unused:
            line = f"{folder}: {name_of_class} does not use {', '.join(sorted(unused))}"
            print(printable(line), file=sys.stderr, flush=True)


def _own_name(key: str) -> str:
    """The name that a setting of a part has there."""
    return key.rpartition(".")[2]


def _names(rows: list[Row]) -> set[str]:
    return {name for row in rows for name in row.theirs}
