"""Latent-variable energy models: how badly a decoder explains y, for each value of a latent that nobody observes.

    E(x, y, z) = |y - decode(x, z)|^2

Where one x has many right y, as on an ellipse, a plain network has to answer with their mean. Here the latent says
which of them is meant: inference takes the z with the least energy. The free energy of y, for the objective to compute
(`objectives/energy.py`), leaves z out. This is the model of A. Canziani's lectures: z is an angle, and the decoder
stretches the unit circle, by two numbers, or by a network that reads x. Unlike a variational autoencoder it has no
encoder, and its energies are not normalised to probabilities.
"""

from itertools import pairwise
from typing import Annotated

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from core.errors import UserError
from core.ranges import Count, Dtype, Range, ShareBelowAll, Size
from models.layers import Dropout, DropoutKey, linear, read_out, split_key

Points = Float[Array, "batch 2"]
Inputs = Float[Array, "batch inputs"]
InputSize = Annotated[int, Range(0, 2**17)]
HiddenLayers = Annotated[int, Range(0, 1024)]


class LatentEnergy(nnx.Module):
    """Returns the energies of points in the plane for each latent of a grid.

    Args:
      inputs: numbers in x; 0 for a model of y alone.
      latents: Z, angles from 0 to 2 pi, the latter excluded.
      width, depth: of the network that reads x: width and number of hidden layers. Without x there is none.
      dropout: on its hidden layers.
      dtype: of that network; parameters, what is decoded and energies are float32.
    """

    def __init__(
        self, *, inputs: InputSize = 0, latents: Size = 48, width: Size = 8, depth: HiddenLayers = 1,
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        self.radii = nnx.Param(jnp.ones(2) + 0.1 * jax.random.normal(rngs.params(), (2,))) if not inputs else None
        sizes = [inputs] + [width] * depth
        hidden = pairwise(sizes) if inputs else ()
        self.hidden = nnx.List([linear(a, b, dtype=dtype, rngs=rngs) for a, b in hidden])
        self.out = read_out(sizes[-1], 2, dtype=dtype, rngs=rngs) if inputs else None
        self.dropout = Dropout(dropout)
        self.inputs, self.grid_size = inputs, latents

    @property
    def grid(self) -> Float[Array, " latents"]:
        """The latents of the grid."""
        return 2 * jnp.pi * jnp.arange(self.grid_size) / self.grid_size

    def decode(self, z: Float[Array, "*#batch_latents"], x: Inputs | None = None, *, key: DropoutKey = None):
        """Returns the points (..., 2) of latents, `Z` or `BZ`, which with `x` are `BZ2` for its `B` rows."""
        circle = jnp.stack([jnp.cos(z), jnp.sin(z)], axis=-1)
        if self.radii is not None:
            return self.radii[...] * circle
        return self._radii(x, key)[:, None] * circle

    def energies(self, y: Points, z: Float[Array, "*#batch_latents"], x: Inputs | None = None, *, key=None):
        """Returns the energies `BZ` of points for latents, `Z` or `BZ`."""
        return ((y[:, None] - self.decode(z, x, key=key)) ** 2).sum(-1)

    def __call__(self, y: Points, x: Inputs | None = None, *, key: DropoutKey = None) -> Float[Array, "batch latents"]:
        """Returns the energies of points for each latent of the grid.

        Raises:
          UserError: `x` is not what the model was made for.
        """
        count = 0 if x is None else x.shape[-1]
        if count != self.inputs:
            raise UserError(f"x has {count} numbers, but the model has inputs={self.inputs}")
        return self.energies(y, self.grid, x, key=key)

    def infer(
        self, y: Points, x: Inputs | None = None, *, starts: int = 4, steps: Count = 100, rate: float = 0.05
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:  # fmt: skip
        """Returns the latents of the least energy and these energies, each `B`, by gradient descent.

        Args:
          starts: the descent begins at this many evenly spaced angles, and the best end counts: an energy over the
            angle has two wells where the point is near the middle.
          steps, rate: of each descent.
        """
        start_BZ = jnp.broadcast_to(2 * jnp.pi * jnp.arange(starts) / starts + 0.1, (len(y), starts))
        slope = jax.grad(lambda z_BZ: self.energies(y, z_BZ, x).sum())
        z_BZ = jax.lax.fori_loop(0, steps, lambda _, z_BZ: z_BZ - rate * slope(z_BZ), start_BZ)
        energies_BZ = self.energies(y, z_BZ, x)
        best_B1 = energies_BZ.argmin(-1, keepdims=True)
        best = lambda values_BZ: jnp.take_along_axis(values_BZ, best_B1, axis=-1)[:, 0]
        return best(z_BZ) % (2 * jnp.pi), best(energies_BZ)

    def _radii(self, x, key):
        for layer, layer_key in zip(self.hidden, split_key(key, len(self.hidden))):
            x = self.dropout(nnx.relu(layer(x)), layer_key)
        assert self.out is not None
        return self.out(x)
