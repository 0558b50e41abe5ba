"""Perceiver IO (Jaegle et al. 2021b), as five of the `PerceiverFor...` of transformers write it, for text and images.

Theirs has one attention to the input, then a tower that is passed `num_blocks` times. Which of the five a folder holds,
and so what the input is, only `architectures` in config.json says; the sizes that they have in code are here too. The
batch norm behind the convolution becomes part of it, with the statistics that evaluation uses; it stays so while it is
trained. They drop attention weights alone; here the rate holds for what is added to the residual too.
"""

import jax.numpy as jnp
import numpy as np

from models.perceiver import Perceiver
from models.pretrained.reference import Head, Reference, Row, describe_blocks, linear, norm, same

MASKED, TEXT = "PerceiverForMaskedLM", "PerceiverForSequenceClassification"
LEARNED, FOURIER = "PerceiverForImageClassificationLearned", "PerceiverForImageClassificationFourier"
CONVOLUTION = "PerceiverForImageClassificationConvProcessing"
KINDS = (MASKED, TEXT, LEARNED, FOURIER, CONVOLUTION)
COLOURS, CHANNELS, BANDS, RESOLUTION = 3, 256, 64, 224
CONVOLVED, CONVOLVED_RESOLUTION, BATCH_NORM_EPSILON = 64, 56, 1e-5
MASKED_HEADS, MASKED_HEAD_SIZE = 8, 32


BEFORE = "perceiver.input_preprocessor"


def rows(fields: dict) -> list[Row]:
    """All but the head."""
    decoder = "perceiver.decoder"
    found = same("perceiver.embeddings.latents", "latents")
    if fields["image_shape"] is None:
        found += same(f"{BEFORE}.embeddings.weight", "embedding.embedding")
        found += same(f"{BEFORE}.position_embeddings.weight", "positions.table")
    elif fields["positions"] == "learned":
        found += [pixels(f"{BEFORE}.convnet_1x1.weight"), *same(f"{BEFORE}.convnet_1x1.bias", "pixels.bias")]
        found += same(f"{BEFORE}.position_embeddings.position_embeddings", "positions.table")
        found += linear(f"{BEFORE}.positions_projection", "projection")
    elif fields["stem"] == "convolution":
        found.append(convolution(f"{BEFORE}.convnet"))
    decoder += "" if fields["output"] == "dense" else ".decoder"
    return [
        *found,
        *attention("perceiver.encoder.cross_attention", "crosses.0", fourier_order(fields)),
        *block("perceiver.encoder.self_attends.{layer}", "towers.0.blocks.{layer}", "attention"),
        *same(f"{decoder}.output_position_encodings.position_embeddings", "query"),
        *attention(f"{decoder}.decoding_cross_attention", "decoder"),
    ]


def block(theirs: str, ours: str, kind: str) -> list[Row]:
    """A block but for keys and values of a source."""
    parts = [("key", "key"), ("value", "value")] if kind == "attention" else []
    return [
        *norm(f"{theirs}.attention.self.layernorm1", f"{ours}.{kind}_norm"),
        *[
            row
            for a, b in [("query", "query"), *parts]
            for row in linear(f"{theirs}.attention.self.{a}", f"{ours}.{kind}.{b}")
        ],
        *linear(f"{theirs}.attention.output.dense", f"{ours}.{kind}.out"),
        *norm(f"{theirs}.layernorm", f"{ours}.mlp_norm"),
        *linear(f"{theirs}.mlp.dense1", f"{ours}.mlp.up"),
        *linear(f"{theirs}.mlp.dense2", f"{ours}.mlp.down"),
    ]


def attention(theirs: str, ours: str, order: np.ndarray | slice = slice(None)) -> list[Row]:
    """A block that attends to a source, of which our column c is their column order[c]."""
    back = order if isinstance(order, slice) else np.argsort(order)
    theirs_of, found = f"{theirs}.attention.self", block(theirs, ours, "cross")
    vector = dict(read=lambda x: (x[order],), write=lambda x: (x[back],))
    for a, b in (("weight", "scale"), ("bias", "bias")):
        found.append(Row((f"{theirs_of}.layernorm2.{a}",), (f"{ours}.source_norm.{b}",), **vector))
    matrix = dict(read=lambda x: (x.T[order],), write=lambda x: (x[back].T,))
    for part in ("key", "value"):
        found.append(Row((f"{theirs_of}.{part}.weight",), (f"{ours}.cross.{part}.kernel",), **matrix))
        found += same(f"{theirs_of}.{part}.bias", f"{ours}.cross.{part}.bias")
    return found


def fourier_order(fields: dict) -> np.ndarray | slice:
    """Theirs has places, sines, cosines, in each of them both axes; ours has them one axis after the other."""
    if fields["positions"] != "fourier":
        return slice(None)
    content, bands = fields["channels"] or COLOURS, np.arange(fields["bands"])
    axis = lambda number: [
        [content + number],
        *(content + 2 + (2 * part + number) * len(bands) + bands for part in (0, 1)),
    ]
    return np.concatenate([np.arange(content), *axis(0), *axis(1)])


def pixels(weight: str) -> Row:
    """Their convolution of single pixels (channels, colours, 1, 1) and our linear map."""
    return Row((weight,), ("pixels.kernel",), lambda x: (x[..., 0, 0].T,), lambda x: (x.T[..., None, None],))


def convolution(theirs: str) -> Row:
    """Their convolution (channels, colours, 7, 7) and batch norm, and our convolution with a bias."""

    def read(weight, scale, bias, mean, variance):
        factor = scale / (variance + BATCH_NORM_EPSILON) ** 0.5
        return (factor * weight.transpose(2, 3, 1, 0), bias - factor * mean)

    def write(kernel, bias):
        one, zero = jnp.ones_like(bias), jnp.zeros_like(bias)
        return (kernel.transpose(3, 2, 0, 1), one, bias, zero, one - BATCH_NORM_EPSILON)

    names = ("weight", "bias", "running_mean", "running_var")
    names = (f"{theirs}.conv.weight", *(f"{theirs}.batchnorm.{name}" for name in names))
    return Row(names, ("pixels.kernel", "pixels.bias"), read, write)


def counters(fields: dict) -> dict:
    """How many batches the statistics are from: none."""
    count = np.zeros((), np.int64)
    return {f"{BEFORE}.convnet.batchnorm.num_batches_tracked": count} if fields["stem"] == "convolution" else {}


def input_fields(kind: str, config: dict) -> dict:
    """What the five classes differ in."""
    if kind in (MASKED, TEXT):
        width = config.get("d_model", 768)
        return {
            "image_shape": None, "vocab_size": config.get("vocab_size", 262), "channels": width,
            "context": config.get("max_position_embeddings", 2048), "positions": "learned", "position_width": width,
            "join": "added",
        }  # fmt: skip
    if kind in (FOURIER, CONVOLUTION):
        fields = {"image_shape": (RESOLUTION, RESOLUTION, COLOURS), "positions": "fourier", "bands": BANDS}
        if kind == FOURIER:
            return fields | {"resolution": RESOLUTION, "channels": None, "stem": "pixel"}
        return fields | {"resolution": CONVOLVED_RESOLUTION, "channels": CONVOLVED, "stem": "convolution"}
    side = config.get("image_size", 56)
    if not isinstance(side, int):
        raise ValueError(f"image_size = {side}: expected one side, of square images")
    return {
        "image_shape": (side, side, COLOURS), "channels": CHANNELS, "positions": "learned",
        "position_width": CHANNELS, "project_positions": True,
    }  # fmt: skip


def array_width(fields: dict) -> int:
    """The width of what the latents read."""
    if fields["image_shape"] is None:
        return fields["channels"]
    if fields["positions"] == "fourier":
        return (fields["channels"] or COLOURS) + 2 * (2 * BANDS + 1)
    return 2 * CHANNELS


def to_fields(config: dict) -> dict:
    """Inputs, widths and decoder. Raises ValueError for a class that is none of `KINDS`, or heads that do not fit."""
    kinds = config.get("architectures")
    if not kinds or kinds[0] not in KINDS:
        raise ValueError(f"architectures = {kinds}: expected one of {', '.join(KINDS)}")
    kind = kinds[0]
    fields = input_fields(kind, config)
    width, common, values = config.get("d_latents", 1280), config.get("qk_channels"), config.get("v_channels")
    source = array_width(fields)
    by_source = config.get("cross_attention_shape_for_attention", "kv") == "kv"
    channels = {"": common or width, "cross_": common or (source if by_source else width), "decoder_": width}
    heads = {
        "": config.get("num_self_attention_heads", 8), "cross_": config.get("num_cross_attention_heads", 8),
        "decoder_": 1,
    }  # fmt: skip
    mixed = {"": values or channels[""], "cross_": values or channels["cross_"], "decoder_": width}
    query_width = width
    if kind == MASKED:
        query_width = fields["channels"]
        channels["decoder_"], heads["decoder_"] = MASKED_HEADS * MASKED_HEAD_SIZE, MASKED_HEADS
        mixed["decoder_"] = query_width
    for place, count in heads.items():
        if channels[place] % count or mixed[place] % count:
            raise ValueError(f"{count} heads do not divide {channels[place]} channels, or {mixed[place]} of the values")
        fields |= {f"{place}head_size": channels[place] // count, f"{place}value_size": mixed[place] // count}
    return fields | {
        "reads": 1,
        "sharing": "all",
        "mlp_width": config.get("self_attention_widening_factor", 1) * width,
        "cross_mlp_width": config.get("cross_attention_widening_factor", 1) * width,
        "decoder_heads": heads["decoder_"],
        "decoder_mlp_width": query_width,
        "decoder_residual": kind != MASKED,
        "output": "dense" if kind == MASKED else "query",
        "dense_queries": "learned",
        "query_width": query_width,
        "tied": kind == MASKED,
        "source_norm": True,
        "final_norm": False,
    }


def to_config(fields: dict) -> dict:
    """The same, the other way."""
    sizes = {
        kind: [fields[f"{place}heads"] * fields[f"{place}{kind}_size"] for place in ("", "cross_")]
        for kind in ("head", "value")
    }
    (own, cross), (values, cross_values) = sizes["head"], sizes["value"]
    config = {
        "qk_channels": own if own == cross else None,
        "v_channels": values if values == cross_values else None,
        "cross_attention_shape_for_attention": "kv" if cross == array_width(fields) else "q",
        "self_attention_widening_factor": fields["mlp_width"] // fields["width"],
        "cross_attention_widening_factor": fields["cross_mlp_width"] // fields["width"],
        "d_model": array_width(fields),
    }
    if fields["image_shape"] is not None:
        return config | {"image_size": fields["image_shape"][0]}
    return config | {"vocab_size": fields["vocab_size"], "max_position_embeddings": fields["context"]}


def describe(model: Perceiver) -> dict:
    """What a Perceiver was built with."""
    positions, tokens, query = model.positions, model.embedding is not None, model.query
    once = len(model.crosses) == len(model.towers) == 1
    return describe_blocks(model.towers[0]) | describe_cross(model.crosses[0], "cross_") | {
        "latents": len(model.latents),
        "repeats": model.repeats,
        "reads": model.reads,
        "sharing": "all" if once else model.sharing,
        "image_shape": model.image_shape,
        "vocab_size": len(model.embedding.embedding) if tokens else None,
        "context": positions.shape[0] if tokens else None,
        "stem": model.stem,
        "channels": model.embedding.embedding.shape[-1] if tokens else model.pixels and model.pixels.out_features,
        "positions": positions.kind,
        "position_width": positions.columns,
        "bands": positions.bands if positions.kind == "fourier" else None,
        "resolution": positions.resolution,
        "project_positions": model.projection is not None,
        "join": model.join,
        "output": model.output,
        "dense_queries": None if model.output != "dense" else "positions" if query is None else "learned",
        "tied": model.head is None,
        "classes": None if model.output == "dense" else model.head.out_features,
    } | ({} if model.decoder is None else describe_cross(model.decoder, "decoder_"))  # fmt: skip


def describe_cross(block, place: str) -> dict:
    """The fields of an attention to a source, under the names that begin with its place."""
    return {
        f"{place}heads": block.cross.heads,
        f"{place}head_size": block.cross.head_size,
        f"{place}value_size": block.cross.value_size,
        f"{place}mlp_width": block.mlp.up.out_features,
        f"{place}width": block.mlp.up.in_features,
        f"{place}residual": block.cross_residual,
        "source_norm": block.source_norm is not None,
    }


PERCEIVER = Reference(
    name="perceiver",
    model=Perceiver,
    settings={
        "latents": ("num_latents", 256),
        "width": ("d_latents", 1280),
        "depth": ("num_self_attends_per_block", 26),
        "repeats": ("num_blocks", 1),
        "heads": ("num_self_attention_heads", 8),
        "cross_heads": ("num_cross_attention_heads", 8),
        "cross_residual": ("use_query_residual", True),
        "activation": ("hidden_act", "gelu"),
    },
    fixed={},
    dropouts={"attention_probs_dropout_prob": 0.1},
    rows=rows,
    heads=[
        Head({"output": "dense"}, MASKED, same("embedding_decoder.bias", "bias")),
        *(
            Head(
                {"output": "query"} | more, kind, linear("perceiver.decoder.decoder.final_layer", "head"), classes=True
            )
            for kind, more in {
                TEXT: {"image_shape": None},
                LEARNED: {"vocab_size": None, "positions": "learned"},
                FOURIER: {"vocab_size": None, "positions": "fourier", "stem": "pixel"},
                CONVOLUTION: {"vocab_size": None, "positions": "fourier", "stem": "convolution"},
            }.items()
        ),
    ],
    prefix="perceiver.",
    ignored=r"\.num_batches_tracked$",
    constants=counters,
    outside=("embedding_decoder.",),
    describe=describe,
    to_fields=to_fields,
    to_config=to_config,
)
