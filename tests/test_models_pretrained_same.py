"""Published weights give the reference's numbers: outputs, hidden states, gradients, training, generated text.

The cases in tests/pretrained are written by tests/reference.py. Where LECTERN_REFERENCE names another folder of cases
("make test-reference") those are compared instead, what we save is left there for the reference, and the table in
README.md is written.
"""

from collections import defaultdict
import functools
import os
from pathlib import Path
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from models import GPT, Bert, VisionTransformer
from models.decoding import sample
from models.pretrained import REFERENCES, load, save, table
from training.state import merge, split

LIVE = os.environ.get("LECTERN_REFERENCE")
FOLDER = Path(LIVE or Path(__file__).with_name("pretrained"))
CASES = sorted(path.parent.name for path in FOLDER.glob("*/expected.safetensors"))
MEASURED = defaultdict(dict)  # case -> what was compared -> largest difference


def expected(case):
    return load_file(FOLDER / case / "expected.safetensors")


def inputs_of(found):
    return {name.removeprefix("inputs."): x for name, x in found.items() if name.startswith("inputs.")}


def numbered(found, kind):
    names = sorted((name for name in found if name.startswith(f"{kind}.")), key=lambda name: int(name.split(".")[1]))
    return [found[name] for name in names]


def logits_of(case, model, inputs):
    """One array a head, with the classes in the reference's order, which is ours but for the next sentence: there 0
    follows."""
    out = model(**inputs)
    if case.startswith("bert_next"):
        return [out[:, ::-1]]
    return [out[0], out[1][:, ::-1]] if isinstance(out, tuple) else [out]


def hidden_of(model, inputs):
    if hasattr(model, "features"):
        return model.features(**inputs)
    mask = inputs["mask"][:, None, None, :]
    return model.blocks.outputs(model.positions(model.embedding(inputs["tokens"])), mask=mask)


def loss_of(case, model, found):
    inputs, total = inputs_of(found), 0
    for x, target in zip(logits_of(case, model, inputs), numbered(found, "targets")):
        nll = optax.softmax_cross_entropy_with_integer_labels(x, target)
        weight = inputs["mask"] if x.ndim == 3 else jnp.ones(len(x))
        total += (nll * weight).sum() / weight.sum()
    return total


def difference(case, kind, ours, theirs):
    largest = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    MEASURED[case][kind] = largest
    return largest


def test_every_reference_has_cases():
    assert {case.split("_")[0] for case in CASES} == set(REFERENCES)


@functools.cache
def computed(case):
    """The model, its logits, hidden states, loss and gradients, from one compiled program."""
    model, found = load(FOLDER / case), expected(case)
    structure, parameters = split(model)

    @jax.jit
    def compute(parameters):
        loss, gradients = jax.value_and_grad(lambda p: loss_of(case, merge(structure, p), found))(parameters)
        model, inputs = merge(structure, parameters), inputs_of(found)
        return logits_of(case, model, inputs), hidden_of(model, inputs), loss, gradients

    return model, *jax.device_get(compute(parameters))


@pytest.mark.parametrize("case", CASES)
def test_logits_and_every_hidden_state(case):
    (model, logits, hidden, *_), found = computed(case), expected(case)
    assert type(model) in (Bert, GPT, VisionTransformer)
    valid, theirs = inputs_of(found).get("mask", slice(None)), numbered(found, "logits")
    inside = lambda xs: [x[valid] if x.ndim == 3 else x for x in xs]
    assert difference(case, "logits", inside(logits), inside(theirs)) < 1e-4 < min(np.ptp(x) for x in theirs)
    assert difference(case, "hidden states", inside(hidden), inside(numbered(found, "hidden"))) < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    (model, _, _, loss, gradients), found = computed(case), expected(case)
    tensors = load_file(FOLDER / case / "model.safetensors")
    reference = next(r for r in REFERENCES.values() if type(model) is r.model)
    renamed = {reference.rename(name): name for name in tensors}
    assert float(loss) == pytest.approx(float(found["loss"]), abs=1e-5)
    ours, theirs = [], []
    for row in table(model):
        # By the chain rule through the row, for a parameter of ours may be made of several tensors of theirs.
        names = [renamed[name] for name in row.theirs]
        back = jax.vjp(row.read, *(tensors[name] for name in names))[1]
        ours += back(tuple(gradients[path] for path in row.ours))
        theirs += [found[f"gradient.{name}"] for name in names]
    assert len(theirs) == len(tensors)
    assert difference(case, "gradients", ours, theirs) < 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if "classification" in case])
def test_fine_tuning_follows_the_reference(case):
    found = expected(case)
    structure, parameters = split(load(FOLDER / case))
    step = jax.jit(jax.value_and_grad(lambda p: loss_of(case, merge(structure, p), found)))
    losses = []
    for _ in found["curve"]:
        value, gradients = step(parameters)
        parameters = jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradients)
        losses.append(float(value))
    assert losses[-1] < losses[0] - 0.1
    assert difference(case, "training losses", [np.array(losses)], [found["curve"]]) < 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if "generated" in expected(case)])
def test_greedy_text_is_the_same(case):
    found = expected(case)
    tokens = sample(load(FOLDER / case), found["inputs.tokens"][:, :3], jax.random.key(0), length=7, temperature=0)
    np.testing.assert_array_equal(tokens, found["generated"])


@pytest.mark.parametrize("case", CASES)
def test_what_is_saved_is_what_was_loaded(case, tmp_path):
    model, logits, *_ = computed(case)
    folder = FOLDER / case / "ours" if LIVE else tmp_path / "ours"
    save(model, folder)
    again = load(folder)
    for a, b in zip(jax.jit(lambda: logits_of(case, again, inputs_of(expected(case))))(), logits):
        np.testing.assert_allclose(a, b, atol=1e-4)
    ours, theirs = split(again)[1], split(model)[1]
    assert ours.keys() == theirs.keys()
    for path in ours:
        np.testing.assert_array_equal(ours[path], theirs[path])


@pytest.mark.skipif(not LIVE, reason="it is written by make test-reference")
def test_the_table_in_the_readme_is_written():
    kinds = ["logits", "hidden states", "gradients", "training losses"]
    lines = [f"| reference | cases | {' | '.join(kinds)} |", "|---|---|" + "---|" * len(kinds)]
    for name in REFERENCES:
        measured = [MEASURED[case] for case in CASES if case.split("_")[0] == name]
        worst = {kind: max((found[kind] for found in measured if kind in found), default=None) for kind in kinds}
        cells = ["not compared" if value is None else f"{value:.1e}" for value in worst.values()]
        lines.append(f"| `{name}` | {len(measured)} | {' | '.join(cells)} |")
    readme = Path(__file__).parents[1] / "README.md"
    place = r"(?s)(<!-- make test-reference writes this -->\n).*?(<!-- end -->)"
    written = "".join(f"{line}\n" for line in lines)
    text, count = re.subn(place, lambda found: found[1] + written + found[2], readme.read_text())
    assert count == 1
    readme.write_text(text)
