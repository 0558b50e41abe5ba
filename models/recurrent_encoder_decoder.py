"""Recurrent encoder-decoder: the network that attention was invented for.

A recurrent encoder reads the source, a recurrent decoder writes the target. What the decoder knows of the source is its
context vector z_t:

| context    | z_t                                                      | query     | output from     | source                |
|------------|----------------------------------------------------------|-----------|-----------------|-----------------------|
| "fixed"    | the last state of the encoder, the same for all t        |           | [s_t; z; y]     | Sutskever et al. 2014, Cho et al. 2014 |
| "additive" | states h_i weighed by softmax(v . tanh(W s_{t-1} + U h_i)) | s_{t-1} | [s_t; z_t; y]   | Bahdanau et al. 2015  |
| "dot"      | states h_i weighed by softmax(s_t . h_i), unscaled        | s_t       | [z_t; s_t]      | Luong et al. 2015; lecture of V. Roth |

Unlike the transformer (`models/encoder_decoder.py`), positions are read one after the other, and need no embedding.
With a fixed context everything that the target needs must fit into one vector, whatever the length of the source.
"""  # noqa: E501

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, Length, ShareBelowAll, Size, Vocabulary
from models.attention import AttentionWeights, additive, dot_product, mix, softargmax
from models.layers import Dropout, DropoutKey, Embedding, linear, split_key
from models.masks import Padding, over_keys, padding_mask
from models.recurrent import RecurrentLayers, States, TimeMask

CONTEXTS = ("fixed", "additive", "dot")

Sources = Int[Array, "batch source"]
Targets = Int[Array, "batch time"]
SourceMask = Bool[Array, "batch source"]
Logits = Float[Array, "batch time vocabulary"]
Cache = dict[str, Any]


class Alignment(nnx.Module):
    """The attention of a decoder state to the states of the encoder, with one head. See the table above."""

    def __init__(self, score: str, width: int, *, dtype: str = "float32", rngs: nnx.Rngs):
        additive_score = score == "additive"
        self.query = linear(width, width, bias=False, dtype=dtype, rngs=rngs) if additive_score else None
        self.key = linear(width, width, dtype=dtype, rngs=rngs) if additive_score else None
        vector = lambda: nnx.Param(jax.random.normal(rngs.params(), (1, width)) * width**-0.5)
        self.vector = vector() if additive_score else None

    def remember(self, encoded_BSD: Float[Array, "batch source width"]) -> Cache:
        """Returns the keys and values of a source."""
        key = encoded_BSD if self.key is None else self.key(encoded_BSD)
        return {"key": key[:, :, None], "value": encoded_BSD[:, :, None]}

    def __call__(
        self, state_BTD: Float[Array, "batch time width"], source: Cache, mask: SourceMask | None
    ) -> tuple[Float[Array, "batch time width"], Float[Array, "batch 1 time source"]]:
        """Returns the context vectors for decoder states, and the weights."""
        if self.query is None or self.vector is None:
            scores_BHTS = dot_product(state_BTD[:, :, None], source["key"], scale=1.0)
        else:
            query_BTHK = self.query(state_BTD)[:, :, None]
            scores_BHTS = additive(query_BTHK, source["key"], vector_HK=self.vector[...].astype(query_BTHK.dtype))
        weights_BHTS = softargmax(scores_BHTS, over_keys(mask))
        return mix(weights_BHTS, source["value"])[:, :, 0], weights_BHTS


class RecurrentEncoderDecoder(nnx.Module):
    """Reads a source and the target so far; returns the logits of the next token of the target.

    Args:
      source_vocab_size, vocab_size: of the source, and V of the target.
      source_context, context: longest source and longest target.
      width: D, of embeddings, of the encoder's outputs and of the decoder's states.
      depth: L, layers of the encoder. decoder_depth: of the decoder (default L).
      cell: "gru" or "lstm".
      attention: "fixed", "additive" or "dot", see the table above.
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
        if attention not in CONTEXTS:
            raise UserError(f"attention={shown(attention)}: expected 'fixed', 'additive' or 'dot'")
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
        # With "dot" the context vector enters after the recurrence, otherwise before it.
        self.decoder = RecurrentLayers(
            cell=cell, inputs=width if attention == "dot" else 2 * width, width=width,
            depth=depth if decoder_depth is None else decoder_depth, dropout=dropout, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        parts = self.decoder.forward[0].parts
        self.bridge = nnx.List(
            [linear(width, parts * width, dtype=dtype, rngs=rngs) for _ in range(len(self.decoder.forward))]
        )
        self.cross = None if attention == "fixed" else Alignment(attention, width, dtype=dtype, rngs=rngs)
        self.mixer = linear((2 if attention == "dot" else 3) * width, width, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.attention, self.bidirectional, self.vocab_size, self.width = attention, bidirectional, vocab_size, width
        self.context, self.source_context = context, source_context

    def __call__(
        self, source: Sources, tokens: Targets, *, source_mask: Padding | None = None, key: DropoutKey = None
    ) -> Logits:
        """Returns the logits of the token after each of `tokens`, given `source`.

        `tokens` is the target shifted right: a beginning-of-sequence token, then all but its last token. `source_mask`
        is False or 0 at padding. The target needs no mask: its padding comes last, too.
        """
        source_mask = padding_mask(source_mask, source.shape, "source_mask")
        encoder_key, decoder_key = split_key(key, 2)
        cache = self._remember(self.encode(source, source_mask=source_mask, key=encoder_key), source_mask)
        return self._decode(tokens, cache, key=decoder_key)[0]

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
        source_mask = padding_mask(source_mask, source.shape, "source_mask")
        return self._remember(self.encode(source, source_mask=source_mask), source_mask)

    def decode(self, tokens: Targets, cache: Cache) -> tuple[Logits, Cache]:
        """Returns the logits for `tokens` that follow those in `cache`, and the cache with them added."""
        return self._decode(tokens, cache)

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the target so far of row rows_B[b]; both must have the same source."""
        return cache | {"states": jax.tree.map(lambda x: x[rows_B], cache["states"])}

    def _remember(self, encoded_BSD, source_mask: TimeMask | None) -> Cache:
        """The cache before the first token: the decoder starts from the last state of the encoder."""
        # Padding repeats outputs, so the last output of each direction is its last state.
        last_BD = encoded_BSD[:, -1]
        if self.bidirectional:
            half = self.width // 2
            last_BD = jnp.concatenate([encoded_BSD[:, -1, :half], encoded_BSD[:, 0, half:]], axis=-1)
        split = lambda x: tuple(jnp.split(x, x.shape[-1] // self.width, axis=-1))
        states = [split(jnp.tanh(bridge(last_BD))) for bridge in self.bridge]
        cache = {"states": states, "last": last_BD, "source_mask": source_mask}
        return cache if self.cross is None else cache | {"source": self.cross.remember(encoded_BSD)}

    def _decode(self, tokens, cache: Cache, *, key: DropoutKey = None) -> tuple[Logits, Cache]:
        first_key, layers_key, last_key = split_key(key, 3)
        y_BTD = self.dropout(self.embedding(tokens), first_key)
        weights_BHTS = None
        if self.cross is None:
            z_BTD = jnp.broadcast_to(cache["last"][:, None], y_BTD.shape)
            out_BTD, states = self.decoder(jnp.concatenate([y_BTD, z_BTD], axis=-1), cache["states"], key=layers_key)
        elif self.attention == "dot":
            out_BTD, states = self.decoder(y_BTD, cache["states"], key=layers_key)
            z_BTD, weights_BHTS = self.cross(out_BTD, cache["source"], cache["source_mask"])
        else:
            out_BTD, z_BTD, states, weights_BHTS = self._attend_in_steps(self.cross, y_BTD, cache, layers_key)
        if weights_BHTS is not None and hasattr(self.cross, "__captures__"):  # set by nnx.capture
            self.cross.sow(AttentionWeights, "weights", weights_BHTS)
        parts = [z_BTD, out_BTD] if self.attention == "dot" else [out_BTD, z_BTD, y_BTD]
        x = self.dropout(jnp.tanh(self.mixer(jnp.concatenate(parts, axis=-1))), last_key)
        return self.embedding.attend(x), cache | {"states": states}

    def _attend_in_steps(self, cross: Alignment, y_BTD, cache: Cache, key: DropoutKey):
        """The context vector of a step depends on the state of the step before, so attention is in the loop."""

        def step(states: States, inputs):
            y_BD, step_key = inputs
            z_B1D, weights_B11S = cross(states[-1][-1][:, None], cache["source"], cache["source_mask"])
            out_BD, states = self.decoder.step(jnp.concatenate([y_BD, z_B1D[:, 0]], axis=-1), states, key=step_key)
            return states, (out_BD, z_B1D[:, 0], weights_B11S[:, :, 0])

        keys = None if key is None else jax.random.split(key, y_BTD.shape[1])
        states, (out_TBD, z_TBD, weights_TBHS) = jax.lax.scan(step, cache["states"], (y_BTD.swapaxes(0, 1), keys))
        return out_TBD.swapaxes(0, 1), z_TBD.swapaxes(0, 1), states, jnp.moveaxis(weights_TBHS, 0, 2)
