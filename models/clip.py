"""CLIP: one encoder for images and one for texts, whose vectors are alike where the text says what is in the image.

Radford et al. 2021. Unlike the captioner (`models/captioner.py`), it writes nothing: it compares. Classes need not be
known in training. Each can be given by a text, and the text that an image is most similar to names its class
(`experiments/use/zero_shot.py`).
"""

import math
from typing import Annotated, Any, Unpack

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from core.ranges import Depth, Dtype, ImageShape, Length, Range, ShareBelowAll, Side, Size, Vocabulary
from models.fields import Semantic, StackFields, forwards
from models.image_encoders import make_image_encoder
from models.layers import Dropout, DropoutKey, Embedding, read_out, split_key
from models.masks import Padding, over_keys, padding_mask
from models.parametrization import scalable
from models.positions import Positions
from models.transformer import Stack

Images = Float[Array, "batch rows columns channels"]
Tokens = Int[Array, "texts time"]
TextMask = Padding
Token = Annotated[int, Range(0, 2**31 - 1)]
Vectors = Float[Array, "batch shared"]

FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0  # Radford et al. 2021, section 2.5


@scalable
class CLIP(nnx.Module):
    """Reads images and texts; returns how similar each image is to each text.

    Args:
      image_shape: (rows, columns, channels). vocab_size: V. context: longest text.
      shared_width: of the space that both encoders map to.
      encoder: of images, "vit", "resnet" or "convolutional" (`models.yardsticks.ConvolutionalNetwork`).
      width: D, of both encoders; of convolutions, the channels of the last stage. depth: L, of both encoders; of a
        ResNet, the number of stages, of two blocks each. heads: H, of both encoders.
      text_width, text_depth, text_heads, text_mlp_width: of the encoder of texts, where it differs.
      patch, pooling: of a Vision Transformer.
      embedding_norm: of a Vision Transformer, see `models.vit.VisionTransformer`.
      projection_bias: biases in the maps to the shared space.
      end: the token that ends a text: the vector of a text is read at the first one. By default it is read at the last
        token that the mask leaves.
      positions: of patches and tokens, "learned", "sinusoidal" or "none".
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and similarities are float32.
      stack: further fields of `models.transformer.Stack` and `Block`, for both encoders.
    """

    @forwards(Stack)
    def __init__(
        self, *, image_shape: ImageShape, vocab_size: Vocabulary, context: Length, shared_width: Size, width: Size,
        depth: Depth, heads: Semantic[Size], text_width: Size | None = None, text_depth: Depth | None = None,
        text_heads: Semantic[Size | None] = None, text_mlp_width: Size | None = None, encoder: str = "vit",
        patch: Semantic[Side | None] = None, pooling: Semantic[str] = "mean", embedding_norm: bool = False,
        projection_bias: bool = True, end: Semantic[Token | None] = None, positions: str = "learned",
        dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs, **stack: Unpack[StackFields],
    ):  # fmt: skip
        fields: dict[str, Any] = {"dropout": dropout, "dtype": dtype, "rngs": rngs}
        self.image_encoder = make_image_encoder(
            encoder, image_shape=image_shape, outputs=shared_width, width=width, depth=depth, patch=patch,
            pooling=pooling, embedding_norm=embedding_norm, head_bias=projection_bias, positions=positions, heads=heads,
            **fields, **stack,
        )  # fmt: skip
        of_text: Any = stack if text_mlp_width is None else {**stack, "mlp_width": text_mlp_width}
        self.text_encoder = TextEncoder(
            vocab_size=vocab_size, context=context, outputs=shared_width, width=text_width or width,
            depth=text_depth or depth, heads=text_heads or heads, bias_of_head=projection_bias, end=end,
            positions=positions, **fields, **of_text,
        )  # fmt: skip
        self.log_scale = nnx.Param(jnp.array(math.log(FIRST_SCALE)))
        self.image_shape, self.context, self.shared_width = image_shape, context, shared_width

    def __call__(
        self, images: Images, tokens: Tokens, *, mask: TextMask | None = None, key: DropoutKey = None
    ) -> Float[Array, "batch texts"]:
        """Returns the cosine of each image with each text, times `scale`. `mask` is False or 0 at padding.

        There may be more texts than images, or fewer.
        """
        image_key, text_key = split_key(key, 2)
        images_BX, texts_CX = self.encode_images(images, key=image_key), self.encode_texts(tokens, mask, key=text_key)
        return self.scale * jnp.einsum("bx,cx->bc", images_BX, texts_CX)

    def encode_images(self, images: Images, *, key: DropoutKey = None) -> Vectors:
        """Returns a vector of length 1 for each image."""
        return _unit(self.image_encoder(images, key=key))

    def encode_texts(self, tokens: Tokens, mask: TextMask | None = None, *, key: DropoutKey = None) -> Vectors:
        """Returns a vector of length 1 for each text; `mask` is False or 0 at padding."""
        return _unit(self.text_encoder(tokens, mask, key=key))

    @property
    def scale(self) -> Float[Array, ""]:
        """One divided by the temperature: learned, and at most 100."""
        return jnp.exp(_clipped(self.log_scale[...]))


class TextEncoder(nnx.Module):
    """Reads texts with a causal stack; returns what the last token of each has gathered.

    Only the last token has seen the whole text. The mask also hides padding that stands in front.
    """

    def __init__(
        self, *, vocab_size: int, context: int, outputs: int, width: int, depth: int, heads: int, positions: str,
        bias_of_head: bool, end: int | None, dropout: float, dtype: str, rngs: nnx.Rngs, **stack: Unpack[StackFields],
    ):  # fmt: skip
        self.embedding = Embedding(vocab_size, width, dtype=dtype, rngs=rngs)
        self.positions = Positions(positions, (context,), width, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.blocks = Stack(
            width=width, depth=depth, heads=heads, causal=True, dropout=dropout, dtype=dtype, rngs=rngs, **stack
        )
        self.head = read_out(width, outputs, bias=bias_of_head, dtype=dtype, rngs=rngs)
        self.end = end

    def __call__(
        self, tokens: Tokens, mask: TextMask | None, *, key: DropoutKey = None
    ) -> Float[Array, "texts outputs"]:
        mask = padding_mask(mask, tokens.shape)
        first_key, blocks_key = split_key(key, 2)
        x_BTD = self.dropout(self.positions(self.embedding(tokens)), first_key)
        x_BTD, _ = self.blocks(x_BTD, mask=over_keys(mask), key=blocks_key)
        if self.end is None and mask is None:
            return self.head(x_BTD[:, -1])
        last_B = self._last(tokens, mask)
        return self.head(jnp.take_along_axis(x_BTD, last_B[:, None, None], axis=1)[:, 0])

    def _last(self, tokens: Tokens, mask) -> Int[Array, " texts"]:
        """The position at which each text is read."""
        if self.end is not None:
            return jnp.argmax(tokens == self.end, axis=1)
        last_B = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
        return jnp.broadcast_to(last_B, len(tokens))  # one row may serve all


def _unit(x: Vectors) -> Vectors:
    """Vectors divided by their lengths."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


@jax.custom_vjp
def _clipped(log_scale: Float[Array, ""]) -> Float[Array, ""]:
    """The logarithm of a scale of at most 100, for a parameter that can come back from beyond.

    The derivative of a minimum is 0 beyond the bound, where a step may have led, and the parameter would stay there.
    Here a gradient that points back is passed on, as if the parameter itself were cut after each step.
    """
    return jnp.minimum(log_scale, math.log(LARGEST_SCALE))


def _forward(log_scale):
    return _clipped(log_scale), log_scale >= math.log(LARGEST_SCALE)


def _backward(beyond, gradient):
    return (jnp.where(beyond, jnp.maximum(gradient, 0), gradient),)


_clipped.defvjp(_forward, _backward)
