"""Marian's translators (Junczys-Dowmunt et al. 2018), as `MarianMTModel` of transformers writes them.

Unlike BART, positions are sinusoidal, and there is no norm before the first block. Source and target may have different
vocabularies.
"""

from core.errors import UserError
from models.encoder_decoder import EncoderDecoder
from models.pretrained import bart
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, same
from models.pretrained.t5 import describe

LONGEST = 100_000


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head, which is the embedding of the target."""
    separate = [
        *same("model.decoder.embed_tokens.weight", "embedding.embedding"),
        *same("model.encoder.embed_tokens.weight", "source_embedding.embedding"),
    ]
    return [
        *(same("model.shared.weight", "embedding.embedding") if fields["shared"] else separate),
        *bart.blocks("model.encoder.layers.{layer}", "encoder.blocks.{layer}"),
        *bart.blocks("model.decoder.layers.{decoder_layer}", "decoder.blocks.{decoder_layer}", cross=True),
    ]


def to_fields(config: dict) -> dict:
    """Returns the vocabularies, and what all models of this kind share. Raises UserError for too many positions."""
    shared, longest = config.get("share_encoder_decoder_embeddings", True), config["max_position_embeddings"]
    if longest > LONGEST:
        raise UserError(f"max_position_embeddings = {longest:,}: expected at most {LONGEST:,}, which are computed")
    target_size = config.get("decoder_vocab_size") or config["vocab_size"]
    return bart.to_fields(config) | {
        "shared": shared,
        "vocab_size": config["vocab_size"] if shared else target_size,
        "embedding_norm": False,
        "positions": "sinusoidal",
    }


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`. As in the published models, the last token is padding and begins a target."""
    last = min(fields["vocab_size"], fields["source_vocab_size"]) - 1
    return bart.to_config(fields) | {
        "vocab_size": fields["source_vocab_size"],
        "decoder_vocab_size": fields["vocab_size"],
        "share_encoder_decoder_embeddings": fields["shared"],
        "pad_token_id": last,
        "decoder_start_token_id": last,
        "eos_token_id": 0,
    }


MARIAN = Reference(
    name="marian",
    model=EncoderDecoder,
    settings=bart.SETTINGS,
    read=bart.READ | {"decoder_vocab_size": "size?", "share_encoder_decoder_embeddings": "flag"},
    fixed=bart.LEGACY | {"normalize_embedding": False, "static_position_embeddings": True},
    harmless=bart.UNREAD_SETTINGS,
    aliases=bart.ALIASES,
    dropouts=bart.DROPOUTS,
    rows=rows,
    heads=[
        Head({"logits_bias": True}, ("MarianMTModel",), [bart.LOGITS_BIAS], twins=("lm_head.weight",)),
        Head({"logits_bias": False}, ("MarianMTModel",), twins=("lm_head.weight",)),
        Head({"logits_bias": False}, ("MarianModel",)),
    ],
    prefix="model.",
    outside=("lm_head.", "final_logits_bias"),
    copies={
        "model.encoder.embed_tokens.weight": ("model.shared.weight",),
        "model.decoder.embed_tokens.weight": ("model.shared.weight",),
        "lm_head.weight": ("model.shared.weight", "model.decoder.embed_tokens.weight"),
    },
    ignored=r"\.embed_positions\.weight$",  # sines and cosines
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)
