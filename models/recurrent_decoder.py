"""The decoder of a recurrent network, and the attention that was invented for it.

A decoder writes a text token by token. What it knows of its source is its context vector z_t:

| context    | z_t                                                      | query     | output from     | source                |
|------------|----------------------------------------------------------|-----------|-----------------|-----------------------|
| "fixed"    | one vector of the whole source, the same for all t       |           | [s_t; z; y]     | Sutskever et al. 2014, Cho et al. 2014 |
| "additive" | states h_i weighed by softmax(v . tanh(W s_{t-1} + U h_i)) | s_{t-1} | [s_t; z_t; y]   | Bahdanau et al. 2015  |
| "dot"      | states h_i weighed by softmax(s_t . h_i), unscaled        | s_t       | [z_t; s_t]      | Luong et al. 2015; lecture of V. Roth |

The source may be a text (`models/recurrent_encoder_decoder.py`) or the parts of an image (`models/captioner.py`).
"""  # noqa: E501

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from core.errors import UserError, shown
from models.attention import AttentionWeights, additive, dot_product, mix, softargmax
from models.layers import Dropout, DropoutKey, linear, split_key
from models.masks import over_keys
from models.recurrent import RecurrentLayers, States

CONTEXTS = ("fixed", "additive", "dot")

Hidden = Float[Array, "batch time width"]
Encoded = Float[Array, "batch source width"]
SourceMask = Bool[Array, "#batch source"]
Cache = dict[str, Any]


class RecurrentDecoder(nnx.Module):
    """Layers of GRU or LSTM cells that read embeddings and a context vector, see the table above.

    Args:
      width: D, of the embeddings, the states and the source. depth: L. cell: "gru" or "lstm".
      attention: "fixed", "additive" or "dot".
      dropout: between layers, and on the output.
      dtype: of the computation; parameters are float32.
    """

    def __init__(
        self, *, width: int, depth: int, cell: str, attention: str, dropout: float, dtype: str, rngs: nnx.Rngs
    ):  # fmt: skip
        if attention not in CONTEXTS:
            raise UserError(f"attention={shown(attention)}: expected 'fixed', 'additive' or 'dot'")
        # With "dot" the context vector enters after the recurrence, otherwise before it.
        self.layers = RecurrentLayers(
            cell=cell, inputs=width if attention == "dot" else 2 * width, width=width, depth=depth, dropout=dropout,
            dtype=dtype, rngs=rngs,
        )  # fmt: skip
        parts = self.layers.forward[0].parts
        self.bridge = nnx.List([linear(width, parts * width, dtype=dtype, rngs=rngs) for _ in range(depth)])
        self.cross = None if attention == "fixed" else Alignment(attention, width, dtype=dtype, rngs=rngs)
        self.mixer = linear((2 if attention == "dot" else 3) * width, width, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.attention, self.width = attention, width

    def new_cache(
        self, encoded_BSD: Encoded, summary_BD: Float[Array, "batch width"], source_mask: SourceMask | None = None
    ) -> Cache:
        """Returns the cache before the first token. The first states follow from one vector, a summary of the source.

        With a fixed context, this vector is all that the decoder is told.
        """
        split = lambda x: tuple(jnp.split(x, x.shape[-1] // self.width, axis=-1))
        states = [split(jnp.tanh(bridge(summary_BD))) for bridge in self.bridge]
        if self.cross is None:
            return {"states": states, "summary": summary_BD}
        return {"states": states, "source": self.cross.remember(encoded_BSD), "source_mask": source_mask}

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the text so far of row rows_B[b]; both must have the same source."""
        return cache | {"states": jax.tree.map(lambda x: x[rows_B], cache["states"])}

    def __call__(self, y_BTD: Hidden, cache: Cache, *, key: DropoutKey = None) -> tuple[Hidden, Cache]:
        """Returns the outputs for the embeddings that follow what is in the cache, and the cache with them added."""
        layers_key, last_key = split_key(key, 2)
        weights_BHTS = None  # a fixed context has none
        if self.cross is None:
            z_BTD = jnp.broadcast_to(cache["summary"][:, None], y_BTD.shape)
            out_BTD, states = self.layers(jnp.concatenate([y_BTD, z_BTD], axis=-1), cache["states"], key=layers_key)
        elif self.attention == "dot":
            out_BTD, states = self.layers(y_BTD, cache["states"], key=layers_key)
            z_BTD, weights_BHTS = self.cross(out_BTD, cache["source"], cache["source_mask"])
        else:
            out_BTD, z_BTD, states, weights_BHTS = self._attend_in_steps(self.cross, y_BTD, cache, layers_key)
        if self.cross is not None and hasattr(self.cross, "__captures__"):  # set by nnx.capture
            self.cross.sow(AttentionWeights, "weights", weights_BHTS)
        parts = [z_BTD, out_BTD] if self.attention == "dot" else [out_BTD, z_BTD, y_BTD]
        x_BTD = jnp.tanh(self.mixer(jnp.concatenate(parts, axis=-1)))
        return self.dropout(x_BTD, last_key), cache | {"states": states}

    def _attend_in_steps(self, cross: "Alignment", y_BTD, cache: Cache, key: DropoutKey):
        """The context vector of a step depends on the state of the step before, so attention is in the loop."""

        def step(states: States, inputs):
            y_BD, step_key = inputs
            z_B1D, weights_B11S = cross(states[-1][-1][:, None], cache["source"], cache["source_mask"])
            out_BD, states = self.layers.step(jnp.concatenate([y_BD, z_B1D[:, 0]], axis=-1), states, key=step_key)
            return states, (out_BD, z_B1D[:, 0], weights_B11S[:, :, 0])

        keys = None if key is None else jax.random.split(key, y_BTD.shape[1])
        inputs = (y_BTD.swapaxes(0, 1), keys)
        states, (out_TBD, z_TBD, weights_TBHS) = jax.lax.scan(step, cache["states"], inputs)
        return out_TBD.swapaxes(0, 1), z_TBD.swapaxes(0, 1), states, jnp.moveaxis(weights_TBHS, 0, 2)


class Alignment(nnx.Module):
    """The attention of decoder states to a source, with one head; the decoder captures its weights."""

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
