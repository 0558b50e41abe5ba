"""BERT: a stack of bidirectional blocks that fills in masked tokens and says whether one text follows another.

Devlin et al. 2019. Next to GPT nothing hides the future, so the model cannot write, but every position is read in the
light of both sides. Trained once on plain text, it is fine-tuned under another head.
"""

from flax import nnx
import jax.numpy as jnp

from models.layers import ACTIVATIONS, Dropout, Embedding, Positions, linear, normalisation, split_key
from models.transformer import NO_SOURCE, Stack


class Bert(nnx.Module):
    """Tokens in, what the head gives out.

    Args:
      vocab_size: V. context: longest sequence. width: D. depth: L. heads: H.
      head: "masked" gives logits `BTV` of the token at each position, "pretraining" these and `B2` of the second text
        not following (0) or following (1) the first one, "next" the latter alone, "classification" `BC` for a
        sequence, "tagging" `BTC` for each token, "none" the last hidden states `BTD`, "pooler" these and `BD`, the
        first of them through a dense tanh layer.
      classes: C, of "classification" and "tagging".
      segments: kinds of segments. positions: "learned", "sinusoidal" or "none".
      norm_order, epsilon, activation: see `models.transformer.Block`; these defaults are the paper's.
      dropout: on the embeddings, before a classifier, and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    forwards_to, decides = Stack, NO_SOURCE

    def __init__(
        self, *, vocab_size: int, context: int, width: int, depth: int, heads: int, head: str = "pretraining",
        classes: int | None = None, segments: int = 2, positions: str = "learned", norm_order: str = "post",
        epsilon: float = 1e-12, activation: str = "gelu", dropout: float = 0.0, dtype: str = "float32",
        rngs: nnx.Rngs, **stack,
    ):  # fmt: skip
        if head not in HEADS:
            raise ValueError(f"head={head!r}: expected one of {', '.join(HEADS)}")
        if head in ("classification", "tagging") and classes is None:
            raise ValueError(f"the head {head!r} needs to know how many classes there are")
        self.embedding = Embedding(vocab_size, width, dtype=dtype, rngs=rngs)
        self.segments = Embedding(segments, width, dtype=dtype, rngs=rngs)
        self.positions = Positions(positions, (context,), width, rngs=rngs)
        self.norm = normalisation("layer", width, rngs, epsilon=epsilon, bias=True, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, norm_order=norm_order, epsilon=epsilon,
            activation=activation, dropout=dropout, dtype=dtype, rngs=rngs, **stack,
        )  # fmt: skip
        shared = dict(width=width, epsilon=epsilon, activation=activation, dtype=dtype, rngs=rngs)
        self.head = HEADS[head](vocab_size=vocab_size, classes=classes, dropout=dropout, **shared)
        self.context = context

    def __call__(self, tokens, *, segments=None, mask=None, key=None):
        """What the head makes of `tokens` (`BT`), of which each text begins with [CLS].

        `segments` (`BT`) is 0 in the first text and 1 in the second (default: 0); `mask` (`BT`) is False at padding.
        """
        first_key, blocks_key, head_key = split_key(key, 3)
        x = self._embed(tokens, segments, first_key)
        x, _ = self.blocks(x, mask=_over_keys(mask), key=blocks_key)
        return self.head(x, self.embedding, head_key)

    def features(self, tokens, *, segments=None, mask=None):
        """The embeddings and what each block gives, first to last: L + 1 arrays `BTD`. The head reads the last."""
        return self.blocks.outputs(self._embed(tokens, segments, None), mask=_over_keys(mask))

    def _embed(self, tokens, segments, key):
        segments = jnp.zeros_like(tokens) if segments is None else segments
        x = self.positions(self.embedding(tokens) + self.segments(segments))
        return self.dropout(self.norm(x), key)


class MaskedHead(nnx.Module):
    """A dense layer, a norm, and inner products with the embeddings: which token stands here."""

    def __init__(self, *, width, vocab_size, epsilon, activation, dtype, rngs, **_):
        self.transform = linear(width, width, dtype=dtype, rngs=rngs)
        self.norm = normalisation("layer", width, rngs, epsilon=epsilon, bias=True, dtype=dtype)
        self.bias = nnx.Param(jnp.zeros(vocab_size))
        self.activation = activation

    def __call__(self, x, embedding, key):
        x = self.norm(ACTIVATIONS[self.activation](self.transform(x)))
        return embedding.attend(x).astype(jnp.float32) + self.bias[...]


class ClassificationHead(nnx.Module):
    """The vector of [CLS] through a dense tanh layer (the pooler), then a linear classifier."""

    def __init__(self, *, width, classes, dropout, dtype, rngs, **_):
        self.pooler = linear(width, width, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.classifier = linear(width, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x, embedding, key):
        return self.classifier(self.dropout(jnp.tanh(self.pooler(x[:, 0])), key)).astype(jnp.float32)


class NextHead(ClassificationHead):
    """Whether the second text follows the first."""

    def __init__(self, *, classes, dropout, **shared):
        super().__init__(classes=2, dropout=0.0, **shared)


class PretrainingHead(nnx.Module):
    """Both tasks of the paper's pre-training at once."""

    def __init__(self, **shared):
        self.masked = MaskedHead(**shared)
        self.next = NextHead(**shared)

    def __call__(self, x, embedding, key):
        return self.masked(x, embedding, key), self.next(x, embedding, key)


class TaggingHead(nnx.Module):
    """A linear classifier of every position."""

    def __init__(self, *, width, classes, dropout, dtype, rngs, **_):
        self.dropout = Dropout(dropout)
        self.classifier = linear(width, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x, embedding, key):
        return self.classifier(self.dropout(x, key)).astype(jnp.float32)


class NoHead(nnx.Module):
    """The last hidden states as they are."""

    def __init__(self, **_):
        pass

    def __call__(self, x, embedding, key):
        return x.astype(jnp.float32)


class PoolerHead(nnx.Module):
    """The last hidden states, and the vector of [CLS] through a dense tanh layer."""

    def __init__(self, *, width, dtype, rngs, **_):
        self.pooler = linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, x, embedding, key):
        return x.astype(jnp.float32), jnp.tanh(self.pooler(x[:, 0])).astype(jnp.float32)


HEADS = {
    "masked": MaskedHead,
    "pretraining": PretrainingHead,
    "next": NextHead,
    "classification": ClassificationHead,
    "tagging": TaggingHead,
    "pooler": PoolerHead,
    "none": NoHead,
}


def _over_keys(mask):
    return None if mask is None else mask[:, None, None, :]
