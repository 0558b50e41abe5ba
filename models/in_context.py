"""In-context regression: a causal stack that reads examples of a function and predicts its value at the next point.

Garg et al. 2022. Unlike GPT it reads numbers, not tokens. The function differs from sequence to sequence while the
parameters stay the same: all that the model learns of a function, attention takes from the examples before.
"""

from typing import Unpack

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.ranges import Depth, Dtype, Length, ShareBelowAll, Size
from models.fields import Semantic, StackFields, forwards
from models.layers import Dropout, DropoutKey, linear, read_out, split_key
from models.parametrization import scalable
from models.positions import Positions
from models.transformer import Stack


@scalable
class InContextRegressor(nnx.Module):
    """Reads points and the values there; returns a prediction of each value, made from the examples before it.

    Args:
      dimensions: of a point. context: longest sequence of points. width: D. depth: L. heads: H.
      positions: "learned", "sinusoidal" or "none".
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and predictions are float32.
      stack: further fields of `models.transformer.Stack` and `Block`.
    """

    @forwards(Stack)
    def __init__(
        self, *, dimensions: Size, context: Length, width: Size, depth: Depth, heads: Semantic[Size],
        positions: str = "learned", dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
        **stack: Unpack[StackFields],
    ):  # fmt: skip
        self.read = linear(2 * dimensions + 1, width, dtype=dtype, rngs=rngs)
        self.positions = Positions(positions, (context,), width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, causal=True, dropout=dropout, dtype=dtype, rngs=rngs, **stack
        )
        self.head = read_out(width, 1, dtype=dtype, rngs=rngs)

    def __call__(
        self, points: Float[Array, "batch time dimensions"], values: Float[Array, "batch time"], *,
        key: DropoutKey = None,
    ) -> Float[Array, "batch time"]:  # fmt: skip
        """Returns predictions of `values` at `points`; each sees the values before it only."""
        first_key, blocks_key = split_key(key, 2)
        examples = jnp.concatenate([points, values[..., None]], axis=-1)
        # One token holds the point that is asked for and the example before it. With a token for each, one more layer
        # would be needed to bring a point and its value together.
        before = jnp.pad(examples[:, :-1], ((0, 0), (1, 0), (0, 0)))
        x = self.positions(self.read(jnp.concatenate([points, before], axis=-1)))
        x, _ = self.blocks(self.dropout(x, first_key), key=blocks_key)
        return self.head(x)[..., 0]
