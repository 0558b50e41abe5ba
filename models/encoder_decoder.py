"""The encoder-decoder transformer: it reads a whole source, then writes a target token by token.

Vaswani et al. 2017, figure 1. Unlike GPT, each block of the decoder has a second attention, whose keys and values come
from the encoder; the encoder itself has no causal mask. Pre-norm by default, where the paper is post-norm.
"""

from functools import partial
import math
from typing import Unpack

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, Epsilon, Length, ShareBelowAll, Size, Vocabulary
from models.fields import LayerFields, Semantic, SourceFields, TowerFields, forwards
from models.layers import Dropout, DropoutKey, Embedding, normalisation, read_out, split_key
from models.masks import Padding, over_keys, padding_mask
from models.parametrization import scalable
from models.positions import Positions
from models.transformer import Cache, Stack

Sources = Int[Array, "batch source"]
Targets = Int[Array, "batch time"]
Logits = Float[Array, "batch time vocabulary"]


class PassedOn(LayerFields, SourceFields, TowerFields, total=False):
    """The fields of `Stack` and `Block` that encoder and decoder share."""

    norm_order: str
    activation: str


@scalable
class EncoderDecoder(nnx.Module):
    """Reads the source and the target so far; returns the logits of the next token of the target.

    Args:
      source_vocab_size, vocab_size: of the source, and V of the target.
      source_context, context: longest source and longest target.
      width: D. depth: L, of the encoder. decoder_depth: of the decoder (default L). heads: H.
      shared: one embedding for source and target, which then have one vocabulary.
      tied: the output projection is the embedding of the target, transposed (Press & Wolf 2017).
      embedding_scale: "in" multiplies embeddings by sqrt(D) (Vaswani et al. 2017, section 3.4); "out" divides the last
        hidden states by it before their inner products with the embeddings (Raffel et al. 2020); "none".
      embedding_norm: a norm behind embeddings and positions (Lewis et al. 2020).
      logits_bias: adds a learned bias for each token.
      positions: "sinusoidal", "learned", "rotary" or "none".
      epsilon: see `models.transformer.Block`.
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    @forwards(Stack)
    def __init__(
        self, *, source_vocab_size: Vocabulary, vocab_size: Vocabulary, source_context: Length, context: Length,
        width: Size, depth: Depth, heads: Semantic[Size], decoder_depth: Depth | None = None, shared: bool = True,
        tied: bool = True, embedding_scale: Semantic[str] = "in", embedding_norm: bool = False,
        logits_bias: bool = False,
        positions: str = "sinusoidal", epsilon: Semantic[Epsilon] = 1e-5, dropout: ShareBelowAll = 0.0,
        dtype: Dtype = "float32", rngs: nnx.Rngs, **stack: Unpack[PassedOn],
    ):  # fmt: skip
        if embedding_scale not in INITIAL_SCALE:
            raise UserError(f"embedding_scale={shown(embedding_scale)}: expected 'in', 'out' or 'none'")
        if shared and source_vocab_size != vocab_size:
            raise UserError(
                f"shared=True needs one vocabulary, but source_vocab_size={source_vocab_size} and "
                f"vocab_size={vocab_size}: set shared=False"
            )
        rotary = positions == "rotary"
        absolute = "none" if rotary else positions
        make_stack = partial(
            Stack, width=width, heads=heads, rotary=rotary, epsilon=epsilon, dropout=dropout, dtype=dtype, rngs=rngs,
            **stack,
        )  # fmt: skip
        table = partial(Embedding, width=width, scale=INITIAL_SCALE[embedding_scale](width), dtype=dtype, rngs=rngs)
        self.embedding = table(vocab_size)
        self.source_embedding = None if shared else table(source_vocab_size)
        self.positions = Positions(absolute, (context,), width, rngs=rngs)
        self.source_positions = Positions(absolute, (source_context,), width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.encoder = make_stack(depth=depth)
        self.decoder = make_stack(depth=depth if decoder_depth is None else decoder_depth, causal=True, cross=True)
        self.head = None if tied else read_out(width, vocab_size, bias=False, dtype=dtype, rngs=rngs)
        norm = partial(normalisation, "layer", width, epsilon=epsilon, bias=True, dtype=dtype)
        self.source_norm, self.norm = (norm(rngs), norm(rngs)) if embedding_norm else (None, None)
        self.bias = nnx.Param(jnp.zeros(vocab_size)) if logits_bias else None
        self.vocab_size, self.width = vocab_size, width
        self.context, self.source_context = context, source_context
        self.embedding_scale = embedding_scale
        self.input_scale = math.sqrt(width) if embedding_scale == "in" else 1.0
        self.output_scale = width**-0.5 if embedding_scale == "out" else 1.0

    def __call__(
        self, source: Sources, tokens: Targets, *, source_mask: Padding | None = None, key: DropoutKey = None
    ) -> Logits:
        """Returns the logits of the token after each of `tokens`, given `source`.

        `tokens` is the target shifted right: a beginning-of-sequence token, then all but its last token. `source_mask`
        is False or 0 at padding. The target needs no mask: its padding comes last, and no position sees what follows.
        """
        source_mask = padding_mask(source_mask, source.shape, "source_mask")
        encoder_key, decoder_key = split_key(key, 2)
        encoded = self.encode(source, source_mask=source_mask, key=encoder_key)
        return self._decode(tokens, source=encoded, source_mask=source_mask, key=decoder_key)[0]

    def encode(
        self, source: Sources, *, source_mask: Padding | None = None, key: DropoutKey = None
    ) -> Float[Array, "batch source width"]:
        """Returns the hidden states that the decoder attends to."""
        source_mask = padding_mask(source_mask, source.shape, "source_mask")
        embedding = self.embedding if self.source_embedding is None else self.source_embedding
        first_key, blocks_key = split_key(key, 2)
        x = self._embed(source, embedding, self.source_positions, self.source_norm, 0, first_key)
        return self.encoder(x, mask=over_keys(source_mask), key=blocks_key)[0]

    def new_cache(
        self, source: Sources, *, source_mask: Padding | None = None, length: int | None = None
    ) -> Cache:
        """Returns a cache for `decode` that holds the source, for up to `length` tokens (default: the context)."""
        source_mask = padding_mask(source_mask, source.shape, "source_mask")
        encoded = self.encode(source, source_mask=source_mask)
        layers = self.decoder.new_cache(len(source), self.context if length is None else length, encoded)
        return {"length": jnp.zeros((), jnp.int32), "layers": layers, "source_mask": source_mask}

    def decode(self, tokens: Targets, cache: Cache) -> tuple[Logits, Cache]:
        """Returns the logits for `tokens` that follow those in `cache`, and the cache with them added."""
        logits, layers = self._decode(
            tokens, source_mask=cache["source_mask"], cache=cache["layers"], start=cache["length"]
        )
        return logits, cache | {"length": cache["length"] + tokens.shape[1], "layers": layers}

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the target so far of row rows_B[b]; both must have the same source."""
        return cache | {"layers": self.decoder.reorder(cache["layers"], rows_B)}

    def _decode(self, tokens, *, source=None, source_mask=None, cache=None, start=0, key=None):
        first_key, blocks_key = split_key(key, 2)
        x = self._embed(tokens, self.embedding, self.positions, self.norm, start, first_key)
        x, cache = self.decoder(
            x, source=source, source_mask=over_keys(source_mask), cache=cache, start=start, key=blocks_key
        )
        x = x if self.output_scale == 1 else x * self.output_scale
        logits = self.embedding.attend(x) if self.head is None else self.head(x)
        return logits if self.bias is None else logits + self.bias[...], cache

    def _embed(self, tokens, embedding, positions, norm, start, key):
        x = embedding(tokens)
        x = positions(x if self.input_scale == 1 else x * self.input_scale, start)
        return self.dropout(x if norm is None else norm(x), key)


INITIAL_SCALE = {"in": lambda width: width**-0.5, "out": lambda width: 1.0, "none": lambda width: 0.02}
"""The standard deviation of the initial embeddings, such that hidden states and logits are of the order of 1."""
