"""Order, randomness, shares and resumption of batches, over a source that returns the indices it is given."""

import json

import numpy as np
import pytest

from data.image_cache import row_type
from data.images import Images
from data.pipeline import CHUNK, evaluation_batches, population_batches, train_batches


class IndexSource:
    """A source of 11 examples, each being its own index and random numbers."""

    draws = 3

    def __len__(self):
        return 11

    def identity(self):
        return {"examples": 11}

    def examples(self, indices, draws=None):
        inputs = {"indices": indices.copy(), "draws": np.zeros((len(indices), 0)) if draws is None else draws}
        return {"inputs": inputs, "targets": indices.copy(), "weights": np.ones(len(indices), np.float32)}


def take(count, seed=0, rows=slice(None)):
    batches = train_batches(IndexSource(), batch_size=5, seed=seed, rows=rows)
    return [next(batches) for _ in range(count)]


def column(batches, name):
    return np.concatenate([batch["inputs"][name] for batch in batches])


def assert_equal(left, right):
    np.testing.assert_equal([batch for batch in left], [batch for batch in right])


def test_every_example_occurs_once_per_epoch_though_batches_cross_epochs():
    indices = column(take(11), "indices")
    epochs = indices.reshape(5, 11)
    for epoch in epochs:
        assert sorted(epoch) == list(range(11))
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_the_seed_decides_order_and_draws():
    assert_equal(take(7, seed=3), take(7, seed=3))
    assert not np.array_equal(column(take(7, seed=3), "indices"), column(take(7, seed=4), "indices"))
    assert not np.array_equal(column(take(7, seed=3), "draws"), column(take(7, seed=4), "draws"))


def test_draws_are_uniform_and_never_repeat():
    draws = column(take(60), "draws")
    assert draws.min() >= 0 and draws.max() < 1 and abs(draws.mean() - 0.5) < 0.05
    assert len(np.unique(draws)) == draws.size


@pytest.mark.parametrize("done", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_set_state_continues_exactly_in_spite_of_prefetching(done):
    first = train_batches(IndexSource(), batch_size=5, seed=2)
    for _ in range(done):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    expected = [next(first) for _ in range(CHUNK + 2)]
    second = train_batches(IndexSource(), batch_size=5, seed=2)
    next(second)
    second.set_state(state)
    assert_equal([next(second) for _ in range(CHUNK + 2)], expected)


def test_the_batches_of_several_processes_are_those_of_one():
    single = take(9)
    first, second = take(9, rows=slice(0, 3)), take(9, rows=slice(3, 5))
    for name in ("indices", "draws"):
        joined = [np.concatenate([a["inputs"][name], b["inputs"][name]]) for a, b in zip(first, second)]
        np.testing.assert_equal(joined, [batch["inputs"][name] for batch in single])


def test_augmented_images_do_not_depend_on_how_rows_are_shared():
    images = np.zeros(13, row_type((7, 5, 3)))
    images["image"] = np.random.default_rng(0).integers(0, 256, (13, 7, 5, 3))

    def batches(rows):
        source = Images(images, peak=255, shift=2, crop=0.6, flip=True)
        iterator = train_batches(source, batch_size=6, seed=1, rows=rows)
        return [next(iterator)["inputs"]["images"] for _ in range(5)]

    halves = zip(batches(slice(0, 3)), batches(slice(3, 6)))
    np.testing.assert_array_equal([np.concatenate(pair) for pair in halves], batches(slice(None)))


@pytest.mark.parametrize("batch_size", [0, 12])
def test_a_batch_that_does_not_fit_names_both_sizes(batch_size):
    with pytest.raises(ValueError, match=rf"batch_size = {batch_size}: expected between 1 and the 11 examples"):
        train_batches(IndexSource(), batch_size=batch_size, seed=0)


@pytest.mark.parametrize("batch_size", [3, 11, 17])
def test_evaluation_sees_each_example_once_in_order_and_pads_with_weight_zero(batch_size):
    batches = list(evaluation_batches(IndexSource(), batch_size=batch_size))
    indices, weights = column(batches, "indices"), np.concatenate([batch["weights"] for batch in batches])
    assert {len(batch["weights"]) for batch in batches} == {batch_size}
    assert indices[weights == 1].tolist() == list(range(11))
    assert set(indices[weights == 0]) <= {10}
    assert column(batches, "draws").size == 0


def test_evaluation_can_be_repeated_and_shared():
    batches = evaluation_batches(IndexSource(), batch_size=4)
    assert_equal(batches, batches)
    # The second process's part of the last batch (rows 8 to 11 of 11) is example 10 and one of padding.
    last = list(evaluation_batches(IndexSource(), batch_size=4, rows=slice(2, 4)))[-1]
    assert last["inputs"]["indices"].tolist() == [10, 10] and last["weights"].tolist() == [1, 0]


def test_an_evaluation_batch_needs_a_size():
    with pytest.raises(ValueError, match="batch_size = 0: expected at least 1"):
        evaluation_batches(IndexSource(), batch_size=0)


def test_a_population_gets_the_batches_of_each_seed_and_has_their_state():
    """Also where two members share a seed, and over the border of an epoch."""
    seeds = [3, 0, 3]
    population, alone = population_batches(IndexSource(), batch_size=5, seeds=seeds), {}
    for seed in seeds:
        alone[seed] = train_batches(IndexSource(), batch_size=5, seed=seed)
    for _ in range(4):
        batch, own = next(population), {seed: next(batches) for seed, batches in alone.items()}
        for member, seed in enumerate(seeds):
            for name in ("indices", "draws"):
                np.testing.assert_array_equal(batch["inputs"][name][member], own[seed]["inputs"][name])
            np.testing.assert_array_equal(batch["weights"][member], own[seed]["weights"])
    assert population.get_state() == alone[0].get_state()
    later = population_batches(IndexSource(), batch_size=5, seeds=seeds)
    later.set_state(alone[0].get_state())
    np.testing.assert_equal(next(later), next(population))
