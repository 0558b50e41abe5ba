"""BERT: a stack of bidirectional blocks that fills in masked tokens and tells whether one text follows another.

Devlin et al. 2019. Unlike GPT, each position sees the tokens on both sides, so the model cannot write text token by
token, but its features are those of a token in its context. Trained once on plain text, it is fine-tuned with another
head.
"""

from typing import Any, Unpack

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, Epsilon, Length, ShareBelowAll, Size, Vocabulary
from models.fields import LayerFields, Semantic, TowerFields, forwards
from models.layers import ACTIVATIONS, Dropout, DropoutKey, Embedding, linear, normalisation, read_out, split_key
from models.masks import Padding, over_keys, padding_mask
from models.parametrization import scalable
from models.positions import Positions
from models.transformer import Hidden, Stack

Tokens = Int[Array, "batch time"]
Segments = Int[Array, "batch time"]


class PassedOn(LayerFields, TowerFields, total=False):
    """The fields of `Stack` and `Block` for which BERT has no defaults of its own."""


@scalable
class Bert(nnx.Module):
    """Reads tokens; returns what the head makes of them.

    Args:
      vocab_size: V. context: longest sequence. width: D. depth: L. heads: H.
      head: see `HEADS`. "masked" returns logits `BTV` of the token at each position; "next" logits `B2`, whether the
        second text does not (0) or does (1) follow the first one; "pretraining" both; "classification" logits `BC` of a
        sequence; "tagging" logits `BTC` of each token; "none" the last hidden states `BTD`; "pooler" these and `BD`,
        the first of them through a dense tanh layer.
      classes: C, for "classification" and "tagging".
      segments: number of kinds of segments. positions: "learned", "sinusoidal" or "none".
      norm_order, epsilon, activation: see `models.transformer.Block`; the defaults here are the paper's.
      dropout: on the embeddings, before a classifier, and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    @forwards(Stack)
    def __init__(
        self, *, vocab_size: Vocabulary, context: Length, width: Size, depth: Depth, heads: Semantic[Size],
        head: str = "pretraining", classes: Vocabulary | None = None, segments: Vocabulary = 2,
        positions: str = "learned", norm_order: Semantic[str] = "post", epsilon: Semantic[Epsilon] = 1e-12,
        activation: Semantic[str] = "gelu", dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32",
        rngs: nnx.Rngs, **stack: Unpack[PassedOn],
    ):  # fmt: skip
        if head not in HEADS:
            raise UserError(f"head={shown(head)}: expected one of {', '.join(HEADS)}")
        if head in ("classification", "tagging") and classes is None:
            raise UserError(f"head={shown(head)} needs classes, the number of classes")
        self.embedding = Embedding(vocab_size, width, dtype=dtype, rngs=rngs)
        self.segments = Embedding(segments, width, dtype=dtype, rngs=rngs)
        self.positions = Positions(positions, (context,), width, rngs=rngs)
        self.norm = normalisation("layer", width, rngs, epsilon=epsilon, bias=True, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, norm_order=norm_order, epsilon=epsilon,
            activation=activation, dropout=dropout, dtype=dtype, rngs=rngs, **stack,
        )  # fmt: skip
        self.head: Any = HEADS[head](
            vocab_size=vocab_size, classes=classes, dropout=dropout, width=width, epsilon=epsilon,
            activation=activation, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.context = context
        if isinstance(self.head, (MaskedHead, PretrainingHead)):
            self.vocab_size = vocab_size
        elif isinstance(self.head, (ClassificationHead, TaggingHead)):
            self.classes = 2 if head == "next" else classes

    def __call__(
        self, tokens: Tokens, *, segments: Segments | None = None, mask: Padding | None = None, key: DropoutKey = None
    ) -> Any:
        """Returns what the head makes of `tokens`, where each text begins with [CLS].

        `segments` is 0 in the first text and 1 in the second (default: 0 everywhere); `mask` is False or 0 at padding.
        """
        first_key, blocks_key, head_key = split_key(key, 3)
        x = self._embed(tokens, segments, first_key)
        x, _ = self.blocks(x, mask=over_keys(padding_mask(mask, tokens.shape)), key=blocks_key)
        return self.head(x, self.embedding, head_key)

    def features(
        self, tokens: Tokens, *, segments: Segments | None = None, mask: Padding | None = None
    ) -> list[Hidden]:
        """Returns the embeddings and the output of each block in turn, L + 1 arrays; the head reads the last one."""
        x = self._embed(tokens, segments, None)
        return self.blocks.outputs(x, mask=over_keys(padding_mask(mask, tokens.shape)))

    def _embed(self, tokens, segments, key):
        segments = jnp.zeros_like(tokens) if segments is None else segments
        x = self.positions(self.embedding(tokens) + self.segments(segments))
        return self.dropout(self.norm(x), key)


# ---- heads: from hidden states `BTD`, the embedding and a dropout key to the output ---------------------------------


class MaskedHead(nnx.Module):
    """A dense layer, a norm, and inner products with the embeddings: the logits of the token at each position."""

    def __init__(self, *, width, vocab_size, epsilon, activation, dtype, rngs, **_):
        self.transform = linear(width, width, dtype=dtype, rngs=rngs)
        self.norm = normalisation("layer", width, rngs, epsilon=epsilon, bias=True, dtype=dtype)
        self.bias = nnx.Param(jnp.zeros(vocab_size))
        self.activation = activation

    def __call__(self, x: Hidden, embedding: Embedding, key: DropoutKey) -> Float[Array, "batch time vocabulary"]:
        x = self.norm(ACTIVATIONS[self.activation](self.transform(x)))
        return embedding.attend(x) + self.bias[...]


class ClassificationHead(nnx.Module):
    """The hidden state of [CLS] through a dense tanh layer (the pooler), then a linear classifier."""

    def __init__(self, *, width, classes, dropout, dtype, rngs, **_):
        self.pooler = linear(width, width, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.classifier = read_out(width, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x: Hidden, embedding: Embedding, key: DropoutKey) -> Float[Array, "batch classes"]:
        return self.classifier(self.dropout(jnp.tanh(self.pooler(x[:, 0])), key))


class NextHead(ClassificationHead):
    """Whether the second text follows the first."""

    def __init__(self, *, classes, dropout, **shared):
        super().__init__(classes=2, dropout=0.0, **shared)


class PretrainingHead(nnx.Module):
    """Both tasks of the paper's pre-training at once."""

    def __init__(self, **shared):
        self.masked = MaskedHead(**shared)
        self.next = NextHead(**shared)

    def __call__(self, x: Hidden, embedding: Embedding, key: DropoutKey):
        return self.masked(x, embedding, key), self.next(x, embedding, key)


class TaggingHead(nnx.Module):
    """A linear classifier of every position."""

    def __init__(self, *, width, classes, dropout, dtype, rngs, **_):
        self.dropout = Dropout(dropout)
        self.classifier = read_out(width, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x: Hidden, embedding: Embedding, key: DropoutKey) -> Float[Array, "batch time classes"]:
        return self.classifier(self.dropout(x, key))


class NoHead(nnx.Module):
    """The last hidden states as they are."""

    def __init__(self, **_):
        pass

    def __call__(self, x: Hidden, embedding: Embedding, key: DropoutKey) -> Hidden:
        return x.astype(jnp.float32)


class PoolerHead(nnx.Module):
    """The last hidden states, and that of [CLS] through a dense tanh layer."""

    def __init__(self, *, width, dtype, rngs, **_):
        self.pooler = read_out(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Hidden, embedding: Embedding, key: DropoutKey) -> tuple[Hidden, Float[Array, "batch width"]]:
        return x.astype(jnp.float32), jnp.tanh(self.pooler(x[:, 0]))


HEADS = {
    "masked": MaskedHead,
    "pretraining": PretrainingHead,
    "next": NextHead,
    "classification": ClassificationHead,
    "tagging": TaggingHead,
    "pooler": PoolerHead,
    "none": NoHead,
}
