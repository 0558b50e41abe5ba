"""BART (Lewis et al. 2020), as `BartForConditionalGeneration` and `BartModel` of transformers write it.

Their tables of positions begin with two rows that nothing reads. They pass no gradient to the embedding of the padding
token where it is looked up; ours is trained like any other.
"""

import jax.numpy as jnp

from core.errors import UserError, shown
from models.encoder_decoder import EncoderDecoder
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear, norm, same
from models.pretrained.t5 import describe

UNREAD = 2


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head, which is the embedding."""
    return [
        *same("model.shared.weight", "embedding.embedding"),
        positions("model.encoder.embed_positions.weight", "source_positions.table"),
        positions("model.decoder.embed_positions.weight", "positions.table"),
        *norm("model.encoder.layernorm_embedding", "source_norm"),
        *norm("model.decoder.layernorm_embedding", "norm"),
        *blocks("model.encoder.layers.{layer}", "encoder.blocks.{layer}"),
        *blocks("model.decoder.layers.{decoder_layer}", "decoder.blocks.{decoder_layer}", cross=True),
    ]


def positions(theirs: str, ours: str) -> Row:
    """Returns the row of a table of positions, without the two that they do not read."""
    return Row((theirs,), (ours,), lambda x: (x[UNREAD:],), lambda x: (jnp.pad(x, ((UNREAD, 0), (0, 0))),))


def blocks(theirs: str, ours: str, cross: bool = False) -> list[Row]:
    """Returns the rows of the blocks of the encoder or the decoder."""
    attentions = []
    for a, b in {"self_attn": "attention", "encoder_attn": "cross"}.items() if cross else [("self_attn", "attention")]:
        for part, name in {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}.items():
            attentions += linear(f"{theirs}.{a}.{part}", f"{ours}.{b}.{name}")
        attentions += norm(f"{theirs}.{a}_layer_norm", f"{ours}.{b}_norm")
    return [
        *attentions,
        *linear(f"{theirs}.fc1", f"{ours}.mlp.up"),
        *linear(f"{theirs}.fc2", f"{ours}.mlp.down"),
        *norm(f"{theirs}.final_layer_norm", f"{ours}.mlp_norm"),
    ]


def to_fields(config: dict) -> dict:
    """Returns fields that are more than another name. Raises UserError if encoder and decoder differ in their sizes."""
    for key in ("ffn_dim", "attention_heads"):
        here, there = config[f"encoder_{key}"], config.get(f"decoder_{key}", config[f"encoder_{key}"])
        if here != there:
            values = f"encoder_{key} = {shown(here)}, decoder_{key} = {shown(there)}"
            raise UserError(f"{values}: expected the same for both")
    return {
        "source_vocab_size": config["vocab_size"],
        "decoder_depth": config.get("decoder_layers", config["encoder_layers"]),
        "source_context": config["max_position_embeddings"],
        "embedding_scale": "in" if config.get("scale_embedding", False) else "none",
        "embedding_norm": True,
        "positions": "learned",
        "norm_order": "post",
    }


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`, with the published special tokens if the vocabulary has them."""
    ends = {} if fields["vocab_size"] > 2 else {"pad_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
    return {
        "decoder_layers": fields["decoder_depth"],
        "decoder_ffn_dim": fields["mlp_width"],
        "decoder_attention_heads": fields["heads"],
        "scale_embedding": fields["embedding_scale"] == "in",
    } | ends


SETTINGS = {
    "vocab_size": "vocab_size",
    "context": "max_position_embeddings",
    "width": "d_model",
    "depth": "encoder_layers",
    "heads": "encoder_attention_heads",
    "mlp_width": "encoder_ffn_dim",
    "activation": ("activation_function", "gelu"),
}
DROPOUTS = {"dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0}
READ = {
    "decoder_layers": "size", "encoder_ffn_dim": "size", "decoder_ffn_dim": "size", "encoder_attention_heads": "size",
    "decoder_attention_heads": "size", "scale_embedding": "flag", "tie_word_embeddings": "flag",
}  # fmt: skip
LEGACY = {
    "is_encoder_decoder": True, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "normalize_before": False,
    "add_final_layer_norm": False, "add_bias_logits": False, "do_blenderbot_90_layernorm": False,
}  # fmt: skip
"""Settings of BART and its relatives that have one value here. Files made since 2021 have the first three only."""
UNREAD_SETTINGS = ("classifier_dropout", "classif_dropout", "extra_pos_embeddings")  # of other heads, of old files
ALIASES = {
    "hidden_size": "d_model", "num_attention_heads": "encoder_attention_heads", "num_hidden_layers": "encoder_layers",
}  # fmt: skip
LOGITS_BIAS = Row(("final_logits_bias",), ("bias",), lambda x: (x[0],), lambda x: (x[None],))

BART = Reference(
    name="bart",
    model=EncoderDecoder,
    settings=SETTINGS,
    read=READ,
    fixed=LEGACY | {"normalize_embedding": True, "static_position_embeddings": False},
    harmless=UNREAD_SETTINGS,
    aliases=ALIASES,
    dropouts=DROPOUTS,
    rows=rows,
    heads=[
        Head({"logits_bias": True}, ("BartForConditionalGeneration",), [LOGITS_BIAS], twins=("lm_head.weight",)),
        Head({"logits_bias": False}, ("BartForConditionalGeneration",), twins=("lm_head.weight",)),
        Head({"logits_bias": False}, ("BartModel",)),
    ],
    prefix="model.",
    outside=("lm_head.", "final_logits_bias"),
    copies={
        "model.encoder.embed_tokens.weight": ("model.shared.weight",),
        "model.decoder.embed_tokens.weight": ("model.shared.weight",),
        "lm_head.weight": ("model.shared.weight",),
    },
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)
