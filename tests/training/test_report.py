"""What is printed before the first step and after the last."""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from core.next_commands import next_commands, next_text
from tests import tiny
from training import report
from training.mesh import make_mesh
from training.programs import unit_of
from training.report import complete_text, flops, notes, start_report, summary_table

PARAMETERS = {"blocks.0.kernel": jnp.zeros((7, 11)), "blocks.1.kernel": jnp.zeros((7, 11)), "head.bias": jnp.zeros(13)}


def test_start_report_counts_by_part(capsys, tmp_path):
    compiled = jax.jit(lambda a, b: a @ b).lower(jnp.zeros((7, 11)), jnp.zeros((11, 13))).compile()
    start_report(PARAMETERS, compiled, 2e9, make_mesh(), tmp_path, 0)
    lines = capsys.readouterr().out.splitlines()
    numbers = {line.split()[0]: line.split()[1] for line in lines if line.strip()}
    assert (numbers["blocks"], numbers["head"], numbers["total"]) == ("154", "13", "167")
    assert flops(compiled) == 2 * 7 * 11 * 13
    assert "continued" not in lines[-1]
    assert lines[-3].split() == ["devices", "1", "CPU"] and "per device" not in lines[-2]
    start_report(PARAMETERS, compiled, 2e9, make_mesh(), tmp_path, 17)
    assert "continued after step 17" in capsys.readouterr().out.replace("\n", " ")


def test_summary_shows_every_metric_and_the_best(capsys, tmp_path):
    summary = {
        "metrics": {"test/loss": 0.123456789},
        "best": {"metric": "loss", "value": 0.1, "step": 1234},
        "steps": 2000,
        "seconds": 61.2,
    }
    summary_table(summary, tmp_path, tiny.get_config("vit").to_dict() | {"loggers": ["tensorboard"]})
    out = capsys.readouterr().out
    assert "averaged parameters (ema = 0.9)" in out and "label smoothing of 0.1" in out
    assert f"next      python -m experiments.evaluate --workdir={tmp_path}" in out
    assert "0.12346" in out and "0.1 at step 1,234" in out and "2,000 in 61.2 s" in out


def test_devices_are_counted_and_only_axes_that_divide_something_are_named():
    devices = np.array(jax.devices() * 6).reshape(3, 1, 2)
    assert report._devices(Mesh(devices, ("data", "fsdp", "tensor"))) == "6 CPU, data 3 x tensor 2"


def test_notes_say_only_what_a_run_has():
    assert notes({"ema": 0.0, "objective": {"name": "classification", "label_smoothing": 0.0}}) == []
    assert notes({"objective": {"name": "variational"}}) == []


def test_a_complete_run_names_the_flag_that_makes_it_go_on():
    summary = {"steps": 300, "stopped_early": False}
    assert complete_text(summary).endswith("more than 300 steps: --config.steps=600")
    text = complete_text(summary | {"stopped_early": True})
    assert "stopped early, after 300 steps" in text and text.endswith("--config.patience=0")


def test_the_next_commands_fit_the_objective_and_quote_the_folder():
    first, *_ = next_commands("gpt", "language_modeling", "my runs/gpt")
    after_pictures = next_commands("vae", "variational", "runs/vae", done="latent")
    assert after_pictures == [f"python -m experiments.{name} --workdir=runs/vae" for name in ("inspect", "plot")]
    assert next_text(["a b", "c"], width=5) == "next  a b\n      c"
    assert first == "python -m experiments.generate --workdir='my runs/gpt' --prompt=\"...\""
    assert next_commands("vit", "classification", "runs/vit")[0] == "python -m experiments.evaluate --workdir=runs/vit"
    assert next_commands("energy", "energy", "runs/ebm")[0] == "python -m experiments.inspect --workdir=runs/ebm"
    assert next_commands("captioner", "seq2seq", "runs/c")[0] == "python -m experiments.caption --workdir=runs/c"


def test_what_is_counted_per_second_follows_from_the_weights():
    batch = lambda shape, name: {"inputs": {name: None}, "weights": np.ones(shape)}
    assert unit_of(batch((5,), "images")) == "examples"
    assert unit_of(batch((5, 7), "tokens")) == "tokens"
    assert unit_of(batch((5, 7), "nodes")) == "nodes"
    assert unit_of(batch((5, 7, 11), "images")) == "pixels"
    assert unit_of(batch((3, 5), "images"), members=True) == "examples"
