"""Published weights give the reference's numbers: outputs, hidden states, gradients, training, generated text.

The cases in tests/models/pretrained are written by tests/models/reference.py. Where LECTERN_REFERENCE names another
folder of cases ("make test-reference") those are compared instead, what we save is left there for the reference, and
the table in docs/weights.md is written.
"""

from collections import defaultdict
import functools
import json
import os
from pathlib import Path
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from models import CLIP, GPT, Bert, ConvNeXt, EncoderDecoder, Perceiver, ResNet, SwinTransformer, VisionTransformer
from models.beam_search import beam_search, beam_search_on
from models.bert import PretrainingHead
from models.decoding import sample
from models.pretrained import REFERENCES, load, save, table
from models.protocols import Features, LanguageModel
from tests.tiers import first_fast
from training.state import merge, split

LIVE = os.environ.get("LECTERN_REFERENCE")
FOLDER = Path(LIVE or Path(__file__).with_name("pretrained"))
CASES = sorted(path.parent.name for path in FOLDER.glob("*/expected.safetensors"))
MEASURED = defaultdict(dict)  # case -> what was compared -> largest difference


def expected(case):
    return load_file(FOLDER / case / "expected.safetensors")


def inputs_of(reference):
    return {name.removeprefix("inputs."): x for name, x in reference.items() if name.startswith("inputs.")}


def numbered(reference, kind):
    numbers = sorted(int(name.split(".")[1]) for name in reference if name.startswith(f"{kind}."))
    return [reference[f"{kind}.{number}"] for number in numbers]


def logits_of(case, model, inputs):
    """One array for each head, with the classes in the reference's order: for the next sentence, 0 is "it follows"."""
    out = model(**inputs)
    if case.startswith("bert_next"):
        return [out[:, ::-1]]
    if isinstance(getattr(model, "head", None), PretrainingHead):
        return [out[0], out[1][:, ::-1]]
    return list(out) if isinstance(out, tuple) else [out]


def hidden_of(model, inputs):
    if isinstance(model, EncoderDecoder):
        return hidden_of_pairs(model, inputs)
    if isinstance(model, CLIP):
        texts, mask = model.text_encoder, inputs["mask"][:, None, None, :]
        assert isinstance(model.image_encoder, VisionTransformer)
        x = texts.positions(texts.embedding(inputs["tokens"]))
        return model.image_encoder.features(inputs["images"]) + texts.blocks.outputs(x, mask=mask)
    if isinstance(model, Features):
        return model.features(**inputs)
    mask = inputs["mask"][:, None, None, :]
    return model.blocks.outputs(model.positions(model.embedding(inputs["tokens"])), mask=mask)


def hidden_of_pairs(model, inputs):
    mask = inputs["source_mask"][:, None, None, :]
    source = model.embedding if model.source_embedding is None else model.source_embedding
    x = model._embed(inputs["source"], source, model.source_positions, model.source_norm, 0, None)
    encoded = model.encoder.outputs(x, mask=mask)
    x = model._embed(inputs["tokens"], model.embedding, model.positions, model.norm, 0, None)
    return encoded + model.decoder.outputs(x, source=encoded[-1], source_mask=mask)


def loss_of(case, model, reference):
    inputs, total = inputs_of(reference), 0
    for x, target in zip(logits_of(case, model, inputs), numbered(reference, "targets")):
        nll = optax.softmax_cross_entropy_with_integer_labels(x, target)
        weight = inputs["mask"] if x.ndim == 3 and "mask" in inputs else jnp.ones(x.shape[:-1])
        total += (nll * weight).sum() / weight.sum()
    return total


def difference(case, kind, ours, theirs):
    largest = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    MEASURED[case][kind] = largest
    return largest


def format_of(case):
    """The name of the published format of a case, with which its name begins."""
    return max((name for name in REFERENCES if f"{case}_".startswith(f"{name}_")), key=len)


def test_every_reference_has_cases():
    assert {format_of(case) for case in CASES} == set(REFERENCES)


@functools.cache
def computed(case):
    """The model, and a compiled program that gives logits, hidden states, loss and its gradients.

    The program takes the reference's tensors, since a parameter of ours may be made of several of them.
    """
    model, stored_values = load(FOLDER / case), expected(case)
    structure, rows = split(model)[0], table(model)
    reference = REFERENCES[format_of(case)]

    def build(tensors):
        names, parameters = reference.rename(list(tensors)), {}
        tensors = {names[name]: x for name, x in tensors.items()}
        for row in rows:
            parameters |= zip(row.ours, row.read(*(tensors[name] for name in row.theirs)))
        return merge(structure, parameters)

    @jax.jit
    def compute(tensors):
        loss, gradients = jax.value_and_grad(lambda tensors: loss_of(case, build(tensors), stored_values))(tensors)
        model, inputs = build(tensors), inputs_of(stored_values)
        return logits_of(case, model, inputs), hidden_of(model, inputs), loss, gradients

    return model, compute


@functools.cache
def outcome(case):
    """The result of the program for the tensors of the folder."""
    tensors = load_file(FOLDER / case / "model.safetensors")
    return jax.device_get(computed(case)[1]({name: x for name, x in tensors.items() if x.dtype == np.float32}))


@pytest.mark.parametrize("case", first_fast(CASES))
def test_logits_and_every_hidden_state(case):
    model, (logits, hidden, *_), reference = computed(case)[0], outcome(case), expected(case)
    kinds = (Bert, CLIP, ConvNeXt, EncoderDecoder, GPT, Perceiver, ResNet, SwinTransformer, VisionTransformer)
    assert type(model) in kinds
    inputs, theirs = inputs_of(reference), numbered(reference, "logits")
    masks = {mask.shape: mask for name, mask in inputs.items() if "mask" in name}
    inside = lambda xs: [x[masks.get(x.shape[:2], slice(None))] for x in xs]
    assert difference(case, "logits", inside(logits), inside(theirs)) < 1e-4 < min(np.ptp(x) for x in theirs)
    assert difference(case, "hidden states", inside(hidden), inside(numbered(reference, "hidden"))) < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    (_, _, loss, gradients), reference = outcome(case), expected(case)
    assert float(loss) == pytest.approx(float(reference["loss"]), abs=1e-5)
    gradients = {name: x for name, x in gradients.items() if "running_" not in name}  # statistics, which have none
    theirs = [reference[f"gradient.{name}"] for name in gradients]
    assert len(theirs) == sum(name.startswith("gradient.") for name in reference)
    assert difference(case, "gradients", gradients.values(), theirs) < 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if "dinov2" in case])
def test_images_of_another_size_are_read_with_the_same_interpolation(case):
    model, reference = computed(case)[0], expected(case)
    assert isinstance(model, VisionTransformer)
    images = reference["resized.images"]
    logits = model.resized(images.shape[1:])(jnp.asarray(images))
    assert difference(case, "resized", [logits], [reference["resized.logits"]]) < 1e-4


@pytest.mark.parametrize("case", [case for case in CASES if "classification" in case])
def test_fine_tuning_follows_the_reference(case):
    (_, compute), reference = computed(case), expected(case)
    tensors, losses = load_file(FOLDER / case / "model.safetensors"), []
    for _ in reference["curve"]:
        _, _, value, gradients = jax.device_get(compute(tensors))
        tensors = jax.tree.map(lambda x, g: x - 0.1 * g, tensors, gradients)
        losses.append(float(value))
    assert losses[-1] < losses[0] - 0.1
    assert difference(case, "training losses", [np.array(losses)], [reference["curve"]]) < 1e-3


@pytest.mark.parametrize("case", first_fast(case for case in CASES if "generated" in expected(case)))
def test_greedy_text_is_the_same(case):
    model, reference = load(FOLDER / case), expected(case)
    if isinstance(model, EncoderDecoder):
        tokens = search(case, model)[0][:, 0]
    else:
        assert isinstance(model, LanguageModel)
        tokens = sample(model, reference["inputs.tokens"][:, :3], jax.random.key(0), length=7, temperature=0)
    assert table_text(tokens, reference["eos"]) == table_text(reference["generated"], reference["eos"])


def search(case, model, **settings):
    reference = expected(case)
    settings = {"eos": int(reference["eos"]), "length": 7} | settings
    if isinstance(model, EncoderDecoder):
        config = json.loads((FOLDER / case / "config.json").read_text())
        source = reference["inputs.source"], reference["inputs.source_mask"]
        return beam_search(model, *source, bos=config["decoder_start_token_id"], **settings)
    assert isinstance(model, LanguageModel)
    return beam_search_on(model, reference["inputs.tokens"][:, :3], **settings)


def table_text(tokens, eos):
    """The rows of tokens, each up to its end."""
    rows = np.asarray(tokens).reshape(-1, tokens.shape[-1]).tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]


@pytest.mark.parametrize("case", first_fast(case for case in CASES if "generated" in expected(case)))
def test_beams_are_the_same(case):
    model, reference = load(FOLDER / case), expected(case)
    tokens, scores = search(case, model, beams=3, length_penalty=0.7)
    assert table_text(tokens, reference["eos"]) == table_text(reference["beams.tokens"], reference["eos"])
    np.testing.assert_allclose(scores.reshape(-1), reference["beams.scores"], atol=1e-4)


@pytest.mark.parametrize("case", first_fast(CASES))
def test_what_is_saved_is_what_was_loaded(case, tmp_path):
    model, _ = computed(case)
    folder = FOLDER / case / "ours" if LIVE else tmp_path / "ours"
    save(model, folder)
    again = load(folder)
    assert type(again) is type(model)
    describe = next(reference.describe for reference in REFERENCES.values() if type(model) is reference.model)
    assert describe(again) == describe(model)
    ours, theirs = split(again)[1], split(model)[1]
    assert ours.keys() == theirs.keys()
    for path in ours:
        np.testing.assert_array_equal(ours[path], theirs[path])


@pytest.mark.skipif(not LIVE, reason="it is written by make test-reference")
def test_the_table_in_the_documentation_is_written():
    kinds = ["logits", "hidden states", "gradients", "training losses"]
    lines = [f"| reference | cases | {' | '.join(kinds)} |", "|---|---|" + "---|" * len(kinds)]
    for name in REFERENCES:
        measured = [MEASURED[case] for case in CASES if format_of(case) == name]
        worst = {kind: max((case[kind] for case in measured if kind in case), default=None) for kind in kinds}
        cells = ["not compared" if value is None else f"{value:.1e}" for value in worst.values()]
        lines.append(f"| `{name}` | {len(measured)} | {' | '.join(cells)} |")
    page = Path(__file__).parents[2] / "docs" / "weights.md"
    place = r"(?s)(<!-- make test-reference writes this -->\n).*?(<!-- end -->)"
    table_text = "".join(f"{line}\n" for line in lines)
    text, count = re.subn(place, lambda match: match[1] + table_text + match[2], page.read_text())
    assert count == 1
    page.write_text(text)
