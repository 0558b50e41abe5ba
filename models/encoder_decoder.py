"""The encoder-decoder transformer: a source is read whole, then a target is written token by token.

Vaswani et al. 2017, figure 1. Next to GPT, each block of the decoder has a second attention, whose keys and values come
from the encoder; the encoder itself has no causal mask. Pre-norm by default, where the paper is post-norm.
"""

from functools import partial
import math

from flax import nnx
import jax.numpy as jnp

from models.layers import Dropout, Embedding, Positions, linear, normalisation, split_key
from models.transformer import Stack


class EncoderDecoder(nnx.Module):
    """Source tokens and the target so far in, next-token logits out.

    Args:
      source_vocab_size, vocab_size: of the source, and V of the target. source_context, context: longest of each.
      width: D. depth: L, of the encoder, and of the decoder but where `decoder_depth` is given. heads: H.
      shared: one embedding for source and target, which then have one vocabulary.
      tied: the output projection is the embedding of the target, transposed (Press & Wolf 2017).
      embedding_scale: embeddings are multiplied by sqrt(D) on the way "in" (Vaswani et al. 2017, section 3.4), or what
        meets them on the way "out" is divided by it (Raffel et al. 2020), so that one table serves both; or "none".
      embedding_norm: a norm behind embeddings and positions (Lewis et al. 2020). logits_bias: a bias for each token.
      positions: "sinusoidal", "learned", "rotary" or "none".
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    forwards_to, decides = Stack, ("causal", "rotary", "cross", "source_width", "self_attention")

    def __init__(
        self, *, source_vocab_size: int, vocab_size: int, source_context: int, context: int, width: int, depth: int,
        heads: int, decoder_depth: int | None = None, shared: bool = True, tied: bool = True,
        embedding_scale: str = "in", embedding_norm: bool = False, logits_bias: bool = False,
        positions: str = "sinusoidal", epsilon: float = 1e-5, dropout: float = 0.0, dtype: str = "float32",
        rngs: nnx.Rngs, **stack,
    ):  # fmt: skip
        if embedding_scale not in FIRST_SCALE:
            raise ValueError(f"embedding_scale={embedding_scale!r}: expected 'in', 'out' or 'none'")
        if shared and source_vocab_size != vocab_size:
            raise ValueError(
                f"shared=True needs one vocabulary, but source_vocab_size={source_vocab_size} and "
                f"vocab_size={vocab_size}: set shared=False"
            )
        rotary = positions == "rotary"
        absolute = "none" if rotary else positions
        stack |= dict(width=width, heads=heads, rotary=rotary, epsilon=epsilon, dropout=dropout, dtype=dtype)
        table = dict(width=width, scale=FIRST_SCALE[embedding_scale](width), dtype=dtype, rngs=rngs)
        self.embedding = Embedding(vocab_size, **table)
        self.source_embedding = None if shared else Embedding(source_vocab_size, **table)
        self.positions = Positions(absolute, (context,), width, rngs=rngs)
        self.source_positions = Positions(absolute, (source_context,), width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.encoder = Stack(depth=depth, **stack, rngs=rngs)
        depth = depth if decoder_depth is None else decoder_depth
        self.decoder = Stack(depth=depth, causal=True, cross=True, **stack, rngs=rngs)
        self.head = None if tied else linear(width, vocab_size, bias=False, dtype=dtype, rngs=rngs)
        norm = partial(normalisation, "layer", width, epsilon=epsilon, bias=True, dtype=dtype)
        self.source_norm, self.norm = (norm(rngs), norm(rngs)) if embedding_norm else (None, None)
        self.bias = nnx.Param(jnp.zeros(vocab_size)) if logits_bias else None
        self.width, self.context, self.source_context = width, context, source_context
        self.embedding_scale = embedding_scale

    def __call__(self, source, tokens, *, source_mask=None, key=None):
        """Logits `BTV` of the token after each of `tokens` (`BT`), given `source` (`BS`).

        `tokens` is the target shifted right: a beginning-of-sequence token, then all but its last. `source_mask` (`BS`)
        is False at padding. The target needs no mask, for its padding comes last and the past does not see it.
        """
        encoder_key, decoder_key = split_key(key, 2)
        encoded = self.encode(source, source_mask=source_mask, key=encoder_key)
        return self._decode(tokens, source=encoded, source_mask=source_mask, key=decoder_key)[0]

    def encode(self, source, *, source_mask=None, key=None):
        """What the decoder attends to, `BSD`."""
        embedding = self.embedding if self.source_embedding is None else self.source_embedding
        first_key, blocks_key = split_key(key, 2)
        x = self._embed(source, embedding, self.source_positions, self.source_norm, 0, first_key)
        return self.encoder(x, mask=_to_keys(source_mask), key=blocks_key)[0]

    def new_cache(self, source, *, source_mask=None, length: int | None = None):
        """A cache for `decode` with the source in it, for targets up to `length` tokens (default: the context)."""
        encoded = self.encode(source, source_mask=source_mask)
        layers = self.decoder.new_cache(len(source), self.context if length is None else length, encoded)
        return {"length": jnp.zeros((), jnp.int32), "layers": layers, "source_mask": source_mask}

    def decode(self, tokens, cache):
        """Logits `BTV` for `tokens` (`BT`) that follow those in `cache`, and the cache with them added."""
        logits, layers = self._decode(
            tokens, source_mask=cache["source_mask"], cache=cache["layers"], start=cache["length"]
        )
        return logits, cache | {"length": cache["length"] + tokens.shape[1], "layers": layers}

    def reorder(self, cache, rows_B):
        """The cache with the target so far of row rows_B[b], which must have the same source, as that of row b."""
        return cache | {"layers": self.decoder.reorder(cache["layers"], rows_B)}

    def _decode(self, tokens, *, source=None, source_mask=None, cache=None, start=0, key=None):
        first_key, blocks_key = split_key(key, 2)
        x = self._embed(tokens, self.embedding, self.positions, self.norm, start, first_key)
        x, cache = self.decoder(
            x, source=source, source_mask=_to_keys(source_mask), cache=cache, start=start, key=blocks_key
        )
        x = x * self.width**-0.5 if self.embedding_scale == "out" else x
        logits = self.embedding.attend(x) if self.head is None else self.head(x)
        logits = logits.astype(jnp.float32)
        return logits if self.bias is None else logits + self.bias[...], cache

    def _embed(self, tokens, embedding, positions, norm, start, key):
        x = embedding(tokens) * math.sqrt(self.width) if self.embedding_scale == "in" else embedding(tokens)
        x = positions(x, start)
        return self.dropout(x if norm is None else norm(x), key)


FIRST_SCALE = {"in": lambda width: width**-0.5, "out": lambda width: 1.0, "none": lambda width: 0.02}
"""The standard deviation of the first embeddings, such that hidden states and logits are of the order of 1."""


def _to_keys(mask_BS):
    return None if mask_BS is None else mask_BS[:, None, None, :]
