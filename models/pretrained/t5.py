"""T5 v1.0 (Raffel et al. 2020) and v1.1, as `T5ForConditionalGeneration` of transformers writes them.

v1.0 has ReLU, and one table for embeddings and head; v1.1 has gated GELU and a separate head. Attention scores have a
bias by distance instead of positions, so that no text is too long; `context` is the length that they were trained on.
"""

from core.errors import UserError, shown
from models.encoder_decoder import EncoderDecoder
from models.pretrained.blocks import describe_blocks
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, matrix, same


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head, which is the embedding if it is tied."""
    gated = fields["activation"] == "geglu"
    return [
        *same("shared.weight", "embedding.embedding"),
        *stack("encoder", "{layer}", ["attention"], gated),
        *stack("decoder", "{decoder_layer}", ["attention", "cross"], gated),
    ]


def stack(side: str, layer: str, attentions: list[str], gated: bool) -> list[Row]:
    """Returns the rows of the encoder or the decoder: a table of biases, blocks, a norm."""
    theirs, ours = f"{side}.block.{layer}.layer", f"{side}.blocks.{layer}"
    names = {"attention": "SelfAttention", "cross": "EncDecAttention"}
    bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    table = [*same(bias, f"{side}.relative.table"), *same(f"{side}.final_layer_norm.weight", f"{side}.norm.scale")]
    for number, kind in enumerate([*attentions, "mlp"]):
        table += same(f"{theirs}.{number}.layer_norm.weight", f"{ours}.{kind}_norm.scale")
    for number, kind in enumerate(attentions):
        for a, b in {"q": "query", "k": "key", "v": "value", "o": "out"}.items():
            table += matrix(f"{theirs}.{number}.{names[kind]}.{a}", f"{ours}.{kind}.{b}")
    parts = {"wi_0": "up", "wi_1": "linear", "wo": "down"} if gated else {"wi": "up", "wo": "down"}
    for a, b in parts.items():
        table += matrix(f"{theirs}.{len(attentions)}.DenseReluDense.{a}", f"{ours}.mlp.{b}")
    return table


def to_fields(config: dict) -> dict:
    """Returns fields that are more than another name. In older files a tied head implies `scale_decoder_outputs`."""
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
    gate, _, name = config.get("feed_forward_proj", "relu").rpartition("-")
    function = "gelu_new" if (gate, name) == ("gated", "gelu") else name
    for key, implied in {"dense_act_fn": function, "is_gated_act": gate == "gated"}.items():
        if config.get(key, implied) != implied:
            raise UserError(f"{key} = {shown(config[key])}: feed_forward_proj implies {implied!r}")
    depth, context = config["num_layers"], config.get("n_positions", 512)
    return {
        "source_vocab_size": config["vocab_size"],
        "decoder_depth": config.get("num_decoder_layers") or depth,
        "context": context,
        "source_context": context,
        "embedding_scale": "out" if scaled else "none",
    } | {"norm": "rms", "bias": False, "scaled": False, "positions": "none"}


def to_config(fields: dict) -> dict:
    """Returns the inverse of `to_fields`, with the special tokens that all T5 models have."""
    scaled = fields["embedding_scale"] == "out"
    return {
        "num_decoder_layers": fields["decoder_depth"],
        "n_positions": fields["context"],
        "scale_decoder_outputs": scaled,
        "tie_word_embeddings": scaled and fields["tied"],
    } | {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}


def describe(model: EncoderDecoder) -> dict:
    """Returns the fields that an encoder-decoder was built with."""
    block = model.decoder.prototype
    return describe_blocks(model.encoder) | {
        "source_norm": block.source_norm is not None,
        "cross_residual": block.cross_residual,
        "source_vocab_size": len((model.source_embedding or model.embedding).embedding),
        "vocab_size": len(model.embedding.embedding),
        "source_context": model.source_context,
        "context": model.context,
        "decoder_depth": model.decoder.depth,
        "positions": model.positions.kind,
        "shared": model.source_embedding is None,
        "tied": model.head is None,
        "embedding_scale": model.embedding_scale,
        "embedding_norm": model.norm is not None,
        "logits_bias": model.bias is not None,
    }


T5 = Reference(
    name="t5",
    model=EncoderDecoder,
    settings={
        "vocab_size": "vocab_size",
        "width": "d_model",
        "head_size": ("d_kv", 64),
        "mlp_width": "d_ff",
        "depth": "num_layers",
        "heads": "num_heads",
        "relative_buckets": ("relative_attention_num_buckets", 32),
        "relative_farthest": ("relative_attention_max_distance", 128),
        "activation": ("feed_forward_proj", "relu"),
        "epsilon": ("layer_norm_epsilon", 1e-6),
    },
    read={
        "num_decoder_layers": "size?", "n_positions": "size", "scale_decoder_outputs": "flag",
        "tie_word_embeddings": "flag", "dense_act_fn": "word", "is_gated_act": "flag",
    },
    fixed={"is_encoder_decoder": True},
    harmless=("classifier_dropout",),  # of a head that is not here
    aliases={"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    | {"head_dim": "d_kv"},
    dropouts={"dropout_rate": 0.1},
    rows=rows,
    heads=[
        Head({"tied": True}, ("T5ForConditionalGeneration", "T5WithLMHeadModel"), twins=("lm_head.weight",)),
        Head({"tied": True}, ("T5Model",)),
        Head({"tied": False}, ("T5ForConditionalGeneration", "T5WithLMHeadModel"), matrix("lm_head", "head")),
    ],
    prefix="",
    outside=(),
    inside=("shared.", "encoder.", "decoder."),
    copies={
        "encoder.embed_tokens.weight": ("shared.weight",),
        "decoder.embed_tokens.weight": ("shared.weight",),
        "lm_head.weight": ("shared.weight",),
    },
    ignored=r"EncDecAttention\.relative_attention_bias",  # of old files, and never used
    activations={"relu": "relu", "gated-gelu": "geglu"},
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)  # fmt: skip
