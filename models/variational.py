"""A latent variable in between: an encoder gives its posterior, a decoder what is likely behind it.

    x~ -> encoder -> q(z | x~) = N(mean, diag exp(log_variance)) -> z -> decoder -> p(x | z)

What x is makes the model. x = x~: the variational autoencoder (Kingma & Welling 2014; Rezende et al. 2014). x another
view of the same thing: the deep information bottleneck, whose posterior sees x~ only. x a class: the variational
information bottleneck (Alemi et al. 2017). How much z may cost is for the objective to say.
"""

import inspect
from itertools import pairwise
import math

from flax import nnx
import jax
import jax.numpy as jnp

from models.bert import Bert
from models.layers import linear, split_key
from models.transformer import Block, Stack
from models.vit import VisionTransformer

LIKELIHOODS = ("bernoulli", "categorical", "gaussian")


class Variational(nnx.Module):
    """Images or tokens in, and what the decoder makes of their latents out.

    Args:
      image_shape: of x~, (rows, columns, channels); or, for tokens, vocab_size: V, and context: longest sequence.
      latents: Z.
      target_shape: of x, for "bernoulli" and "gaussian". classes: C, for "categorical".
      encoder: "dense", "convolutional" or "transformer"; "bert" for tokens. decoder: "dense" or "convolutional".
      likelihood: "bernoulli" (x in [0, 1]), "gaussian" (x real) or "categorical" (x a class number).
      variance: of the Gaussian; None learns one for each element of x, all of which must then vary.
      width, depth: of the encoder: size and number of hidden layers, channels of the first convolution and number of
        them, or D and L. decoder_width, decoder_depth: of the decoder (default: the encoder's).
      dtype: of the computation; parameters, posterior and what is decoded are float32.
      patch, heads, transformer: fields of `models.vit.VisionTransformer`, or `models.bert.Bert`, for these only.
    """

    forwards_to, decides = VisionTransformer, ("head",)

    def __init__(
        self, *, image_shape: tuple[int, int, int] | None = None, vocab_size: int | None = None,
        context: int | None = None, latents: int, width: int, depth: int, encoder: str = "dense",
        decoder: str = "dense", likelihood: str = "bernoulli", target_shape: tuple[int, int, int] | None = None,
        classes: int | None = None, variance: float | None = None, decoder_width: int | None = None,
        decoder_depth: int | None = None, patch: int | None = None, heads: int | None = None, dtype: str = "float32",
        rngs: nnx.Rngs, **transformer,
    ):  # fmt: skip
        shape = _decoded_shape(likelihood, target_shape, classes)
        if variance is not None and variance <= 0:
            raise ValueError(f"variance={variance}: expected more than 0, or None to learn it")
        transformer |= {name: value for name, value in {"patch": patch, "heads": heads}.items() if value is not None}
        if encoder not in ("transformer", "bert"):
            _refuse_fields(encoder, transformer)
            transformer = {}
        self.encoder = _choose("encoder", encoder, ENCODERS)(
            _read(encoder, image_shape, vocab_size, context), 2 * latents, width=width, depth=depth,
            dtype=dtype, rngs=rngs, **transformer,
        )  # fmt: skip
        self.decoder = _choose("decoder", decoder, DECODERS)(
            latents, shape, width=width if decoder_width is None else decoder_width,
            depth=depth if decoder_depth is None else decoder_depth, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        learned = likelihood == "gaussian" and variance is None
        self.log_variance = nnx.Param(jnp.zeros(shape)) if learned else None
        self.likelihood, self.variance, self.latents = likelihood, variance, latents

    def encode(self, images=None, *, tokens=None, mask=None, key=None):
        """Mean and log variance of q(z | x~), each `BZ`, for `images` (B, rows, columns, channels) or `tokens` (`BT`).

        `mask` (`BT`) is False at padding.
        """
        encoded = self.encoder(images, key=key) if tokens is None else self.encoder(tokens, mask=mask, key=key)
        return jnp.split(encoded.astype(jnp.float32), 2, axis=-1)

    def decode(self, latents_BZ):
        """What p(x | z) is made of: {"logits"}, or {"mean", "log_variance"} of a Gaussian.

        Each is (B, *target_shape); the logits of classes are `BC`.
        """
        decoded = self.decoder(latents_BZ).astype(jnp.float32)
        if self.likelihood != "gaussian":
            return {"logits": decoded}
        log_variance = self.log_variance[...] if self.variance is None else math.log(self.variance)
        return {"mean": decoded, "log_variance": jnp.broadcast_to(log_variance, decoded.shape)}

    def __call__(self, images=None, *, tokens=None, mask=None, key=None):
        """Logits, or means, of x at a draw from the posterior; without a key, at its mean."""
        dropout_key, draw_key = split_key(key, 2)
        z_BZ, log_variance_BZ = self.encode(images, tokens=tokens, mask=mask, key=dropout_key)
        if draw_key is not None:
            z_BZ = z_BZ + jnp.exp(log_variance_BZ / 2) * jax.random.normal(draw_key, z_BZ.shape)
        decoded = self.decode(z_BZ)
        return decoded["mean" if self.likelihood == "gaussian" else "logits"]


# ---- encoders: images or tokens to 2 Z numbers ----------------------------------------------------------------------


class Dense(nnx.Module):
    """From arrays of one shape to arrays of another by `depth` hidden layers with a ReLU, and a linear one."""

    def __init__(
        self, inputs: tuple[int, ...], outputs: tuple[int, ...], *, width: int, depth: int, dtype: str, rngs: nnx.Rngs
    ):  # fmt: skip
        sizes = [math.prod(inputs)] + [width] * depth + [math.prod(outputs)]
        *hidden, self.out = (linear(a, b, dtype=dtype, rngs=rngs) for a, b in pairwise(sizes))
        self.hidden, self.outputs = nnx.List(hidden), tuple(outputs)

    def __call__(self, x, *, key=None):
        x = x.reshape(len(x), -1)
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return self.out(x).reshape(len(x), *self.outputs)


class ConvolutionalEncoder(nnx.Module):
    """`depth` convolutions, 3 x 3 with a ReLU, then a linear map.

    Each halves the sides; the first has `width` channels, and each further one twice as many as the one before.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], outputs: int, *, width: int, depth: int, dtype: str, rngs: nnx.Rngs
    ):  # fmt: skip
        smallest = _smallest(image_shape, width, depth)
        channels = [image_shape[-1]] + [width * 2**i for i in range(depth)]
        layer = lambda a, b: nnx.Conv(a, b, (3, 3), strides=2, dtype=jnp.dtype(dtype), rngs=rngs)
        self.hidden = nnx.List(layer(a, b) for a, b in pairwise(channels))
        self.out = linear(math.prod(smallest), outputs, dtype=dtype, rngs=rngs)

    def __call__(self, images, *, key=None):
        x = images
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return self.out(x.reshape(len(x), -1))


def _dense_encoder(image_shape, outputs, **fields):
    return Dense(image_shape, (outputs,), **fields)


def _transformer_encoder(image_shape, outputs, **fields):
    """A Vision Transformer, whose "classes" are the numbers that make the posterior."""
    return VisionTransformer(image_shape=image_shape, classes=outputs, **fields)


def _bert_encoder(vocabulary, outputs, **fields):
    """BERT, whose "classes" are the numbers that make the posterior: an information bottleneck over an encoder."""
    vocab_size, context = vocabulary
    _refuse_fields("bert", {name: fields.pop(name) for name in ("stem", "pooling") if name in fields})
    return Bert(vocab_size=vocab_size, context=context, head="classification", classes=outputs, **fields)


ENCODERS = {
    "dense": _dense_encoder,
    "convolutional": ConvolutionalEncoder,
    "transformer": _transformer_encoder,
    "bert": _bert_encoder,
}


# ---- decoders: latents `BZ` to an array for each example ------------------------------------------------------------


class ConvolutionalDecoder(nnx.Module):
    """`ConvolutionalEncoder` backwards: a linear map to its smallest image, then `depth` transposed convolutions."""

    def __init__(
        self, latents: int, image_shape: tuple[int, int, int], *, width: int, depth: int, dtype: str, rngs: nnx.Rngs
    ):  # fmt: skip
        self.smallest = _smallest(image_shape, width, depth)
        self.start = linear(latents, math.prod(self.smallest), dtype=dtype, rngs=rngs)
        channels = [width * 2**i for i in reversed(range(depth))] + [image_shape[-1]]
        layer = lambda a, b: nnx.ConvTranspose(a, b, (3, 3), strides=2, dtype=jnp.dtype(dtype), rngs=rngs)
        self.layers = nnx.List(layer(a, b) for a, b in pairwise(channels))

    def __call__(self, latents_BZ):
        x = self.start(latents_BZ).reshape(-1, *self.smallest)
        for layer in self.layers:
            x = layer(nnx.relu(x))
        return x


def _dense_decoder(latents, shape, **fields):
    return Dense((latents,), shape, **fields)


DECODERS = {"dense": _dense_decoder, "convolutional": ConvolutionalDecoder}


# ---- what fits together ---------------------------------------------------------------------------------------------


def _choose(field: str, name: str, table: dict):
    if name not in table:
        raise ValueError(f"{field}={name!r}: expected one of {', '.join(sorted(table))}")
    return table[name]


def _read(encoder: str, image_shape, vocab_size, context):
    """What the encoder must know of what it reads. Raises ValueError where that is not there."""
    if encoder != "bert" and image_shape is None:
        raise ValueError(f"encoder={encoder!r} reads images, and needs image_shape: tokens want encoder='bert'")
    if encoder == "bert" and None in (vocab_size, context):
        raise ValueError("encoder='bert' reads tokens, and needs vocab_size and context")
    return (vocab_size, context) if encoder == "bert" else image_shape


def _refuse_fields(encoder: str, fields: dict) -> None:
    """Raises TypeError for fields that only a transformer has, unless they are at their defaults."""
    signatures = [inspect.signature(part.__init__).parameters for part in (Block, Stack, VisionTransformer)]
    defaults = {name: parameter.default for signature in signatures for name, parameter in signature.items()}
    if wrong := [name for name, value in fields.items() if name not in defaults or value != defaults[name]]:
        raise TypeError(f"a {encoder} encoder has no {', '.join(wrong)}: leave it out, or set encoder='transformer'")


def _decoded_shape(likelihood: str, target_shape, classes) -> tuple[int, ...]:
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood={likelihood!r}: expected one of {', '.join(LIKELIHOODS)}")
    name, shape = ("classes", classes) if likelihood == "categorical" else ("target_shape", target_shape)
    if shape is None:
        raise ValueError(
            f"likelihood={likelihood!r} needs {name}: class numbers want 'categorical', arrays want 'bernoulli' or "
            f"'gaussian' (the targets here have classes={classes}, target_shape={target_shape})"
        )
    return (classes,) if likelihood == "categorical" else tuple(target_shape)


def _smallest(shape: tuple[int, ...], width: int, depth: int) -> tuple[int, int, int]:
    """(rows, columns, channels) after `depth` convolutions that halve an image of this shape."""
    if len(shape) != 3:
        raise ValueError(f"a convolutional decoder makes images, not an array of shape {shape}: take a dense one")
    rows, columns, _ = shape
    if depth < 1 or rows % 2**depth or columns % 2**depth:
        raise ValueError(f"depth={depth}: an image of {rows} x {columns} cannot be halved that often (at least once)")
    return rows // 2**depth, columns // 2**depth, width * 2 ** (depth - 1)
