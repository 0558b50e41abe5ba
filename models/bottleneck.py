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

from typing import Unpack

from flax import nnx
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Dtype, ImageShape, Length, Side, Size, Vocabulary
from models.encoders import TransformerFields, make_encoder
from models.fields import forwards
from models.layers import DropoutKey, split_key
from models.masks import Padding
from models.vae import LIKELIHOODS, HiddenLayers, Images, Latents, Variance, VariationalAutoencoder
from models.vit import VisionTransformer


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
        self.encoder = make_encoder(
            encoder, _encoded(encoder, image_shape, vocab_size, context), 2 * latents, width=width, depth=depth,
            patch=patch, heads=heads, dtype=dtype, rngs=rngs, **transformer,
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


# ---- what fits together ---------------------------------------------------------------------------------------------


def _encoded(encoder: str, image_shape, vocab_size, context) -> tuple[int, ...]:
    """What the encoder must know of what it reads. Raises UserError if it is missing."""
    if encoder != "bert" and image_shape is None:
        raise UserError(f"encoder={encoder!r} reads images and needs image_shape: set encoder='bert' for tokens")
    if encoder == "bert" and None in (vocab_size, context):
        raise UserError("encoder='bert' reads tokens and needs vocab_size and context")
    return (vocab_size, context) if encoder == "bert" else image_shape


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
