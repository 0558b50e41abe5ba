"""The train step of GPT-2 124M in bfloat16 on 16 chips of TPU v5e, compiled ahead of time and judged by its text.

Needs libtpu: pip install -r requirements-tpu.txt. It is compiled once for all tests, which takes minutes.
"""

import importlib.util
import json
import math
import os
from pathlib import Path
import subprocess
import sys

import pytest

from experiments.measure.program_facts import donated, exchanges, gathers_of_others, square_arrays, wide_products
from tests import tiny
from tests.experiments.measure.gpt2_on_tpus import CONTEXT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no libtpu"),
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> tuple[str, dict]:
    """The text of the program, and what it was compiled for."""
    folder = tmp_path_factory.mktemp("gpt2")
    script = Path(__file__).with_name("gpt2_on_tpus.py")
    paths = os.pathsep.join(filter(None, [str(tiny.ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.run(
        [sys.executable, str(script), str(folder)], cwd=tiny.ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": paths, "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )  # fmt: skip
    if process.returncode:
        raise RuntimeError(process.stderr[-3000:])
    return (folder / "step.hlo").read_text(), json.loads((folder / "facts.json").read_text())


def test_only_parameters_are_gathered(compiled):
    text, facts = compiled
    assert sum(map(math.prod, facts["shapes"])) == 124_439_808
    assert gathers_of_others(text, map(tuple, facts["shapes"]), smallest=1e6) == []
    # No device receives more at once than the largest parameter in bfloat16, and in all not more than the parameters
    # and their gradients, with a tenth for the gradient of the look-up, the tokens and the norm of the gradient.
    largest = 2 * max(map(math.prod, facts["shapes"]))
    assert max(exchange.bytes for exchange in exchanges(text)) <= largest
    assert sum(exchange.bytes for exchange in exchanges(text)) <= 1.1 * 2 * 2 * 124_439_808


def test_exchanges_go_on_beside_computations(compiled):
    text, facts = compiled
    embedding = 2 * max(map(math.prod, facts["shapes"]))  # the first thing that is needed, so it is waited for
    others = [exchange for exchange in exchanges(text) if exchange.bytes < embedding]
    overlapped = sum(exchange.bytes for exchange in others if exchange.overlapped)
    assert overlapped / sum(exchange.bytes for exchange in others) >= 0.5


def test_the_state_is_given_away(compiled):
    text, facts = compiled
    assert donated(text) == set(range(facts["arrays"]))


def test_only_the_library_multiplies_float32(compiled):
    text, _ = compiled
    # The scores' gradient in jax.nn.dot_product_attention, whose products have these names.
    assert [product.line for product in wide_products(text) if "BTNH,BSNH->BNTS" not in product.line] == []


def test_attention_is_fused(compiled):
    text, _ = compiled
    assert square_arrays(text, CONTEXT) == []
