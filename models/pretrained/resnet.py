"""ResNet (He et al. 2016a), as `ResNetForImageClassification` and `ResNetModel` of transformers write it.

Their batch norm stands behind each convolution. With the statistics of evaluation it is a scale and a shift, which are
merged into the convolution when a folder is read; what is saved has statistics that change nothing. So fine-tuning
trains convolutions with biases, and the statistics stay those of the folder, as is usual where batches are small.
Theirs reads images of any size, and config.json has none: it is 224 x 224 here, unless we wrote the folder.
"""

from itertools import chain

from flax import nnx
import jax.numpy as jnp
import numpy as np

from core.errors import UserError
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear
from models.pretrained.settings import image_settings, image_shape
from models.resnet import BLOCKS, GroupNorm, ResNet, Unchanged

EPSILON = 1e-5
DEFAULTS = {"hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3], "layer_type": "bottleneck"}
SIDES = {"basic": (3, 3), "bottleneck": (1, 3, 1)}
IMAGE = 224


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    return [merged(theirs, ours, side) for theirs, ours, side in convolutions(fields)]


def convolutions(fields: dict) -> list[tuple[str, str, int]]:
    """Returns the name of each convolution in theirs and in ours, and the side of its kernel."""
    named = [("resnet.embedder.embedder", "stem.linear", 7)]
    inputs = fields["stem_width"]
    for stage, depth in enumerate(fields["depths"]):
        outputs = fields["width"] << stage
        for layer in range(depth):
            theirs, ours = f"resnet.encoder.stages.{stage}.layers.{layer}", f"stages.{stage}.{layer}"
            if layer == 0 and (stage or inputs != outputs):
                named.append((f"{theirs}.shortcut", f"{ours}.shortcut", 1))
            for number, side in enumerate(SIDES[fields["block"]]):
                named.append((f"{theirs}.layer.{number}", f"{ours}.convolutions.{number}.linear", side))
        inputs = outputs
    return named


def merged(theirs: str, ours: str, side: int) -> Row:
    """Returns the row of their convolution (outputs, inputs, rows, columns) with its batch norm, and of ours."""

    def read(weight, scale, bias, mean, variance):
        factor = scale / (variance + EPSILON) ** 0.5
        return factor * weight.transpose(2, 3, 1, 0).reshape(-1, len(scale)), bias - factor * mean

    def write(kernel, bias):
        one, zero = jnp.ones_like(bias), jnp.zeros_like(bias)
        weight = kernel.reshape(side, side, -1, len(bias)).transpose(3, 2, 0, 1)
        return weight, one, bias, zero, one - EPSILON

    names = ("weight", "bias", "running_mean", "running_var")
    names = (f"{theirs}.convolution.weight", *(f"{theirs}.normalization.{name}" for name in names))
    return Row(names, (f"{ours}.kernel", f"{ours}.bias"), read, write)


def counters(fields: dict) -> dict:
    """Returns the number of batches that the statistics of each batch norm are from: none."""
    count = np.zeros((), np.int64)
    return {f"{theirs}.normalization.num_batches_tracked": count for theirs, _, _ in convolutions(fields)}


def to_fields(config: dict) -> dict:
    """Returns every field but that of the head. Raises UserError for channels that ours cannot have."""
    sizes, depths, kind = (config.get(key, default) for key, default in DEFAULTS.items())
    if kind not in BLOCKS:
        raise UserError(f"layer_type = {kind!r:.60}: expected 'basic' or 'bottleneck'")
    if sizes != [sizes[0] << stage for stage in range(len(depths))]:
        raise UserError(
            f"hidden_sizes = {sizes}: expected one for each of depths = {depths}, each twice the one before"
        )
    if kind == "bottleneck" and sizes[0] % 4:
        raise UserError(f"hidden_sizes = {sizes}: expected multiples of 4 for layer_type = 'bottleneck'")
    return {
        "image_shape": image_shape(config, IMAGE), "width": sizes[0], "depths": tuple(depths),
        "block": kind, "stem": "large", "norm": "none", "norm_order": "post",
    }  # fmt: skip


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`. The size of images is a setting that theirs leaves alone."""
    return image_settings(*fields["image_shape"]) | {
        "hidden_sizes": [fields["width"] << stage for stage in range(len(fields["depths"]))],
        "depths": list(fields["depths"]), "layer_type": fields["block"],
    }  # fmt: skip


def describe(model: ResNet) -> dict:
    """Returns the fields that a ResNet was built with, but for its dropout, which theirs has not."""
    blocks = list(chain(*model.stages))
    bottleneck, norm = len(blocks[0].convolutions) == 3, blocks[0].norms[0]
    kinds = {GroupNorm: "group", Unchanged: "none", nnx.LayerNorm: "layer", nnx.RMSNorm: "rms"}
    return {
        "image_shape": model.image_shape,
        "width": blocks[0].convolutions[-1].linear.out_features,
        "depths": tuple(len(stage) for stage in model.stages),
        "stem": "large" if model.pools else "small",
        "stem_width": model.stem.linear.out_features,
        "block": "bottleneck" if bottleneck else "basic",
        "norm": kinds[type(norm)],
        "norm_order": "pre" if model.pre else "post",
        "head": "none" if model.head is None else "classes",
        "classes": None if model.head is None else model.head.out_features,
    }


RESNET = Reference(
    name="resnet",
    model=ResNet,
    settings={"stem_width": ("embedding_size", 64)},
    read={
        "num_channels": "size", "hidden_sizes": "sizes", "depths": "sizes", "layer_type": "word", "image_size": "sides",
    },
    fixed={
        "hidden_act": "relu", "downsample_in_first_stage": False, "downsample_in_bottleneck": False,
        "is_encoder_decoder": False,
    },
    harmless=("out_features", "out_indices", "stage_names", "tie_word_embeddings"),  # of backbones; of texts
    dropouts={},
    rows=rows,
    heads=[
        Head({"head": "classes"}, ("ResNetForImageClassification",), linear("classifier.1", "head"), classes=True),
        Head({"head": "none"}, ("ResNetModel",)),
    ],
    prefix="resnet.",
    outside=("classifier.",),
    ignored=r"\.num_batches_tracked$",
    constants=counters,
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)  # fmt: skip
