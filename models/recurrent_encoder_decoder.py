"""Recurrent encoder-decoder: the network that attention was invented for.

A recurrent encoder reads the source, a recurrent decoder writes the target (Sutskever et al. 2014; Cho et al. 2014;
Bahdanau et al. 2015). `models/recurrent_decoder.py` says which forms of attention there are.

Unlike in the transformer (`models/encoder_decoder.py`), positions are read one after the other and need no embedding.
With a fixed context everything that the target needs must fit into one vector, whatever the length of the source.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError
from core.ranges import Depth, Dtype, Length, ShareBelowAll, Size, Vocabulary
from models.layers import Dropout, DropoutKey, Embedding, split_key
from models.masks import Padding, padding_mask
from models.recurrent import RecurrentLayers
from models.recurrent_decoder import Cache, RecurrentDecoder

Sources = Int[Array, "batch source"]
Targets = Int[Array, "batch time"]
Logits = Float[Array, "batch time vocabulary"]


class RecurrentEncoderDecoder(nnx.Module):
    """Reads a source and the target so far; returns the logits of the next token of the target.

    Args:
      source_vocab_size, vocab_size: of the source, and V of the target.
      source_context, context: longest source and longest target.
      width: D, of embeddings, of the encoder's outputs and of the decoder's states.
      depth: L, layers of the encoder. decoder_depth: of the decoder (default L).
      cell: "gru" or "lstm".
      attention: "fixed", "additive" or "dot", see `models.recurrent_decoder`.
      bidirectional: the encoder reads the source in both directions, with D / 2 units for each.
      shared: one embedding for source and target, which then have one vocabulary.
      dropout: on the embeddings, between layers, and before the output.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, source_vocab_size: Vocabulary, vocab_size: Vocabulary, source_context: Length, context: Length,
        width: Size, depth: Depth = 1, decoder_depth: Depth | None = None, cell: str = "gru",
        attention: str = "additive", bidirectional: bool = True, shared: bool = True, dropout: ShareBelowAll = 0.0,
        dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if shared and source_vocab_size != vocab_size:
            raise UserError(
                f"shared=True needs one vocabulary, but source_vocab_size={source_vocab_size} and "
                f"vocab_size={vocab_size}: set shared=False"
            )
        table = lambda size: Embedding(size, width, scale=width**-0.5, dtype=dtype, rngs=rngs)
        self.embedding = table(vocab_size)
        self.source_embedding = None if shared else table(source_vocab_size)
        self.encoder = RecurrentLayers(
            cell=cell, inputs=width, width=width, depth=depth, bidirectional=bidirectional, dropout=dropout,
            dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.decoder = RecurrentDecoder(
            width=width, depth=depth if decoder_depth is None else decoder_depth, cell=cell, attention=attention,
            dropout=dropout, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.dropout = Dropout(dropout)
        self.bidirectional, self.vocab_size, self.width = bidirectional, vocab_size, width
        self.context, self.source_context = context, source_context

    def __call__(
        self, source: Sources, tokens: Targets, *, source_mask: Padding | None = None, key: DropoutKey = None
    ) -> Logits:
        """Returns the logits of the token after each of `tokens`, given `source`.

        `tokens` is the target shifted right: a beginning-of-sequence token, then all but its last token. `source_mask`
        is False or 0 at padding. The target needs no mask: its padding comes last, too.
        """
        encoder_key, decoder_key = split_key(key, 2)
        return self._decode(tokens, self._read(source, source_mask, encoder_key), decoder_key)[0]

    def encode(
        self, source: Sources, *, source_mask: Padding | None = None, key: DropoutKey = None
    ) -> Float[Array, "batch source width"]:
        """Returns the outputs of the encoder h_i. Padding repeats the output before it."""
        source_mask = padding_mask(source_mask, source.shape, "source_mask")
        first_key, layers_key = split_key(key, 2)
        embedding = self.embedding if self.source_embedding is None else self.source_embedding
        x = self.dropout(embedding(source), first_key)
        return self.encoder(x, mask=source_mask, key=layers_key)[0]

    def new_cache(
        self, source: Sources, *, source_mask: Padding | None = None, length: int | None = None
    ) -> Cache:
        """Returns a cache for `decode` that holds the source. Its size does not depend on the length of the target."""
        return self._read(source, source_mask, None)

    def decode(self, tokens: Targets, cache: Cache) -> tuple[Logits, Cache]:
        """Returns the logits for `tokens` that follow those in `cache`, and the cache with them added."""
        return self._decode(tokens, cache, None)

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the target so far of row rows_B[b]; both must have the same source."""
        return self.decoder.reorder(cache, rows_B)

    def _read(self, source, source_mask, key: DropoutKey) -> Cache:
        encoded_BSD = self.encode(source, source_mask=source_mask, key=key)
        # Padding repeats outputs, so the last output of each direction is its last state.
        last_BD = encoded_BSD[:, -1]
        if self.bidirectional:
            half = self.width // 2
            last_BD = jnp.concatenate([encoded_BSD[:, -1, :half], encoded_BSD[:, 0, half:]], axis=-1)
        return self.decoder.new_cache(encoded_BSD, last_BD, padding_mask(source_mask, source.shape, "source_mask"))

    def _decode(self, tokens, cache: Cache, key: DropoutKey) -> tuple[Logits, Cache]:
        first_key, decoder_key = split_key(key, 2)
        x, cache = self.decoder(self.dropout(self.embedding(tokens), first_key), cache, key=decoder_key)
        return self.embedding.attend(x), cache
