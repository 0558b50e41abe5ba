"""Information bottlenecks: a variational autoencoder that decodes something else than what it encodes.

    x~ -> encoder -> q(z | x~) -> z -> decoder -> p(x | z)

| x                          | model                                                                                |
|----------------------------|--------------------------------------------------------------------------------------|
| x~ itself                  | the variational autoencoder, see `models/vae.py`                                     |
| another view of the same   | deep information bottleneck: the latents keep what the views share                   |
| a class                    | variational information bottleneck (Alemi et al. 2017): a classifier with a noisy z  |

Unlike the autoencoder, the encoder may be a Vision Transformer or, for tokens, BERT. How much z may cost is for the
objective to say (`objectives/variational.py`).
"""

from collections.abc import Mapping
from typing import Any, Unpack

from flax import nnx
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Dtype, ImageShape, Length, Side, Size, Vocabulary
from core.signatures import keywords
from models.bert import Bert
from models.fields import StackFields, forwards
from models.layers import DropoutKey, split_key
from models.masks import Padding
from models.vae import ENCODERS, LIKELIHOODS, HiddenLayers, Images, Latents, Variance, VariationalAutoencoder, choose
from models.vit import VisionTransformer


class TransformerFields(StackFields, total=False):
    """The fields that only a transformer as encoder has, see `models.vit.VisionTransformer` and `models.bert.Bert`."""

    stem: str
    pooling: str
    positions: str
    dropout: float


class Variational(VariationalAutoencoder):
    """Encodes images or tokens, and decodes latents to images, other arrays or classes.

    Args:
      image_shape: of x~, (rows, columns, channels); or, for tokens, vocab_size: V, and context: longest sequence.
      latents: Z.
      target_shape: of x, for "bernoulli" and "gaussian". classes: C, for "categorical".
      encoder: "dense", "convolutional" or "transformer"; "bert" for tokens. decoder: "dense" or "convolutional".
      likelihood: "bernoulli" (x in [0, 1]), "gaussian" (x real) or "categorical" (x a class number).
      variance: of the Gaussian; None learns one for each element of x, all of which must then vary.
      width, depth: of the encoder, see `VariationalAutoencoder`; D and L of a transformer. decoder_width,
        decoder_depth: of the decoder (default: the encoder's).
      dtype: of the computation; parameters, posterior and what is decoded are float32.
      patch, heads, transformer: fields of `models.vit.VisionTransformer` or `models.bert.Bert`, for these only.
    """

    @forwards(VisionTransformer)
    def __init__(
        self, *, image_shape: ImageShape | None = None, vocab_size: Vocabulary | None = None,
        context: Length | None = None, latents: Size, width: Size, depth: HiddenLayers, encoder: str = "dense",
        decoder: str = "dense", likelihood: str = "bernoulli", target_shape: tuple[Length, ...] | None = None,
        classes: Vocabulary | None = None, variance: Variance | None = None, decoder_width: Size | None = None,
        decoder_depth: HiddenLayers | None = None, patch: Side | None = None, heads: Size | None = None,
        dtype: Dtype = "float32", rngs: nnx.Rngs,
        **transformer: Unpack[TransformerFields],
    ):  # fmt: skip
        shape = _decoded_shape(likelihood, target_shape, classes)
        sizes = {name: size for name, size in (("patch", patch), ("heads", heads)) if size is not None}
        more = {**transformer, **sizes}
        transformers = {"transformer": _transformer_encoder, "bert": _bert_encoder}
        make_encoder = choose("encoder", encoder, ENCODERS | transformers)
        if encoder not in transformers:
            _refuse(encoder, more)
            more = {}
        self.encoder = make_encoder(
            _encoded(encoder, image_shape, vocab_size, context), 2 * latents, width=width, depth=depth, dtype=dtype,
            rngs=rngs, **more,
        )  # fmt: skip
        self._add_decoder(
            decoder, latents, shape, likelihood, variance, width if decoder_width is None else decoder_width,
            depth if decoder_depth is None else decoder_depth, dtype, rngs,
        )  # fmt: skip
        if likelihood == "categorical":
            self.classes = classes

    def encode(
        self, images: Images | None = None, *, tokens: Int[Array, "batch time"] | None = None,
        mask: Padding | None = None, key: DropoutKey = None,
    ) -> list[Latents]:  # fmt: skip
        """Returns the mean and the log variance of q(z | x~) for `images` or `tokens` (`mask`: see `Bert`)."""
        if tokens is None:
            return self._posterior(self.encoder(images, key=key))
        return self._posterior(self.encoder(tokens, mask=mask, key=key))

    def __call__(
        self, images: Images | None = None, *, tokens: Int[Array, "batch time"] | None = None,
        mask: Padding | None = None, key: DropoutKey = None,
    ) -> Float[Array, "batch ..."]:  # fmt: skip
        """Returns the logits, or means, of x at a draw from the posterior; without a key, at its mean."""
        encode_key, draw_key = split_key(key, 2)
        return self._decode_draw(self.encode(images, tokens=tokens, mask=mask, key=encode_key), draw_key)


# ---- transformers as encoders, whose "classes" are the 2 Z numbers of the posterior ---------------------------------


def _transformer_encoder(image_shape: ImageShape, outputs: int, **fields: Any) -> VisionTransformer:
    if missing := [name for name in ("patch", "heads") if name not in fields]:
        raise UserError(f"encoder='transformer' needs {' and '.join(missing)}")
    return VisionTransformer(image_shape=image_shape, classes=outputs, **fields)


def _bert_encoder(vocabulary: tuple[int, int], outputs: int, **fields: Any) -> Bert:
    vocab_size, context = vocabulary
    _refuse("bert", {name: fields.pop(name) for name in ("patch", "stem", "pooling") if name in fields})
    if "heads" not in fields:
        raise UserError("encoder='bert' needs heads")
    return Bert(vocab_size=vocab_size, context=context, head="classification", classes=outputs, **fields)


# ---- what fits together ---------------------------------------------------------------------------------------------


def _encoded(encoder: str, image_shape, vocab_size, context):
    """What the encoder must know of what it reads. Raises UserError if it is missing."""
    if encoder != "bert" and image_shape is None:
        raise UserError(f"encoder={encoder!r} reads images and needs image_shape: set encoder='bert' for tokens")
    if encoder == "bert" and None in (vocab_size, context):
        raise UserError("encoder='bert' reads tokens and needs vocab_size and context")
    return (vocab_size, context) if encoder == "bert" else image_shape


def _refuse(encoder: str, fields: Mapping[str, Any]) -> None:
    """Raises UserError for fields that only another encoder has, unless they have their defaults."""
    parameters = keywords(VisionTransformer)
    if wrong := [name for name, value in fields.items() if name not in parameters or value != parameters[name].default]:
        raise UserError(f"encoder={encoder!r} has no {', '.join(wrong)}: leave it out, or set encoder='transformer'")


def _decoded_shape(likelihood: str, target_shape, classes) -> tuple[int, ...]:
    if likelihood not in LIKELIHOODS:
        raise UserError(f"likelihood={shown(likelihood)}: expected one of {', '.join(LIKELIHOODS)}")
    name, shape = ("classes", classes) if likelihood == "categorical" else ("target_shape", target_shape)
    if shape is None:
        raise UserError(
            f"likelihood={likelihood!r} needs {name}: class numbers want 'categorical', arrays want 'bernoulli' or "
            f"'gaussian' (the targets here have classes={classes}, target_shape={target_shape})"
        )
    return (classes,) if likelihood == "categorical" else tuple(target_shape)
