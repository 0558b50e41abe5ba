"""Coloured shapes: captions say what is in the image, masks where, and some combinations are in one split only."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from data import DATASETS
from data.shapes import COLOURS, SHAPES, held_out
from data.subwords import BOS

SPLITS = ("train", "test", "combinations")


def examples(split: str, **fields) -> dict[str, Any]:
    source = DATASETS["shapes"](train=split, **fields).train
    return source.examples(np.arange(min(1000, len(source))))


def sentences(batch, colours: int = 5) -> list[str]:
    vocabulary: Any = DATASETS["shapes"](colours=colours).vocabulary
    lengths = batch["weights"].sum(1).astype(int) - 1  # without [EOS]
    return [vocabulary.decode(row[:length]) for row, length in zip(batch["targets"], lengths)]


@pytest.fixture(scope="module")
def captions() -> dict[str, list[str]]:
    return {split: sentences(examples(split)) for split in SPLITS}


def test_a_caption_names_one_or_two_shapes(captions):
    phrases = {f"a {colour} {shape}" for colour in list(COLOURS)[:5] for shape in SHAPES}
    for split in SPLITS:
        counts = Counter(len(caption.split(" and ")) for caption in captions[split])
        assert set(counts) == {1, 2} and min(counts.values()) > 400
        assert {part for caption in captions[split] for part in caption.split(" and ")} <= phrases


@pytest.mark.parametrize("colours", [5, 7])
def test_held_out_combinations_are_in_every_image_of_their_split_and_in_no_other(colours):
    names, unseen = list(COLOURS)[:colours], held_out(colours)
    phrases = {f"a {colour} {shape}" for colour in names for shape in SHAPES}
    absent = {f"a {names[i]} {SHAPES[j]}" for i, j in np.argwhere(unseen)}
    assert unseen.sum(1).tolist() == [1] * colours and set(unseen.sum(0).tolist()) <= {1, 2}
    assert {"a red triangle", "a purple square"} <= absent
    captions = {split: sentences(examples(split, colours=colours), colours) for split in SPLITS}
    parts = {split: [set(caption.split(" and ")) for caption in captions[split]] for split in SPLITS}
    assert all(part & absent for part in parts["combinations"])
    for split in ("train", "test"):
        assert set.union(*parts[split]) == phrases - absent


def test_more_training_images_are_other_images_with_the_same_combinations_held_out():
    more = {split: DATASETS["shapes"](train=split, training_images=1_013).train for split in SPLITS}
    assert [len(more[split]) for split in SPLITS] == [1_013, 1_000, 1_000]
    captions = {split: sentences(source.examples(np.arange(1_000))) for split, source in more.items()}
    unseen = [f"{list(COLOURS)[colour]} {SHAPES[kind]}" for colour, kind in np.argwhere(held_out(5))]
    shows = lambda caption: any(name in caption for name in unseen)
    assert [sum(map(shows, captions[split])) for split in SPLITS] == [0, 0, 1_000]
    assert captions["train"] != sentences(examples("train"))


def test_colours_and_masks_are_where_the_caption_says(captions):
    """From left to right, each object has the shape and the colour of its part of the caption."""
    batch, pictures = examples("test", form="mask"), examples("test")["inputs"]["images"]
    np.testing.assert_array_equal(batch["inputs"]["images"], pictures)
    table = np.array(list(COLOURS.values())[:5])
    for caption, image, mask in zip(captions["test"][:200], pictures, batch["targets"]):
        parts = caption.split(" and ")
        strips = zip(parts, np.array_split(image, len(parts), axis=1), np.array_split(mask, len(parts), axis=1))
        for part, strip, places in strips:
            _, colour, shape = part.split()
            assert set(np.unique(places)) == {0, 1 + SHAPES.index(shape)}
            mean = strip[places > 0].mean(0)
            assert list(COLOURS)[:5][np.abs(table * 0.9 - mean).sum(1).argmin()] == colour


def test_classes_are_combinations_by_number():
    dataset = DATASETS["shapes"](form="class", objects=1)
    batch = dataset.evaluation.examples(np.arange(50))
    assert dataset.classes is not None
    names = [f"a {dataset.classes[label]}" for label in batch["targets"]]
    assert names == sentences(examples("test", objects=1))[:50]


def test_in_a_share_of_the_training_images_the_colour_gives_the_shape_away():
    fields = {"objects": 1, "form": "class"}
    plain, biased = examples("train", **fields), examples("train", **fields, own_colour=0.7)
    shapes, own = biased["targets"] % 5, biased["targets"] // 5 == biased["targets"] % 5
    np.testing.assert_array_equal(shapes, plain["targets"] % 5)
    by_chance = (plain["targets"] // 5 == plain["targets"] % 5).mean()
    assert own.mean() == pytest.approx(0.7 + 0.3 * by_chance, abs=0.02)
    assert (biased["targets"][~own] == plain["targets"][~own]).all()
    for split in ("test", "combinations"):
        same = [examples(split, **fields, own_colour=share) for share in (0.0, 0.7)]
        np.testing.assert_equal(same[0], same[1])


def test_the_form_shape_leaves_the_colour_out():
    dataset = DATASETS["shapes"](form="shape", objects=1)
    assert (dataset.classes, dataset.facts["classes"]) == (SHAPES, 5)
    labels, classes = (DATASETS["shapes"](form=form, objects=1).evaluation for form in ("shape", "class"))
    indices = np.arange(50)
    np.testing.assert_array_equal(labels.examples(indices)["targets"], classes.examples(indices)["targets"] % 5)


def test_inputs_are_the_caption_shifted_right():
    batch = examples("test")
    assert (batch["inputs"]["tokens"][:, 0] == BOS).all()
    inside = batch["weights"][:, 1:] > 0
    np.testing.assert_array_equal(batch["inputs"]["tokens"][:, 1:][inside], batch["targets"][:, :-1][inside])


def test_the_caller_may_change_a_batch():
    source = DATASETS["shapes"]().evaluation
    first = source.examples(np.arange(3))
    first["inputs"]["images"][:] = 7
    first["inputs"]["tokens"][:] = 7
    again = source.examples(np.arange(3))["inputs"]
    assert again["images"].max() <= 1 and again["images"].dtype == np.float32 and (again["tokens"][:, 0] == BOS).all()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"form": "boxes"}, "expected 'blind', 'caption', 'class', 'interleaved', 'mask', 'pair' or 'shape'"),
        ({"form": "class"}, "objects = 2: form = 'class' needs at most 1"),
        ({"form": "pair", "objects": 3}, "objects = 3: form = 'pair' needs at most 2"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        DATASETS["shapes"](**fields)
