"""Captioner: it reads an image, then writes a text about it, token by token, looking at parts of the image.

Vinyals et al. 2015 (an image encoder and a decoder of text); Xu et al. 2015 (attention over the parts of the image).
Unlike the encoder-decoder (`models/encoder_decoder.py`), the source is an image: each patch of a Vision Transformer, or
each place of the last map of a convolutional network, is an element that the decoder can attend to.
"""

from typing import Any, Unpack

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, ImageShape, Length, ShareBelowAll, Side, Size, Vocabulary
from models.fields import StackFields, forwards
from models.image_encoders import make_image_encoder
from models.layers import Dropout, DropoutKey, Embedding, linear, split_key
from models.parametrization import scalable
from models.positions import Positions
from models.recurrent_decoder import RecurrentDecoder
from models.transformer import Cache, Stack
from models.yardsticks import ConvolutionalNetwork

Images = Float[Array, "batch rows columns channels"]
Tokens = Int[Array, "batch time"]
Logits = Float[Array, "batch time vocabulary"]


@scalable
class Captioner(nnx.Module):
    """Reads an image and the text so far; returns the logits of the next token of the text.

    Args:
      image_shape: (rows, columns, channels). vocab_size: V. context: longest text.
      width: D. depth: L, of the encoder. decoder_depth: of the decoder (default L).
      encoder: "vit" or "convolutional". decoder: "transformer" or "recurrent".
      patch, heads, positions, stack: fields of `models.vit.VisionTransformer` and `models.transformer.Stack`; patch is
        for the encoder "vit", heads for that and for the decoder "transformer".
      alignment, cell: of the decoder "recurrent": how it attends ("fixed", "additive" or "dot") and its kind of cell,
        see `models.recurrent_decoder`. Its first states, and its fixed
        context, follow from the mean over the image.
      dropout: on the embeddings and in every block.
      word_dropout: the share of the text so far that the decoder does not see in training (Bowman et al. 2016, section
        3.2), so that it says what is in the image, and not what usually follows.
      dtype: of the computation; parameters and logits are float32.
    """

    @forwards(Stack)
    def __init__(
        self, *, image_shape: ImageShape, vocab_size: Vocabulary, context: Length, width: Size, depth: Depth,
        decoder_depth: Depth | None = None, encoder: str = "vit", decoder: str = "transformer",
        patch: Side | None = None, heads: Size | None = None, positions: str = "learned", alignment: str = "additive",
        cell: str = "gru", dropout: ShareBelowAll = 0.0, word_dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32",
        rngs: nnx.Rngs, **stack: Unpack[StackFields],
    ):  # fmt: skip
        if encoder not in ("vit", "convolutional"):
            raise UserError(f"encoder={shown(encoder)}: expected 'vit' or 'convolutional'")
        if decoder not in ("transformer", "recurrent"):
            raise UserError(f"decoder={shown(decoder)}: expected 'transformer' or 'recurrent'")
        if heads is None and (encoder == "vit" or decoder == "transformer"):
            raise UserError("encoder='vit' and decoder='transformer' need heads")
        blocks: dict[str, Any] = {"width": width, "heads": heads, "dropout": dropout, "dtype": dtype, **stack}
        self.encoder = make_image_encoder(
            encoder, image_shape=image_shape, depth=depth, patch=patch, positions=positions, rngs=rngs, **blocks
        )
        if isinstance(self.encoder, ConvolutionalNetwork):
            self.project = linear(self.encoder.outputs, width, dtype=dtype, rngs=rngs)
            self.source_positions = Positions(positions, self.encoder.grid, width, rngs=rngs)
        else:
            self.project = None
        self.embedding = Embedding(vocab_size, width, scale=width**-0.5, dtype=dtype, rngs=rngs)
        layers = depth if decoder_depth is None else decoder_depth
        if decoder == "transformer":
            self.positions = Positions(positions, (context,), width, rngs=rngs)
            self.decoder = Stack(depth=layers, causal=True, cross=True, rngs=rngs, **blocks)
        else:
            self.decoder = RecurrentDecoder(
                width=width, depth=layers, cell=cell, attention=alignment, dropout=dropout, dtype=dtype, rngs=rngs
            )
        self.dropout, self.word_dropout = Dropout(dropout), Dropout(word_dropout)
        self.image_shape, self.vocab_size, self.context, self.dtype = image_shape, vocab_size, context, dtype

    def __call__(self, images: Images, tokens: Tokens, *, key: DropoutKey = None) -> Logits:
        """Returns the logits of the token after each of `tokens`, given `images`.

        `tokens` is the text shifted right: a beginning-of-sequence token, then all but its last token.
        """
        encoder_key, decoder_key = split_key(key, 2)
        encoded_BSD = self.encode(images, key=encoder_key)
        if isinstance(self.decoder, RecurrentDecoder):
            cache = {"decoder": self._first(self.decoder, encoded_BSD)}
            return self._decode(tokens, cache, decoder_key)[0]
        return self._decode(tokens, {"decoder": None}, decoder_key, source=encoded_BSD)[0]

    def encode(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch parts width"]:
        """Returns what the decoder attends to, one vector for each part of the image, row by row."""
        x_BSD = self.encoder(images, key=key).astype(self.dtype)
        return x_BSD if self.project is None else self.source_positions(self.project(x_BSD))

    def new_cache(self, images: Images, *, source_mask: None = None, length: int | None = None) -> Cache:
        """Returns a cache for `decode` that holds the image, for up to `length` tokens (default: the context)."""
        encoded_BSD = self.encode(images)
        if isinstance(self.decoder, RecurrentDecoder):
            layers = self._first(self.decoder, encoded_BSD)
        else:
            layers = self.decoder.new_cache(len(images), self.context if length is None else length, encoded_BSD)
        return {"decoder": layers, "length": jnp.zeros((), jnp.int32)}

    def decode(self, tokens: Tokens, cache: Cache) -> tuple[Logits, Cache]:
        """Returns the logits for `tokens` that follow those in `cache`, and the cache with them added."""
        logits, layers = self._decode(tokens, cache, None, start=cache["length"])
        return logits, {"decoder": layers, "length": cache["length"] + tokens.shape[1]}

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the text so far of row rows_B[b]; both must have the same image."""
        return cache | {"decoder": self.decoder.reorder(cache["decoder"], rows_B)}

    def _first(self, decoder: RecurrentDecoder, encoded_BSD) -> Cache:
        return decoder.new_cache(encoded_BSD, encoded_BSD.mean(axis=1))

    def _decode(self, tokens, cache: Cache, key: DropoutKey, *, source=None, start=0):
        first_key, layers_key = split_key(key, 2)
        y_BTD = self.embedding(tokens)
        if key is not None and self.word_dropout.active(key):
            keep_BT1 = self.word_dropout(jnp.ones((*tokens.shape, 1)), jax.random.fold_in(key, 0)) > 0
            y_BTD = jnp.where(keep_BT1, y_BTD, 0)  # not scaled: decoding sees all tokens
        if isinstance(self.decoder, RecurrentDecoder):
            x, layers = self.decoder(self.dropout(y_BTD, first_key), cache["decoder"], key=layers_key)
        else:
            y_BTD = self.dropout(self.positions(y_BTD, start), first_key)
            x, layers = self.decoder(y_BTD, source=source, cache=cache["decoder"], start=start, key=layers_key)
        return self.embedding.attend(x), layers
