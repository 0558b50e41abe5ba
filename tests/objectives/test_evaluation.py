"""Every metric of every objective in evaluation: it is the same in any batches, and says which way is better."""

from functools import partial
import json
import os
from pathlib import Path
import subprocess
import sys

import jax
import numpy as np
import pytest

from core.metrics import HIGHER, LOWER, measured_by
from data.in_memory import ArraySource
from data.pipeline import evaluation_batches
from models import MODELS
from objectives import BETTER, OBJECTIVES
from objectives.interface import compares
from objectives.noise import keys_of_examples, noise_of_examples
from training.loop import evaluate
from training.mesh import make_mesh, put
from training.optimizer import make_optimizer
from training.state import initialise
from training.step import make_evaluation_step, make_train_step

ROOT = Path(__file__).parents[2]
COUNT = 13
DRAW = np.random.default_rng(0)
IMAGES = DRAW.random((COUNT, 2, 3, 1), np.float32)
TOKENS = DRAW.integers(5, 23, (COUNT, 7)).astype(np.int32)
SMALL = dict(width=6, depth=1, heads=3)
VAE = ("variational", dict(image_shape=(2, 3, 1), target_shape=(2, 3, 1), latents=5, width=7, depth=1))
MASKED = ("bert", dict(vocab_size=23, context=7, **SMALL))
CORRUPTED = dict(mask_id=4, vocab_size=23, special_below=5, rate=0.4)


def examples(inputs, targets, weights=None):
    return {"inputs": inputs, "targets": targets, "weights": np.ones(COUNT, np.float32) if weights is None else weights}


EACH_TOKEN = (DRAW.random((COUNT, 7)) < 0.8).astype(np.float32)
CLASSES = np.arange(COUNT, dtype=np.int32) % 3
# (objective, its settings, model, its fields, examples)
CASES = {
    "classes": ("classification", {}, "perceptron", dict(image_shape=(2, 3, 1), classes=3, width=5, depth=1),
                examples({"images": IMAGES}, CLASSES)),
    "pixels": ("segmentation", {}, "unet", dict(image_shape=(2, 4, 1), classes=3, width=5, depth=1),
               examples({"images": DRAW.random((COUNT, 2, 4, 1), np.float32)},
                        DRAW.integers(3, size=(COUNT, 2, 4)).astype(np.int32), np.ones((COUNT, 2, 4), np.float32))),
    "corrupted pixels": ("reconstruction", dict(masked=0.4, noise=0.3), "autoencoder",
                         dict(image_shape=(2, 3, 1), code=5, width=7, depth=1), examples({"images": IMAGES}, IMAGES)),
    "pairs": ("contrastive", {}, "clip",
              dict(image_shape=(2, 3, 1), patch=1, vocab_size=23, context=7, shared_width=5, **SMALL),
              examples({"images": IMAGES, "tokens": TOKENS}, CLASSES)),
    "mixtures": ("archetypal", {}, "archetypal", dict(image_shape=(2, 3, 1), archetypes=5, side=2, width=7, depth=1),
                 examples({"images": IMAGES, "side": DRAW.random((COUNT, 2), np.float32)}, IMAGES)),
    "points": ("energy", dict(loss="hinge", temperature=0.5), "latent_energy",
               dict(inputs=0, latents=11, width=7, depth=1),
               examples({"y": DRAW.normal(size=(COUNT, 2)).astype(np.float32)}, CLASSES)),
    "text": ("language_modeling", {}, "gpt", dict(vocab_size=23, context=7, **SMALL),
             examples({"tokens": TOKENS}, TOKENS, EACH_TOKEN)),
    "translation": ("seq2seq", {}, "encoder_decoder",
                    dict(vocab_size=23, source_vocab_size=23, context=7, source_context=7, **SMALL),
                    examples({"source": TOKENS, "tokens": TOKENS}, TOKENS, EACH_TOKEN)),
    "numbers": ("regression", {}, "in_context", dict(dimensions=2, context=7, **SMALL),
                examples({"points": DRAW.normal(size=(COUNT, 7, 2)).astype(np.float32),
                          "values": DRAW.normal(size=(COUNT, 7)).astype(np.float32)},
                         DRAW.normal(size=(COUNT, 7)).astype(np.float32), EACH_TOKEN)),
    "hidden words": ("masked_language_modeling", CORRUPTED, *MASKED[:1], MASKED[1] | {"head": "masked"},
                     examples({"tokens": TOKENS}, CLASSES, EACH_TOKEN)),
    "hidden words and next text": ("masked_language_modeling", CORRUPTED, *MASKED,
                                   examples({"tokens": TOKENS}, CLASSES % 2, EACH_TOKEN)),
    "autoencoder": ("variational", dict(evaluation_samples=3, free_bits=0.5, target_entropy=4.0, kl_warmup=9), *VAE,
                    examples({"images": IMAGES}, IMAGES)),
    "texts and their properties": (
        "sequence_variational", dict(beta=0.5, free_bits=0.5, property_weight=3.0), "sequence_vae",
        dict(vocab_size=23, context=7, latents=5, properties=2, width=6, depth=1),
        examples({"tokens": TOKENS, "mask": EACH_TOKEN > 0, "properties": DRAW.random((COUNT, 2), np.float32)}, TOKENS,
                 EACH_TOKEN)),
    "another view": ("variational", dict(beta=0.1, beta_weighs="likelihood"), VAE[0],
                     VAE[1] | dict(target_shape=(2,), likelihood="gaussian"),
                     examples({"images": IMAGES}, IMAGES[:, :, 0, 0])),
    "bottleneck": ("variational", dict(evaluation_samples=2), VAE[0],
                   VAE[1] | dict(target_shape=None, likelihood="categorical", classes=3),
                   examples({"images": IMAGES}, CLASSES)),
    "bottleneck of words": ("variational", {}, VAE[0],
                            dict(vocab_size=23, context=7, latents=5, encoder="bert", likelihood="categorical",
                                 classes=3, **SMALL),
                            examples({"tokens": TOKENS, "mask": EACH_TOKEN > 0}, CLASSES)),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    return built(request.param)


def built(name: str):
    """(structure, function to the first state, objective, optimizer, examples) of a case."""
    objective, settings, model, fields, batch = CASES[name]
    make_model = lambda rngs: MODELS[model](**fields, rngs=rngs)
    optimizer, _ = make_optimizer(steps=2, learning_rate=0.1)
    structure, create = initialise(make_model, optimizer, average=False)
    return structure, create, partial(OBJECTIVES[objective], **settings), optimizer, batch


def test_every_objective_is_tested_here():
    assert {objective for objective, *_ in CASES.values()} == set(OBJECTIVES)


def test_metrics_of_a_split_do_not_depend_on_its_batches(case):
    if compares(case[2].func):
        pytest.skip("compares the examples of a batch with one another")
    structure, create, objective, _, batch = case
    step, state = jax.jit(make_evaluation_step(structure, objective)), jax.jit(create)(jax.random.key(0))
    source = ArraySource(batch, np.arange(COUNT))

    def metrics(batch_size):
        return evaluate(step, jax.device_put, evaluation_batches(source, batch_size=batch_size), state.parameters)

    expected = metrics(COUNT)
    for batch_size in (1, 4):
        assert metrics(batch_size) == pytest.approx(expected, rel=1e-5, abs=1e-6), batch_size
    backwards = ArraySource(batch, np.arange(COUNT)[::-1])
    again = evaluate(step, jax.device_put, evaluation_batches(backwards, batch_size=4), state.parameters)
    assert again == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_two_objectives_compare_examples():
    assert [name for name, objective in OBJECTIVES.items() if compares(objective)] == ["archetypal", "contrastive"]


def metrics_on(mesh) -> dict[str, dict[str, float]]:
    """The metrics of all cases, with the examples of a batch divided over the devices of a mesh."""
    results = {}
    for name in CASES:
        structure, create, objective, _, batch = built(name)
        step, state = jax.jit(make_evaluation_step(structure, objective)), create(jax.random.key(0))
        batches = evaluation_batches(ArraySource(batch, np.arange(COUNT)), batch_size=8)
        results[name] = evaluate(step, lambda batch: put(mesh, batch, 8), batches, state.parameters)
    return results


@pytest.mark.slow
def test_metrics_of_a_split_do_not_depend_on_the_devices():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    process = subprocess.run(
        [sys.executable, "-m", "tests.objectives.test_evaluation"], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    eight, one = json.loads(process.stdout), metrics_on(make_mesh(data=1))
    assert eight.keys() == one.keys() == CASES.keys()
    for name, metrics in one.items():
        assert eight[name] == pytest.approx(metrics, rel=1e-5, abs=1e-6), name


def test_every_metric_says_which_way_is_better(case):
    structure, create, objective, optimizer, batch = case
    state = jax.eval_shape(create, jax.random.key(0))
    evaluated = jax.eval_shape(make_evaluation_step(structure, objective), state.parameters, batch)
    _, trained = jax.eval_shape(make_train_step(structure, objective, optimizer), state, batch)
    declared = measured_by(objective.func)
    assert set(evaluated) | set(trained) - {"grad_norm"} <= set(declared)
    assert set(declared.values()) <= {LOWER, HIGHER}
    assert evaluated.keys() <= BETTER.keys()


def test_one_name_means_one_direction():
    for objective in OBJECTIVES.values():
        assert {name: BETTER[name] for name in measured_by(objective)} == dict(measured_by(objective))


def test_noise_follows_the_example_and_the_draw():
    keys = keys_of_examples({"images": IMAGES})
    noise = noise_of_examples(keys, 0, (1000,))
    assert np.std(noise) == pytest.approx(1, abs=0.03)
    assert len(np.unique(np.asarray(noise)[:, 0])) == COUNT
    np.testing.assert_array_equal(noise_of_examples(keys_of_examples({"images": IMAGES[5:7]}), 0, (1000,)), noise[5:7])
    other = np.abs(np.corrcoef(np.vstack([noise, noise_of_examples(keys, 1, (1000,))])) - np.eye(2 * COUNT))
    assert other.max() < 0.15  # independent over examples and draws
    moved = IMAGES[:1, ::-1]  # the same numbers at other places are another example
    assert keys_of_examples({"images": moved}) != keys[:1]
    assert keys_of_examples({"images": IMAGES, "mask": None})[0] == keys[0]


if __name__ == "__main__":
    print(json.dumps(metrics_on(make_mesh(data=8))))
