"""Planted mixtures: as many columns as there should be, and shares that are told to the test only."""

import numpy as np

from data.mixtures import mixtures, planted_weights


def test_without_noise_the_examples_lie_on_a_surface_of_as_many_dimensions_as_archetypes_have_shares():
    data = mixtures(archetypes=3, noise=0.0)
    images = data.train.examples(np.arange(500))["inputs"]["images"].reshape(500, 8)
    near = np.argsort(((images[:, None] - images) ** 2).sum(-1), axis=1)[:, 1:9]
    for row in range(0, 500, 71):  # in a small neighbourhood two directions hold almost everything
        values = np.linalg.svd(images[near[row]] - images[row], compute_uv=False)
        assert (values[2:] ** 2).sum() < 0.05 * (values**2).sum()


def test_side_information_is_the_share_of_the_first_archetype():
    data = mixtures(archetypes=5, side=True, train="train[:7]", evaluation="test[:3]")
    assert data.facts == {"image_shape": (8, 1, 1), "side": 1}
    shares = planted_weights(5)
    np.testing.assert_allclose(data.train.examples(np.arange(7))["inputs"]["side"][:, 0], shares[:7, 0], rtol=1e-6)
    np.testing.assert_allclose(data.evaluation.examples(np.arange(3))["inputs"]["side"][:, 0], shares[4000:4003, 0],
                               rtol=1e-6)  # fmt: skip
    np.testing.assert_allclose(shares.sum(1), 1)
