"""Recurrent networks: layers of GRU or LSTM cells, and a language model built from them.

Hochreiter & Schmidhuber 1997 (LSTM); Cho et al. 2014 (GRU); Mikolov et al. 2010 (language model). Unlike GPT, which
looks back at all positions, a recurrent network carries one state from position to position. Its cost is therefore
linear in the length, and whatever it is to remember must fit into the state.
"""

from itertools import pairwise

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, Length, ShareBelowAll, Size, Vocabulary
from models.layers import Dropout, DropoutKey, Embedding, read_out, split_key
from models.masks import Padding, padding_mask

CELLS = {"gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}

Inputs = Float[Array, "batch time inputs"]
Outputs = Float[Array, "batch time width"]
TimeMask = Bool[Array, "batch time"]
State = tuple[Float[Array, "batch width"], ...]
"""The state of a cell. Its last array is the output: (h,) of a GRU, (c, h) of an LSTM."""
States = list[State]
Cache = dict


class Cell(nnx.Module):
    """One GRU or LSTM cell of `width` units, applied along a sequence.

    The equations are those of Flax's cells. They are those of PyTorch's `nn.LSTM`, whose two biases are added up, and
    those of its `nn.GRU` where `bias_hh` of the new state is 0.
    """

    def __init__(self, kind: str, inputs: int, width: int, *, dtype: str = "float32", rngs: nnx.Rngs):
        if kind not in CELLS:
            raise UserError(f"cell={shown(kind)}: expected 'gru' or 'lstm'")
        self.cell = CELLS[kind](inputs, width, dtype=jnp.dtype(dtype), rngs=rngs)
        self.parts, self.width, self.dtype = (2 if kind == "lstm" else 1), width, dtype

    def empty(self, batch_size: int) -> State:
        """Returns the state before the first position: zeros."""
        return tuple(jnp.zeros((batch_size, self.width), self.dtype) for _ in range(self.parts))

    def step(self, state: State, x_BD: Float[Array, "batch inputs"], mask_B: Bool[Array, " batch"] | None) -> State:
        """Returns the state after one position; where the mask is False, the old one."""
        new, _ = self.cell(state if self.parts == 2 else state[0], x_BD)
        new = tuple(new) if self.parts == 2 else (new,)
        if mask_B is None:
            return new
        return tuple(jnp.where(mask_B[:, None], n, o) for n, o in zip(new, state))

    def __call__(
        self, x_BTD: Inputs, state: State, *, mask: TimeMask | None = None, backward: bool = False
    ) -> tuple[Outputs, State]:
        """Returns the output at each position, and the last state. Padding changes no state, and repeats the output.

        With `backward` the sequence is read from its end.
        """

        def along(state, inputs):
            new = self.step(state, *inputs)
            return new, new[-1]

        if mask is not None and len(mask) == 1:
            mask = jnp.broadcast_to(mask, x_BTD.shape[:2])  # one row may serve all
        over_time = lambda x: None if x is None else x.swapaxes(0, 1)
        state, out_TBD = jax.lax.scan(along, state, (over_time(x_BTD), over_time(mask)), reverse=backward)
        return out_TBD.swapaxes(0, 1), state


class RecurrentLayers(nnx.Module):
    """`depth` layers, each reading the outputs of the one below.

    Args:
      cell: "gru" or "lstm". inputs: width of the inputs. width: D, of the outputs. depth: L.
      bidirectional: each layer has a cell for either direction, of D / 2 units each (Schuster & Paliwal 1997).
      dropout: between layers.
      dtype: of the computation; parameters are float32.
    """

    def __init__(
        self, *, cell: str, inputs: int, width: int, depth: int, bidirectional: bool = False, dropout: float = 0.0,
        dtype: str = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        if depth < 1:
            raise UserError(f"depth={depth}: expected at least 1 layer")
        if bidirectional and width % 2:
            raise UserError(f"width={width}: a bidirectional layer needs an even width, half for either direction")
        sizes = [inputs] + [width] * depth
        make = lambda units: nnx.List([Cell(cell, a, units, dtype=dtype, rngs=rngs) for a, _ in pairwise(sizes)])
        self.forward = make(width // 2 if bidirectional else width)
        self.backward = make(width // 2) if bidirectional else None
        self.dropout = Dropout(dropout)

    def empty(self, batch_size: int) -> States:
        """Returns the states of all forward cells before the first position."""
        return [cell.empty(batch_size) for cell in self.forward]

    def __call__(
        self, x: Inputs, states: States | None = None, *, mask: TimeMask | None = None, key: DropoutKey = None
    ) -> tuple[Outputs, States]:
        """Returns the outputs of the last layer, and the last states of all forward cells.

        Args:
          states: of the forward cells, before the first position (default: empty).
          mask: False at padding.
        """
        last: States = []
        states = self.empty(len(x)) if states is None else states
        for layer, (cell, state, layer_key) in enumerate(zip(self.forward, states, split_key(key, len(self.forward)))):
            x = self.dropout(x, layer_key) if layer else x
            out, state = cell(x, state, mask=mask)
            if self.backward is not None:
                other = self.backward[layer]
                back, _ = other(x, other.empty(len(x)), mask=mask, backward=True)
                out = jnp.concatenate([out, back], axis=-1)
            x, last = out, [*last, state]
        return x, last

    def step(
        self, x_BD: Float[Array, "batch inputs"], states: States, *, key: DropoutKey = None
    ) -> tuple[Float[Array, "batch width"], States]:
        """Returns the output of the last layer at the next position, and the new states, of layers in one direction."""
        new: States = []
        for layer, (cell, state, layer_key) in enumerate(zip(self.forward, states, split_key(key, len(self.forward)))):
            x_BD = self.dropout(x_BD, layer_key) if layer else x_BD
            new.append(cell.step(state, x_BD, None))
            x_BD = new[-1][-1]
        return x_BD, new


class RecurrentLanguageModel(nnx.Module):
    """Reads tokens; returns the logits of the next token at every position.

    Args:
      vocab_size: V. context: longest sequence that is generated. width: D, of embeddings and cells. depth: L.
      cell: "gru" or "lstm".
      tied: the output projection is the embedding, transposed (Press & Wolf 2017).
      dropout: on the embeddings, between layers, and before the output.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, vocab_size: Vocabulary, context: Length, width: Size, depth: Depth = 1, cell: str = "gru",
        tied: bool = True, dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        # Logits are inner products with the embeddings, and the outputs of a cell lie between -1 and 1.
        self.embedding = Embedding(vocab_size, width, scale=width**-0.5, dtype=dtype, rngs=rngs)
        self.layers = RecurrentLayers(
            cell=cell, inputs=width, width=width, depth=depth, dropout=dropout, dtype=dtype, rngs=rngs
        )
        self.head = None if tied else read_out(width, vocab_size, bias=False, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.vocab_size, self.context = vocab_size, context

    def __call__(
        self, tokens: Int[Array, "batch time"], *, mask: Padding | None = None, key: DropoutKey = None
    ) -> Float[Array, "batch time vocabulary"]:
        """Returns the logits of the token after each of `tokens`; `mask` is False or 0 at padding."""
        return self._forward(tokens, None, mask=padding_mask(mask, tokens.shape), key=key)[0]

    def new_cache(self, batch_size: int, length: int | None = None) -> Cache:
        """Returns an empty cache for `decode`. Its size does not depend on the length."""
        return {"states": self.layers.empty(batch_size)}

    def decode(
        self, tokens: Int[Array, "batch time"], cache: Cache
    ) -> tuple[Float[Array, "batch time vocabulary"], Cache]:
        """Returns the logits for `tokens` that follow those in `cache`, and the cache with them added."""
        logits, states = self._forward(tokens, cache["states"])
        return logits, {"states": states}

    def reorder(self, cache: Cache, rows_B: Int[Array, " batch"]) -> Cache:
        """Returns the cache in which row b has the text so far of row rows_B[b]."""
        return {"states": jax.tree.map(lambda x: x[rows_B], cache["states"])}

    def _forward(self, tokens, states, *, mask=None, key: DropoutKey = None):
        first_key, layers_key, last_key = split_key(key, 3)
        x = self.dropout(self.embedding(tokens), first_key)
        x, states = self.layers(x, states, mask=mask, key=layers_key)
        x = self.dropout(x, last_key)
        logits = self.embedding.attend(x) if self.head is None else self.head(x)
        return logits, states
