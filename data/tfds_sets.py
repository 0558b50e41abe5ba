"""Any set of TensorFlow Datasets by its name: images with labels, texts with labels, or texts.

The features to use are found in the description of the set, and can be named where that is ambiguous.
"""

from functools import partial
import inspect
from typing import Any

import numpy as np
from tensorflow_datasets import core, features

from core.errors import UserError, shown
from core.ranges import Length, Side
from data.dataset import Dataset
from data.forms import in_form
from data.image_cache import decoded_images
from data.images import Crop, Levels, Mean, Shift, Std, labelled_images
from data.resizing import Centre, NewSide, Resample, Resizing
from data.sequences import Sequences, sequence_dataset
from data.splits import split_parts
from data.storage import open_official, records
from data.text import builder_texts, text_dataset
from data.whole_texts import WholeTexts

KINDS = ("image_label", "text_label", "text")
_PEAK = 255


def tfds(
    *, dataset: str, kind: str = "", image: str = "", text: str = "", label: str = "", train: str = "train",
    evaluation: str = "test", form: str = "plain", targets: str = "labels", size: NewSide = 0,
    resample: Resample = "bilinear", centre: Centre = 1.0, proportions: bool = False,
    shift: Shift = 0, crop: Crop = 1.0, flip: bool = False, pool: Side = 1, levels: Levels = 0, mean: Mean = None,
    std: Std = None, context: Length | None = None, tokenizer: str = "bytes", jitter: bool = True,
) -> Dataset:  # fmt: skip
    """Returns a set that TFDS publishes, from $TFDS_DATA_DIR or ~/tensorflow_datasets.

    Args:
      dataset: its name, with the configuration if it has several: "cifar10", "imdb_reviews/plain_text".
      kind: "image_label", "text_label" or "text"; "" for the first of these that the set has the features for.
      image, text, label: the names of its features; "" for the only one of the type, or what the set calls input and
        label.
      train, evaluation: its splits, and slices of them, counted in examples; of kind "text" in characters.
      form: of images and texts with labels, see `data.forms`. Images become tokens of `levels` intensities, by default
        256.
      size: rows and columns, to which each image is stretched. With 0, all images must have one size.
      resample, centre, proportions: how, see `data.resizing.Resizing`.
      targets, shift, crop, flip, pool, levels, mean, std: of images, see `data.images.Images`.
      context: tokens of a text, or of a window of kind "text".
      tokenizer: of texts: "bytes", or a file of `data.subwords.Subwords`; of kind "text" also "", for characters.
      jitter: of kind "text", see `data.text.Windows`.

    Raises MissingData where the set is not on disk, with the command that prepares it, and UserError where it lacks
    such features, or a field does not fit them.
    """
    settings = {name: value for name, value in locals().items() if name in _FIELDS}
    if kind not in ("", *KINDS):
        raise UserError(f"kind = {shown(kind)}: expected one of {', '.join(KINDS)}, or nothing.")
    builder = open_official(dataset)
    candidates = {part: _candidates(builder, part, settings[part]) for part in ("image", "text", "label")}
    kind = kind or next((kind for kind in KINDS if all(candidates[part] for part in kind.split("_"))), "")
    if missing := [part for part in kind.split("_") if not candidates[part]] if kind else ["image or text"]:
        raise UserError(f"{dataset} has no feature for {' and '.join(missing)}. {_described(builder)}")
    for field, kinds in _FIELDS.items():
        if kind not in kinds and settings[field] != _default(field):
            raise UserError(f"{field} = {shown(settings[field])}: {dataset} is read as {kind}, without such a field.")
    names = {}
    for part in kind.split("_"):
        names[part], *others = candidates[part]
        if others:
            choice = ", ".join(candidates[part])
            raise UserError(f"{dataset}: which feature is the {part}? Set data.{part} to one of {choice}.")
    if kind != "image_label" and context is None:
        raise UserError(f"{dataset} is read as {kind}: set data.context, the tokens of a text.")
    if kind == "image_label":
        augmentation = {"shift": shift, "crop": crop, "flip": flip, "mean": mean, "std": std}
        resizing = Resizing.of(size, resample, centre, proportions)
        options = {"targets": targets, "pool": pool, "resizing": resizing} | augmentation
        return _images(builder, names, train, evaluation, size=size, levels=levels, form=form, **options)
    assert context is not None
    if kind == "text":
        texts = builder_texts(builder, names["text"])
        return text_dataset(dataset, texts, train, evaluation, context=context, jitter=jitter, tokenizer=tokenizer)
    whole_texts = WholeTexts(dataset, tokenizer=tokenizer, context=context)
    return in_form(_texts(builder, names, train, evaluation, whole_texts, context), form)


# ---- private parts --------------------------------------------------------------------------------------------------

# The fields that only some kinds have.
_IMAGE, _TEXT, _LABEL = ("image_label",), ("text_label", "text"), ("image_label", "text_label")
_FIELDS = (
    dict.fromkeys(
        ("image", "targets", "size", "resample", "centre", "proportions", "shift", "crop", "flip", "pool", "levels",
         "mean", "std"), _IMAGE,
    )  # fmt: skip
    | dict.fromkeys(("text", "context", "tokenizer"), _TEXT)
    | {"jitter": ("text",), "form": _LABEL, "label": _LABEL}
)


def _default(field: str) -> Any:
    return inspect.signature(tfds).parameters[field].default


def _is_a(part: str, feature: Any) -> bool:
    """Whether a feature can be the image, the text or the label."""
    if part == "image":
        shape: Any = feature.shape if isinstance(feature, (features.Image, features.Tensor)) else ()
        return len(shape) == 3 and shape[2] in (1, 3) and feature.np_dtype == np.uint8
    return isinstance(feature, features.Text if part == "text" else features.ClassLabel)


def _candidates(builder: core.DatasetBuilder, part: str, name: str) -> list[str]:
    """The features of a set that can be the image, the text or the label; the one that is named, if it is.

    Raises UserError where that is none of them.
    """
    names = [key for key, feature in _every(builder).items() if _is_a(part, feature)]
    if name and name not in names:
        raise UserError(f"{part} = {shown(name)}: {builder.info.full_name} has no such {part}. {_described(builder)}")
    supervised: Any = builder.info.supervised_keys or ()  # names, or for some sets nested tuples of them
    return [name] if name else [key for key in names if key in supervised] or names


def _every(builder: core.DatasetBuilder) -> dict[str, Any]:
    """The features of a set by name, in alphabetical order: TFDS lists them in any."""
    every: Any = builder.info.features
    return dict(sorted(every.items())) if isinstance(every, features.FeaturesDict) else {}


def _described(builder: core.DatasetBuilder) -> str:
    listed = [f"{name} ({type(feature).__name__})" for name, feature in _every(builder).items()]
    return f"It has {', '.join(listed) or 'no named features'}."


def _images(builder, names, train, evaluation, *, size, levels, form, resizing, **options) -> Dataset:
    every = builder.info.features
    if not size and None in every[names["image"]].shape:
        name = builder.info.full_name
        raise UserError(f"{name} has images of several sizes: set data.size, to which all are stretched.")
    rows = partial(decoded_images, builder, image=names["image"], label=names["label"], size=size, resizing=resizing)
    levels = levels or (0 if form == "plain" else _PEAK + 1)
    labels = every[names["label"]].names
    options |= {"levels": levels, "resizing": resizing}
    return in_form(labelled_images(rows, labels, train, evaluation, peak=_PEAK, **options), form, levels)


def _texts(builder, names, train, evaluation, whole_texts: WholeTexts, context: int) -> Dataset:
    name, label = builder.info.full_name, builder.info.features[names["label"]]
    sizes = {split: info.num_examples for split, info in sorted(builder.info.splits.items())}
    used = {split for spec in (train, evaluation) for split, _ in split_parts(name, sizes, spec)}
    sizes = {split: count for split, count in sizes.items() if split in used}
    rows = [record for split in sizes for record in records(builder, split)]
    targets = np.array([row[names["label"]] for row in rows])
    if (targets < 0).any():
        raise UserError(f"{name} has examples without a label in {' or '.join(sizes)}: choose other splits.")
    tokens = whole_texts.encode([row[names["text"]].decode("utf-8") for row in rows])
    vocabulary = whole_texts.vocabulary
    return sequence_dataset(
        name, Sequences.of(tokens, targets.tolist()), sizes, train, evaluation, vocabulary=vocabulary,
        encode=whole_texts.encode, names=label.names, classes=label.num_classes, vocab_size=len(vocabulary),
        context=context,
    )  # fmt: skip
