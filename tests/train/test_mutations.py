"""Mutated command lines: whatever a field is set to, the run can start, or one line says which field is wrong."""

from collections.abc import Iterator
import random
import time

import pytest

from core.errors import shown
from core.signatures import keywords
from data import DATASETS
from models import MODELS
from objectives import OBJECTIVES
import train
from training.fields import Fields
from training.mesh import make_mesh
from training.optimizer import make_optimizer

COUNT = 300  # about half a second each

COMMON = {
    "seed": 3, "steps": 16, "batch_size": 16, "log_every": 1, "eval_every": 7, "checkpoint_every": 5,
    "optimizer": {"learning_rate": 0.01, "warmup": 3},
}  # fmt: skip
SIZES = {"width": 8, "depth": 2, "heads": 2}
BOTTLENECK = {"name": "variational", "latents": 3, "width": 8, "depth": 1}
BASES = [  # model, objective, data
    ({"name": "vit", "patch": 4} | SIZES, {"name": "classification"}, {"name": "digits"}),
    ({"name": "gpt"} | SIZES, {"name": "language_modeling"}, {"name": "markov"}),
    ({"name": "bert", "head": "next"} | SIZES, {"name": "classification"}, {"name": "topics"}),
    ({"name": "encoder_decoder"} | SIZES, {"name": "seq2seq"}, {"name": "reversal"}),
    ({"name": "convolutional", "width": 8, "depth": 1}, {"name": "classification"}, {"name": "textures"}),
    ({"name": "in_context"} | SIZES, {"name": "regression"}, {"name": "linear_functions"}),
    (
        {"name": "perceiver", "latents": 5, "output": "dense"} | SIZES,
        {"name": "masked_language_modeling"},
        {"name": "random_fields"},
    ),
    (BOTTLENECK, {"name": "variational"}, {"name": "digits", "targets": "images"}),
    (BOTTLENECK | {"likelihood": "gaussian"}, {"name": "variational"}, {"name": "gaussian_pair"}),
]
VALUES = [
    "0", "-1", "1", "2", "7", "nan", "inf", "-inf", "1e-60", "1e30", "1000000000", "100000000000000000000", "9" * 400,
    "-0.5", "0.5", "1.5", "0.9999999999", "1e-45", "65536", "abc", "", "x" * 5000, "None", "True", "(1,2)", "()",
    "(0,0,0)", "(-1,)", "(1000000000,8,1)", "float64",
]  # fmt: skip


class Accepted(Exception):
    """The run would be compiled now."""


def mutations(seed: int, count: int) -> Iterator[tuple[dict, str, str]]:
    """Yields configs with a field and a value for it."""
    generator = random.Random(seed)
    tables = {"model": MODELS, "objective": OBJECTIVES, "data": DATASETS}
    for _ in range(count):
        sections = dict(zip(tables, generator.choice(BASES)))
        targets = {section: tables[section][fields["name"]] for section, fields in sections.items()}
        targets |= {"optimizer": make_optimizer, "mesh": make_mesh, "": Fields}
        section = generator.choice([section for section, target in targets.items() if keywords(target)])
        field = generator.choice([name for name in keywords(targets[section]) if name not in (*targets, "rngs")])
        yield COMMON | sections, f"{section}.{field}".lstrip("."), generator.choice(VALUES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_command_line_is_accepted_or_refused_in_one_line(seed, capsys, monkeypatch, tmp_path):
    def accept(*_, **__):
        raise Accepted

    monkeypatch.setattr(train, "compile_programs", accept)
    path = tmp_path / "config.py"
    for number, (config, field, value) in enumerate(mutations(seed, COUNT)):
        path.write_text(f"from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({config})\n")
        flags = [f"--config={path}", f"--workdir={tmp_path}/{number}", f"--config.{field}={value}"]
        start = time.process_time()
        try:
            train.main(flags)
        except Accepted:
            continue
        except SystemExit:
            error = capsys.readouterr().err
            case = f"{config}, {field}={value[:100]}: {error}"
            assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 1200, case
            assert field.split(".")[-1] in error or shown(value) in error, case  # a split is named by its value
            assert time.process_time() - start < 25, case
