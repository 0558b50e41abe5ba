"""Perceiver IO (Jaegle et al. 2021b), as five of the `PerceiverFor...` of transformers write it, for text and images.

Theirs has one attention to the input, then a tower that is applied `num_blocks` times. Only `architectures` in
config.json says which of the five classes a folder holds, and so what the input is; sizes that are constants in their
code are constants here. The batch norm behind the convolution becomes part of the convolution, with the statistics of
evaluation, and stays so in training. They drop attention weights only; our rate also holds for the residuals.
"""

import jax.numpy as jnp
import numpy as np

from core.errors import UserError
from models.perceiver import Perceiver
from models.pretrained.blocks import describe_blocks
from models.pretrained.reference import Head, Reference
from models.pretrained.rows import Row, linear, norm, same
from models.pretrained.settings import architecture

MASKED, TEXT = "PerceiverForMaskedLM", "PerceiverForSequenceClassification"
LEARNED, FOURIER = "PerceiverForImageClassificationLearned", "PerceiverForImageClassificationFourier"
CONVOLUTION = "PerceiverForImageClassificationConvProcessing"
KINDS = (MASKED, TEXT, LEARNED, FOURIER, CONVOLUTION)
COLOURS, CHANNELS, BANDS, RESOLUTION = 3, 256, 64, 224
CONVOLVED, CONVOLVED_RESOLUTION, BATCH_NORM_EPSILON = 64, 56, 1e-5
MASKED_HEADS, MASKED_HEAD_SIZE = 8, 32
BEFORE, CLASSIFIER = "perceiver.input_preprocessor", "perceiver.decoder.decoder.final_layer"


def rows(fields: dict) -> list[Row]:
    """Returns the rows of everything but the head."""
    decoder = "perceiver.decoder"
    body = same("perceiver.embeddings.latents", "latents")
    if fields["image_shape"] is None:
        body += same(f"{BEFORE}.embeddings.weight", "embedding.embedding")
        body += same(f"{BEFORE}.position_embeddings.weight", "positions.table")
    elif fields["positions"] == "learned":
        body += [pixels(f"{BEFORE}.convnet_1x1.weight"), *same(f"{BEFORE}.convnet_1x1.bias", "pixels.bias")]
        body += same(f"{BEFORE}.position_embeddings.position_embeddings", "positions.table")
        body += linear(f"{BEFORE}.positions_projection", "projection")
    elif fields["stem"] == "convolution":
        body.append(convolution(f"{BEFORE}.convnet"))
    decoder += "" if fields["output"] == "dense" else ".decoder"
    return [
        *body,
        *attention("perceiver.encoder.cross_attention", "crosses.0", fourier_order(fields)),
        *block("perceiver.encoder.self_attends.{layer}", "towers.0.blocks.{layer}", "attention"),
        *same(f"{decoder}.output_position_encodings.position_embeddings", "query"),
        *attention(f"{decoder}.decoding_cross_attention", "decoder"),
    ]


def block(theirs: str, ours: str, kind: str) -> list[Row]:
    """Returns the rows of a block, without the keys and values of a source."""
    parts = ["query", "key", "value"] if kind == "attention" else ["query"]
    return [
        *norm(f"{theirs}.attention.self.layernorm1", f"{ours}.{kind}_norm"),
        *[row for a in parts for row in linear(f"{theirs}.attention.self.{a}", f"{ours}.{kind}.{a}")],
        *linear(f"{theirs}.attention.output.dense", f"{ours}.{kind}.out"),
        *norm(f"{theirs}.layernorm", f"{ours}.mlp_norm"),
        *linear(f"{theirs}.mlp.dense1", f"{ours}.mlp.up"),
        *linear(f"{theirs}.mlp.dense2", f"{ours}.mlp.down"),
    ]


def attention(theirs: str, ours: str, order: np.ndarray | slice = slice(None)) -> list[Row]:
    """Returns the rows of a block that attends to a source, of which our column c is their column order[c]."""
    back = order if isinstance(order, slice) else np.argsort(order)
    theirs_of, table = f"{theirs}.attention.self", block(theirs, ours, "cross")
    vector = dict(read=lambda x: (x[order],), write=lambda x: (x[back],))
    for a, b in (("weight", "scale"), ("bias", "bias")):
        table.append(Row((f"{theirs_of}.layernorm2.{a}",), (f"{ours}.source_norm.{b}",), **vector))
    matrix = dict(read=lambda x: (x.T[order],), write=lambda x: (x[back].T,))
    for part in ("key", "value"):
        table.append(Row((f"{theirs_of}.{part}.weight",), (f"{ours}.cross.{part}.kernel",), **matrix))
        table += same(f"{theirs_of}.{part}.bias", f"{ours}.cross.{part}.bias")
    return table


def fourier_order(fields: dict) -> np.ndarray | slice:
    """Returns their column for each of ours. Theirs alternates the two axes; ours has one axis, then the other."""
    if fields["positions"] != "fourier":
        return slice(None)
    content, bands = fields["channels"] or COLOURS, np.arange(fields["bands"])
    axis = lambda number: [
        [content + number],
        *(content + 2 + (2 * part + number) * len(bands) + bands for part in (0, 1)),
    ]
    return np.concatenate([np.arange(content), *axis(0), *axis(1)])


def pixels(weight: str) -> Row:
    """Returns the row of their convolution of single pixels (channels, colours, 1, 1) and our linear map."""
    return Row((weight,), ("pixels.kernel",), lambda x: (x[..., 0, 0].T,), lambda x: (x.T[..., None, None],))


def convolution(theirs: str) -> Row:
    """Returns the row of their convolution (channels, colours, 7, 7) with its batch norm, and ours with a bias."""

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
    """Returns the number of batches that the statistics of a batch norm are from: none."""
    count = np.zeros((), np.int64)
    return {f"{BEFORE}.convnet.batchnorm.num_batches_tracked": count} if fields["stem"] == "convolution" else {}


def input_fields(kind: str, config: dict) -> dict:
    """Returns the fields in which the five classes differ."""
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
        raise UserError(f"image_size = {side}: expected one number, the side of square images")
    return {
        "image_shape": (side, side, COLOURS), "channels": CHANNELS, "positions": "learned",
        "position_width": CHANNELS, "project_positions": True,
    }  # fmt: skip


def array_width(fields: dict) -> int:
    """Returns the width of what the latents read."""
    if fields["image_shape"] is None:
        return fields["channels"]
    if fields["positions"] == "fourier":
        return (fields["channels"] or COLOURS) + 2 * (2 * BANDS + 1)
    return 2 * CHANNELS


def to_fields(config: dict) -> dict:
    """Returns inputs, widths and decoder. Raises UserError for a class not in `KINDS`, or heads that do not divide."""
    kind = architecture(config)
    if kind not in KINDS:
        raise UserError(f"architectures = {config.get('architectures')}: expected one of {', '.join(KINDS)}")
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
            raise UserError(f"{count} heads must divide {channels[place]} channels, and {mixed[place]} of the values")
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
    """Returns the inverse of `to_fields`."""
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
    """Returns the fields that a Perceiver was built with."""
    positions, table, query = model.positions, model.embedding, model.query
    once = len(model.crosses) == len(model.towers) == 1
    if table is not None:
        channels = table.embedding.shape[-1]
    else:
        channels = None if model.pixels is None else model.pixels.out_features
    return describe_blocks(model.towers[0]) | describe_cross(model.crosses[0], "cross_") | {
        "latents": len(model.latents),
        "repeats": model.repeats,
        "reads": model.reads,
        "sharing": "all" if once else model.sharing,
        "image_shape": model.image_shape,
        "vocab_size": None if table is None else len(table.embedding),
        "context": None if table is None else positions.shape[0],
        "stem": model.stem,
        "channels": channels,
        "positions": positions.kind,
        "position_width": positions.columns,
        "bands": positions.bands if positions.kind == "fourier" else None,
        "resolution": positions.resolution,
        "project_positions": model.projection is not None,
        "join": model.join,
        "output": model.output,
        "dense_queries": None if model.output != "dense" else "positions" if query is None else "learned",
        "tied": model.head is None,
        "classes": None if model.output == "dense" or model.head is None else model.head.out_features,
    } | ({} if model.decoder is None else describe_cross(model.decoder, "decoder_"))  # fmt: skip


def describe_cross(block, place: str) -> dict:
    """Returns the fields of an attention to a source, under names that begin with `place`."""
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
    read={
        "vocab_size": "size", "d_model": "size", "max_position_embeddings": "size", "image_size": "sides",
        "qk_channels": "size?", "v_channels": "size?", "cross_attention_shape_for_attention": "word",
        "self_attention_widening_factor": "size", "cross_attention_widening_factor": "size",
    },
    fixed={"is_encoder_decoder": False},
    harmless=(
        "layer_norm_eps", "tie_word_embeddings",  # read by nobody
        "train_size", "num_frames", "audio_samples_per_frame", "samples_per_patch", "output_shape",
        "output_num_channels", "_label_trainable_num_channels",  # of classes that are not here
    ),
    dropouts={"attention_probs_dropout_prob": 0.1},
    rows=rows,
    heads=[
        Head({"output": "dense"}, (MASKED,), same("embedding_decoder.bias", "bias")),
        *(
            Head({"output": "query"} | more, (kind,), linear(CLASSIFIER, "head"), classes=True)
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
