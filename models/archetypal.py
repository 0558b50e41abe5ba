"""Deep archetypal analysis: every example is a mixture of a few extreme ones, the archetypes.

    x -> encoder -> weights a of K archetypes -> mean of z = a V -> decoder -> x

V are the K corners of a regular simplex, which stay where they are; what a corner looks like is learned (Keller et al.
2020, "Learning extreme representations with deep archetypal analysis"). For the corners to be extreme, each has to be
a mixture of examples in turn: a second softmax, over the examples of the batch, says of which. The objective
`objectives/archetypal.py` asks for that. It is a variational autoencoder otherwise (`models/vae.py`), whose mean lies
inside the simplex, so latents can be walked from corner to corner.
"""

from typing import Annotated

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from core.ranges import Dtype, ImageShape, Range, ShareBelowAll, Size
from models.layers import Dropout, DropoutKey, read_out
from models.vae import ENCODERS, HiddenLayers, Images, Latents, Variance, VariationalAutoencoder

Archetypes = Annotated[int, Range(2, 2**10)]
Columns = Annotated[int, Range(0, 2**17)]


class ArchetypalAutoencoder(VariationalAutoencoder):
    """Encodes images to mixtures of archetypes, and decodes points of the simplex to images.

    Args:
      image_shape: (rows, columns, channels).
      archetypes: K; the latents are K - 1.
      side: numbers that are known of an example and decoded from its latents too, by a linear map; 0: none. The
        encoder does not see them.
      dropout: on what the encoder reads.
      width, depth, decoder_width, decoder_depth, encoder, decoder, likelihood, variance, dtype: see
        `models.vae.VariationalAutoencoder`.
    """

    def __init__(
        self, *, image_shape: ImageShape, archetypes: Archetypes, side: Columns = 0, width: Size, depth: HiddenLayers,
        encoder: str = "dense", decoder: str = "dense", likelihood: str = "gaussian",
        variance: Variance | None = 1.0, decoder_width: Size | None = None, decoder_depth: HiddenLayers | None = None,
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        latents = archetypes - 1
        super().__init__(
            image_shape=image_shape, latents=latents, width=width, depth=depth, encoder=encoder, decoder=decoder,
            likelihood=likelihood, variance=variance, decoder_width=decoder_width, decoder_depth=decoder_depth,
            dtype=dtype, rngs=rngs,
        )  # fmt: skip
        outputs = 2 * archetypes + latents  # the weights of both mixtures, and the log variance
        self.encoder = ENCODERS[encoder](image_shape, outputs, width=width, depth=depth, dtype=dtype, rngs=rngs)
        self.side = read_out(latents, side, dtype=dtype, rngs=rngs) if side else None
        self.dropout, self.archetypes = Dropout(dropout), archetypes

    def mixtures(
        self, images: Images, *, side: Float[Array, "batch side"] | None = None, key: DropoutKey = None
    ) -> tuple[Float[Array, "batch archetypes"], Float[Array, "batch archetypes"]]:
        """Returns the weights of the archetypes in each image, which sum to 1, and the logits of each image in them."""
        weights_BK, logits_BK, _ = self._parts(images, key)
        return weights_BK, logits_BK

    def encode(
        self, images: Images, *, side: Float[Array, "batch side"] | None = None, key: DropoutKey = None
    ) -> list[Latents]:  # fmt: skip
        """Returns the mean of q(z | x), which is inside the simplex, and the log variance. `side` is not read."""
        weights_BK, _, log_variance_BZ = self._parts(images, key)
        return [weights_BK @ self.corners(), log_variance_BZ]

    def __call__(
        self, images: Images, *, side: Float[Array, "batch side"] | None = None, key: DropoutKey = None
    ) -> Images:
        """Returns the means or logits of x at a draw from the posterior; without a key, at its mean."""
        return super().__call__(images, key=key)

    def corners(self) -> Float[Array, "archetypes latents"]:
        """Returns V: the corners of a regular simplex around 0, at the distance 1."""
        return jnp.asarray(simplex(self.archetypes))

    def _parts(self, images, key):
        encoded = self.encoder(self.dropout(images, key))
        weights, logits, log_variance = jnp.split(encoded, [self.archetypes, 2 * self.archetypes], axis=-1)
        return jax.nn.softmax(weights), logits, log_variance


def simplex(corners: int) -> np.ndarray:
    """Returns the corners (K, K - 1) of a regular simplex around 0, each at the distance 1."""
    centred = np.eye(corners) - 1 / corners
    axes = np.linalg.svd(centred)[2][: corners - 1]
    points = centred @ axes.T
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
