"""Loss by size and length of training for the decoder: the runs that a scaling law is fitted to.

Command: python -m experiments.sweep experiments/sweeps/decoder_scaling.py --workdir=runs/decoder_scaling
Then:    python -m experiments.scaling --workdir=runs/decoder_scaling

muP lets all widths share one learning rate, which was chosen at width 32.
"""

from experiments.sweep.space import product, repeat

CONFIG = "configs/gpt.py"
METRIC = "validation/loss"

BASE = {
    "model.depth": 2, "model.parametrization": "mup", "model.base_width": 32, "data.context": 64,
    "optimizer.learning_rate": 0.01, "eval_every": 800, "checkpoint_every": 800,
}  # fmt: skip


def sweep():
    return repeat(product({"model.width": [16, 24, 32, 48, 64, 96, 128], "steps": [200, 400, 800]}), seeds=2)
