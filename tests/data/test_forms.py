"""The forms of labelled examples, by hand: inputs, targets and weights."""

import numpy as np
import pytest

from data.dataset import Dataset
from data.forms import in_form
from data.image_cache import row_type
from data.images import Images
from data.sequences import Sequences, sequence_dataset

SEQUENCES = Sequences.of([np.array(x, np.uint8) for x in ([3, 1], [2, 4, 0])], [1, 2])


# Two images of 2x3 pixels with intensities 0..4, of classes 5 and 6.
PIXELS = [[0, 1, 2, 3, 4, 0], [4, 4, 0, 0, 1, 1]]
ROWS = np.array([(5 + n, np.reshape(PIXELS[n], (2, 3, 1))) for n in (0, 1)], row_type((2, 3, 1)))


def images(form: str, **settings):
    source = Images(ROWS, peak=4, **settings)
    plain = Dataset({"image_shape": (2, 3, 1), "classes": 7}, source, source, "test")
    dataset = in_form(plain, form, levels=settings.get("levels", 5))
    return dataset.facts, dataset.train.examples(np.array([1, 0]))


def sequences(form: str):
    plain = sequence_dataset("x", SEQUENCES, {"a": 2}, "a", "a", context=4, classes=3, vocab_size=5)
    dataset = in_form(plain, form)
    return dataset.facts, dataset.evaluation.examples(np.array([0, 1]))


def test_an_encoder_gets_a_token_in_front():
    facts, batch = sequences("class")
    assert facts == {"context": 5, "vocab_size": 6, "classes": 3}
    assert batch["inputs"]["tokens"].tolist() == [[5, 3, 1, 0, 0], [5, 2, 4, 0, 0]]
    assert batch["inputs"]["mask"].tolist() == [[True, True, True, False, False], [True, True, True, True, False]]
    assert batch["targets"].tolist() == [1, 2] and batch["weights"].tolist() == [1, 1]


def test_a_decoder_is_asked_for_the_class_after_the_last_token():
    facts, batch = sequences("next_token")
    assert facts == {"context": 4, "vocab_size": 8}
    assert batch["inputs"]["tokens"].tolist() == [[3, 1, 0, 0], [2, 4, 0, 0]]
    assert batch["weights"].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert batch["targets"][0, 1] == 5 + 1 and batch["targets"][1, 2] == 5 + 2


def test_an_encoder_decoder_writes_the_class():
    facts, batch = sequences("answer")
    assert facts == {"source_context": 4, "source_vocab_size": 5, "context": 1, "vocab_size": 4}
    assert batch["inputs"]["source"].tolist() == [[3, 1, 0, 0], [2, 4, 0, 0]]
    assert batch["inputs"]["source_mask"].sum(axis=1).tolist() == [2, 3]
    assert batch["inputs"]["tokens"].tolist() == [[3], [3]] and batch["targets"].tolist() == [[1], [2]]


def test_an_image_is_a_sequence_of_intensities():
    facts, batch = images("class")
    assert facts == {"context": 7, "vocab_size": 6, "classes": 7}
    assert batch["inputs"]["tokens"].tolist() == [[5, 4, 4, 0, 0, 1, 1], [5, 0, 1, 2, 3, 4, 0]]
    assert "mask" not in batch["inputs"] and batch["targets"].tolist() == [6, 5]
    _, batch = images("next_token")
    assert batch["targets"][:, -1].tolist() == [5 + 6, 5 + 5] and batch["weights"].sum() == 2
    facts, batch = images("answer")
    assert facts["vocab_size"] == 8 and batch["inputs"]["tokens"].tolist() == [[7], [7]]


def test_every_pixel_is_predicted_from_those_before():
    facts, batch = images("density", levels=2)
    assert facts == {"context": 6, "vocab_size": 3}
    assert batch["targets"].tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]  # 2 of 4 is rounded to even: 0
    assert batch["inputs"]["tokens"].tolist() == [[2, 1, 1, 0, 0, 0], [2, 0, 0, 0, 1, 1]]
    assert batch["weights"].all()
    _, half = images("second_half", levels=2)
    assert half["weights"].tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    np.testing.assert_array_equal(half["inputs"]["tokens"], batch["inputs"]["tokens"])


def test_an_encoder_decoder_is_given_one_half():
    facts, batch = images("halves", levels=2)
    assert facts == {"source_context": 3, "source_vocab_size": 3, "context": 3, "vocab_size": 3}
    assert batch["inputs"]["source"].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert batch["targets"].tolist() == [[0, 0, 0], [1, 1, 0]]
    assert batch["inputs"]["tokens"].tolist() == [[2, 0, 0], [2, 1, 1]]


def test_levels_move_each_pixel_to_the_nearest():
    plain = Images(ROWS, peak=4).examples(np.array([0]))["inputs"]["images"].ravel()
    assert plain.tolist() == [0, 0.25, 0.5, 0.75, 1, 0]
    coarse = Images(ROWS, peak=4, levels=3).examples(np.array([0]))["inputs"]["images"].ravel()
    assert coarse.tolist() == [0, 0, 0.5, 1, 1, 0]  # halves go to the even level
    assert coarse.dtype == np.float32


def test_impossible_forms_are_named():
    with pytest.raises(ValueError, match="form = 'tokens': expected one of plain, pair, class, "):
        sequences("tokens")
    with pytest.raises(ValueError, match="'density' is for images"):
        sequences("density")
    with pytest.raises(ValueError, match="needs the labels"):
        source = Images(ROWS, peak=4, targets="images")
        in_form(Dataset({"image_shape": (2, 3, 1), "target_shape": (2, 3, 1)}, source, source, "test"), "class", 5)
