"""The variational autoencoder: an encoder gives a distribution of latents, a decoder what is likely given one of them.

    x -> encoder -> q(z | x) = N(mean, diag exp(log_variance)) -> z -> decoder -> p(x | z)

Kingma & Welling 2014; Rezende et al. 2014. Unlike a plain autoencoder it encodes to a distribution: the objective
(`objectives/variational.py`) makes it cost something to tell latents apart. The information bottlenecks, which decode
something else than what they encode, are beside it in `models/bottleneck.py`.
"""

from functools import partial
from itertools import pairwise
import math
from typing import Annotated, Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError, shown
from core.ranges import Dtype, ImageShape, Range, Size
from models.layers import DropoutKey, linear, read_out, split_key

HiddenLayers = Annotated[int, Range(0, 1024)]  # 0: a linear map
Variance = Annotated[float, Range(1e-12, 1e12)]
Images = Float[Array, "batch rows columns channels"]
Latents = Float[Array, "batch latents"]
LIKELIHOODS = ("bernoulli", "categorical", "gaussian")


class VariationalAutoencoder(nnx.Module):
    """Encodes images, and decodes latents to images.

    Args:
      image_shape: (rows, columns, channels). latents: Z.
      width, depth: of the encoder: width and number of hidden layers, or channels of the first convolution and number
        of convolutions. decoder_width, decoder_depth: of the decoder (default: the encoder's).
      encoder, decoder: "dense" or "convolutional".
      likelihood: "bernoulli" (x in [0, 1]) or "gaussian" (x real).
      variance: of the Gaussian; None learns one for each element of x, all of which must then vary.
      dtype: of the computation; parameters, posterior and what is decoded are float32.
    """

    encoder: Any  # from what is encoded to 2 Z numbers, the mean and the log variance

    def __init__(
        self, *, image_shape: ImageShape, latents: Size, width: Size, depth: HiddenLayers, encoder: str = "dense",
        decoder: str = "dense", likelihood: str = "bernoulli", variance: Variance | None = None,
        decoder_width: Size | None = None, decoder_depth: HiddenLayers | None = None, dtype: Dtype = "float32",
        rngs: nnx.Rngs,
    ):  # fmt: skip
        make_encoder = choose("encoder", encoder, ENCODERS)
        self.encoder = make_encoder(image_shape, 2 * latents, width=width, depth=depth, dtype=dtype, rngs=rngs)
        self._add_decoder(
            decoder, latents, tuple(image_shape), likelihood, variance,
            width if decoder_width is None else decoder_width,
            depth if decoder_depth is None else decoder_depth, dtype, rngs,
        )  # fmt: skip

    def encode(self, images: Images, *, key: DropoutKey = None) -> list[Latents]:
        """Returns the mean and the log variance of q(z | x)."""
        return self._posterior(self.encoder(images, key=key))

    def decode(self, latents_BZ: Latents) -> dict[str, Float[Array, "batch ..."]]:
        """Returns the parameters of p(x | z): {"logits"}, or {"mean", "log_variance"} of a Gaussian.

        Each has the shape of x; the logits of classes are `BC`.
        """
        decoded = self.decoder(latents_BZ)
        if self.likelihood != "gaussian":
            return {"logits": decoded}
        if self.variance is not None:
            log_variance = math.log(self.variance)
        else:
            assert self.log_variance is not None
            log_variance = self.log_variance[...]
        return {"mean": decoded, "log_variance": jnp.broadcast_to(log_variance, decoded.shape)}

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch ..."]:
        """Returns the logits, or means, of x at a draw from the posterior; without a key, at its mean."""
        encode_key, draw_key = split_key(key, 2)
        return self._decode_draw(self.encode(images, key=encode_key), draw_key)

    def _add_decoder(
        self, decoder: str, latents: int, shape: tuple[int, ...], likelihood: str, variance: float | None, width: int,
        depth: int, dtype: str, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        if likelihood not in LIKELIHOODS:
            raise UserError(f"likelihood={shown(likelihood)}: expected one of {', '.join(LIKELIHOODS)}")
        make_decoder = choose("decoder", decoder, DECODERS)
        self.decoder = make_decoder(latents, shape, width=width, depth=depth, dtype=dtype, rngs=rngs)
        learned = likelihood == "gaussian" and variance is None
        self.log_variance = nnx.Param(jnp.zeros(shape)) if learned else None
        self.likelihood, self.variance, self.latents = likelihood, variance, latents

    def _posterior(self, encoded) -> list[Latents]:
        return jnp.split(encoded, 2, axis=-1)

    def _decode_draw(self, posterior: list[Latents], key: DropoutKey):
        z_BZ, log_variance_BZ = posterior
        if key is not None:
            z_BZ = z_BZ + jnp.exp(log_variance_BZ / 2) * jax.random.normal(key, z_BZ.shape)
        return self.decode(z_BZ)["mean" if self.likelihood == "gaussian" else "logits"]


# ---- encoders: images to 2 Z numbers --------------------------------------------------------------------------------


class Dense(nnx.Module):
    """Maps arrays of one shape to arrays of another by `depth` hidden layers with a ReLU, and a linear one."""

    def __init__(
        self, inputs: tuple[int, ...], outputs: tuple[int, ...], *, width: int, depth: int, dtype: str, rngs: nnx.Rngs
    ):  # fmt: skip
        sizes = [math.prod(inputs)] + [width] * depth + [math.prod(outputs)]
        *hidden, last = pairwise(sizes)
        self.hidden = nnx.List([linear(a, b, dtype=dtype, rngs=rngs) for a, b in hidden])
        self.out, self.outputs = read_out(*last, dtype=dtype, rngs=rngs), tuple(outputs)

    def __call__(self, x: Float[Array, "batch ..."], *, key: DropoutKey = None) -> Float[Array, "batch ..."]:
        x = x.reshape(len(x), -1)
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return self.out(x).reshape(len(x), *self.outputs)


class ConvolutionalEncoder(nnx.Module):
    """`depth` convolutions, 3 x 3 with a ReLU, then a linear map.

    Each halves the sides; the first has `width` channels, and each further one twice as many as the one before.
    """

    def __init__(self, image_shape: ImageShape, outputs: int, *, width: int, depth: int, dtype: str, rngs: nnx.Rngs):
        smallest = _smallest(image_shape, width, depth)
        channels = [image_shape[-1]] + [width * 2**i for i in range(depth)]
        layer = lambda a, b: nnx.Conv(a, b, (3, 3), strides=2, dtype=jnp.dtype(dtype), rngs=rngs)
        self.hidden = nnx.List(layer(a, b) for a, b in pairwise(channels))
        self.out = read_out(math.prod(smallest), outputs, dtype=dtype, rngs=rngs)

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch outputs"]:
        x = images
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return self.out(x.reshape(len(x), -1))


ENCODERS = {"dense": lambda shape, outputs, **fields: Dense(shape, (outputs,), **fields),
            "convolutional": ConvolutionalEncoder}  # fmt: skip


# ---- decoders: latents to an array for each example -----------------------------------------------------------------


class ConvolutionalDecoder(nnx.Module):
    """`ConvolutionalEncoder` backwards: a linear map to its smallest image, then `depth` transposed convolutions."""

    def __init__(
        self, latents: int, image_shape: tuple[int, ...], *, width: int, depth: int, dtype: str, rngs: nnx.Rngs
    ):  # fmt: skip
        self.smallest = _smallest(image_shape, width, depth)
        self.start = linear(latents, math.prod(self.smallest), dtype=dtype, rngs=rngs)
        channels = [width * 2**i for i in reversed(range(depth))] + [image_shape[-1]]
        make = partial(nnx.ConvTranspose, kernel_size=(3, 3), strides=2, rngs=rngs)
        layer = lambda pair, dtype: make(pair[0], pair[1], dtype=jnp.dtype(dtype))
        *inner, last = pairwise(channels)
        # JAX has no gradient of a convolution of bfloat16 that adds up in float32, so the last one is float32 entirely.
        self.layers = nnx.List([*(layer(pair, dtype) for pair in inner), layer(last, "float32")])

    def __call__(self, latents_BZ: Latents) -> Images:
        x = self.start(latents_BZ).reshape(-1, *self.smallest)
        for layer in self.layers:
            x = layer(nnx.relu(x))
        return x


DECODERS = {"dense": lambda latents, shape, **fields: Dense((latents,), shape, **fields),
            "convolutional": ConvolutionalDecoder}  # fmt: skip


# ---- private parts --------------------------------------------------------------------------------------------------


def choose(field: str, name: str, table: dict) -> Any:
    """Returns what a field names in a table. Raises UserError if the table has no such name."""
    if name not in table:
        raise UserError(f"{field}={shown(name)}: expected one of {', '.join(sorted(table))}")
    return table[name]


def _smallest(shape: tuple[int, ...], width: int, depth: int) -> ImageShape:
    """(rows, columns, channels) after `depth` convolutions that halve an image of this shape."""
    if len(shape) != 3:
        raise UserError(f"a convolutional decoder makes images, not an array of shape {shape}: take a dense one")
    rows, columns, _ = shape
    if depth < 1 or rows % 2**depth or columns % 2**depth:
        raise UserError(f"depth={depth}: an image of {rows} x {columns} cannot be halved that often (at least once)")
    return rows // 2**depth, columns // 2**depth, width * 2 ** (depth - 1)
