"""Coloured shapes with captions: what is seen in an image, said in words, with combinations that are held out.

A model that has seen red circles and blue squares, but never a red square, has to have learned what "red" and what
"square" is, to say so when it sees one.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import numpy as np

from core.errors import UserError, shown
from core.ranges import Range
from data.dataset import Batch, Dataset
from data.images import image_reading
from data.in_memory import ArraySource
from data.interleaved import interleaved
from data.prompts import with_prompts
from data.splits import split_rows
from data.subwords import BOS, EOS, PAD, SPECIALS, vocabulary_of_words

# Each fifth colour lacks the same shape, so these are as unlike as can be: green, white and brown, for one.
COLOURS = {
    "red": (0.9, 0.2, 0.2), "green": (0.2, 0.75, 0.3), "blue": (0.25, 0.4, 0.95), "yellow": (0.95, 0.85, 0.2),
    "purple": (0.65, 0.3, 0.8), "cyan": (0.2, 0.8, 0.85), "white": (0.95, 0.95, 0.95), "orange": (0.95, 0.5, 0.1),
    "pink": (0.95, 0.6, 0.75), "lime": (0.65, 0.95, 0.2), "grey": (0.55, 0.55, 0.55), "brown": (0.55, 0.35, 0.15),
    "teal": (0.1, 0.5, 0.5), "navy": (0.15, 0.2, 0.55), "olive": (0.5, 0.55, 0.1), "maroon": (0.5, 0.1, 0.2),
    "magenta": (0.95, 0.2, 0.75), "beige": (0.95, 0.9, 0.7), "lavender": (0.75, 0.7, 0.98), "mint": (0.6, 0.95, 0.75),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "cross", "ring")

_EVALUATION = {"test": 1_000, "combinations": 1_000}  # images


class Scenes(NamedTuple):
    """What the images of all splits depend on, see `shapes`."""

    side: int
    objects: int
    noise: float
    colours: int
    training_images: int
    own_colour: float

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images in each split, in the order in which they are drawn."""
        return {"train": self.training_images} | _EVALUATION


def shapes(
    *, train: str = "train", evaluation: str = "test", form: str = "caption", side: Annotated[int, Range(16, 64)] = 24,
    objects: Annotated[int, Range(1, 3)] = 2, noise: Annotated[float, Range(0, 1)] = 0.05,
    colours: Annotated[int, Range(5, len(COLOURS))] = 5,
    training_images: Annotated[int, Range(1_000, 100_000)] = 8_000, own_colour: Annotated[float, Range(0, 1)] = 0.0,
) -> Dataset:  # fmt: skip
    """Returns images (side, side, 3) in [0, 1] of one to `objects` shapes out of five, each in one colour.

    The splits train and test (1,000) have four of the five shapes in each colour. Each image of the split
    combinations (1,000) has at least one shape in the colour that it never had. Sizes, places and the grey of the
    background are random, and no two shapes overlap. The images are generated at each start, always the same ones.

    Args:
      colours: how many of the colours in `COLOURS`, the first ones. The more colours a network sees a shape in, the
        more often it knows the shape in yet another one.
      form: what the inputs and targets are:
        "caption": the image and its caption shifted right, as "tokens"; the targets are the next tokens, up to [EOS].
          A caption names the shapes from left to right, as in "a red circle and a blue square".
        "class": the image; the number of its combination, colour by colour. Needs objects=1.
        "shape": the image; the number of its shape, whatever its colour. Needs objects=1.
        "pair": the image and a sentence about it, see `data.prompts`; the number of what it says. In training up to two
          objects, as in "a red circle and a blue square"; in evaluation one, and the same numbers as for "class".
        "interleaved": a text of two images with sentences about them, see `data.interleaved`; the next tokens. "blind":
          the same text without the images. Both need objects=1.
        "mask": the image; for each pixel 0, or 1 + the number of the shape that it belongs to.
      noise: the standard deviation of what is added to each pixel, before the image is cut to [0, 1].
      training_images: how many the split train has. Another number gives other images in all splits.
      own_colour: the share of the training images in which each shape has a colour of its own: circles are red, squares
        green, triangles blue, crosses yellow and rings purple. The colour gives the shape away there, and not in the
        other splits.

    Raises UserError for an unknown form, and for a split that does not exist.
    """
    if form not in ("blind", "caption", "class", "interleaved", "mask", "pair", "shape"):
        raise UserError(
            f"form = {shown(form)}: expected 'blind', 'caption', 'class', 'interleaved', 'mask', 'pair' or 'shape'."
        )
    if objects > (most := {"blind": 1, "class": 1, "interleaved": 1, "pair": 2, "shape": 1}.get(form, objects)):
        raise UserError(f"objects = {objects}: form = {form!r} needs at most {most}.")
    if form in ("blind", "interleaved", "pair"):
        of_one = shapes(
            train=train, evaluation=evaluation, form="class", side=side, objects=1, noise=noise, colours=colours,
            training_images=training_images, own_colour=own_colour,
        )  # fmt: skip
        if form == "pair":
            return _pairs(of_one, train, Scenes(side, objects, noise, colours, training_images, own_colour))
        return interleaved(of_one, form == "blind")
    scenes = Scenes(side, objects, noise, colours, training_images, own_colour)
    images, masks, hues, kinds = _drawn(scenes)
    examples: Batch = {"inputs": {"images": images}, "targets": masks, "weights": np.ones(masks.shape, np.float32)}
    facts: dict[str, Any] = {"image_shape": (side, side, 3), "classes": 1 + len(SHAPES)}
    if form == "class":
        examples |= {"targets": hues[:, 0] * len(SHAPES) + kinds[:, 0], "weights": np.ones(len(images), np.float32)}
        facts["classes"] = colours * len(SHAPES)
    if form == "shape":
        examples |= {"targets": kinds[:, 0], "weights": np.ones(len(images), np.float32)}
        facts["classes"] = len(SHAPES)
    if form == "caption":
        tokens, examples["targets"], examples["weights"] = _captions(hues, kinds, colours)
        examples["inputs"]["tokens"] = tokens
        facts = {"image_shape": (side, side, 3), "vocab_size": len(words(colours)), "context": tokens.shape[1]}
    combinations = tuple(f"{colour} {kind}" for colour in _names(colours) for kind in SHAPES)
    classes = {"class": combinations, "mask": ("background", *SHAPES), "shape": SHAPES}
    source = lambda spec: _Images(examples, split_rows("shapes", scenes.sizes, spec))
    return Dataset(
        facts=facts, train=source(train), evaluation=source(evaluation), evaluation_name=evaluation,
        vocabulary=vocabulary_of_words(words(colours)) if form == "caption" else None, classes=classes.get(form),
        reading=image_reading((side, side, 3)),
    )  # fmt: skip


def held_out(colours: int) -> np.ndarray:
    """Returns which shapes are held out in which of the colours, bool (colours, shapes): one in each colour.

    They are the red triangle, the green cross, the blue ring, the yellow circle, the purple square, and so on.
    """
    return (np.arange(len(SHAPES)) - np.arange(colours)[:, None]) % len(SHAPES) == 2


def words(colours: int) -> tuple[str, ...]:
    """Returns the vocabulary of captions, behind the special tokens."""
    return (*SPECIALS, "a", "and", *_names(colours), *SHAPES)


def _names(colours: int) -> tuple[str, ...]:
    return tuple(COLOURS)[:colours]


def _pairs(of_one: Dataset, train: str, scenes: Scenes) -> Dataset:
    """Returns images and sentences; in training with up to `objects` shapes, in evaluation those of a set of one."""
    assert of_one.classes is not None
    one, C = of_one.classes, len(of_one.classes)
    images, _, hues, kinds = _drawn(scenes)
    numbers = hues * len(SHAPES) + kinds
    alone = numbers[:, -1] < 0 if scenes.objects > 1 else np.ones(len(images), bool)
    targets = np.where(alone, numbers[:, 0], C + C * numbers[:, 0] + numbers[:, -1])
    examples = {"inputs": {"images": images}, "targets": targets, "weights": np.ones(len(images), np.float32)}
    source = _Images(examples, split_rows("shapes", scenes.sizes, train))
    two = [f"{first} and a {second}" for first in one for second in one] if scenes.objects > 1 else []
    return with_prompts(replace(of_one, train=source), [*one, *two])


class _Images(ArraySource):
    """A source whose images are kept as bytes."""

    def examples(self, indices: np.ndarray, draws: np.ndarray | None = None) -> Batch:
        batch = super().examples(indices)
        batch["inputs"]["images"] = batch["inputs"]["images"] / np.float32(255)
        return batch


@lru_cache(maxsize=2)  # takes seconds; the members of a population share the result
def _drawn(scenes: Scenes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns images uint8 (N, side, side, 3), masks int32 (N, side, side), and colours and shapes int32 (N, objects).

    Shapes stand in strips beside each other, and their numbers from left to right; -1 stands for no shape. Callers
    share the arrays and must not write to them.
    """
    side, objects = scenes.side, scenes.objects
    generator, N = np.random.default_rng(0), sum(scenes.sizes.values())
    counts = generator.integers(1, objects + 1, size=N)
    hues, kinds = _combinations(generator, counts, scenes)
    absent = np.arange(objects) >= counts[:, None]
    hues[absent] = kinds[absent] = -1
    rows, columns = np.indices((side, side), np.float32) + 0.5
    background = generator.uniform(0, 0.25, size=(N, 1, 1, 1)).astype(np.float32)
    images, masks = np.broadcast_to(background, (N, side, side, 3)).copy(), np.zeros((N, side, side), np.int32)
    strip = side / counts
    for number in range(objects):
        radius = generator.uniform(0.34, 0.44, size=N) * side / np.maximum(counts, 2)
        top = generator.uniform(radius, side - radius)
        left = generator.uniform(number * strip + radius, np.maximum((number + 1) * strip - radius, radius))
        down, right, radius = ((x[:, None, None]).astype(np.float32) for x in (top, left, radius))
        covers = _covers((rows - down) / radius, (columns - right) / radius, kinds[:, number])
        covers &= ~absent[:, number, None, None]
        masks[covers] = np.broadcast_to(1 + kinds[:, number, None, None], covers.shape)[covers]
        table = np.array(list(COLOURS.values()), np.float32) * 0.9
        images[covers] = np.broadcast_to(table[hues[:, number], None, None], images.shape)[covers]
    images += scenes.noise * generator.standard_normal(images.shape, np.float32)
    return np.rint(255 * images.clip(0, 1)).astype(np.uint8), masks, hues, kinds


def _combinations(
    generator: np.random.Generator, counts: np.ndarray, scenes: Scenes
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Returns colours and shapes (N, objects). In the last split one of the first `counts` in each row is held out.

    The first colours belong to the shapes in their order, see `own_colour`; none of these pairs is held out.
    """
    seen, unseen = np.argwhere(~held_out(scenes.colours)), np.argwhere(held_out(scenes.colours))
    pairs = seen[generator.integers(len(seen), size=(len(counts), scenes.objects))]
    last = np.arange(len(counts) - _EVALUATION["combinations"], len(counts))
    pairs[last, generator.integers(counts[last])] = unseen[generator.integers(len(unseen), size=len(last))]
    hues, kinds = pairs[..., 0].astype(np.int32), pairs[..., 1].astype(np.int32)
    if scenes.own_colour:  # draws of its own, so that the images are the same but for their colours
        own = np.random.default_rng(1).random(scenes.training_images) < scenes.own_colour
        hues[: scenes.training_images][own] = kinds[: scenes.training_images][own]
    return hues, kinds


def _covers(down: np.ndarray, right: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Returns which pixels belong to a shape, for distances from its middle in units of its radius."""
    far, tall, wide = np.hypot(down, right), np.abs(down), np.abs(right)
    covered = {
        "circle": far <= 1,
        "square": np.maximum(tall, wide) <= 0.85,
        "triangle": (tall <= 0.9) & (wide <= (down + 0.9) / 1.8),
        "cross": (np.minimum(tall, wide) <= 0.3) & (np.maximum(tall, wide) <= 1),
        "ring": (far <= 1) & (far >= 0.55),
    }
    return np.select([kinds[:, None, None] == SHAPES.index(name) for name in covered], list(covered.values()), False)


def _captions(hues: np.ndarray, kinds: np.ndarray, colours: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns captions shifted right, the tokens that come next, and the weights of these, (N, T) each."""
    number = {word: token for token, word in enumerate(words(colours))}
    first_colour, first_shape = number[next(iter(COLOURS))], number[SHAPES[0]]
    parts = []
    for place in range(hues.shape[1]):
        begin = [number["and"]] if place else []
        first = [*begin, number["a"], first_colour, first_shape]
        part = np.tile(np.array(first, np.int32), (len(hues), 1))
        part[:, -2] += hues[:, place]
        part[:, -1] += kinds[:, place]
        parts.append(np.where(hues[:, place, None] >= 0, part, PAD))
    targets = np.concatenate([*parts, np.full((len(hues), 1), PAD, np.int32)], axis=1)
    lengths = (targets != PAD).sum(1)
    targets[np.arange(len(targets)), lengths] = EOS
    tokens = np.concatenate([np.full((len(targets), 1), BOS, np.int32), targets[:, :-1]], axis=1)
    tokens[tokens == EOS] = PAD
    return tokens, targets, (targets != PAD).astype(np.float32)
