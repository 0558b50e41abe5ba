"""Vision Transformer (Dosovitskiy et al. 2021), as `ViTForImageClassification` and `ViTModel` of transformers write it.

In theirs the learned first token has a position too. Both are vectors that do not depend on the image, so ours keeps
their sum only: what is saved has the sum, and zeros for that position. Their images are (channels, rows, columns).
"""

import jax.numpy as jnp

from core.errors import UserError
from models.pretrained.blocks import describe_blocks
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear, matrix, norm, same
from models.pretrained.settings import image_settings, image_shape, patch_side
from models.vit import ConvolutionalStem, VisionTransformer


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    return [first_token("vit.embeddings.cls_token", "vit.embeddings.position_embeddings"), *encoder("vit", fields)]


def encoder(prefix: str, fields: dict) -> list[Row]:
    """Returns the rows of everything but the head and the learned tokens, in a file whose names have this prefix."""
    theirs, ours = f"{prefix}.encoder.layer.{{layer}}", "blocks.blocks.{layer}"
    qkv = linear if fields["qkv_bias"] else matrix
    projection = f"{prefix}.embeddings.patch_embeddings.projection"
    return [
        patches(f"{projection}.weight", fields["patch"]),
        *same(f"{projection}.bias", "embedding.bias"),
        *norm(f"{theirs}.layernorm_before", f"{ours}.attention_norm"),
        *qkv(f"{theirs}.attention.attention.query", f"{ours}.attention.query"),
        *qkv(f"{theirs}.attention.attention.key", f"{ours}.attention.key"),
        *qkv(f"{theirs}.attention.attention.value", f"{ours}.attention.value"),
        *linear(f"{theirs}.attention.output.dense", f"{ours}.attention.out"),
        *norm(f"{theirs}.layernorm_after", f"{ours}.mlp_norm"),
        *linear(f"{theirs}.intermediate.dense", f"{ours}.mlp.up"),
        *linear(f"{theirs}.output.dense", f"{ours}.mlp.down"),
        *norm(f"{prefix}.layernorm", "blocks.norm"),
    ]


def first_token(token: str, positions: str) -> Row:
    """Returns the row of the learned token with its position, and of the positions of the patches."""
    read = lambda token_11D, positions_1TD: (token_11D[0, 0] + positions_1TD[0, 0], positions_1TD[0, 1:])
    write = lambda cls_D, table_TD: (
        cls_D[None, None],
        jnp.concatenate([jnp.zeros_like(cls_D)[None], table_TD])[None],
    )
    return Row((token, positions), ("cls", "positions.table"), read, write)


def patches(weight: str, side: int, kernel: str = "embedding.kernel") -> Row:
    """Returns the row of their convolution (D, channels, rows, columns) and our linear map of pixels, channels last."""
    read = lambda x: (x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]),)
    write = lambda x: (x.reshape(side, side, -1, x.shape[-1]).transpose(3, 2, 0, 1),)
    return Row((weight,), (kernel,), read, write)


def to_fields(config: dict) -> dict:
    """Returns the shape of images and patches; theirs may be one number. Raises UserError if patches are oblong."""
    patch = patch_side(config, 16)
    if config.get("pooler_output_size") not in (None, config["hidden_size"]):
        raise UserError(f"pooler_output_size = {config['pooler_output_size']}: only hidden_size is supported here")
    return {"image_shape": image_shape(config, 224), "patch": patch, "pooling": "cls"}


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`."""
    return image_settings(*fields["image_shape"]) | {"patch_size": fields["patch"]}


def describe(model: VisionTransformer) -> dict:
    """Returns the fields that a Vision Transformer was built with."""
    patch, stem = model.patch, model.embedding
    convolutional = isinstance(stem, ConvolutionalStem)
    channels = stem.convolutions[0].in_features if convolutional else stem.in_features // patch**2
    return describe_blocks(model.blocks) | {
        "positions": model.positions.kind,
        "image_shape": (*(side * patch for side in model.positions.shape), channels),
        "patch": patch,
        "stem": model.stem,
        "pooling": model.pooling,
        "interpolation": model.interpolation,
        "embedding_norm": model.norm is not None,
        "head_bias": model.head is None or model.head.bias is not None,
        "registers": model.register_count,
        "distilled": model.distilled_head is not None,
        "head": model.output,
        "classes": model.head.out_features if model.head is not None and model.output == "classes" else None,
    }


VIT = Reference(
    name="vit",
    model=VisionTransformer,
    settings={
        "width": "hidden_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "mlp_width": "intermediate_size",
        "activation": ("hidden_act", "gelu"),
        "epsilon": ("layer_norm_eps", 1e-12),
        "qkv_bias": ("qkv_bias", True),
    },
    read={"image_size": "sides", "patch_size": "sides", "num_channels": "size", "pooler_output_size": "size?"},
    fixed={"pooler_act": "tanh", "is_encoder_decoder": False},
    harmless=("encoder_stride", "tie_word_embeddings"),  # of masked images, which are not here; and of texts
    dropouts={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    rows=rows,
    heads=[
        Head({"head": "classes"}, ("ViTForImageClassification",), linear("classifier", "head"), classes=True),
        Head({"head": "pooler"}, ("ViTModel",), linear("vit.pooler.dense", "head")),
        Head({"head": "none"}, ("ViTModel",)),
    ],
    prefix="vit.",
    outside=("classifier.",),
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)
