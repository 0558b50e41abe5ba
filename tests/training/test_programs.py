"""The compiled programs of a run: what one unit takes at the peak of the devices."""

import numpy as np
import pytest

from tests import tiny
from train import Run
from training import programs
from training.mesh import make_mesh
from training.peaks import CHIPS


def test_one_unit_takes_its_share_of_the_products_at_the_peak(monkeypatch):
    run = Run.of(tiny.get_config("gpt"))
    example = run.dataset.train.examples(np.arange(1))
    compile_ = lambda: programs.compile_programs(
        *run.initialise(), run.objective, run.optimizer, example, run.fields, make_mesh()
    )
    assert compile_().peak_seconds is None  # a CPU
    for name, tera in (("h100", 494), ("v3", 123 / 2)):  # float32; a device is half of a TPU v3
        monkeypatch.setattr(programs, "chip_of", lambda kind, name=name: CHIPS[name])
        compiled = compile_()
        tokens = run.fields.batch_size * 7
        assert compiled.peak_seconds == pytest.approx(compiled.flops.products / tokens / (tera * 1e12))
