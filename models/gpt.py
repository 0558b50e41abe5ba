"""GPT: a stack of causal blocks that predicts the next token at every position.

Radford et al. 2018 and 2019; Brown et al. 2020. Next to BERT the mask is causal, so the model is a distribution over
sequences: it can be sampled token by token, with a cache of keys and values.
"""

from flax import nnx
import jax.numpy as jnp

from models.layers import Dropout, Embedding, Positions, linear, split_key
from models.transformer import NO_SOURCE, Stack


class GPT(nnx.Module):
    """Tokens in, next-token logits out.

    Args:
      vocab_size: V. context: longest sequence. width: D. depth: L. heads: H.
      positions: "learned", "sinusoidal", "rotary" or "none".
      tied: the output projection is the embedding, transposed.
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    forwards_to, decides = Stack, NO_SOURCE

    def __init__(
        self, *, vocab_size: int, context: int, width: int, depth: int, heads: int, positions: str = "learned",
        tied: bool = True, dropout: float = 0.0, dtype: str = "float32", rngs: nnx.Rngs, **stack,
    ):  # fmt: skip
        rotary = positions == "rotary"
        self.embedding = Embedding(vocab_size, width, dtype=dtype, rngs=rngs)
        self.positions = Positions("none" if rotary else positions, (context,), width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, causal=True, rotary=rotary, dropout=dropout, dtype=dtype, rngs=rngs,
            **stack,
        )  # fmt: skip
        self.head = None if tied else linear(width, vocab_size, bias=False, dtype=dtype, rngs=rngs)
        self.context = context

    def __call__(self, tokens, *, mask=None, key=None):
        """Logits `BTV` of the token after each of `tokens` (`BT`); `mask` (`BT`) is False at padding."""
        return self._forward(tokens, mask=mask, key=key)[0]

    def new_cache(self, batch_size: int, length: int | None = None):
        """An empty cache for `decode`, for sequences up to `length` tokens (default: the context)."""
        layers = self.blocks.new_cache(batch_size, self.context if length is None else length)
        return {"length": jnp.zeros((), jnp.int32), "layers": layers}

    def decode(self, tokens, cache):
        """Logits `BTV` for `tokens` (`BT`) that follow those in `cache`, and the cache with them added."""
        logits, layers = self._forward(tokens, cache=cache["layers"], start=cache["length"])
        return logits, {"length": cache["length"] + tokens.shape[1], "layers": layers}

    def reorder(self, cache, rows_B):
        """The cache with the text so far of row rows_B[b] as that of row b."""
        return cache | {"layers": self.blocks.reorder(cache["layers"], rows_B)}

    def _forward(self, tokens, *, mask=None, cache=None, start=0, key=None):
        mask = None if mask is None else mask[:, None, None, :]
        first_key, blocks_key = split_key(key, 2)
        x = self.dropout(self.positions(self.embedding(tokens), start), first_key)
        x, cache = self.blocks(x, mask=mask, cache=cache, start=start, key=blocks_key)
        logits = self.embedding.attend(x) if self.head is None else self.head(x)
        return logits.astype(jnp.float32), cache
