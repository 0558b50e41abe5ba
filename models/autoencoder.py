"""The autoencoder: an encoder makes a code of an example, and a decoder makes the example of the code.

    x -> encoder -> code -> decoder -> x

If the code is smaller than x, it keeps what the examples have in common; with linear maps it spans the same plane as
the principal components (Baldi & Hornik 1989; Hinton & Salakhutdinov 2006). A larger code could keep a copy of x. It
learns something only from a corrupted x, from which the model has to restore the clean one (Vincent et al. 2008): the
objective `reconstruction` corrupts. Unlike in the variational autoencoder (`models/vae.py`), whose encoders and
decoders it shares, the code is a point, so there is no likelihood and nothing to sample from.
"""

from typing import Unpack

from flax import nnx
from jaxtyping import Array, Float

from core.ranges import Dtype, ImageShape, Side, Size
from models.encoders import TransformerFields, make_encoder
from models.fields import forwards
from models.layers import DropoutKey
from models.vae import DECODERS, HiddenLayers, Images, choose
from models.vit import VisionTransformer

Code = Float[Array, "batch code"]


class Autoencoder(nnx.Module):
    """Encodes images to a code, and decodes a code to images.

    Args:
      image_shape: (rows, columns, channels). code: its size.
      encoder: "dense", "convolutional" or "transformer". decoder: "dense" or "convolutional".
      width, depth: of the encoder, see `models.vae.VariationalAutoencoder`; D and L of a transformer. decoder_width,
        decoder_depth: of the decoder (default: the encoder's).
      dtype: of the computation; parameters, code and what is decoded are float32.
      patch, heads, transformer: fields of `models.vit.VisionTransformer`, for the transformer only.
    """

    @forwards(VisionTransformer)
    def __init__(
        self, *, image_shape: ImageShape, code: Size, width: Size, depth: HiddenLayers, encoder: str = "dense",
        decoder: str = "dense", decoder_width: Size | None = None, decoder_depth: HiddenLayers | None = None,
        patch: Side | None = None, heads: Size | None = None, dtype: Dtype = "float32", rngs: nnx.Rngs,
        **transformer: Unpack[TransformerFields],
    ):  # fmt: skip
        choose("encoder", encoder, dict.fromkeys(("convolutional", "dense", "transformer")))
        self.encoder = make_encoder(
            encoder, image_shape, code, width=width, depth=depth, patch=patch, heads=heads, dtype=dtype, rngs=rngs,
            **transformer,
        )  # fmt: skip
        self.decoder = choose("decoder", decoder, DECODERS)(
            code, tuple(image_shape), width=width if decoder_width is None else decoder_width,
            depth=depth if decoder_depth is None else decoder_depth, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.code = code

    def encode(self, images: Images, *, key: DropoutKey = None) -> Code:
        """Returns the code of `images`."""
        return self.encoder(images, key=key)

    def decode(self, code_BZ: Code) -> Images:
        """Returns the images of a code."""
        return self.decoder(code_BZ)

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Images:
        """Returns what is decoded of the code of `images`."""
        return self.decode(self.encode(images, key=key))
