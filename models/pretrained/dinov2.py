"""DINOv2 (Oquab et al. 2024), with and without registers (Darcet et al. 2024), as transformers writes both.

It is a Vision Transformer that learned without labels, with a LayerScale in each residual. Its class `Dinov2Model` has
no head, and `Dinov2ForImageClassification` reads the first token and the mean of the patches. Positions are
interpolated where images have another size: published files have those of 37 x 37 patches, and are used for 16 x 16.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from core.errors import UserError
from models.pretrained import vit
from models.pretrained.reference import ACTIVATIONS, Head, Reference
from models.pretrained.rows import Row, linear, matrix, norm, same
from models.vit import VisionTransformer

SWIGLU = "use_swiglu_ffn"  # what stands for that activation in the table: theirs is a flag
INTERPOLATION = {"dinov2": "cubic", "dinov2_with_registers": "cubic_smoothed"}


def rows(name: str, fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    theirs, ours = f"{name}.encoder.layer.{{layer}}", "blocks.blocks.{layer}"
    qkv = linear if fields["qkv_bias"] else matrix
    projection, embeddings = f"{name}.embeddings.patch_embeddings.projection", f"{name}.embeddings"
    gated = fields["activation"] == "swiglu"
    names = ("weights_in", "weights_out") if gated else ("fc1", "fc2")
    return [
        vit.first_token(f"{embeddings}.cls_token", f"{embeddings}.position_embeddings"),
        *([registers(f"{embeddings}.register_tokens")] if fields.get("registers") else []),
        vit.patches(f"{projection}.weight", fields["patch"]),
        *same(f"{projection}.bias", "embedding.bias"),
        *norm(f"{theirs}.norm1", f"{ours}.attention_norm"),
        *qkv(f"{theirs}.attention.attention.query", f"{ours}.attention.query"),
        *qkv(f"{theirs}.attention.attention.key", f"{ours}.attention.key"),
        *qkv(f"{theirs}.attention.attention.value", f"{ours}.attention.value"),
        *linear(f"{theirs}.attention.output.dense", f"{ours}.attention.out"),
        *same(f"{theirs}.layer_scale1.lambda1", f"{ours}.attention_scale"),
        *norm(f"{theirs}.norm2", f"{ours}.mlp_norm"),
        *(halves if gated else linear)(f"{theirs}.mlp.{names[0]}", f"{ours}.mlp.up"),
        *linear(f"{theirs}.mlp.{names[1]}", f"{ours}.mlp.down"),
        *same(f"{theirs}.layer_scale2.lambda1", f"{ours}.mlp_scale"),
        *norm(f"{name}.layernorm", "blocks.norm"),
    ]


def registers(theirs: str) -> Row:
    """Returns the row of the registers, which have no positions."""
    return Row((theirs,), ("registers",), lambda x_1RD: (x_1RD[0],), lambda x_RD: (x_RD[None],))


def halves(theirs: str, ours: str) -> list[Row]:
    """Returns the rows of the two maps of a gated MLP, which are one map in a file."""

    def row(kind: str, name: str) -> Row:
        both = (f"{ours}.{name}", f"{ours.removesuffix('up')}linear.{name}")
        half = lambda x: (x[: len(x) // 2].T, x[len(x) // 2 :].T)
        return Row((f"{theirs}.{kind}",), both, half, lambda up, linear: (jnp.concatenate([up.T, linear.T]),))

    return [row("weight", "kernel"), row("bias", "bias")]


def mlp_width(width: int, ratio: int, gated: bool) -> int:
    """Returns the width of an MLP. A gated one has two thirds of the units, rounded up to a multiple of 8."""
    return (int(width * ratio * 2 / 3) + 7) // 8 * 8 if gated else width * ratio


def to_fields(name: str, config: dict) -> dict:
    """Returns the fields that are more than another name. Raises UserError for images that are no squares."""
    fields = vit.to_fields({"patch_size": 14 if name == "dinov2" else 16} | config)
    del fields["pooling"]  # it is one of the head
    rows, columns, _ = fields["image_shape"]
    if rows != columns:
        raise UserError(f"image_size = {[rows, columns]}: only squares are supported, as positions are interpolated")
    gated, activation = config.get(SWIGLU, False), config.get("hidden_act", "gelu")
    if activation == SWIGLU:
        raise UserError(f"hidden_act = {activation!r}: expected one of {', '.join(ACTIVATIONS)}")
    return fields | {
        "mlp_width": mlp_width(config["hidden_size"], config.get("mlp_ratio", 4), gated),
        "activation": SWIGLU if gated else activation,
        "layer_scale": 1.0,
        "interpolation": INTERPOLATION[name],
    }


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`."""
    gated, width = fields["activation"] == "swiglu", fields["width"]
    nearest = round(fields["mlp_width"] / width * (1.5 if gated else 1))  # rounded up to 8, it may be too large
    ratios = [ratio for ratio in range(1, nearest + 1) if mlp_width(width, ratio, gated) == fields["mlp_width"]]
    more = {"hidden_act": "gelu"} if gated else {}
    return vit.to_config(fields) | {"mlp_ratio": ratios[0] if ratios else 1, SWIGLU: gated} | more


def reference(name: str, family: str) -> Reference:
    """Returns the table of a `model_type`, whose classes have names that begin with `family`."""
    shared = ("width", "depth", "heads", "activation", "qkv_bias")
    settings: dict[str, str | tuple[str, Any]] = {field: vit.VIT.settings[field] for field in shared}
    settings["epsilon"] = ("layer_norm_eps", 1e-6)
    if name == "dinov2_with_registers":
        settings["registers"] = ("num_register_tokens", 4)
    return Reference(
        name=name,
        model=VisionTransformer,
        settings=settings,
        read={
            "image_size": "sides", "patch_size": "sides", "num_channels": "size", "mlp_ratio": "size", SWIGLU: "flag",
        },
        fixed={"drop_path_rate": 0.0, "is_encoder_decoder": False},
        # How LayerScale started, what only training needs, and what only the class for backbones reads.
        harmless=(
            "layerscale_value", "use_mask_token", "apply_layernorm", "reshape_hidden_states", "stage_names",
            "out_features", "out_indices", "_out_features", "_out_indices", "tie_word_embeddings",
        ),
        dropouts=vit.VIT.dropouts,
        rows=partial(rows, name),
        heads=[
            Head(
                {"head": "classes", "pooling": "cls_mean"}, (f"{family}ForImageClassification",),
                linear("classifier", "head"), classes=True,
            ),
            Head({"head": "none", "pooling": "cls"}, (f"{family}Model",)),
        ],
        prefix=f"{name}.",
        outside=("classifier.",),
        ignored=r"\.mask_token$",
        constants=lambda fields: {f"{name}.embeddings.mask_token": np.zeros((1, fields["width"]), np.float32)},
        activations=ACTIVATIONS | {SWIGLU: "swiglu"},
        describe=vit.describe,
        to_fields=partial(to_fields, name),
        to_config=to_config,
    )  # fmt: skip


DINOV2 = reference("dinov2", "Dinov2")
DINOV2_WITH_REGISTERS = reference("dinov2_with_registers", "Dinov2WithRegisters")
