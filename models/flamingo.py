"""Flamingo: a language model that is shown images. Both parts, it and the encoder of images, are trained already.

Alayrac et al. 2022. Unlike the captioner (`models/captioner.py`), which learns to write and to see at once, it joins
two trained models: a Perceiver turns each image into a few latents, and before some of the blocks of a GPT the text
attends to the latents of the image before it. Gates that start at 0 let nothing through at first, so that it begins as
exactly that GPT. To train only what is new: freeze=("language.*", "vision.*").
"""

from typing import Unpack

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from core.errors import UserError
from core.ranges import Depth, Dtype, ImageShape, Length, ShareBelowAll, Side, Size, Token, Vocabulary
from models.attention import Attention
from models.fields import BlockFields, Semantic, StackFields, forwards, select
from models.gpt import GPT
from models.image_encoders import make_image_encoder
from models.layers import Dropout, DropoutKey, split_key
from models.parametrization import scalable
from models.perceiver.rounds import Rounds
from models.transformer import Block, Hidden, Stack

Images = Float[Array, "batch number rows columns channels"]
Tokens = Int[Array, "batch time"]
Logits = Float[Array, "batch time vocabulary"]


@scalable
class Flamingo(nnx.Module):
    """Reads a text with images in it; returns the logits of the next token at every position.

    Args:
      image_shape: (rows, columns, channels). vocab_size: V. context: longest text.
      image_token: the token that stands in the text where an image is.
      width: D, of the language model, the latents and what is new. depth: L, of the language model. heads: H, of both.
      vision: the encoder of images, "vit", "resnet" or "convolutional". vision_width, vision_depth, vision_heads,
        patch: its fields, see `models.clip.CLIP`.
      latents: Z, of each image. resampler_depth: layers of the tower of the Perceiver.
      every: the text attends to the images before every so many blocks, beginning with the first.
      first_gate: what the gates start from. Anything but 0 disturbs the language model.
      positions: of tokens and patches, "learned", "sinusoidal" or "none". tied: see `models.gpt.GPT`.
      dropout: on the embeddings and in every block.
      dtype: of the computation; parameters and logits are float32.
      stack: further fields of `models.transformer.Stack` and `Block`, for the language model, as far as they have them
        also for the encoder of images and what is new.
    """

    @forwards(Stack)
    def __init__(
        self, *, image_shape: ImageShape, vocab_size: Vocabulary, context: Length, image_token: Token, width: Size,
        depth: Depth, heads: Semantic[Size], vision: str = "vit", vision_width: Size, vision_depth: Depth,
        vision_heads: Semantic[Size | None] = None, patch: Semantic[Side | None] = None, latents: Size,
        resampler_depth: Depth = 1, every: Semantic[Depth] = 1, first_gate: ShareBelowAll = 0.0,
        positions: str = "learned", tied: bool = True, dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32",
        rngs: nnx.Rngs, **stack: Unpack[StackFields],
    ):  # fmt: skip
        if vision == "vit" and vision_heads is None:
            raise UserError("vision='vit' needs vision_heads")
        block = select(BlockFields, stack)
        self.language = GPT(
            vocab_size=vocab_size, context=context, width=width, depth=depth, heads=heads, positions=positions,
            tied=tied, dropout=dropout, dtype=dtype, rngs=rngs, **stack,
        )  # fmt: skip
        self.vision = make_image_encoder(
            vision, field="vision", image_shape=image_shape, width=vision_width, depth=vision_depth, patch=patch,
            heads=vision_heads, positions=positions, dropout=dropout, dtype=dtype, rngs=rngs, **block,
        )  # fmt: skip
        self.resampler = Rounds(
            array_width=vision_width, latents=latents, width=width, depth=resampler_depth, heads=heads,
            cross_heads=heads, source_norm=True, dropout=dropout, dtype=dtype, rngs=rngs, **block,
        )  # fmt: skip
        self.gated = nnx.List([
            GatedBlock(
                width=width, heads=heads, kv_heads=stack.get("kv_heads"), first_gate=first_gate, dropout=dropout,
                dtype=dtype, rngs=rngs, **block,
            )
            for _ in range(0, depth, every)
        ])  # fmt: skip
        self.vocab_size, self.context, self.image_shape = vocab_size, context, image_shape
        self.image_token, self.every = image_token, every

    def __call__(self, images: Images, tokens: Tokens, *, key: DropoutKey = None) -> Logits:
        """Returns the logits of the token after each of `tokens`.

        The n-th `image_token` of a text stands for its n-th image. Each token attends to the last image up to itself,
        and to none before the first one.
        """
        images_key, first_key, gated_key, blocks_key = split_key(key, 4)
        latents_BSD = self.encode(images, key=images_key)
        sees_BTS = self._sees(tokens, images.shape[1])
        language = self.language
        x_BTD = language.dropout(language.positions(language.embedding(tokens)), first_key)
        gated_keys, block_keys = (split_key(part, language.blocks.depth) for part in (gated_key, blocks_key))
        for layer in range(language.blocks.depth):
            if layer % self.every == 0:
                gated = self.gated[layer // self.every]
                x_BTD = gated(x_BTD, latents_BSD, sees_BTS, key=gated_keys[layer])
            x_BTD = language.blocks.layer(layer, x_BTD, key=block_keys[layer])
        norm = language.blocks.norm
        return language.read_out(x_BTD if norm is None else norm(x_BTD))

    def encode(self, images: Images, *, key: DropoutKey = None) -> Float[Array, "batch latents width"]:
        """Returns the latents of all images of each text, image by image."""
        vision_key, resampler_key = split_key(key, 2)
        B, N, *shape = images.shape
        parts = self.vision(images.reshape(B * N, *shape), key=vision_key)
        latents = self.resampler.read(parts.astype(self.resampler.dtype), key=resampler_key)
        return latents.reshape(B, -1, latents.shape[-1])

    def _sees(self, tokens: Tokens, images: int) -> Bool[Array, "batch time latents"]:
        """Which token attends to which latents: to those of the last image that stands before it."""
        last_BT = jnp.cumsum(tokens == self.image_token, axis=1) - 1
        image_S = jnp.repeat(jnp.arange(images), len(self.resampler.latents[...]))
        return last_BT[:, :, None] == image_S


class GatedBlock(nnx.Module):
    """Adds what the text sees in the images, then an MLP, each times the tanh of a learned number that starts at 0."""

    def __init__(
        self, *, width: int, heads: int, kv_heads: int | None, first_gate: float, dropout: float, dtype: str,
        rngs: nnx.Rngs, **block: Unpack[BlockFields],
    ):  # fmt: skip
        parts = Block(
            width=width, heads=heads, kv_heads=kv_heads, self_attention=False, cross=True, dropout=dropout, dtype=dtype,
            rngs=rngs, **block,
        )  # fmt: skip
        assert parts.cross is not None and parts.cross_norm is not None
        self.attention: Attention = parts.cross
        self.attention_norm, self.mlp, self.mlp_norm = parts.cross_norm, parts.mlp, parts.mlp_norm
        self.attention_gate, self.mlp_gate = (nnx.Param(jnp.array(first_gate, jnp.float32)) for _ in range(2))
        self.dropout = Dropout(dropout)

    def __call__(
        self, x: Hidden, latents_BSD: Float[Array, "batch latents width"],
        sees_BTS: Bool[Array, "batch time latents"], *, key: DropoutKey = None,
    ) -> Hidden:  # fmt: skip
        """Returns `x` with what is new; a token that sees no image gets nothing from the attention."""
        keys = split_key(key, 3)
        h, _ = self.attention(self.attention_norm(x), latents_BSD, mask=sees_BTS[:, None], key=keys[0])
        h = jnp.where(sees_BTS.any(-1, keepdims=True), h, 0)  # a softmax over nothing is no zero
        x = x + jnp.tanh(self.attention_gate[...]).astype(x.dtype) * self.dropout(h, keys[1])
        h = self.mlp(self.mlp_norm(x))
        return x + jnp.tanh(self.mlp_gate[...]).astype(x.dtype) * self.dropout(h, keys[2])
