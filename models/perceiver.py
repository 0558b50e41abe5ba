"""Perceiver and Perceiver IO: a few learned latents read any array, however long, and answer any number of queries.

Jaegle et al. 2021a (Perceiver, arXiv 2103.03206) and 2021b (Perceiver IO, arXiv 2107.14795). Next to ViT there are no
patches: each pixel, byte or token is one element of the input array. N latents attend to its S elements and then to
one another, so that a round costs N S + N^2, linear in the input, where self-attention costs S^2.
"""

from functools import partial

from flax import nnx
import jax
import jax.numpy as jnp

from models.layers import Embedding, linear, split_key
from models.position_features import PositionFeatures
from models.transformer import Block, Stack


class Perceiver(nnx.Module):
    """Images or tokens in; logits of classes, or of the tokens at every position, out.

    Each of `repeats` rounds is a cross-attention from the latents to the input and a tower of self-attention on the
    latents. One round with output queries is Perceiver IO.

    Args:
      image_shape: (rows, columns, channels), for images. vocab_size: V, and context: longest sequence, for tokens.
      stem: "pixel", where each is an element, or "convolution" (see `shrink`), which leaves a 16th of the elements.
      channels: width of what an element holds: of the embedding of a token or of the convolution (default D), or of a
        linear map of a pixel (default: none, the pixel itself).
      positions: "fourier" with `bands` frequencies, "sinusoidal", "learned" or "none". resolution: elements a
        side that the frequencies are made for (default: those of `image_shape`); images of any size are read then.
      position_width: of sinusoidal and learned positions (default D). project_positions: a linear map of them.
      join: positions stand "beside" what an element holds, or are "added" to it.
      classes: C, for the outputs "mean" and "query".
      output: "mean" of the latents (2021a), a learned "query" to them (2021b), or "dense": a query for each position
        of the tokens, as masked-byte reconstruction needs.
      dense_queries: linear maps of the "positions" of the input, or "learned" ones. query_width: of any query (default
        D). tied: dense logits are inner products with the embeddings of tokens, and a bias.
      latents: N, how many. width: D, of a latent. depth: L, layers in a tower. repeats: rounds. reads: rounds that
        have a cross-attention, the first ones (default: all).
      sharing: of weights between rounds: "all", "after first" (all but the first cross-attention, as in 2021a), "none".
      heads: H, in the towers. cross_heads: in the attention to the input. decoder_heads: in the attention from the
        queries (default: cross_heads). kv_heads, final_norm, scan, remat: of the towers, see `models.transformer`.
      cross_..., decoder_...: the sizes, and the residual, in these attentions (default: those of `block`).
      source_norm: a norm of what is attended to, in both. dropout: in every block.
      dtype: of the computation; parameters and logits are float32.
      block: further fields of `models.transformer.Block`.
    """

    forwards_to, decides = Block, ("causal", "rotary", "cross", "source_width", "self_attention")

    def __init__(
        self, *, image_shape: tuple[int, int, int] | None = None, vocab_size: int | None = None,
        context: int | None = None, stem: str = "pixel", channels: int | None = None, positions: str = "fourier",
        bands: int = 8, resolution: int | None = None, position_width: int | None = None,
        project_positions: bool = False, join: str = "beside", classes: int | None = None, output: str = "mean",
        dense_queries: str = "positions", query_width: int | None = None, tied: bool = False, latents: int, width: int,
        depth: int, repeats: int = 1, reads: int | None = None, sharing: str = "after first", heads: int,
        kv_heads: int | None = None, cross_heads: int = 1, cross_head_size: int | None = None,
        cross_value_size: int | None = None, cross_mlp_width: int | None = None, cross_residual: bool = True,
        decoder_heads: int | None = None, decoder_head_size: int | None = None, decoder_value_size: int | None = None,
        decoder_mlp_width: int | None = None, decoder_residual: bool = True, source_norm: bool = False,
        final_norm: bool = True, scan: bool = False, remat: bool = False, dropout: float = 0.0,
        dtype: str = "float32", rngs: nnx.Rngs, **block,
    ):  # fmt: skip
        reads = repeats if reads is None else reads
        query_width = width if query_width is None else query_width
        default = None if vocab_size is None and stem == "pixel" else width
        channels = default if channels is None else channels
        _check(
            dict(stem=stem, sharing=sharing, join=join, dense_queries=dense_queries), image_shape, vocab_size, context,
            classes, positions, output, tied, resolution, latents=latents, repeats=repeats, reads=reads, bands=bands,
        )  # fmt: skip
        block = dict(dropout=dropout, dtype=dtype, rngs=rngs) | block

        def attention(width, source_width, heads, residual, **sizes):
            given = {name: size for name, size in sizes.items() if size is not None}
            fixed = dict(self_attention=False, cross=True, source_norm=source_norm, cross_residual=residual)
            return Block(width=width, source_width=source_width, heads=heads, **fixed, **(block | given))

        tower = partial(
            Stack, width=width, depth=depth, heads=heads, kv_heads=kv_heads, final_norm=final_norm, scan=scan,
            remat=remat, **block,
        )  # fmt: skip
        different = {"all": (1, 1), "after first": (min(reads, 2), 1), "none": (reads, repeats)}[sharing]
        make_linear = partial(linear, dtype=dtype, rngs=rngs)

        # Tokens start as large as the position features that they are laid beside.
        table = partial(Embedding, scale=1.0, dtype=dtype, rngs=rngs)
        self.embedding = None if vocab_size is None else table(vocab_size, channels)
        sides = image_shape and (image_shape[:2] if stem == "pixel" else _shrunk(image_shape[:2]))
        convolution = partial(nnx.Conv, kernel_size=(7, 7), strides=2, padding=3, dtype=jnp.dtype(dtype), rngs=rngs)
        make_content = {"pixel": make_linear, "convolution": convolution}[stem]
        self.pixels = make_content(image_shape[2], channels) if image_shape and channels else None
        self.positions = PositionFeatures(
            positions, sides or (context,), position_width or width, bands, resolution, rngs=rngs
        )  # fmt: skip
        columns, content_width = self.positions.columns, channels or image_shape[2]
        if join == "added" and columns != content_width:
            raise ValueError(f"join='added' to {content_width} channels: the positions are {columns} wide")
        if tied and query_width != channels:
            raise ValueError(f"tied=True: query_width={query_width} differs from the {channels} of the embeddings")
        self.projection = make_linear(columns, columns) if project_positions else None
        self.latents = nnx.Param(0.02 * jax.random.normal(rngs.params(), (latents, width)))
        array_width = content_width + (columns if join == "beside" else 0)
        self.crosses = nnx.List([
            attention(
                width, array_width, cross_heads, cross_residual, head_size=cross_head_size,
                value_size=cross_value_size, mlp_width=cross_mlp_width,
            )
            for _ in range(different[0])
        ])  # fmt: skip
        self.towers = nnx.List([tower() for _ in range(different[1])])
        count = {"mean": 0, "query": 1, "dense": context if dense_queries == "learned" else 0}[output]
        self.query = nnx.Param(0.02 * jax.random.normal(rngs.params(), (count, query_width))) if count else None
        self.queries = make_linear(columns, query_width) if output == "dense" and not count else None
        self.decoder = None if output == "mean" else attention(
            query_width, width, cross_heads if decoder_heads is None else decoder_heads, decoder_residual,
            head_size=decoder_head_size, value_size=decoder_value_size, mlp_width=decoder_mlp_width,
        )  # fmt: skip
        answer_width = width if output == "mean" else query_width
        self.head = None if tied else make_linear(answer_width, vocab_size if output == "dense" else classes)
        self.bias = nnx.Param(jnp.zeros(vocab_size)) if tied else None
        self.image_shape, self.repeats, self.reads = image_shape and tuple(image_shape), repeats, reads
        self.stem, self.output, self.join, self.sharing, self.dtype = stem, output, join, sharing, dtype

    def __call__(self, images=None, *, tokens=None, mask=None, key=None):
        """Logits `BC` of `images` (B, rows, columns, channels) or of `tokens` (`BT`); "dense" gives `BTV`.

        `mask` (`BT`) is False at padding.
        """
        latents_key, decoder_key = split_key(key, 2)
        array_BSD = self.array(images, tokens)
        latents_BTD = self.read(array_BSD, mask, latents_key)
        return self.answer(latents_BTD, array_BSD.shape[1], decoder_key)

    def array(self, images=None, tokens=None):
        """The input array `BSD`: for each element its content, and beside it the features of its position."""
        name, given = ("tokens", tokens) if self.image_shape is None else ("images", images)
        if given is None:
            raise ValueError(f"this Perceiver is built for {name}: expected the input {name}")
        content = self.embedding(tokens) if self.image_shape is None else self._pixels(images)
        positions_BSF = _for_each(self._positions(content.shape[1:-1]), len(content))
        content_BSD = content.reshape(*positions_BSF.shape[:2], -1)
        if self.join == "added":
            return content_BSD + positions_BSF
        return jnp.concatenate([content_BSD, positions_BSF], axis=-1)

    def read(self, array_BSD, mask=None, key=None):
        """The latents `BTD` after all rounds. The order of the elements does not matter; `mask` (`BS`) hides some."""
        x = _for_each(self.latents[...].astype(self.dtype), len(array_BSD))
        mask = None if mask is None else mask[:, None, None, :]
        for cross, tower, round_key in zip(*self._rounds(), split_key(key, self.repeats)):
            cross_key, tower_key = split_key(round_key, 2)
            x = x if cross is None else cross(x, source=array_BSD, source_mask=mask, key=cross_key)[0]
            x, _ = tower(x, key=tower_key)
        return x

    def features(self, images=None, *, tokens=None, mask=None):
        """The latents before each tower and behind each of its blocks: L + 1 arrays `BTD` a round."""
        array_BSD, found = self.array(images, tokens), []
        x = _for_each(self.latents[...].astype(self.dtype), len(array_BSD))
        mask = None if mask is None else mask[:, None, None, :]
        for cross, tower in zip(*self._rounds()):
            x = x if cross is None else cross(x, source=array_BSD, source_mask=mask)[0]
            found += tower.outputs(x)
            x = found[-1]
        return found

    def answer(self, latents_BTD, length: int, key=None):
        """Logits from the latents, for an input array of this length."""
        if self.decoder is None:
            return self.head(latents_BTD.mean(axis=1)).astype(jnp.float32)
        queries_TD = self.queries(self._positions((length,))) if self.query is None else self.query[...]
        if self.output == "dense":
            queries_TD = queries_TD[:length]
        x = _for_each(queries_TD.astype(self.dtype), len(latents_BTD))
        x, _ = self.decoder(x, source=latents_BTD, key=key)
        if self.head is None:
            return self.embedding.attend(x).astype(jnp.float32) + self.bias[...]
        logits_BTC = self.head(x).astype(jnp.float32)
        return logits_BTC if self.output == "dense" else logits_BTC[:, 0]

    def _rounds(self):
        """The cross-attention and the tower of each round; those that share weights are the same object."""
        crosses, towers = (list(x) + [x[-1]] * (self.repeats - len(x)) for x in (self.crosses, self.towers))
        return crosses[: self.reads] + [None] * (self.repeats - self.reads), towers

    def _positions(self, shape: tuple[int, ...]):
        features_SF = self.positions(shape).astype(self.dtype)
        return features_SF if self.projection is None else self.projection(features_SF)

    def _pixels(self, images):
        free = self.positions.resolution is not None and images.shape[-1] == self.image_shape[-1]
        if images.shape[1:] != self.image_shape and not free:
            raise ValueError(f"images of shape {images.shape[1:]}: this model is built for {self.image_shape}")
        images = images.astype(self.dtype)
        content = images if self.pixels is None else self.pixels(images)
        return content if self.stem == "pixel" else shrink(content)


def shrink(convolved):
    """What a 7x7 convolution of stride 2 found, on half of each side: ReLU, and the largest of 3x3.

    From the ImageNet models of Jaegle et al. 2021b; their batch norm is part of the convolution here.
    """
    return nnx.max_pool(nnx.relu(convolved), (3, 3), strides=(2, 2))


# ---- private parts --------------------------------------------------------------------------------------------------


def _for_each(x_TD, batch_size: int):
    return jnp.broadcast_to(x_TD, (batch_size, *x_TD.shape))


def _shrunk(sides: tuple[int, int]) -> tuple[int, ...]:
    """Elements a side behind the convolution and `shrink`."""
    halves = [(side + 1) // 2 for side in sides]
    if min(halves) < 3:
        raise ValueError(f"stem='convolution' needs images of at least 5 x 5 pixels, got {sides[0]} x {sides[1]}")
    return tuple((side - 1) // 2 for side in halves)


CHOICES = {
    "stem": ("pixel", "convolution"),
    "output": ("mean", "query", "dense"),
    "positions": ("fourier", "sinusoidal", "learned", "none"),
    "sharing": ("all", "after first", "none"),
    "join": ("beside", "added"),
    "dense_queries": ("positions", "learned"),
}


def _check(choices, image_shape, vocab_size, context, classes, positions, output, tied, resolution, **counts):
    for name, value in (choices | {"positions": positions, "output": output}).items():
        known = CHOICES[name]
        if value not in known:
            raise ValueError(f"{name}={value!r}: expected {', '.join(map(repr, known[:-1]))} or {known[-1]!r}")
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
    if vocab_size is not None and choices["stem"] == "convolution":
        raise ValueError("stem='convolution' is that of images")
    if counts["reads"] > counts["repeats"]:
        raise ValueError(f"reads={counts['reads']}: there are only repeats={counts['repeats']} rounds")
    if tied and output != "dense":
        raise ValueError(f"tied=True gives the logits of tokens: expected output='dense', not {output!r}")
    if resolution is not None and (positions != "fourier" or image_shape is None):
        raise ValueError("resolution is that of images with positions='fourier'")
    if output == "dense" and positions == "none" and choices["dense_queries"] == "positions":
        raise ValueError("output='dense' asks for each position by its features: positions='none' leaves it none")
