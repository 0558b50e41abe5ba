"""Perceiver and Perceiver IO: a few learned latents read any array, however long, and answer any number of queries.

    images or tokens -> input array `BSD` -> rounds: latents `BTD` -> answer: logits

Jaegle et al. 2021a (Perceiver, arXiv 2103.03206) and 2021b (Perceiver IO, arXiv 2107.14795). Unlike ViT, it needs no
patches: each pixel, byte or token is one element of the input array. N latents attend to its S elements and then to one
another, so that a round costs N S + N^2, linear in the input, where self-attention costs S^2. One round with output
queries is Perceiver IO.
"""

from typing import Unpack

from flax import nnx
from jaxtyping import Array, Float, Int

from core.ranges import Dtype, ShareBelowAll, Size
from models.fields import BlockFields, expect_only, forwards, select
from models.layers import DropoutKey, split_key
from models.masks import Padding
from models.parametrization import scalable
from models.perceiver.answer import Answer, AnswerFields
from models.perceiver.input_array import InputArray, InputFields
from models.perceiver.rounds import RoundFields, Rounds
from models.transformer import Hidden


class PerceiverFields(InputFields, RoundFields, AnswerFields, BlockFields, total=False):
    """All fields but those that the three parts share."""


@scalable
class Perceiver(InputArray, Rounds, Answer):
    """Reads images or tokens; returns the logits of classes, or of the tokens at every position.

    The three parts are base classes and not modules of its own, so that the paths of parameters are short ("latents").

    Args:
      width: D, of a latent.
      dropout: in every block.
      dtype: of the computation; parameters and logits are float32.
      fields: those of `InputArray`, `Rounds` and `Answer`, and further ones of `models.transformer.Block`.
    """

    @forwards(InputArray, Rounds, Answer)
    def __init__(
        self, *, width: Size, dropout: ShareBelowAll = 0.0, dtype: Dtype = "float32", rngs: nnx.Rngs,
        **fields: Unpack[PerceiverFields],
    ):  # fmt: skip
        expect_only(PerceiverFields, fields)
        block = select(BlockFields, fields)
        InputArray.__init__(self, width=width, dtype=dtype, rngs=rngs, **select(InputFields, fields))
        Rounds.__init__(
            self, array_width=self.array_width, width=width, dropout=dropout, dtype=dtype, rngs=rngs,
            **select(RoundFields, fields), **block,
        )  # fmt: skip
        Answer.__init__(
            self, width=width, channels=self.content_width, columns=self.positions.columns, dropout=dropout,
            dtype=dtype, rngs=rngs, **select(AnswerFields, fields), **block,
        )  # fmt: skip

    def __call__(
        self, images: Float[Array, "batch rows columns channels"] | None = None, *,
        tokens: Int[Array, "batch time"] | None = None, mask: Padding | None = None,
        key: DropoutKey = None,
    ) -> Float[Array, "batch classes"] | Float[Array, "batch time vocabulary"]:  # fmt: skip
        """Returns the logits of `images` or of `tokens`; `mask` is False or 0 at padding."""
        latents_key, decoder_key = split_key(key, 2)
        array_BSD = self.array(images, tokens)
        latents_BTD = self.read(array_BSD, mask, latents_key)
        return self.answer(latents_BTD, array_BSD.shape[1], decoder_key)

    def answer(self, latents_BTD: Hidden, length: int, key: DropoutKey = None):
        """Returns the logits from the latents, for an input array of this length."""
        features_SF = None if self.queries is None else self.position_features((length,))
        return self.logits(latents_BTD, length, features_SF, self.embedding, key)

    def features(
        self, images: Float[Array, "batch rows columns channels"] | None = None, *,
        tokens: Int[Array, "batch time"] | None = None, mask: Padding | None = None,
    ) -> list[Hidden]:  # fmt: skip
        """Returns the latents before each tower and behind each of its blocks: L + 1 arrays for each round."""
        return self.latents_of_layers(self.array(images, tokens), mask)
