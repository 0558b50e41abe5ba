"""ConvNeXt (Liu et al. 2022), as `ConvNextForImageClassification` of transformers writes it.

Theirs reads images of any size; config.json says which one is meant, and pixels that do not fill a patch are left out
on both sides. Their stochastic depth, which leaves out whole blocks in training (`drop_path_rate`), is not done here.
"""

from core.errors import UserError, shown
from models.convnext import ConvNeXt
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear, norm, same
from models.pretrained.settings import image_settings, image_shape, patch_side
from models.pretrained.vit import patches

DEFAULTS = {"hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3]}


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    table = [
        *convolution("convnext.embeddings.patch_embeddings", "embedding", fields["patch"]),
        *norm("convnext.embeddings.layernorm", "embedding_norm"),
        *norm("convnext.layernorm", "norm"),
    ]
    for stage, depth in enumerate(fields["depths"]):
        theirs, ours = f"convnext.encoder.stages.{stage}", f"stages.{stage}"
        if stage:
            table += norm(f"{theirs}.downsampling_layer.0", f"{ours}.merge_norm")
            table += convolution(f"{theirs}.downsampling_layer.1", f"{ours}.merge", 2)
        for layer in range(depth):
            table += block(f"{theirs}.layers.{layer}", f"{ours}.blocks.{layer}", fields["layer_scale"] is not None)
    return table


def block(theirs: str, ours: str, is_scaled: bool) -> list[Row]:
    """Returns the rows of one block. Their depthwise kernel is (channels, 1, 7, 7), ours (49, channels)."""
    kernel = Row(
        (f"{theirs}.dwconv.weight",), (f"{ours}.convolution.kernel",),
        read=lambda x: (x.reshape(len(x), -1).T,), write=lambda x: (x.T.reshape(-1, 1, 7, 7),),
    )  # fmt: skip
    return [
        kernel,
        *same(f"{theirs}.dwconv.bias", f"{ours}.convolution.bias"),
        *norm(f"{theirs}.layernorm", f"{ours}.norm"),
        *linear(f"{theirs}.pwconv1", f"{ours}.mlp.up"),
        *linear(f"{theirs}.pwconv2", f"{ours}.mlp.down"),
        *(same(f"{theirs}.layer_scale_parameter", f"{ours}.scale") if is_scaled else []),
    ]


def convolution(theirs: str, ours: str, side: int) -> list[Row]:
    """Returns the rows of a convolution (outputs, inputs, side, side) of squares that do not overlap."""
    return [patches(f"{theirs}.weight", side, f"{ours}.kernel"), *same(f"{theirs}.bias", f"{ours}.bias")]


def to_fields(config: dict) -> dict:
    """Returns the fields that need more than another name. Raises UserError for what ours cannot have."""
    sizes, depths = (config.get(key, default) for key, default in DEFAULTS.items())
    patch, scale = patch_side(config, 4), config.get("layer_scale_init_value", 1e-6)
    problems = []
    if sizes != [sizes[0] << stage for stage in range(len(depths))]:
        problems.append(f"hidden_sizes = {sizes}: expected one for each of depths = {depths}, each twice the last one")
    if config.get("num_stages") not in (None, len(depths)):
        problems.append(f"num_stages = {shown(config['num_stages'])}: depths = {depths} imply {len(depths)}")
    if problems:
        raise UserError("; ".join(problems))
    return {
        "image_shape": image_shape(config, 224), "width": sizes[0], "depths": tuple(depths), "patch": patch,
        "layer_scale": 1.0 if scale > 0 else None,
    }  # fmt: skip


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`."""
    stages = range(len(fields["depths"]))
    return image_settings(*fields["image_shape"]) | {
        "patch_size": fields["patch"], "hidden_sizes": [fields["width"] << stage for stage in stages],
        "depths": list(fields["depths"]), "num_stages": len(stages),
        "layer_scale_init_value": 0.0 if fields["layer_scale"] is None else fields["layer_scale"],
    }  # fmt: skip


def describe(model: ConvNeXt) -> dict:
    """Returns the fields that a ConvNeXt was built with, but for its dropout, which theirs has not."""
    first = model.stages[0].blocks[0]
    return {
        "image_shape": model.image_shape,
        "width": model.embedding.out_features,
        "depths": tuple(len(stage.blocks) for stage in model.stages),
        "patch": model.patch,
        "layer_scale": None if first.scale is None else 1.0,  # where it started is not known
        "activation": first.mlp.activation,
        "epsilon": model.norm.epsilon,
        "classes": model.head.out_features,
    }


CONVNEXT = Reference(
    name="convnext",
    model=ConvNeXt,
    settings={"activation": ("hidden_act", "gelu"), "epsilon": ("layer_norm_eps", 1e-12)},
    read={
        "num_channels": "size", "patch_size": "sides", "image_size": "sides", "hidden_sizes": "sizes",
        "depths": "sizes", "num_stages": "size?", "layer_scale_init_value": "finite",
    },
    fixed={"is_encoder_decoder": False},
    harmless=(
        "out_features", "out_indices", "stage_names", "tie_word_embeddings",  # of backbones; of texts
        "drop_path_rate",  # of training, see above
    ),
    dropouts={},
    rows=rows,
    heads=[Head({}, ("ConvNextForImageClassification",), linear("classifier", "head"), classes=True)],
    prefix="convnext.",
    outside=("classifier.",),
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)  # fmt: skip
