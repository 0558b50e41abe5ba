"""CLIP (Radford et al. 2021), as `CLIPModel` of transformers writes it: both encoders, their maps and the temperature.

Its Vision Transformer has a norm in front of the first block and no bias in the map of the patches. A text is read at
its first end token. In files that name token 2 as the end, an old mistake, the reference reads the text at its largest
number, which is that of the last token of the vocabulary.
"""

import math

import jax.numpy as jnp
import numpy as np

from core.errors import UserError, shown
from models.clip import CLIP as Model
from models.clip import LARGEST_SCALE
from models.pretrained import vit
from models.pretrained.blocks import describe_blocks
from models.pretrained.files import Tensors
from models.pretrained.reference import ACTIVATIONS, Head, Reference
from models.pretrained.rows import Row, linear, matrix, norm, same
from models.vit import VisionTransformer

WRONG_END = 2


def rows(fields: dict) -> list[Row]:
    """Returns all rows."""
    embeddings, image = "vision_model.embeddings", "image_encoder"
    patches = vit.patches(f"{embeddings}.patch_embedding.weight", fields["patch"])
    return [
        first_token(f"{embeddings}.class_embedding", f"{embeddings}.position_embedding.weight"),
        Row(patches.theirs, (f"{image}.embedding.kernel",), patches.read, patches.write),
        *norm("vision_model.pre_layrnorm", f"{image}.norm"),
        *blocks("vision_model.encoder.layers.{layer}", f"{image}.blocks.blocks.{{layer}}"),
        *norm("vision_model.post_layernorm", f"{image}.blocks.norm"),
        *matrix("visual_projection", f"{image}.head"),
        *same("text_model.embeddings.token_embedding.weight", "text_encoder.embedding.embedding"),
        *same("text_model.embeddings.position_embedding.weight", "text_encoder.positions.table"),
        *blocks("text_model.encoder.layers.{text_layer}", "text_encoder.blocks.blocks.{text_layer}"),
        *norm("text_model.final_layer_norm", "text_encoder.blocks.norm"),
        *matrix("text_projection", "text_encoder.head"),
        *same("logit_scale", "log_scale"),
    ]


def blocks(theirs: str, ours: str) -> list[Row]:
    """Returns the rows of the blocks of an encoder."""
    return [
        *norm(f"{theirs}.layer_norm1", f"{ours}.attention_norm"),
        *linear(f"{theirs}.self_attn.q_proj", f"{ours}.attention.query"),
        *linear(f"{theirs}.self_attn.k_proj", f"{ours}.attention.key"),
        *linear(f"{theirs}.self_attn.v_proj", f"{ours}.attention.value"),
        *linear(f"{theirs}.self_attn.out_proj", f"{ours}.attention.out"),
        *norm(f"{theirs}.layer_norm2", f"{ours}.mlp_norm"),
        *linear(f"{theirs}.mlp.fc1", f"{ours}.mlp.up"),
        *linear(f"{theirs}.mlp.fc2", f"{ours}.mlp.down"),
    ]


def first_token(token: str, positions: str) -> Row:
    """Returns the row of the learned token with its position, and of the positions of the patches."""
    read = lambda token_D, positions_TD: (token_D + positions_TD[0], positions_TD[1:])
    write = lambda cls_D, table_TD: (cls_D, jnp.concatenate([jnp.zeros_like(cls_D)[None], table_TD]))
    return Row((token, positions), ("image_encoder.cls", "image_encoder.positions.table"), read, write)


def values(tensors: Tensors) -> None:
    """Raises UserError for a temperature that is lower than ours may be."""
    scale = float(np.exp(np.float64(tensors["logit_scale"])))
    if scale > LARGEST_SCALE * (1 + 1e-4):
        raise UserError(f"logit_scale = {math.log(scale):.6g}: expected at most log {LARGEST_SCALE:g}")


def to_fields(config: dict) -> dict:
    """Returns the fields that are more than another name. Raises UserError where the two encoders differ."""
    side, channels = config.get("vision_config.image_size", 224), config.get("vision_config.num_channels", 3)
    for key, default in {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}.items():
        texts, images = (config.get(f"{part}_config.{key}", default) for part in ("text", "vision"))
        if texts != images:
            supported = f"only that of vision_config, {shown(images)}, is supported here"
            raise UserError(f"text_config.{key} = {shown(texts)}: {supported}")
    end = config.get("text_config.eos_token_id", 49407)
    vocabulary = config.get("text_config.vocab_size", 49408)
    return {
        "image_shape": (side, side, channels),
        "pooling": "cls",
        "embedding_norm": True,
        "projection_bias": False,
        "end": vocabulary - 1 if end == WRONG_END else end,
    }


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`."""
    rows, _, channels = fields["image_shape"]
    activation = next((theirs for theirs, ours in ACTIVATIONS.items() if ours == fields["activation"]), "none")
    return {
        "text_config.hidden_act": activation,
        "text_config.layer_norm_eps": fields["epsilon"],
        "text_config.projection_dim": fields["shared_width"],
        "vision_config.projection_dim": fields["shared_width"],
        "vision_config.image_size": rows,
        "vision_config.num_channels": channels,
        "text_config.eos_token_id": fields["end"],
    }


def describe(model: Model) -> dict:
    """Returns the fields that a CLIP was built with. Raises UserError for an encoder of images that is no ViT."""
    images, texts = model.image_encoder, model.text_encoder
    if not isinstance(images, VisionTransformer):
        raise UserError("the format 'clip' needs encoder='vit'")
    of_images, of_texts = vit.describe(images), describe_blocks(texts.blocks)
    return of_images | {f"text_{field}": value for field, value in of_texts.items()} | {
        "vocab_size": texts.embedding.embedding.shape[0],
        "context": model.context,
        "shared_width": model.shared_width,
        "projection_bias": texts.head.bias is not None,
        "end": texts.end,
        "text_positions": texts.positions.kind,
    }


CLIP = Reference(
    name="clip",
    model=Model,
    nested=("text_config", "vision_config"),
    settings={
        "width": ("vision_config.hidden_size", 768),
        "depth": ("vision_config.num_hidden_layers", 12),
        "heads": ("vision_config.num_attention_heads", 12),
        "mlp_width": ("vision_config.intermediate_size", 3072),
        "patch": ("vision_config.patch_size", 32),
        "activation": ("vision_config.hidden_act", "quick_gelu"),
        "epsilon": ("vision_config.layer_norm_eps", 1e-5),
        "text_width": ("text_config.hidden_size", 512),
        "text_depth": ("text_config.num_hidden_layers", 12),
        "text_heads": ("text_config.num_attention_heads", 8),
        "text_mlp_width": ("text_config.intermediate_size", 2048),
        "vocab_size": ("text_config.vocab_size", 49408),
        "context": ("text_config.max_position_embeddings", 77),
        "shared_width": ("projection_dim", 512),
    },
    read={
        "vision_config.image_size": "size", "vision_config.num_channels": "size", "text_config.hidden_act": "word",
        "text_config.layer_norm_eps": "number", "text_config.eos_token_id": "size",
    },
    fixed={"is_encoder_decoder": False},
    # The maps have the width of the whole; the others are of training, of texts, and of older versions.
    harmless=(
        "logit_scale_init_value", "text_config.projection_dim", "vision_config.projection_dim", "text_config.dropout",
        "vision_config.dropout", "tie_word_embeddings", "text_config.tie_word_embeddings",
        "vision_config.tie_word_embeddings",
    ),
    dropouts={"vision_config.attention_dropout": 0.0, "text_config.attention_dropout": 0.0},
    rows=rows,
    heads=[Head({}, ("CLIPModel",))],
    prefix="",
    outside=(),
    inside=("text_model.", "vision_model.", "text_projection.", "visual_projection.", "logit_scale"),
    ignored=r"\.position_ids$",
    values=values,
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)  # fmt: skip
