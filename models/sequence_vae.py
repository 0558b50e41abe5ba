"""The variational autoencoder of texts, whose latents may also predict properties of them.

    text -> encoder -> q(z | text) -> z -> GRU -> text, token by token
                                      z -> MLP -> properties

Bowman et al. 2016 did this to sentences. With molecules as texts and the properties learned jointly, so that the latent
space is ordered by them, it is the model of Gomez-Bombarelli et al. 2018. Unlike in `models/vae.py`, the decoder sees
the tokens before the one that it predicts. It can therefore do without z, and then the latents are empty, which is
called posterior collapse: `free_bits` of the objective `sequence_variational` is against that.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from core.errors import UserError, shown
from core.ranges import CountOrZero, Depth, Dtype, Length, ShareBelowAll, Size, Vocabulary
from models.decoding import choose
from models.fields import Semantic
from models.layers import Dropout, DropoutKey, Embedding, linear, read_out, split_key
from models.masks import Padding, padding_mask
from models.recurrent import RecurrentLayers
from models.recurrent_decoder import RecurrentDecoder

Tokens = Int[Array, "batch time"]
Latents = Float[Array, "batch latents"]
Properties = Float[Array, "batch properties"]
START = 0  # the token that stands before every text, and ends it
KERNEL = 5  # tokens that a convolution sees


class SequenceVAE(nnx.Module):
    """Encodes texts to latents, decodes latents to texts, and predicts properties from latents.

    A text ends with token 0, which also stands before its first token when it is decoded.

    Args:
      vocab_size: V. context: longest text, with its end. latents: Z.
      properties: numbers that are predicted of each text, 0 for none.
      width: D, of embeddings, encoder and decoder. depth: convolutions, or recurrent layers, of the encoder.
      decoder_depth: recurrent layers of the decoder.
      encoder: "convolutional", with kernels of 5 tokens and a linear map of all places, or "recurrent": the mean over
        the outputs of layers that read in both directions.
      cell: "gru" or "lstm".
      autoregressive: False hides the tokens before from the decoder, so that all that it knows is in the latents.
      dropout: on the embeddings, between recurrent layers, before the logits, and in the head of the properties.
      dtype: of the computation; parameters, posterior, properties and logits are float32.
    """

    def __init__(
        self, *, vocab_size: Vocabulary, context: Length, latents: Size, properties: CountOrZero = 0, width: Size,
        depth: Depth = 2, decoder_depth: Depth = 1, encoder: str = "convolutional", cell: str = "gru",
        autoregressive: Semantic[bool] = True, dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if encoder not in ENCODERS:
            raise UserError(f"encoder={shown(encoder)}: expected one of {', '.join(sorted(ENCODERS))}")
        self.source_embedding = Embedding(vocab_size, width, scale=1.0, dtype=dtype, rngs=rngs)
        self.encoder = ENCODERS[encoder](
            context=context, outputs=2 * latents, width=width, depth=depth, cell=cell, dropout=dropout, dtype=dtype,
            rngs=rngs,
        )  # fmt: skip
        self.start = linear(latents, width, dtype=dtype, rngs=rngs)
        self.embedding = Embedding(vocab_size, width, scale=1.0, dtype=dtype, rngs=rngs)
        self.decoder = RecurrentDecoder(
            width=width, depth=decoder_depth, cell=cell, attention="fixed", dropout=dropout, dtype=dtype, rngs=rngs
        )
        self.head = read_out(width, vocab_size, dtype=dtype, rngs=rngs)
        self.property_hidden = linear(latents, width, dtype=dtype, rngs=rngs) if properties else None
        self.property_head = read_out(width, properties, dtype=dtype, rngs=rngs) if properties else None
        self.dropout, self.autoregressive = Dropout(dropout), autoregressive
        self.vocab_size, self.context, self.properties, self.columns = vocab_size, context, properties, latents

    def encode(
        self, tokens: Tokens, *, mask: Padding | None = None, properties: Properties | None = None,
        key: DropoutKey = None,
    ) -> list[Latents]:  # fmt: skip
        """Returns the mean and the log variance of q(z | text).

        `mask` is False or 0 at padding. `properties`, which come with the data, are not read.
        """
        if tokens.shape[1] > self.context:
            raise UserError(f"the text has {tokens.shape[1]} tokens, but the model has context={self.context}")
        embedding_key, encoder_key = split_key(key, 2)
        mask_BT = padding_mask(mask, tokens.shape)
        x_BTD = self.dropout(self.source_embedding(tokens), embedding_key)
        return jnp.split(self.encoder(x_BTD, mask_BT, key=encoder_key), 2, axis=-1)

    def next_tokens(
        self, latents_BZ: Latents, tokens: Tokens, *, key: DropoutKey = None
    ) -> Float[Array, "batch time vocabulary"]:
        """Returns the logits of each token of a text, given the latents and the tokens before it."""
        embedding_key, decoder_key = split_key(key, 2)
        before_BT = jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=START)[:, :-1]
        y_BTD = self.dropout(self._read(before_BT), embedding_key)
        return self.head(self.decoder(y_BTD, self._cache(latents_BZ), key=decoder_key)[0])

    def predict(self, latents_BZ: Latents, *, key: DropoutKey = None) -> Properties:
        """Returns the properties that latents stand for."""
        if self.property_hidden is None or self.property_head is None:
            return jnp.zeros((len(latents_BZ), 0))
        return self.property_head(self.dropout(nnx.tanh(self.property_hidden(latents_BZ)), key))

    def write(
        self, latents_BZ: Latents, *, key: Key[Array, ""] | None = None, temperature: float = 1.0
    ) -> Int[Array, "batch context"]:  # fmt: skip
        """Returns a text for each row of latents: the most likely next token each time, or with `key` a drawn one.

        After its end, a text is filled up with token 0.
        """
        temperature = 0.0 if key is None else temperature
        keys = jax.random.split(jax.random.key(0) if key is None else key, self.context)

        def step(carry, step_key):
            cache, last_B, ended_B = carry
            out_B1D, cache = self.decoder(self._read(last_B[:, None]), cache)
            next_B = choose(step_key, self.head(out_B1D)[:, 0], temperature, 0, 1.0)
            next_B = jnp.where(ended_B, START, next_B)
            return (cache, next_B, ended_B | (next_B == START)), next_B

        first_B = jnp.full(len(latents_BZ), START, jnp.int32)
        begin = (self._cache(latents_BZ), first_B, jnp.zeros(len(latents_BZ), bool))
        return jax.lax.scan(step, begin, keys)[1].T

    def __call__(
        self, tokens: Tokens, *, mask: Padding | None = None, properties: Properties | None = None,
        key: DropoutKey = None,
    ) -> Float[Array, "batch time vocabulary"]:  # fmt: skip
        """Returns the logits of each token at a draw from the posterior; without a key, at its mean."""
        encode_key, draw_key, decode_key = split_key(key, 3)
        z_BZ, log_variance_BZ = self.encode(tokens, mask=mask, key=encode_key)
        if draw_key is not None:
            z_BZ = z_BZ + jnp.exp(log_variance_BZ / 2) * jax.random.normal(draw_key, z_BZ.shape)
        return self.next_tokens(z_BZ, tokens, key=decode_key)

    def _read(self, tokens_BT: Tokens) -> Float[Array, "batch time width"]:
        return self.embedding(tokens_BT if self.autoregressive else jnp.full_like(tokens_BT, START))

    def _cache(self, latents_BZ: Latents) -> dict[str, Any]:
        summary_BD = jnp.tanh(self.start(latents_BZ))
        return self.decoder.new_cache(summary_BD[:, None], summary_BD)


# ---- encoders -------------------------------------------------------------------------------------------------------


class ConvolutionalReader(nnx.Module):
    """Convolutions over the places of a text, each a product with neighbouring embeddings, then a linear map of all."""

    def __init__(self, *, context: int, outputs: int, width: int, depth: int, dtype: str, rngs: nnx.Rngs, **_: Any):
        self.hidden = nnx.List([linear(KERNEL * width, width, dtype=dtype, rngs=rngs) for _ in range(depth)])
        self.out = read_out(context * width, outputs, dtype=dtype, rngs=rngs)
        self.context = context

    def __call__(self, x_BTD, mask_BT, *, key: DropoutKey = None) -> Float[Array, "batch outputs"]:
        T = x_BTD.shape[1]
        x = x_BTD if mask_BT is None else jnp.where(mask_BT[..., None], x_BTD, 0)
        for layer in self.hidden:
            padded = jnp.pad(x, ((0, 0), (KERNEL // 2, KERNEL // 2), (0, 0)))
            around = jnp.concatenate([padded[:, place : place + T] for place in range(KERNEL)], axis=-1)
            x = nnx.relu(layer(around))
            x = x if mask_BT is None else jnp.where(mask_BT[..., None], x, 0)
        return self.out(jnp.pad(x, ((0, 0), (0, self.context - T), (0, 0))).reshape(len(x), -1))


class RecurrentReader(nnx.Module):
    """Recurrent layers that read in both directions, and a linear map of the mean of their outputs."""

    def __init__(
        self, *, outputs: int, width: int, depth: int, cell: str, dropout: float, dtype: str, rngs: nnx.Rngs, **_: Any
    ):  # fmt: skip
        self.layers = RecurrentLayers(
            cell=cell, inputs=width, width=width, depth=depth, bidirectional=True, dropout=dropout, dtype=dtype,
            rngs=rngs,
        )  # fmt: skip
        self.out = read_out(width, outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD, mask_BT, *, key: DropoutKey = None) -> Float[Array, "batch outputs"]:
        out_BTD, _ = self.layers(x_BTD, mask=mask_BT, key=key)
        if mask_BT is None:
            return self.out(out_BTD.mean(1))
        kept_BTD = jnp.where(mask_BT[..., None], out_BTD, 0)
        return self.out(kept_BTD.sum(1) / jnp.maximum(mask_BT.sum(1, keepdims=True), 1).astype(out_BTD.dtype))


ENCODERS = {"convolutional": ConvolutionalReader, "recurrent": RecurrentReader}
