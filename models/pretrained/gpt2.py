"""GPT-2 (Radford et al. 2019), as `GPT2LMHeadModel` and `GPT2Model` of transformers write it."""

import jax.numpy as jnp

from models.gpt import GPT
from models.pretrained.blocks import describe_blocks
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, matrix, norm, same
from models.pretrained.settings import architecture


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head, which is the embedding if it is tied."""
    theirs, ours = "transformer.h.{layer}", "blocks.blocks.{layer}"
    return [
        *same("transformer.wte.weight", "embedding.embedding"),
        *same("transformer.wpe.weight", "positions.table"),
        *norm(f"{theirs}.ln_1", f"{ours}.attention_norm"),
        *fused(f"{theirs}.attn.c_attn", [f"{ours}.attention.{part}" for part in ("query", "key", "value")]),
        *untransposed(f"{theirs}.attn.c_proj", f"{ours}.attention.out"),
        *norm(f"{theirs}.ln_2", f"{ours}.mlp_norm"),
        *untransposed(f"{theirs}.mlp.c_fc", f"{ours}.mlp.up"),
        *untransposed(f"{theirs}.mlp.c_proj", f"{ours}.mlp.down"),
        *norm("transformer.ln_f", "blocks.norm"),
    ]


def untransposed(theirs: str, ours: str) -> list[Row]:
    """Returns the rows of their "Conv1D": a linear map whose matrix is (inputs, outputs), like ours."""
    return [*same(f"{theirs}.weight", f"{ours}.kernel"), *same(f"{theirs}.bias", f"{ours}.bias")]


def fused(theirs: str, ours: list[str]) -> list[Row]:
    """Returns the rows of one linear map of theirs that is several of ours side by side."""
    part = lambda x, number: x[..., number * x.shape[-1] // len(ours) : (number + 1) * x.shape[-1] // len(ours)]
    read = lambda x: tuple(part(x, number) for number in range(len(ours)))
    write = lambda *parts: (jnp.concatenate(parts, axis=-1),)
    names = {"weight": "kernel", "bias": "bias"}
    return [Row((f"{theirs}.{a}",), tuple(f"{part}.{b}" for part in ours), read, write) for a, b in names.items()]


def to_fields(config: dict) -> dict:
    """Returns whether the head is the embedding; a `GPT2Model` has no head, and ours then has that one."""
    return {"tied": config.get("tie_word_embeddings", True) or architecture(config) == "GPT2Model"}


def to_config(fields: dict) -> dict:
    """Returns no special tokens for a vocabulary without the published one, which readers assume by default."""
    tokens = {} if fields["vocab_size"] > 50256 else {"bos_token_id": None, "eos_token_id": None}
    return {"tie_word_embeddings": fields["tied"]} | tokens


def describe(model: GPT) -> dict:
    """Returns the fields that a GPT was built with."""
    return describe_blocks(model.blocks) | {
        "positions": model.positions.kind,
        "vocab_size": model.embedding.embedding.shape[0],
        "context": model.context,
        "tied": model.head is None,
    }


GPT2 = Reference(
    name="gpt2",
    model=GPT,
    settings={
        "vocab_size": "vocab_size",
        "context": "n_positions",
        "width": "n_embd",
        "depth": "n_layer",
        "heads": "n_head",
        "mlp_width": ("n_inner", None),
        "activation": ("activation_function", "gelu_new"),
        "epsilon": ("layer_norm_epsilon", 1e-5),
    },
    read={"tie_word_embeddings": "flag"},
    fixed={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "is_encoder_decoder": False},
    harmless=(
        "reorder_and_upcast_attn",  # the same numbers in float32
        "n_ctx", "n_special", "predict_special_tokens",  # of old files, read by nobody
        "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
        "classifier_dropout", "hidden_dropout",  # of heads that are not here
    ),
    aliases={
        "hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    },
    dropouts={"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    rows=rows,
    heads=[
        Head({"tied": True}, ("GPT2LMHeadModel",), twins=("lm_head.weight",)),
        Head({"tied": True}, ("GPT2Model",)),
        Head({"tied": False}, ("GPT2LMHeadModel",), matrix("lm_head", "head")),
    ],
    prefix="transformer.",
    outside=("lm_head.",),
    copies={"lm_head.weight": ("transformer.wte.weight",)},
    ignored=r"\.attn\.(masked_)?bias$",  # the causal mask
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)  # fmt: skip
