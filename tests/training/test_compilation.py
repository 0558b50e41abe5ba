"""Programs that run once are compiled in less time, to the same numbers."""

import jax
import pytest

from tests import tiny
from train import Run
from training.compilation import quickly_compiled
from training.fingerprints import digest


@pytest.mark.medium
@pytest.mark.parametrize("name", ["gpt", "vae"])
def test_a_program_that_is_compiled_in_less_time_computes_the_same_bits(name):
    _, create = Run.of(tiny.get_config(name)).initialise()
    jax.config.update("jax_disable_most_optimizations", False)  # as for users; other tests optimise nothing
    try:
        states = [compiled(create)(jax.random.key(3)) for compiled in (quickly_compiled, jax.jit)]
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
    assert digest(states[0]) == digest(states[1])
