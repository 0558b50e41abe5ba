"""Learning rate by width for the decoder: does the best learning rate fall as a GPT grows wider?

Command: python -m experiments.sweep experiments/sweeps/decoder_width.py --workdir=runs/decoder_width
"""

from experiments.sweep.space import product, repeat

CONFIG = "configs/gpt.py"
METRIC = "validation/loss"

BASE = {"model.depth": 2, "data.context": 32, "steps": 300, "eval_every": 100, "checkpoint_every": 100}


def sweep():
    rates = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    return repeat(product({"model.width": [32, 64, 128], "optimizer.learning_rate": rates}), seeds=2)
