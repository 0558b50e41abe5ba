"""In-context regression: a causal stack that reads examples of a function and says its value at the next point.

Garg et al. 2022. Next to GPT numbers take the place of tokens. What function it is changes from sequence to sequence,
and the parameters do not: what is learned of it, attention learns from the examples that came before.
"""

from flax import nnx
import jax.numpy as jnp

from models.layers import Dropout, Positions, linear, split_key
from models.transformer import NO_SOURCE, Stack


class InContextRegressor(nnx.Module):
    """Points and the values there in; a prediction of each value, made from the examples before it, out.

    Args:
      dimensions: of a point. context: longest sequence of points. width: D. depth: L. heads: H.
      positions: "learned", "sinusoidal" or "none".
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and predictions are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    forwards_to, decides = Stack, NO_SOURCE

    def __init__(
        self, *, dimensions: int, context: int, width: int, depth: int, heads: int, positions: str = "learned",
        dropout: float = 0.0, dtype: str = "float32", rngs: nnx.Rngs, **stack,
    ):  # fmt: skip
        self.read = linear(2 * dimensions + 1, width, dtype=dtype, rngs=rngs)
        self.positions = Positions(positions, (context,), width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, causal=True, dropout=dropout, dtype=dtype, rngs=rngs, **stack
        )
        self.head = linear(width, 1, dtype=dtype, rngs=rngs)

    def __call__(self, points, values, *, key=None):
        """Predictions `BT` of `values` (`BT`) at `points` (B, T, dimensions); each sees earlier values only."""
        first_key, blocks_key = split_key(key, 2)
        examples = jnp.concatenate([points, values[..., None]], axis=-1)
        # A place holds the point that is asked for, and the example before: point and value together, as one token
        # each would need a layer more to find one another.
        before = jnp.pad(examples[:, :-1], ((0, 0), (1, 0), (0, 0)))
        x = self.positions(self.read(jnp.concatenate([points, before], axis=-1)))
        x, _ = self.blocks(self.dropout(x, first_key), key=blocks_key)
        return self.head(x)[..., 0].astype(jnp.float32)
