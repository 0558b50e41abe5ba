"""Swin Transformer (Liu et al. 2021), as `SwinForImageClassification` and `SwinModel` of transformers write it.

Theirs merges four neighbours at the end of a stage, ours at the beginning of the next one, and theirs puts the lower
left neighbour before the upper right one. They read images and windows of any size, with zeros beside what does not
fit; such models are refused, as are those with a stage smaller than a window. Their stochastic depth, which leaves out
whole blocks in training (`drop_path_rate`), is not done here.
"""

from core.errors import UserError, shown
from models.pretrained.blocks import describe_block
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear, matrix, norm, same
from models.pretrained.settings import image_settings, image_shape, patch_side
from models.pretrained.vit import patches
from models.swin import SwinTransformer

DEFAULTS = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    projection = "swin.embeddings.patch_embeddings.projection"
    table = [
        patches(f"{projection}.weight", fields["patch"]),
        *same(f"{projection}.bias", "embedding.bias"),
        *norm("swin.embeddings.norm", "embedding_norm"),
        *norm("swin.layernorm", "norm"),
    ]
    for stage, depth in enumerate(fields["depths"]):
        theirs, ours = f"swin.encoder.layers.{stage}", f"stages.{stage}"
        for layer in range(depth):
            table += block(f"{theirs}.blocks.{layer}", ours, layer, qkv_bias=fields["qkv_bias"])
        if stage + 1 < len(fields["depths"]):
            table += merging(f"{theirs}.downsample", f"stages.{stage + 1}")
    return table


def block(theirs: str, stage: str, layer: int, *, qkv_bias: bool) -> list[Row]:
    """Returns the rows of one block, whose bias of positions ours keeps beside the blocks of a stage."""
    ours, qkv = f"{stage}.blocks.{layer}", linear if qkv_bias else matrix
    table = "attention.self.relative_position_bias_table"
    return [
        *norm(f"{theirs}.layernorm_before", f"{ours}.attention_norm"),
        *[row for part in ("query", "key", "value")
          for row in qkv(f"{theirs}.attention.self.{part}", f"{ours}.attention.{part}")],
        *same(f"{theirs}.{table}", f"{stage}.positions.{layer}.table"),
        *linear(f"{theirs}.attention.output.dense", f"{ours}.attention.out"),
        *norm(f"{theirs}.layernorm_after", f"{ours}.mlp_norm"),
        *linear(f"{theirs}.intermediate.dense", f"{ours}.mlp.up"),
        *linear(f"{theirs}.output.dense", f"{ours}.mlp.down"),
    ]  # fmt: skip


def merging(theirs: str, ours: str) -> list[Row]:
    """Returns the rows of the norm and the linear map of four neighbours."""
    vector = dict(read=lambda x: (row_by_row(x),), write=lambda x: (row_by_row(x),))
    turned = dict(read=lambda x: (row_by_row(x.T),), write=lambda x: (row_by_row(x).T,))
    return [
        Row((f"{theirs}.norm.weight",), (f"{ours}.merge_norm.scale",), **vector),
        Row((f"{theirs}.norm.bias",), (f"{ours}.merge_norm.bias",), **vector),
        Row((f"{theirs}.reduction.weight",), (f"{ours}.merge.kernel",), **turned),
    ]


def row_by_row(x):
    """Returns an array with its four parts, of 2 x 2 neighbours column by column, row by row; or the reverse."""
    return x.reshape(2, 2, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)


def to_fields(config: dict) -> dict:
    """Returns the fields that need more than another name. Raises UserError for what ours cannot compute."""
    image, patch = image_shape(config, 224), patch_side(config, 4)
    width, depths, heads = (config.get(key, default) for key, default in DEFAULTS.items())
    problems = []
    if heads != [heads[0] << stage for stage in range(len(depths))]:
        problems.append(f"num_heads = {heads}: expected one for each of depths = {depths}, each twice the one before")
    for key, value in {"num_layers": len(depths), "hidden_size": width << len(depths) - 1}.items():
        if config.get(key) not in (None, value):
            problems.append(f"{key} = {shown(config[key])}: depths and embed_dim imply {value}")
    rows, columns, _ = image
    if rows % patch or columns % patch:
        problems.append(f"patch_size = {patch} does not divide image_size = {[rows, columns]}")
    else:
        problems += misfits([rows // patch, columns // patch], config.get("window_size", 7), depths)
    if problems:
        raise UserError("; ".join(problems))
    return {"image_shape": image, "patch": patch, "depths": tuple(depths), "heads": heads[0]}


def misfits(grid: list[int], window: int, depths: list[int]) -> list[str]:
    """Returns what is wrong with the sizes of the stages, of which the first has this grid of patches."""
    for stage, depth in enumerate(depths):
        about = f"stage {stage + 1} has {grid[0]} x {grid[1]} patches"
        if grid[0] % window or grid[1] % window:
            return [f"window_size = {window}: {about}, which windows do not fill, and zeros beside them are not"
                    " supported here"]  # fmt: skip
        if depth > 1 and grid[0] != grid[1] and window in grid:  # theirs then shifts neither axis
            return [f"window_size = {window}: {about}; one window along one axis only is not supported here"]
        if stage + 1 < len(depths) and (grid[0] % 2 or grid[1] % 2):
            return [f"depths = {depths}: {about}, which cannot be merged two by two without zeros beside them"]
        grid = [side // 2 for side in grid]
    return []


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`."""
    stages = range(len(fields["depths"]))
    return image_settings(*fields["image_shape"]) | {
        "patch_size": fields["patch"], "depths": list(fields["depths"]),
        "num_heads": [fields["heads"] << stage for stage in stages], "num_layers": len(stages),
        "hidden_size": fields["width"] << len(stages) - 1,
    }  # fmt: skip


def describe(model: SwinTransformer) -> dict:
    """Returns the fields that a Swin Transformer was built with."""
    first = [stage.blocks[0] for stage in model.stages]
    return describe_block(first[0]) | {
        "image_shape": model.image_shape,
        "patch": model.patch,
        "window": model.window,
        "depths": tuple(len(stage.blocks) for stage in model.stages),
        "mlp_width": tuple(block.mlp.up.out_features for block in first),
        "head": "none" if model.head is None else "classes",
        "classes": None if model.head is None else model.head.out_features,
    }


SWIN = Reference(
    name="swin",
    model=SwinTransformer,
    settings={
        "width": ("embed_dim", 96),
        "window": ("window_size", 7),
        "activation": ("hidden_act", "gelu"),
        "epsilon": ("layer_norm_eps", 1e-5),
        "qkv_bias": ("qkv_bias", True),
    },
    read={
        "image_size": "sides", "patch_size": "sides", "num_channels": "size", "depths": "sizes", "num_heads": "sizes",
        "num_layers": "size?", "hidden_size": "size?",
    },
    fixed={"mlp_ratio": 4.0, "use_absolute_embeddings": False, "is_encoder_decoder": False},
    harmless=(
        "encoder_stride", "tie_word_embeddings",  # of masked images, which are not here; and of texts
        "out_features", "out_indices", "stage_names",  # of backbones, which are not here either
        "path_norm",  # read by nobody
        "drop_path_rate",  # of training, see above
    ),
    dropouts={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    rows=rows,
    heads=[
        Head({"head": "classes"}, ("SwinForImageClassification",), linear("classifier", "head"), classes=True),
        Head({"head": "none"}, ("SwinModel",)),
    ],
    prefix="swin.",
    outside=("classifier.",),
    ignored=r"\.relative_position_index$",  # of files made before 2026
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)  # fmt: skip
