"""Texts with images in them: which image stands where, what is to be predicted, and the same text without images."""

from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from data import DATASETS
from data.dataset import Dataset
from data.in_memory import ArraySource
from data.interleaved import interleaved
from data.subwords import EOS, PAD


def shapes(form: str, **fields) -> Any:
    return DATASETS["shapes"](form=form, objects=1, side=16, **fields)


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    return shapes("interleaved"), shapes("class")


def test_each_image_is_followed_by_its_sentence(both):
    dataset, classes = both
    rows = np.array([3, 999])
    batch = dataset.evaluation.examples(rows)
    pairs = [[3, 4], [999, 0]]  # the example after the last one is the first
    for row, pair in enumerate(pairs):
        alone = classes.evaluation.examples(np.array(pair))
        np.testing.assert_array_equal(batch["inputs"]["images"][row], alone["inputs"]["images"])
        words = [f"[IMAGE] a {classes.classes[label]} [EOS]" for label in alone["targets"]]
        tokens = np.append(batch["inputs"]["tokens"][row], batch["targets"][row, -1])
        text = [dataset.vocabulary._tokenizer.id_to_token(int(token)) for token in tokens]
        assert " ".join(text) == " ".join(words)


def test_the_next_tokens_are_predicted_but_no_image(both):
    dataset, _ = both
    batch = dataset.train.examples(np.arange(5))
    tokens, targets, weights = batch["inputs"]["tokens"], batch["targets"], batch["weights"]
    np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
    np.testing.assert_array_equal(weights, targets != dataset.facts["image_token"])
    assert tokens.shape[1] == dataset.facts["context"] == 9 and (targets[:, -1] == EOS).all()
    assert ((tokens == dataset.facts["image_token"]).sum(1) == 2).all()


def test_the_blind_text_is_the_same(both):
    dataset, blind = both[0], shapes("blind")
    batch, other = (x.train.examples(np.arange(7)) for x in (dataset, blind))
    assert set(other["inputs"]) == {"tokens"} and blind.vocabulary.text() == dataset.vocabulary.text()
    for name in ("targets", "weights"):
        np.testing.assert_array_equal(batch[name], other[name])
    np.testing.assert_array_equal(batch["inputs"]["tokens"], other["inputs"]["tokens"])
    assert blind.facts == {name: dataset.facts[name] for name in ("vocab_size", "context")}


def test_sentences_of_several_lengths_are_padded_at_the_end():
    examples = {
        "inputs": {"images": np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1)},
        "targets": np.array([0, 1, 1]),
        "weights": np.ones(3, np.float32),
    }
    source = ArraySource(examples, np.arange(3))
    facts = {"image_shape": (1, 1, 1), "classes": 2}
    plain = Dataset(facts, source, source, "test", classes=("ankle boot", "bag"))
    dataset = interleaved(plain)
    batch = dataset.train.examples(np.array([0, 1]))
    assert dataset.vocabulary is not None
    image, a, ankle, boot, bag = dataset.vocabulary.encode("[IMAGE] a ankle boot bag")
    assert dataset.facts["context"] == 9
    assert batch["inputs"]["tokens"].tolist() == [
        [image, a, ankle, boot, EOS, image, a, bag, EOS], [image, a, bag, EOS, image, a, bag, EOS, PAD],
    ]  # fmt: skip
    assert batch["weights"].tolist() == [[1, 1, 1, 1, 0, 1, 1, 1, 0], [1, 1, 1, 0, 1, 1, 1, 0, 0]]


def test_several_objects_are_refused():
    with pytest.raises(UserError, match="objects = 2: form = 'interleaved' needs at most 1"):
        DATASETS["shapes"](form="interleaved")
