"""What is printed before the first step and after the last."""

import jax
import jax.numpy as jnp

from training.mesh import make_mesh
from training.report import flops, start_report, summary_table

PARAMETERS = {"blocks.0.kernel": jnp.zeros((7, 11)), "blocks.1.kernel": jnp.zeros((7, 11)), "head.bias": jnp.zeros(13)}


def test_start_report_counts_by_part(capsys, tmp_path):
    compiled = jax.jit(lambda a, b: a @ b).lower(jnp.zeros((7, 11)), jnp.zeros((11, 13))).compile()
    start_report(PARAMETERS, compiled, make_mesh(), tmp_path, 0)
    lines = capsys.readouterr().out.splitlines()
    numbers = {line.split()[0]: line.split()[1] for line in lines if line.strip()}
    assert (numbers["blocks"], numbers["head"], numbers["total"]) == ("154", "13", "167")
    assert flops(compiled) == 2 * 7 * 11 * 13
    assert "continued" not in lines[-1]
    start_report(PARAMETERS, compiled, make_mesh(), tmp_path, 17)
    assert "continued after step 17" in capsys.readouterr().out.replace("\n", " ")


def test_summary_shows_every_metric_and_the_best(capsys, tmp_path):
    summary = {
        "metrics": {"test/loss": 0.123456789},
        "best": {"metric": "loss", "value": 0.1, "step": 1234},
        "steps": 2000,
        "seconds": 61.2,
    }
    summary_table(summary, tmp_path)
    out = capsys.readouterr().out
    assert "0.12346" in out and "0.1 at step 1,234" in out and "2,000 in 61.2 s" in out
