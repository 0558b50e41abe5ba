"""GPT: a stack of causal blocks that predicts the next token at every position.

Radford et al. 2018 and 2019; Brown et al. 2020. Unlike BERT, each position sees the past only, so the model is a
distribution over sequences: it can be sampled token by token, with a cache of keys and values.
"""

from typing import Annotated, Unpack

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.ranges import Depth, Dtype, Length, Range, ShareBelowAll, Size, Vocabulary
from models.fields import Semantic, StackFields, forwards
from models.layers import Dropout, DropoutKey, Embedding, read_out, split_key
from models.masks import Padding, over_keys, padding_mask
from models.parametrization import scalable
from models.positions import Positions
from models.transformer import Cache, Hidden, Stack

Tokens = Int[Array, "batch time"]
Logits = Float[Array, "batch time vocabulary"]


@scalable
class GPT(nnx.Module):
    """Reads tokens; returns the logits of the next token at every position.

    Args:
      vocab_size: V. context: longest sequence. width: D. depth: L. heads: H.
      positions: "learned", "sinusoidal", "rotary" or "none".
      tied: the output projection is the embedding, transposed.
      initial_scale: standard deviation of the embeddings and learned positions before training. With the small default
        (Radford et al. 2018) what attention adds is at first larger than the token itself, so a layer finds it hard to
        compare tokens; where that is the task, 0.5 and an output that is not tied are learned much sooner.
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    @forwards(Stack)
    def __init__(
        self, *, vocab_size: Vocabulary, context: Length, width: Size, depth: Depth, heads: Semantic[Size],
        positions: str = "learned", tied: bool = True, initial_scale: Annotated[float, Range(1e-4, 10)] = 0.02,
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs, **stack: Unpack[StackFields],
    ):  # fmt: skip
        rotary = positions == "rotary"
        self.embedding = Embedding(vocab_size, width, scale=initial_scale, dtype=dtype, rngs=rngs)
        self.positions = Positions("none" if rotary else positions, (context,), width, scale=initial_scale, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, causal=True, rotary=rotary, dropout=dropout, dtype=dtype, rngs=rngs,
            **stack,
        )  # fmt: skip
        self.head = None if tied else read_out(width, vocab_size, bias=False, dtype=dtype, rngs=rngs)
        self.vocab_size, self.context = vocab_size, context

    def __call__(
        self, tokens: Tokens, *, mask: Padding | None = None, key: DropoutKey = None
    ) -> Logits:
        """Returns the logits of the token after each of `tokens`; `mask` is False or 0 at padding."""
        return self._forward(tokens, mask=padding_mask(mask, tokens.shape), key=key)[0]

    def new_cache(self, batch_size: int, length: int | None = None) -> Cache:
        """Returns an empty cache for `decode`, for sequences of up to `length` tokens (default: the context)."""
        layers = self.blocks.new_cache(batch_size, self.context if length is None else length)
        return {"length": jnp.zeros((), jnp.int32), "layers": layers}

    def decode(self, tokens: Tokens, cache: Cache) -> tuple[Logits, Cache]:
        """Returns the logits for `tokens` that follow those in `cache`, and the cache with them added."""
        logits, layers = self._forward(tokens, cache=cache["layers"], start=cache["length"])
        return logits, {"length": cache["length"] + tokens.shape[1], "layers": layers}

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the text so far of row rows_B[b]."""
        return cache | {"layers": self.blocks.reorder(cache["layers"], rows_B)}

    def read_out(self, x: Hidden) -> Logits:
        """Returns the logits from what the last block and its norm give."""
        return self.embedding.attend(x) if self.head is None else self.head(x)

    def _forward(self, tokens, *, mask=None, cache=None, start=0, key=None):
        first_key, blocks_key = split_key(key, 2)
        x = self.dropout(self.positions(self.embedding(tokens), start), first_key)
        x, cache = self.blocks(x, mask=over_keys(mask), cache=cache, start=start, key=blocks_key)
        return self.read_out(x), cache
