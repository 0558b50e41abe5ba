"""The suites: the same rules for all families, budgets that are met, and a test split that no run reads."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
import importlib
import json
from pathlib import Path
import runpy
from types import SimpleNamespace

from flax import nnx
import jax
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from data import images
from data.image_cache import row_type
from data.subwords import SPECIALS
from experiments.benchmark import suite as suites
from experiments.benchmark.families import FAMILIES, NO_SIZE, Entry, of_images, of_tokens, others
from experiments.benchmark.phases import Plan, tuning
from experiments.benchmark.suite import Family, Suite, refuse_test
from models import MODELS
from tests.data.planetoid_files import planetoid_files
from train import Run

DIGITS = suites.load("digits")


def save_vocabulary(path: Path, size: int) -> str:
    """Writes a vocabulary of `size` words, and returns where it is."""
    words = {word: i for i, word in enumerate([*SPECIALS, *(f"t{i}" for i in range(size - len(SPECIALS)))])}
    Tokenizer(WordLevel(words, unk_token="[UNK]")).save(str(path))
    return str(path)


def parts(name: str) -> list[str]:
    return list(suites.load(name).participants)


def parameters(name: str, family: str, fields: Mapping) -> int:
    config = suites.load(name).config(family).to_dict()
    for field, value in fields.items():
        section, last = field.split(".")
        config[section][last] = value
    _, create = Run.of(config).initialise()
    return sum(x.size for x in jax.eval_shape(create, jax.random.key(0)).parameters.values())


@pytest.mark.parametrize("name", suites.names())
def test_the_rules_are_the_same_for_all_families(name):
    suite = suites.load(name)
    assert len({len(suite.grid(family)) for family in parts(name)}) == 1
    shared = ("steps", "batch_size", "eval_every", "optimizer", "seed")
    configs = [suite.config(family).to_dict() for family in parts(name)]
    assert len({json.dumps([config[field] for field in shared]) for config in configs}) == 1
    splits = {(config["data"]["train"], config["data"]["evaluation"]) for config in configs}
    assert len(splits) == 1 and suite.test not in splits.pop()
    assert Suite.from_json(json.loads(json.dumps(suite.to_json()))).to_json() == suite.to_json()


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_lists_every_family_or_a_reason(name):
    families = suites.load(name).families
    missing = set(FAMILIES) - set(families)
    assert not missing, f"experiments/suites/{name}.py lacks {missing}: name them, or use `others` of families.py"
    assert all(isinstance(family, Family) or family for family in families.values())


@pytest.mark.parametrize("builder, names", [(of_images, ["digits", "mnist"]), (of_tokens, ["recall", "listops"])])
def test_a_new_family_enters_by_one_entry_and_takes_no_part_where_it_has_no_size(monkeypatch, builder, names):
    monkeypatch.setitem(FAMILIES, "mixer", Entry(model={"name": "mixer"}))
    models = {name: {} for name in FAMILIES}
    assert builder({name: {} for name in FAMILIES if name != "mixer"}, {})["mixer"] == NO_SIZE
    family = builder(models | {"mixer": {"width": 7}}, {})["mixer"]
    assert isinstance(family, Family) and family.model == {"name": "mixer", "width": 7}
    for name in names:
        suite = SimpleNamespace(**runpy.run_path(str(suites.FOLDER / f"{name}.py"))).SUITE
        with pytest.raises(ValueError, match="no family 'mixer': has no size in this suite: add its fields to"):
            suite.config("mixer")
    assert others({}, "writes nothing", images="reads images")["mixer"] == "writes nothing"
    assert others({}, "writes nothing", images="reads images")["vit"] == "reads images"


def assert_within_budget(name: str, family: str, fields: Mapping) -> int:
    """Returns the number of parameters of a family with some fields set."""
    suite, count = suites.load(name), parameters(name, family, fields)
    assert suite.within_budget(count), (
        f"{family} in experiments/suites/{name}.py has {count:,} parameters; its budget is {suite.budget:,}, give or "
        f"take {suite.tolerance:.0%}"
    )
    return count


@pytest.mark.parametrize("family", parts("digits"))
def test_the_digits_keep_their_budget_and_have_three_sizes(family):
    sizes = DIGITS.family(family).sizes
    assert set(sizes) == {"half", "quarter"}, f"{family} in experiments/suites/digits.py needs these two sizes"
    half, quarter = (parameters("digits", family, sizes[size]) for size in ("half", "quarter"))
    assert assert_within_budget("digits", family, {}) > half > quarter


@pytest.mark.medium
@pytest.mark.parametrize(
    "name",
    [
        "density", "graphs", "recall", "mqar", "mqar_gpu", "compression", "fuzzy_recall", "memorisation",
        "noisy_recall", "selective_copying",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("listops", "translation")),
    ],
)  # fmt: skip
def test_the_others_keep_their_budget(name):
    for family in parts(name):
        assert_within_budget(name, family, {})


@pytest.mark.medium
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "fashion_14"])
def test_the_large_image_sets_keep_their_budget(name, monkeypatch):
    """The set need not be on disk: seven blank images of its size stand in for it."""
    features = {"label": SimpleNamespace(names=[str(digit) for digit in range(10)])}
    builder = SimpleNamespace(info=SimpleNamespace(features=features))
    blank = np.zeros(7, row_type((28, 28, 1)))
    monkeypatch.setattr(images, "open_official", lambda name: builder)
    monkeypatch.setattr(images, "decoded_images", lambda builder, split: blank)
    for family in parts(name):
        assert_within_budget(name, family, {})


@pytest.mark.medium
@pytest.mark.parametrize("name", ["imdb", "imdb_bytes"])
def test_reviews_keep_their_budget(name, monkeypatch, tmp_path):
    """7,000 equal reviews a split, and a vocabulary of the size that the suite names, stand in for the set."""
    module = importlib.import_module("data.imdb")  # data.imdb is also the function
    reviews = [{"text": b"t5", "label": 0}] * 7_000
    monkeypatch.setattr(module, "open_official", lambda name: SimpleNamespace(name=name, data_dir=tmp_path))
    monkeypatch.setattr(module, "records", lambda builder, split: reviews)
    fields = {}
    if name == "imdb":
        fields = {"data.tokenizer": save_vocabulary(tmp_path / "tokenizer.json", 1000)}
    for family in parts(name):
        assert_within_budget(name, family, fields)


@pytest.mark.medium
def test_cora_keeps_its_budget(tmp_path):
    """Papers with one word each, of as many words, stand in for the set."""
    path = {"data.path": planetoid_files(tmp_path, np.eye(507, 1433))}
    for family in parts("cora"):
        assert_within_budget("cora", family, path)


@pytest.mark.medium
def test_multi30k_keeps_its_budget(tmp_path):
    """Seven sentences, and a vocabulary of the size that the suite names, stand in for the set."""
    for split in ("train", "val"):
        for language in ("en", "de"):
            (tmp_path / f"{split}.{language}").write_text("t5\n" * 7)
    path = {"data.path": str(tmp_path), "data.tokenizer": save_vocabulary(tmp_path / "tokenizer.json", 4000)}
    for family in parts("multi30k"):
        assert_within_budget("multi30k", family, path)


@pytest.mark.parametrize("family", ["decoder", "encoder_decoder", "gru", "lstm", "recurrent"])
def test_further_sizes_of_mqar_gpu_are_like_those_of_the_decoder(family):
    """Without the data, which would be made for each size: what they decide is stated."""
    suite = suites.load("mqar_gpu")
    own, reference = (parameters_without_data(suite, name) for name in (family, "decoder"))
    assert own.keys() == {"128", "256", "512"}
    assert all(abs(count / reference[size] - 1) < 0.1 for size, count in own.items()), (own, reference)


def parameters_without_data(suite: Suite, name: str) -> dict[str, int]:
    family = suite.family(name)
    facts = {"vocab_size": 8192, "context": 256}
    if family.data:
        facts |= {"source_vocab_size": 8192, "source_context": 32, "context": 224}
    counts = {}
    for size, fields in family.sizes.items():
        model = {**family.model, **facts, **{field.removeprefix("model."): value for field, value in fields.items()}}
        create = partial(MODELS[model.pop("name")], **model)
        shapes = nnx.eval_shape(lambda create=create: nnx.state(create(rngs=nnx.Rngs(0))))
        counts[size] = sum(x.size for x in jax.tree.leaves(shapes))
    return counts


def test_a_row_just_outside_the_budget_is_outside():
    assert [DIGITS.within_budget(count) for count in (25_199, 25_200, 30_800, 30_801)] == [False, True, True, False]


@pytest.mark.parametrize(
    "train, evaluation",
    [
        ("train", "test"), ("train", "test[:10%]"), ("train+test", "train"), ("test[5:]", "train"), ("all", "train"),
        ("train", "all"), ("train + test", "train"), ("train", "train[:5]+ test[-5:]"),
    ],
)  # fmt: skip
def test_tuning_and_final_runs_cannot_read_the_test_split(train, evaluation):
    data = {"name": "digits", "train": train, "evaluation": evaluation}
    with pytest.raises(ValueError, match="reads the test split"):
        refuse_test(DIGITS, data)
    with pytest.raises(ValueError, match="reads the test split"):
        replace(DIGITS, data=data).check()


@pytest.mark.parametrize("spec", ["all[99%:]", " test", "train[80%", "train[:0%]"])
def test_what_is_no_split_is_refused(spec):
    with pytest.raises(ValueError, match="is no split: expected slices and sums, such as train"):
        refuse_test(DIGITS, {"name": "digits", "train": spec, "evaluation": "train"})


def test_other_parts_of_the_split_that_is_tested_may_be_read():
    suite = replace(DIGITS, test="train[80%:]")
    refuse_test(suite, {"name": "digits", "train": "train[:60%]", "evaluation": "train[60%:80%] + test"})
    with pytest.raises(ValueError, match="data.evaluation = 'train' reads the test split, 'train.80%:.'"):
        refuse_test(suite, {"name": "digits", "train": "train[:80%]", "evaluation": "train"})


@pytest.mark.parametrize("trial", ["data.train", "data.evaluation"])
def test_no_trial_is_made_that_reads_the_test_split(trial, tmp_path):
    plan = Plan("digits", DIGITS, tmp_path, ["vit"], 1, {trial: "all"}, False)
    with pytest.raises(ValueError, match=f"{trial} = 'all' reads the test split"):
        tuning(plan)


def test_a_suite_cannot_say_that_a_metric_is_better_the_other_way():
    with pytest.raises(ValueError, match="encoder: better = 'min', but of accuracy times 1 it is the other way"):
        replace(DIGITS, better="min").check()
    turned = {name: replace(family, factor=-1.0) for name, family in DIGITS.participants.items()}
    replace(DIGITS, better="min", families=turned).check()
    with pytest.raises(ValueError, match="metric = 'acuracy': expected one of accuracy, .* Did you mean 'accuracy'?"):
        replace(DIGITS, metric="acuracy").check()


def test_unequal_tuning_is_refused():
    more = replace(DIGITS.family("vit"), own=("optimizer.weight_decay", (0.1, 0.2, 0.3)))
    with pytest.raises(ValueError, match="as many trials, not {.*'vit': 15"):
        replace(DIGITS, families={**DIGITS.families, "vit": more}).check()


def test_a_family_that_takes_no_part_says_why():
    with pytest.raises(ValueError, match="no family 'vit': reads images.*expected one of encoder, decoder"):
        suites.load("recall").config("vit")
    with pytest.raises(ValueError, match="no suite 'digit': expected one of .*density, digits, "):
        suites.load("digit")
