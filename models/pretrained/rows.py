"""The rows of a table between a published format and one of our models: which tensors hold the same numbers.

"Theirs" is the published side, as the transformers library reads and writes it; "ours" is the module in `models/`.
"""

from collections.abc import Callable
from dataclasses import dataclass

_DEPTHS = (("{layer}", "depth"), ("{decoder_layer}", "decoder_depth"), ("{text_layer}", "text_depth"))


@dataclass(frozen=True)
class Row:
    """Tensors of theirs and parameters of ours that hold the same numbers.

    "{layer}" stands for the number of each layer, "{decoder_layer}" and "{text_layer}" for that of a second stack with
    a depth of its own.
    `read` makes a tuple of ours from theirs, `write` a tuple of theirs from ours, both for NumPy and for JAX arrays.
    They only rearrange numbers, except where several tensors of theirs are one linear map of ours.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    read: Callable
    write: Callable

    def of_layers(self, fields: dict) -> list["Row"]:
        """Returns this row for every layer that it stands for."""
        for place, depth in _DEPTHS:
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
