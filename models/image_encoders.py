"""The encoders of images in models that also read or write texts: CLIP, the captioner and Flamingo.

The encoders of autoencoders are in `models/encoders.py`.
"""

from typing import Any

from flax import nnx

from core.errors import UserError, shown
from models.resnet import ResNet
from models.vit import VisionTransformer
from models.yardsticks import ConvolutionalNetwork

NAMES = ("vit", "resnet", "convolutional")


def make_image_encoder(
    name: str, *, field: str = "encoder", image_shape: tuple[int, int, int], outputs: int | None = None, width: int,
    depth: int, patch: int | None, dropout: float, dtype: str, rngs: nnx.Rngs, **transformer: Any,
) -> VisionTransformer | ResNet | ConvolutionalNetwork:  # fmt: skip
    """Returns the encoder of a name.

    Args:
      name: "vit", "resnet" or "convolutional".
      field: what the model calls the name, for messages.
      outputs: numbers for each image. None gives `BSD`, a vector for each patch or place of the last map.
      width: D, of a Vision Transformer, or at most as many channels of the last stage of convolutions, which are
        doubled from stage to stage.
      depth: L, of a Vision Transformer; of a ResNet, the number of stages, of two blocks each; or of convolutions.
      patch, transformer: fields of a Vision Transformer, which others do not read.

    Raises:
      UserError: there is no such encoder, or a Vision Transformer lacks `patch`.
    """
    if name not in NAMES:
        raise UserError(f"{field}={shown(name)}: expected 'vit', 'resnet' or 'convolutional'")
    shared: dict[str, Any] = {
        "image_shape": image_shape, "head": "none" if outputs is None else "classes", "classes": outputs,
        "dropout": dropout, "dtype": dtype, "rngs": rngs,
    }  # fmt: skip
    if name == "vit":
        if patch is None:
            raise UserError(f"{field}='vit' needs patch")
        return VisionTransformer(patch=patch, width=width, depth=depth, **shared, **transformer)
    first_width = max(1, width >> (depth - 1))
    if name == "resnet":
        return ResNet(depths=(2,) * depth, width=first_width, **shared)
    return ConvolutionalNetwork(depth=depth, width=first_width, **shared)
