"""Every figure: its check passes, and fails when a switch takes away what the claim depends on."""

import inspect

import pytest

from experiments.figures.engine import caption, load, missing, names, results_of
from tests.experiments.figures import recorded

BREAKS = {
    "ancestral": {"noise": 0.0},  # without the noise of the likelihood
    "attn_as_conv": {"sharpness": 8.0},  # blurred heads
    "attn_is_smoother": {"equal_norms": False},
    "attn_lookup": {"scale": 1 / 80},  # scores too close to tell apart
    "bert_corruption": {"vocab_size": 1},  # a random word is always [MASK]
    "clip_hard_negatives": {"temperatures": (2.0, 1.0)},  # hardly one stands out
    "cnn_receptive_field": {"kernel": 5},
    "conv_equivariance": {"positions": "none"},
    "ebm_beta": {"mean": False},  # without the 1/N inside the logarithm
    "ebm_contributions": {"radii": (1.0, 1.0)},  # a circle: every latent is as far from the middle
    "ebm_energies": {"radii": (1.5, 2.0)},
    "elbo_gap": {"kl_weight": 0.5},
    "elbo_tight": {"posterior_variance": False},  # the approximate posterior cannot equal the true one
    "gcn_from_attention": {"weigh": "scored"},
    "grad_shortcut": {"bidirectional": True},  # the first word is read last, too
    "hard_soft": {"sign": -1},  # the sign of beta reversed
    "k1_conv": {"size": 3},  # sees neighbours
    "krr": {"strength": 0.4},  # another lambda than scikit-learn
    "linear_attention": {"attention": "softmax"},  # nothing is linear
    "linear_views": {"right_order": False},  # inputs scale the wrong columns
    "man_woman": {"without": "learned"},  # with positions
    "mha_parity": {"heads": 2},
    "nmt_chain": {"shift": False},  # each word sees itself
    "norm_scale": {"normalise": False},
    "oversmoothing": {"kept": 0.2},  # nodes keep a part of their first features
    "perceiver_cost": {"latents": None},  # as many latents as pixels
    "perceiver_permutation": {"positions_too": False},
    "qk_variance": {"scale": 1.0},  # not divided
    "quadratic": {"queries": 64},  # a fixed number of queries
    "reparameterisation": {"through_the_draw": False},  # no gradient through the draw
    "set_equivariance": {"without": "learned"},  # with positions
    "sinusoid_positions": {"table": "random"},
    "swin": {"shift": False},
    "sparse_attention": {"window_of_model": 7},  # another window than the masks
    "vit_patchify": {"swap_axes": True},  # patches read column by column
    "weight_sharing": {"padding": "SAME"},
}
LONGER = {"grad_shortcut", "linear_attention", "oversmoothing", "perceiver_cost", "swin"}  # which take seconds


def failed(name: str, results: dict) -> list[str]:
    return [str(criterion) for criterion in load(name).check(results) if not criterion.passed]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.medium) if name in LONGER else name for name in BREAKS]
)
def test_the_claim_holds_and_its_check_can_fail(name):
    assert failed(name, load(name).run(0)) == []
    assert failed(name, load(name).run(0, **BREAKS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_the_claim_holds_for_other_seeds(name):
    for seed in (1, 2):
        assert failed(name, load(name).run(seed)) == []


@pytest.mark.parametrize("name", recorded.RECORDED)
def test_the_check_of_a_trained_figure_can_fail(name):
    results, changes = recorded.RECORDED[name]
    assert failed(name, results) == []
    for change in changes:
        assert failed(name, results | change), change


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all figures, since they share runs."""
    return tmp_path_factory.mktemp("figures")


@pytest.mark.slow
@pytest.mark.parametrize("name", recorded.BREAKS)
def test_the_claim_of_a_trained_figure_holds_and_its_check_can_fail(name, folder):
    if reason := missing(name):
        pytest.skip(reason)
    assert failed(name, results_of(name, folder, 0)) == []
    assert failed(name, results_of(name, folder, 0, **recorded.BREAKS[name]))


def test_every_figure_is_broken_here():
    assert names() == sorted(BREAKS | recorded.BREAKS)
    assert set(recorded.RECORDED) == set(recorded.BREAKS)


@pytest.mark.parametrize("name", names())
def test_a_figure_says_what_it_shows(name):
    about = caption(name)
    assert set(about) == {"title", "text", "Formula", "Source", "Look at"} and all(about.values())
    assert len(about["title"]) <= 90 and "\n" not in about["title"]
    seed, *switches = [p for p in inspect.signature(load(name).run).parameters.values() if p.name != "train"]
    assert seed.name == "seed" and switches
    assert all(switch.default is not inspect.Parameter.empty for switch in switches)
