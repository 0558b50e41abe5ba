"""The encoders that autoencoders and bottlenecks share: dense, convolutional, a Vision Transformer, or BERT for tokens.

An encoder maps what it reads to a fixed number of outputs, which are a code, or the mean and the log variance of one.
The dense and the convolutional encoder stand beside their decoders in `models/vae.py`. The transformers are models of
their own, whose "classes" are the outputs.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from core.errors import UserError
from core.signatures import keywords
from models.bert import Bert
from models.fields import StackFields
from models.vae import ENCODERS, choose
from models.vit import VisionTransformer


class TransformerFields(StackFields, total=False):
    """The fields that only a transformer as encoder has, see `models.vit.VisionTransformer` and `models.bert.Bert`."""

    stem: str
    pooling: str
    positions: str
    dropout: float


def make_encoder(
    encoder: str, reads: tuple[int, ...], outputs: int, *, width: int, depth: int, patch: int | None = None,
    heads: int | None = None, dtype: str = "float32", rngs: nnx.Rngs, **transformer: Any,
) -> nnx.Module:  # fmt: skip
    """Returns the encoder of a name.

    Args:
      encoder: "dense", "convolutional" or "transformer" for images; "bert" for tokens.
      reads: (rows, columns, channels) of images; (vocabulary, longest sequence) of tokens.
      outputs: numbers for each example.
      width, depth: of the encoder: width and number of hidden layers, channels of the first convolution and number of
        convolutions, or D and L of a transformer.
      patch, heads, transformer: fields of a transformer.

    Raises:
      UserError: there is no such encoder, or a field is missing or belongs to another one.
    """
    sizes = {name: size for name, size in (("patch", patch), ("heads", heads)) if size is not None}
    more = {**transformer, **sizes}
    transformers = {"transformer": _transformer, "bert": _bert}
    make = choose("encoder", encoder, ENCODERS | transformers)
    if encoder not in transformers:
        _refuse(encoder, more)
        more = {}
    return make(reads, outputs, width=width, depth=depth, dtype=dtype, rngs=rngs, **more)


def _transformer(image_shape: tuple[int, int, int], outputs: int, **fields: Any) -> VisionTransformer:
    if missing := [name for name in ("patch", "heads") if name not in fields]:
        raise UserError(f"encoder='transformer' needs {' and '.join(missing)}")
    return VisionTransformer(image_shape=image_shape, classes=outputs, **fields)


def _bert(vocabulary: tuple[int, int], outputs: int, **fields: Any) -> Bert:
    vocab_size, context = vocabulary
    _refuse("bert", {name: fields.pop(name) for name in ("patch", "stem", "pooling") if name in fields})
    if "heads" not in fields:
        raise UserError("encoder='bert' needs heads")
    return Bert(vocab_size=vocab_size, context=context, head="classification", classes=outputs, **fields)


def _refuse(encoder: str, fields: Mapping[str, Any]) -> None:
    """Raises UserError for fields that only another encoder has, unless they have their defaults."""
    parameters = keywords(VisionTransformer)
    if wrong := [name for name, value in fields.items() if name not in parameters or value != parameters[name].default]:
        raise UserError(f"encoder={encoder!r} has no {', '.join(wrong)}: leave it out, or set encoder='transformer'")
