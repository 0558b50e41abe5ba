"""Two networks without attention, as baselines: a multilayer perceptron and a convolutional network.

Rumelhart et al. 1986; LeCun et al. 1998. Unlike ViT, the perceptron knows nothing about images, not even which pixels
are neighbours; the convolutional network knows both that neighbours belong together and that a shape is the same
everywhere in the image.
"""

from itertools import pairwise
import math

from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float

from core.errors import UserError, shown
from core.ranges import Depth, Dtype, ImageShape, ShareBelowAll, Size, Vocabulary
from models.convolution import Images, max_pool, neighbourhoods
from models.layers import Dropout, DropoutKey, linear, read_out, split_key

Logits = Float[Array, "batch classes"]


class Perceptron(nnx.Module):
    """Reads images; returns the logits of classes, by `depth` hidden layers with a ReLU (Rumelhart et al. 1986).

    Args:
      image_shape: (rows, columns, channels). classes: C. width: of a hidden layer.
      dropout: on each hidden layer.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, image_shape: ImageShape, classes: Vocabulary, width: Size, depth: Depth,
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        sizes = [math.prod(image_shape)] + [width] * depth
        self.hidden = nnx.List([linear(a, b, dtype=dtype, rngs=rngs) for a, b in pairwise(sizes)])
        self.dropout = Dropout(dropout)
        self.head = read_out(width, classes, dtype=dtype, rngs=rngs)
        self.classes = classes

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Logits:
        """Returns the logits of `images`."""
        x = images.reshape(len(images), -1)
        for layer, layer_key in zip(self.hidden, split_key(key, len(self.hidden))):
            x = self.dropout(nnx.relu(layer(x)), layer_key)
        return self.head(x)


class ConvolutionalNetwork(nnx.Module):
    """Reads images; returns the logits of classes, by 3 x 3 convolutions, each with a ReLU and 2 x 2 max pooling.

    LeNet (LeCun et al. 1998) with today's parts. The first convolution has `width` channels, and each further one twice
    as many as the one before; the head is a linear map of the last, smallest image.

    Args:
      image_shape: (rows, columns, channels), rows and columns divisible by 2^depth.
      head: "classes" returns logits `BC`; "none" the places of the last image, row by row, as `BSD`.
      classes: C, for the head "classes".
      width: channels of the first convolution. depth: number of them.
      dropout: on the last image.
      dtype: of the computation; parameters and logits are float32.
    """

    def __init__(
        self, *, image_shape: ImageShape, head: str = "classes", classes: Vocabulary | None = None, width: Size,
        depth: Depth, dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
    ):  # fmt: skip
        rows, columns, channels = image_shape
        if head not in ("classes", "none"):
            raise UserError(f"head={shown(head)}: expected 'classes' or 'none'")
        if head == "classes" and classes is None:
            raise UserError("head='classes' needs classes, the number of classes")
        if rows % 2**depth or columns % 2**depth:
            raise UserError(f"depth={depth}: an image of {rows} x {columns} cannot be halved that often")
        sizes = [channels] + [width * 2**i for i in range(depth)]
        self.hidden = nnx.List([linear(9 * a, b, dtype=dtype, rngs=rngs) for a, b in pairwise(sizes)])
        self.dropout = Dropout(dropout)
        self.grid, self.outputs = (rows >> depth, columns >> depth), sizes[-1]
        inputs = math.prod(self.grid) * self.outputs
        outputs = classes if head == "classes" else None
        self.head = None if outputs is None else read_out(inputs, outputs, dtype=dtype, rngs=rngs)
        if head == "classes":
            self.classes = classes

    def __call__(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch ..."]:
        """Returns what the head makes of `images`."""
        x = images
        for layer in self.hidden:
            x = nnx.relu(layer(neighbourhoods(x)))
            x = max_pool(x)
        if self.head is None:
            return self.dropout(rearrange(x, "b r c d -> b (r c) d"), key)
        return self.head(self.dropout(rearrange(x, "b r c d -> b (r c d)"), key))
