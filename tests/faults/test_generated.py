"""Whatever stands in a file that a user writes, it is accepted, or refused in one line that names the file or field."""

from dataclasses import fields
import json
import math
from pathlib import Path
import shutil

from hypothesis import find, given, settings
from hypothesis import strategies as st
import pytest

from core.command import command
from core.files import ROOT
from experiments.sweep import __main__ as sweep
from experiments.sweep import engine, population
from models import pretrained
from tests import tiny
from tests.faults.generated import VALUES, accept, mutated, properties, rejection, spoiled
import train
from training.fields import Fields

FIELDS = [field.name for field in fields(Fields)]  # one of them, or a section, is named by what is wrong with a config
PUBLISHED = ROOT / "tests" / "models" / "pretrained"
TRIALS = {
    "trials": [
        {"config": "tests/tiny.py:vit", "workdir": "W/a", "overrides": {"seed": 3, "optimizer.learning_rate": 0.1}},
        {"config": "tests/tiny.py:vit", "workdir": "W/b", "overrides": {"model.dropout": 0.2}},
    ]
}
LIST = {
    "path": "x.json", "metric": "test[:25%]/loss", "better": "min",
    "listed": {"a": {"config": "tests/tiny.py:vit", "overrides": {"seed": 1}, "labels": {"family": "vit"}}},
}  # fmt: skip
SWEEP = {
    "CONFIG": "tests/tiny.py:vit", "METRIC": "test[:25%]/loss", "BETTER": "min", "BASE": {"steps": 5},
    "TRIALS": [{"seed": 0, "optimizer.learning_rate": 0.1}, {"seed": 1}],
}  # fmt: skip
TABLE = "".join(f"{'good' if i % 3 else 'bad'}\ttext number {i}, with an ü\n" for i in range(20)).encode()
LINES = "".join(json.dumps({"text": f"text {i}", "label": "ab"[i % 2]}) + "\n" for i in range(20)).encode()
TEXT = "".join(f"Line {i}: the quick brown fox jumps over the lazy dög.\n" for i in range(200)).encode()


@pytest.fixture(scope="module", autouse=True)
def begin_nothing():
    """Commands end where they would begin to train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(train, "Account", accept)
        patch.setattr(population, "Account", accept)
        patch.setattr(population.jax.config, "update", lambda *_: None)
        patch.setattr(engine, "_write_record", accept)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("generated")


def assert_names(message: str | None, *names: str) -> None:
    assert message is None or any(name in message for name in names), message


@properties
@given(data=st.data())
def test_a_file_of_trials(folder, data):
    content = json.dumps(data.draw(mutated(TRIALS))).replace("W/", f"{folder}/")
    path = folder / "trials.json"
    path.write_bytes(data.draw(spoiled(content.encode())) if data.draw(st.booleans()) else content.encode())
    assert_names(rejection(population.main, path), "trials.json")


@properties
@given(data=st.data())
def test_a_list_of_trials(folder, data):
    path = folder / "list.json"
    content = json.dumps(data.draw(mutated(LIST))).encode()
    path.write_bytes(data.draw(spoiled(content)) if data.draw(st.booleans()) else content)
    assert_names(
        rejection(sweep.main, path, f"--workdir={folder / 'runs'}"), "list.json", "trial", "metric", "--config"
    )


@properties
@given(data=st.data())
def test_a_sweep_file(folder, data):
    names = data.draw(mutated(SWEEP))
    names = names if isinstance(names, dict) else {"CONFIG": names}
    trials = names.pop("TRIALS", [])
    lines = [f"{name} = {value!r}\n" for name, value in names.items() if name.isidentifier() and name.isupper()]
    text = "nan = inf = 0.0\n" + "".join(lines) + f"def sweep():\n    return {trials!r}\n"
    path = folder / "sweep.py"
    content = text.encode("utf-8", "surrogatepass")
    path.write_bytes(data.draw(spoiled(content)) if data.draw(st.booleans()) else content)
    assert_names(rejection(sweep.main, path, f"--workdir={folder / 'runs'}"), "sweep.py", "trial", "METRIC", "--config")


@properties
@given(data=st.data())
def test_a_published_config(folder, data):
    case = data.draw(st.sampled_from(sorted(path.parent.name for path in PUBLISHED.glob("*/config.json"))))
    model = folder / case
    shutil.copytree(PUBLISHED / case, model, dirs_exist_ok=True)
    original = json.loads((PUBLISHED / case / "config.json").read_text())
    content = json.dumps(data.draw(mutated(original))).encode()
    (model / "config.json").write_bytes(data.draw(spoiled(content)) if data.draw(st.booleans()) else content)
    load = command(lambda arguments: pretrained.load(arguments[0]) and None)
    assert_names(rejection(load, model), "config.json", case)


@properties
@given(data=st.data())
@pytest.mark.parametrize("name, content", [("train.tsv", TABLE), ("train.jsonl", LINES), ("text.txt", TEXT)])
def test_a_text_file(folder, name, content, data):
    path = folder / name.partition(".")[2] / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(spoiled(content)))
    if name == "text.txt":
        flags = ["--config=tests/tiny.py:gpt", "--config.data.name=text_file", f"--config.data.path={path}"]
        flags.append("--config.data.evaluation=validation")
    else:
        path.with_stem("validation").write_bytes(content)
        flags = ["--config=tests/faults/bert.py", f"--config.data.path={path.parent}"]
    assert_names(rejection(train.main, *flags, f"--workdir={folder / 'runs'}"), name, str(path.parent))


@properties
@given(data=st.data())
def test_a_config_file(folder, data):
    config = data.draw(mutated(tiny.get_config("vit").to_dict()))
    path = folder / "config.py"
    text = "from ml_collections import ConfigDict\nnan = inf = 0.0\ndef get_config():\n"
    text += f"    return ConfigDict({config!r})\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert_names(rejection(train.main, f"--config={path}", f"--workdir={folder / 'runs'}"), "config", *FIELDS)


KINDS = {
    "null": lambda value: value is None,
    "a truth value": lambda value: isinstance(value, bool),
    "a whole number beyond 64 bits": lambda value: type(value) is int and abs(value) > 2**64,
    "a fraction": lambda value: type(value) is float and value % 1 > 0,
    "infinity": lambda value: type(value) is float and math.isinf(value),
    "no number": lambda value: type(value) is float and math.isnan(value),
    "an empty text": lambda value: value == "",
    "a text beyond ASCII": lambda value: isinstance(value, str) and not value.isascii(),
    "a list with something in it": lambda value: isinstance(value, list) and len(value) > 0,
    "an object in a list": lambda value: isinstance(value, list) and any(isinstance(item, dict) for item in value),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_of_every_kind_and_can_be_written_as_json(kind):
    search = settings(max_examples=5000, database=None, derandomize=True)
    value = find(VALUES, KINDS[kind], settings=search)  # raises NoSuchExample where none is drawn
    assert repr(json.loads(json.dumps(value))) == repr(value)  # as text, because NaN is not equal to itself
