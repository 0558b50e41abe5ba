"""Compiles the train step of GPT-2 124M in bfloat16 for 16 chips of TPU v5e, the parameters in 16 pieces.

python tests/experiments/measure/gpt2_on_tpus.py FOLDER

Writes the text of the program, `step.hlo`, and `facts.json`: the shapes of the parameters, how many arrays the state
has, and the bytes that the compiler plans. It is a process of its own, as the flags of tests change what is compiled.
"""

import json
from pathlib import Path
import sys

import jax
import numpy as np

from experiments.measure.preflight import devices_of
from models import GPT
from objectives import OBJECTIVES
from training import mesh as meshes
from training.fields import Fields
from training.optimizer import make_optimizer
from training.programs import compile_programs
from training.state import initialise

VOCABULARY, CONTEXT, BATCH = 50_257, 1024, 128
SPLIT = {"data": 1, "fsdp": 16}


def main(folder: Path) -> None:
    jax.config.update("jax_platforms", "cpu")  # nothing is computed, only compiled
    mesh = meshes.make_mesh(devices_of("v5e:4x4")[1], **SPLIT)
    make_model = lambda rngs: GPT(
        vocab_size=VOCABULARY, context=CONTEXT, width=768, depth=12, heads=12, dtype="bfloat16", rngs=rngs
    )
    optimizer, _ = make_optimizer(
        steps=1000, learning_rate=6e-4, warmup=100, weight_decay=0.1, clip=1.0, beta2=0.95
    )  # fmt: skip
    fields = Fields(
        seed=0, steps=1000, batch_size=BATCH, eval_every=1000, checkpoint_every=1000, data={}, optimizer={},
        model={"name": "gpt", "dtype": "bfloat16"}, objective={"name": "language_modeling"}, mesh=SPLIT,
    )  # fmt: skip
    tokens = np.zeros((1, CONTEXT), np.int32)
    example = {"inputs": {"tokens": tokens}, "targets": tokens, "weights": np.ones((1, CONTEXT), np.float32)}
    structure, create = initialise(make_model, optimizer, average=False)
    programs = compile_programs(
        structure, create, OBJECTIVES["language_modeling"], optimizer, example, fields, mesh, "tpu"
    )  # fmt: skip
    (folder / "step.hlo").write_text(programs.step.as_text())
    facts = {
        "shapes": [x.shape for x in programs.shapes.parameters.values()],
        "arrays": len(jax.tree.leaves(programs.shapes)),
        "temporary": programs.step.memory_analysis().temp_size_in_bytes,
    }
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
