"""The answer of a Perceiver: logits from the latents, by their mean or by queries that attend to them."""

from typing import TypedDict, Unpack

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError
from core.ranges import Dtype, Length, ShareBelowAll, Size, Vocabulary
from models.fields import BlockFields, Semantic, forwards
from models.layers import DropoutKey, Embedding, linear, read_out
from models.perceiver.input_array import expect_one_of
from models.perceiver.rounds import attention_to
from models.transformer import Block, Hidden


class AnswerFields(TypedDict, total=False):
    """The fields of `Answer`, three of which are those of other parts too."""

    vocab_size: int | None
    context: int | None
    cross_heads: int
    source_norm: bool
    classes: int | None
    output: str
    dense_queries: str
    query_width: int | None
    tied: bool
    decoder_heads: int | None
    decoder_head_size: int | None
    decoder_value_size: int | None
    decoder_mlp_width: int | None
    decoder_residual: bool


class Answer(nnx.Module):
    """Turns latents into logits.

    Args:
      width: D, of a latent. channels: of what an element of the input holds. columns: of the features of a position.
      vocab_size, context: V and the longest sequence, for tokens.
      classes: C, for the outputs "mean" and "query".
      output: "mean" of the latents (Jaegle et al. 2021a), a learned "query" to them (2021b), or "dense": a query for
        each position of the tokens, as masked-byte reconstruction needs.
      dense_queries: linear maps of the features of "positions", or "learned" ones.
      query_width: of any query (default D).
      tied: dense logits are inner products with the embeddings of tokens, plus a bias.
      decoder_heads: of the attention from the queries (default: `cross_heads`). decoder_head_size, decoder_value_size,
        decoder_mlp_width: its sizes (default: those of the towers). decoder_residual: see `models.transformer.Block`.
      source_norm: a norm of the latents that are attended to.
    """

    @forwards(Block)
    def __init__(
        self, *, width: Size, channels: Size, columns: int, vocab_size: Vocabulary | None = None,
        context: Length | None = None, classes: Vocabulary | None = None, output: str = "mean",
        dense_queries: str = "positions", query_width: Size | None = None, tied: bool = False, cross_heads: Size = 1,
        decoder_heads: Semantic[Size | None] = None, decoder_head_size: Size | None = None,
        decoder_value_size: Size | None = None, decoder_mlp_width: Size | None = None,
        decoder_residual: Semantic[bool] = True, source_norm: bool = False, dropout: ShareBelowAll = 0.0,
        dtype: Dtype = "float32", rngs: nnx.Rngs, **block: Unpack[BlockFields],
    ):  # fmt: skip
        query_width = width if query_width is None else query_width
        expect_one_of("output", output, ("mean", "query", "dense"))
        expect_one_of("dense_queries", dense_queries, ("positions", "learned"))
        logits = vocab_size if output == "dense" else classes
        if logits is None and output == "dense":
            raise UserError("output='dense' gives the logits of tokens: expected vocab_size and context")
        if logits is None:
            raise UserError(f"output={output!r} gives the logits of classes: set classes (dense output needs none)")
        if tied and output != "dense":
            raise UserError(f"tied=True gives the logits of tokens: expected output='dense', not {output!r}")
        if tied and query_width != channels:
            raise UserError(f"tied=True: query_width={query_width} differs from the {channels} of the embeddings")
        if output == "dense" and dense_queries == "positions" and not columns:
            raise UserError("output='dense' asks for each position by its features: positions='none' leaves it none")
        learned = {"mean": 0, "query": 1, "dense": (context or 0) if dense_queries == "learned" else 0}[output]
        self.query = nnx.Param(0.02 * jax.random.normal(rngs.params(), (learned, query_width))) if learned else None
        by_position = output == "dense" and not learned
        self.queries = linear(columns, query_width, dtype=dtype, rngs=rngs) if by_position else None
        self.decoder = None if output == "mean" else attention_to(
            name="cross_heads" if decoder_heads is None else "decoder_heads", width=query_width, source_width=width,
            heads=cross_heads if decoder_heads is None else decoder_heads,
            head_size=decoder_head_size, value_size=decoder_value_size, mlp_width=decoder_mlp_width,
            residual=decoder_residual, source_norm=source_norm, dropout=dropout, dtype=dtype, rngs=rngs, block=block,
        )  # fmt: skip
        answer_width = width if output == "mean" else query_width
        self.head = None if tied else read_out(answer_width, logits, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(logits)) if tied else None
        self.output, self.dtype = output, dtype
        if output == "dense":
            self.vocab_size = logits
        else:
            self.classes = logits

    def logits(
        self, latents_BTD: Hidden, length: int, features_SF: Float[Array, "elements features"] | None,
        embedding: Embedding | None, key: DropoutKey = None,
    ) -> Float[Array, "batch classes"] | Float[Array, "batch elements vocabulary"]:  # fmt: skip
        """Returns the logits for an input array of this length.

        `features_SF` are those of its positions, for queries that are made of them. `embedding` is that of the tokens,
        for tied logits.
        """
        if self.decoder is None:
            return self._score(latents_BTD.mean(axis=1), embedding)
        if self.query is not None:
            queries_TD = self.query[...]
        else:
            assert self.queries is not None and features_SF is not None
            queries_TD = self.queries(features_SF)
        if self.output == "dense":
            queries_TD = queries_TD[:length]
        x = jnp.broadcast_to(queries_TD.astype(self.dtype), (len(latents_BTD), *queries_TD.shape))
        x, _ = self.decoder(x, source=latents_BTD, key=key)
        logits = self._score(x, embedding)
        return logits if self.output == "dense" else logits[:, 0]

    def _score(self, x, embedding: Embedding | None):
        if self.head is not None:
            return self.head(x)
        assert embedding is not None and self.bias is not None
        return embedding.attend(x) + self.bias[...]
