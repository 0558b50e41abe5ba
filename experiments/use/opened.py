"""A trained or a published model, opened for use: how it reads images or texts, and what its classes are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import nnx
import numpy as np

from core.errors import UserError
from core.notes import note
from data import DATASETS
from data.dataset import Batch, Dataset, Reading
from data.identity import identity_of
from data.images import image_reading
from data.published_tokenizer import PublishedTokenizer, published_tokenizer
from data.resizing import RESIZING, Resizing
from data.vocabulary import Vocabulary
from models import CLIP, GPT, Bert, Perceiver, VisionTransformer, pretrained
import train
from training.checkpoints import Checkpoints
from training.settings import resolve


@dataclass(frozen=True)
class Opened:
    """A model, and what belongs to it.

    Attributes:
      folder: where it is from.
      classes: the names of its classes by number; None if it has none. Classes without names are called by number.
      reading: how images or texts become its inputs; None where neither do.
      vocabulary: of a model that reads texts.
      run: the run that trained it; None for a published model.
    """

    folder: str
    model: nnx.Module
    classes: tuple[str, ...] | None
    reading: Reading | None
    vocabulary: Vocabulary | None
    run: train.Run | None


def open_folder(folder: str | Path) -> Opened:
    """Opens the newest checkpoint of a run, or a published model.

    Raises:
      UserError: the folder is neither, or its data set or tokenizer cannot be opened.
    """
    return _published(Path(folder)) if pretrained.is_published(folder) else _trained(str(folder))


def _trained(workdir: str) -> Opened:
    model, run = train.load(workdir, same_data=False)
    count, dataset = getattr(model, "classes", None), run.dataset
    names = dataset.classes if count is None or dataset.classes else tuple(map(str, range(count)))
    return Opened(workdir, model, names if count else None, dataset.reading, dataset.vocabulary, run)


def _published(folder: Path) -> Opened:
    model = pretrained.load(folder, dropout=0.0)
    fields = pretrained.describe(model)
    names = pretrained.class_names(folder) if getattr(model, "classes", None) else None
    vocabulary, reading = None, None
    if isinstance(model, CLIP):
        pass  # it reads images and texts at once
    elif shape := fields.get("image_shape"):
        size = pretrained.preprocessing(folder).get("size")
        if size and isinstance(model, VisionTransformer) and model.interpolation != "linear":
            model, shape = model.resized((size, size, shape[2])), (size, size, shape[2])  # as the reference does
        reading = _images(folder, tuple(shape))
    elif vocabulary := published_tokenizer(folder):
        if len(vocabulary) > fields["vocab_size"]:
            count = f"{len(vocabulary):,} tokens, but the model only {fields['vocab_size']:,}"
            raise UserError(f"{folder}: tokenizer.json has {count}")
        if isinstance(model, Bert | GPT | Perceiver):
            reading = _texts(vocabulary, model, fields["context"])
    return Opened(str(folder), model, names, reading, vocabulary, None)


def _images(folder: Path, shape: tuple[int, int, int]) -> Reading:
    settings = pretrained.preprocessing(folder)
    if settings.get("size", shape[0]) != shape[0] or shape[0] != shape[1] and "size" in settings:
        raise UserError(f"{folder}: images are resized to {settings['size']} pixels, but the model reads {shape}")
    resizing = Resizing(**{field: settings[field] for field in RESIZING if field in settings})
    return image_reading(shape, resizing=resizing, mean=settings.get("mean"), std=settings.get("std"))


def _texts(vocabulary: PublishedTokenizer, model: Bert | GPT | Perceiver, context: int) -> Reading:
    full = isinstance(model, Perceiver)  # its positions are those of a full context
    mask = not isinstance(model, GPT)
    return Reading("texts", lambda texts: PublishedTexts(vocabulary, texts, context, full=full, mask=mask))


class PublishedTexts:
    """A source of texts as a published model reads them: tokens (B, T) with special tokens, and their mask.

    Weights are 1 at the tokens that are no special ones, (B, T).

    Args:
      longest: the context of the model. Longer texts are cut, and a message says how many.
      full: whether T is the context of the model; otherwise T is the length of the longest text.
      mask: whether the model takes one.
    """

    draws = 0

    def __init__(
        self, vocabulary: PublishedTokenizer, texts: Sequence[str], longest: int, *, full: bool, mask: bool
    ):  # fmt: skip
        rows = vocabulary.framed(list(texts), longest)
        cut = sum(len(tokens) < len(whole) for (tokens, _), whole in zip(rows, vocabulary.encode_all(list(texts))))
        length = longest if full else max(len(tokens) for tokens, _ in rows)
        self._tokens, self._mask = np.zeros((len(rows), length), np.int32), np.zeros((len(rows), length), bool)
        self._words, self._has_mask = np.zeros((len(rows), length), np.float32), mask
        for row, (tokens, special) in enumerate(rows):
            self._tokens[row, : len(tokens)], self._mask[row, : len(tokens)] = tokens, True
            self._words[row, : len(tokens)] = ~special
        if cut:
            text = f"{cut:,} of {len(rows):,} texts are longer than {longest:,} tokens and were cut"
            note(text)

    def __len__(self) -> int:
        return len(self._tokens)

    def identity(self) -> dict[str, Any]:
        """Returns what tells these examples from others, see `data.dataset.Source`."""
        return identity_of(len(self), self._tokens)

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        """Returns a batch, see `data.dataset.Source`; its targets mean nothing."""
        inputs = {"tokens": self._tokens[indices]} | ({"mask": self._mask[indices]} if self._has_mask else {})
        return {"inputs": inputs, "targets": self._tokens[indices], "weights": self._words[indices]}


def describe(opened: Opened) -> str:
    """Returns what a folder holds in words, for messages."""
    kind = type(opened.model).__name__
    if opened.run is None:
        return f"{opened.folder} holds a {kind}"
    sections: Mapping[str, Any] = opened.run.config
    return f"{opened.folder} holds the model {sections['model']['name']!r} of the data {sections['data']['name']!r}"


def step_of(workdir: str | Path) -> int:
    """Returns the step of the newest checkpoint of a run."""
    return max(Checkpoints(Path(workdir) / "checkpoints", read_only=True).steps())


def open_split(run: train.Run, split: str) -> Dataset:
    """Returns the data set of a run, with another split for evaluation, in TFDS notation.

    Raises:
      UserError: the set has no such split.
    """
    if split == run.dataset.evaluation_name:
        return run.dataset
    make, settings = resolve("data", {**run.config["data"], "evaluation": split}, DATASETS)
    return make(**settings)
