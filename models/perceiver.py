"""Perceiver and Perceiver IO: a few learned latents read any array, however long, and answer any number of queries.

Jaegle et al. 2021a (Perceiver, arXiv 2103.03206) and 2021b (Perceiver IO, arXiv 2107.14795). Next to ViT there are no
patches: each pixel, byte or token is one element of the input array. N latents attend to its S elements and then to
one another, so that a round costs N S + N^2, linear in the input, where self-attention costs S^2.
"""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import Embedding, linear, sinusoids, split_key
from models.transformer import Block, Stack


class Perceiver(nnx.Module):
    """Images or tokens in; logits of classes, or of the tokens at every position, out.

    Each of `repeats` rounds is a cross-attention from the latents to the input and a tower of self-attention on the
    latents. One round with output queries is Perceiver IO.

    Args:
      image_shape: (rows, columns, channels), for images. vocab_size: V, and context: longest sequence, for tokens.
      classes: C, for the outputs "mean" and "query".
      output: "mean" of the latents (2021a), a learned "query" to them (2021b), or "dense": a query for each position
        of the tokens, as masked-byte reconstruction needs.
      latents: N, how many. width: D, of a latent. depth: L, layers in a tower. repeats: rounds.
      sharing: of weights between rounds: "all", "after first" (all but the first cross-attention, as in 2021a), "none".
      heads: H, in the towers. cross_heads: in the attentions to the input and from the queries. kv_heads: see `Block`.
      positions: "fourier" with `bands` frequencies, "sinusoidal", "learned" or "none".
      scan, remat: of the towers, see `models.transformer.Stack`.
      dropout: in every block. dtype: of the computation; parameters and logits are float32.
      block: further fields of `models.transformer.Block`.
    """

    forwards_to, decides = Block, ("causal", "rotary", "cross", "source_width", "self_attention")

    def __init__(
        self, *, image_shape: tuple[int, int, int] | None = None, vocab_size: int | None = None,
        context: int | None = None, classes: int | None = None, output: str = "mean", latents: int, width: int,
        depth: int, repeats: int = 1, sharing: str = "after first", heads: int, cross_heads: int = 1,
        kv_heads: int | None = None, positions: str = "fourier", bands: int = 8, scan: bool = False,
        remat: bool = False, dropout: float = 0.0, dtype: str = "float32", rngs: nnx.Rngs, **block,
    ):  # fmt: skip
        _check(
            image_shape, vocab_size, context, classes, output, positions, sharing, latents=latents, repeats=repeats,
            bands=bands,
        )  # fmt: skip
        block = dict(width=width, dropout=dropout, dtype=dtype, rngs=rngs) | block
        cross = partial(Block, heads=cross_heads, self_attention=False, cross=True, **block)
        tower = partial(Stack, depth=depth, heads=heads, kv_heads=kv_heads, scan=scan, remat=remat, **block)
        different = {"all": (1, 1), "after first": (min(repeats, 2), 1), "none": (repeats, repeats)}[sharing]

        # Tokens start as large as the position features that they are laid beside.
        self.embedding = None if vocab_size is None else Embedding(vocab_size, width, scale=1.0, dtype=dtype, rngs=rngs)
        self.positions = _Positions(positions, image_shape[:2] if image_shape else (context,), width, bands, rngs=rngs)
        array_width = self.positions.columns + (image_shape[2] if image_shape else width)
        self.latents = nnx.Param(0.02 * jax.random.normal(rngs.params(), (latents, width)))
        self.crosses = nnx.List([cross(source_width=array_width) for _ in range(different[0])])
        self.towers = nnx.List([tower() for _ in range(different[1])])
        self.query = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, width))) if output == "query" else None
        self.queries = linear(self.positions.columns, width, dtype=dtype, rngs=rngs) if output == "dense" else None
        self.decoder = None if output == "mean" else cross()
        self.head = linear(width, vocab_size if output == "dense" else classes, dtype=dtype, rngs=rngs)
        self.image_shape, self.repeats, self.dtype = image_shape and tuple(image_shape), repeats, dtype

    def __call__(self, images=None, *, tokens=None, mask=None, key=None):
        """Logits `BC` of `images` (B, rows, columns, channels) or of `tokens` (`BT`); "dense" gives `BTV`.

        `mask` (`BT`) is False at padding.
        """
        latents_key, decoder_key = split_key(key, 2)
        array_BSD = self.array(images, tokens)
        latents_BTD = self.read(array_BSD, mask, latents_key)
        return self.answer(latents_BTD, array_BSD.shape[1], decoder_key)

    def array(self, images=None, tokens=None):
        """The input array `BSD`: for each pixel or token its content, and beside it the features of its position."""
        name, given = ("tokens", tokens) if self.image_shape is None else ("images", images)
        if given is None:
            raise ValueError(f"this Perceiver is built for {name}: expected the input {name}")
        content_BSD = self.embedding(tokens) if self.image_shape is None else self._pixels(images)
        positions_SF = self.positions(content_BSD.shape[1]).astype(self.dtype)
        return jnp.concatenate([content_BSD, _for_each(positions_SF, len(content_BSD))], axis=-1)

    def read(self, array_BSD, mask=None, key=None):
        """The latents `BTD` after all rounds. The order of the elements does not matter; `mask` (`BS`) hides some."""
        x = _for_each(self.latents[...].astype(self.dtype), len(array_BSD))
        mask = None if mask is None else mask[:, None, None, :]
        for number, round_key in enumerate(split_key(key, self.repeats)):
            cross_key, tower_key = split_key(round_key, 2)
            cross = self.crosses[min(number, len(self.crosses) - 1)]
            tower = self.towers[min(number, len(self.towers) - 1)]
            x, _ = cross(x, source=array_BSD, source_mask=mask, key=cross_key)
            x, _ = tower(x, key=tower_key)
        return x

    def answer(self, latents_BTD, length: int, key=None):
        """Logits from the latents, for an input array of this length."""
        if self.decoder is None:
            return self.head(latents_BTD.mean(axis=1)).astype(jnp.float32)
        queries_TD = self.query[...] if self.queries is None else self.queries(self.positions(length))
        x = _for_each(queries_TD.astype(self.dtype), len(latents_BTD))
        x, _ = self.decoder(x, source=latents_BTD, key=key)
        logits_BTC = self.head(x).astype(jnp.float32)
        return logits_BTC[:, 0] if self.queries is None else logits_BTC

    def _pixels(self, images):
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"images of shape {images.shape[1:]}: this model is built for {self.image_shape}")
        return images.reshape(len(images), -1, images.shape[-1]).astype(self.dtype)


def fourier_features(shape: tuple[int, ...], bands: int) -> np.ndarray:
    """Positions on a grid of this shape and their sines and cosines, `SD` float32 with (2 bands + 1) columns an axis.

    A position x runs from -1 to 1 along an axis of n; the angles are pi f x, for `bands` frequencies f from 1 to n / 2,
    about the finest that n points can show (Jaegle et al. 2021a, section 3.2).
    """
    columns = []
    for size, index_S in zip(shape, np.indices(shape).reshape(len(shape), -1)):
        x_S = 2 * index_S / max(size - 1, 1) - 1
        angle_SF = np.pi * x_S[:, None] * np.linspace(1, size / 2, bands)
        columns += [x_S[:, None], np.sin(angle_SF), np.cos(angle_SF)]
    return np.concatenate(columns, axis=-1).astype(np.float32)


# ---- private parts --------------------------------------------------------------------------------------------------


class _Positions(nnx.Module):
    """Features of the positions on a grid. They stand beside the content; those of `models.layers` are added to it."""

    def __init__(self, kind: str, shape: tuple[int, ...], width: int, bands: int, *, rngs: nnx.Rngs):
        table_shape = (int(np.prod(shape)), width)
        self.table = nnx.Param(jax.random.normal(rngs.params(), table_shape)) if kind == "learned" else None
        self.kind, self.shape, self.width, self.bands = kind, shape, width, bands

    @property
    def columns(self) -> int:
        return self().shape[-1]

    def __call__(self, length: int | None = None):
        """The features `SF` of the first `length` positions, or of all."""
        features_SF = self.table[...] if self.kind == "learned" else self._fixed()
        if length is not None and length > len(features_SF):
            raise ValueError(f"a sequence of {length} is longer than the {len(features_SF)} positions of the model")
        return jnp.asarray(features_SF[:length])

    def _fixed(self):
        if self.kind == "fourier":
            return fourier_features(self.shape, self.bands)
        if self.kind == "sinusoidal":
            return sinusoids(self.shape, self.width)
        return np.zeros((int(np.prod(self.shape)), 0), np.float32)


def _for_each(x_TD, batch_size: int):
    return jnp.broadcast_to(x_TD, (batch_size, *x_TD.shape))


def _check(image_shape, vocab_size, context, classes, output, positions, sharing, **counts):
    for name, value, choices in (
        ("output", output, ("mean", "query", "dense")),
        ("positions", positions, ("fourier", "sinusoidal", "learned", "none")),
        ("sharing", sharing, ("all", "after first", "none")),
    ):
        if value not in choices:
            raise ValueError(f"{name}={value!r}: expected {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}")
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
    if (image_shape is None) == (vocab_size is None):
        raise ValueError("expected image_shape, for images, or vocab_size, for tokens: one of the two")
    if (vocab_size is None) != (context is None):
        raise ValueError("vocab_size and context belong together, for tokens")
    if output != "dense" and classes is None:
        raise ValueError(f"output={output!r} gives the logits of classes: set classes (dense output needs none)")
    if output == "dense" and vocab_size is None:
        raise ValueError("output='dense' gives the logits of tokens: expected vocab_size and context")
    if output == "dense" and positions == "none":
        raise ValueError("output='dense' asks for each position by its features: positions='none' leaves it none")
