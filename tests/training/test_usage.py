"""The help of train.py: every flag, every field, with its default and what it means."""

from typing import Annotated

import pytest

from core.errors import UserError
from core.ranges import Range
import train
from training.command_line import read_config_file
from training.usage import usage


def thing(*, width: Annotated[int, Range(1, 7)], depth: int = 3, heads: int = 2, shape: str = "round") -> None:
    """Makes a thing. It has a second sentence.

    Args:
      width: columns, which
        may be many. depth: rows.
      heads, unknown: of all.

    Returns:
      shape: of something else.
    """


TABLES = {"model": {"thing": thing}, "objective": {}, "data": {}}


def test_without_a_config_it_lists_flags_common_fields_and_what_sections_may_name():
    text = usage("Trains.", train.TABLES, None)
    for words in ("--workdir=FOLDER", "--coordinator=HOST:PORT", "--traceback", "log_every = 100", "mesh.fsdp = 1"):
        assert words in text
    for words in ("optimizer.learning_rate ", "optimizer.name = 'adamw'", "model.name", "autoencoder, bert,"):
        assert words in text
    assert "optimizer.steps" not in text and "rngs" not in text
    assert "init_parts = {}" in text and "factory" not in text


def test_fields_have_the_values_of_the_file_and_meanings_of_the_docstring():
    config = {"steps": 13, "model": {"name": "thing", "width": 5}}
    text = usage("", {"model": {"thing": thing}}, config)
    lines = {line.split()[0]: line.split(None, 1)[1] for line in text.splitlines() if line.startswith("  model.")}
    assert lines["model.name"].split(None, 2)[1:] == ["'thing'", "Makes a thing."]
    assert lines["model.width"].split(None, 2)[1:] == ["5", "columns, which may be many."]
    assert lines["model.depth"].split(None, 2)[1:] == ["3", "rows."]
    assert lines["model.heads"].split(None, 2)[1:] == ["2", "of all."]
    assert lines["model.shape"] == "= 'round'"
    assert "  steps = 13 " in text


def test_fields_that_a_model_passes_on_have_the_meaning_that_stands_where_they_are_taken():
    text = usage("", train.TABLES, read_config_file(["--help", "--config=configs/gpt.py", "--config.model.depth=7"]))
    assert "model.depth = 7 " in text
    assert "model.norm_order = 'pre'        \"pre\" (x + f(norm(x)))" in text
    assert "data.name = 'python_docs'" in text


def test_a_config_that_names_nothing_known_is_one_line():
    with pytest.raises(UserError, match="model.name = 'gtp': expected one of"):
        usage("", {"model": {"thing": thing}}, {"model": {"name": "gtp"}})


def test_help_of_the_command_needs_no_workdir(capsys):
    train.main(["--help"])
    assert "Fields of a config" in capsys.readouterr().out
    train.main(["--config=configs/vit.py", "--help"])
    assert "data.shift = 1" in capsys.readouterr().out
