"""Scores: ranks, the table in all its forms, `results.json`, and which results may be merged."""

import csv
from dataclasses import replace
import json

import numpy as np
import pytest

from core.errors import UserError
from experiments.benchmark import scores as scores_module
from experiments.benchmark import tables
from experiments.benchmark.predictions import encoded
from experiments.benchmark.scores import FamilyScores, Scores, merge
from tests.experiments.benchmark import planted
from tests.experiments.benchmark.planted import failed, family, scores

RULES = planted.identity().rules


def varied(base: float) -> FamilyScores:
    """A family whose scores have another noise over seeds."""
    noise = (-0.002, 0.004, -0.0041, 0.002, 0.001)
    same = family(base)
    return replace(same, runs=[replace(run, score=base + x) for run, x in zip(same.runs, noise)])


def test_ranks_are_in_the_table_and_failures_below(capsys):
    outcome = scores({
        "cnn": family(0.9), "vit": family(0.97, flops=3e6), "mlp": failed("1 of 5 runs: out of memory"),
        "perceiver": family(0.8), "bottleneck": "makes no sense",
    })  # fmt: skip
    assert [(row.family, row.rank) for row in tables.rows(outcome)] == [
        ("vit", (1, 1)), ("cnn", (2, 2)), ("perceiver", (3, 3)), ("mlp", None), ("bottleneck", None),
    ]  # fmt: skip
    tables.show(outcome)
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "vit" in line).split()[:6] == ["1", "vit", "97.00", "%", "96.52", "to"]
    assert lines[-2:] == ["mlp: failed: 1 of 5 runs: out of memory", "bottleneck: makes no sense"]


def test_all_forms_of_the_table_have_every_family(tmp_path):
    outcome = scores({"vit": family(0.97), "encoder_decoder": family(0.9, parameters=40_000), "mlp": failed("why")})
    tables.write(outcome, tmp_path)
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["family"] for row in rows] == ["vit", "encoder_decoder", "mlp"]
    assert float(rows[0]["score"]) == pytest.approx(0.97) and float(rows[0]["low"]) < 0.97 < float(rows[0]["high"])
    assert (rows[0]["outside_budget"], rows[1]["outside_budget"], rows[2]["reason"]) == ("False", "True", "failed: why")
    markdown = (tmp_path / "table.md").read_text().splitlines()
    assert len(markdown) == 5 and "| 40,000* |" in markdown[3] and len({line.count("|") for line in markdown}) == 1
    latex = (tmp_path / "table.tex").read_text()
    assert r"encoder\_decoder" in latex and r"97.00 \%" in latex and "40,000$^*$" in latex


def test_the_text_of_a_failure_cannot_break_a_table(tmp_path):
    tables.write(scores({"vit": family(0.97), "mlp": failed("<F | 5 % of {a_b} & $x>")}), tmp_path)
    markdown, latex = ((tmp_path / f"table.{kind}").read_text() for kind in ("md", "tex"))
    assert r"failed: &lt;F \| 5 % of {a_b} & $x>" in markdown
    assert r"{failed: \textless{}F | 5 \% of \{a\_b\} \& \$x\textgreater{}} \\" in latex


def test_the_terminal_shows_as_many_columns_as_fit(capsys, monkeypatch):
    monkeypatch.setattr(tables, "PLAIN_WIDTH", 70)
    tables.show(scores({"encoder_decoder": family(0.97), "vit": family(0.9)}))
    head, first, *_ = capsys.readouterr().out.splitlines()[1:]
    assert head.split() == ["rank", "family", "accuracy", "95", "%", "interval", "parameters"]
    assert first.split() == ["1", "encoder_decoder", "97.00", "%", "96.52", "to", "97.48", "28,000"]


def test_costs_by_hand():
    row = tables.rows(scores({"vit": family(0.96, flops=2e6)}))[0]
    # The curve k / (k + 1) x 0.96 stays below 0.9 up to k = 8; its last point, at 43,200 examples, is above.
    assert row.examples_to_target == 43_200 and row.seconds_to_target == pytest.approx(43_200 / 1000)
    assert row.tuning_flops == 102_400 * 2e6 and row.memory == 3
    assert tables.texts(row, RULES)["tuning_flops"] == "205 G"


def test_the_table_says_if_only_some_seeds_reach_the_target():
    some = family(0.96)
    some = replace(some, runs=[replace(some.runs[0], curve=[(4800, 0.2)]), *some.runs[1:]])
    row = tables.rows(scores({"vit": some}))[0]
    assert tables.texts(row, RULES)["examples_to_target"] == "43,200 (4 of 5 seeds)"


def test_families_are_compared_within_their_task():
    rules = planted.among(RULES, {"vit": "another"})
    outcome = scores({"cnn": family(0.9), "vit": family(0.97), "mlp": family(0.8)}, rules=rules)
    assert [standing.family for standing in outcome.comparison[""].standings] == ["cnn", "mlp"]
    assert outcome.comparison["another"].standings[0].rank is None
    rows = tables.rows(outcome)
    row = next(row for row in rows if row.family == "vit")
    assert tables.texts(row, rules)["among"] == "another" and "among" in [column.key for column in tables.used(rows)]


def test_results_json_holds_the_scores_and_is_read_back(tmp_path):
    some = replace(family(0.97), sizes={"half": family(0.9, seeds=(1,)).runs}, by={"data.pairs=4": family(0.8).runs})
    outcome = scores({"vit": some, "cnn": family(0.9), "mlp": failed("why"), "bottleneck": "makes no sense"})
    scores_module.write(outcome, tmp_path)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert list(stored) == ["protocol", "rates", "families", "comparison"]
    assert stored["families"]["bottleneck"] == {"reason": "makes no sense"}
    assert stored["families"]["vit"]["runs"][0]["curve"][0] == [4800, 0.485]
    assert stored["comparison"][""]["standings"][0]["rank"] == [1, 1]
    assert scores_module.read(tmp_path) == outcome


@pytest.mark.parametrize(
    "content", ["{}", "[]", "no JSON", '{"protocol": {}, "families": {}, "comparison": {}}'], ids=str
)
def test_another_file_in_place_of_results_is_named(content, tmp_path):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match=r"results\.json holds no results of a benchmark"):
        scores_module.read(tmp_path)


def test_other_families_and_seeds_are_merged():
    one = {"vit": family(0.97, seeds=(1, 2)), "mlp": failed("why")}
    other = {"vit": family(0.97, seeds=(2, 3)), "cnn": family(0.9, seeds=(1, 2, 3))}
    both = merge([scores(one), scores(other)])
    assert list(both.families) == ["vit", "cnn", "mlp"]  # in the order of the suite
    assert [run.seed for run in both.participants["vit"].runs] == [1, 2, 3]
    assert both.comparison[""].seeds == [1, 2, 3]
    assert Scores.from_json(json.loads(json.dumps(both.to_json()))) == both


def test_further_sizes_are_merged_too():
    small = family(0.9, seeds=(1, 2)).runs
    one, other = (scores({"vit": replace(family(0.97), sizes={"half": [run]})}) for run in small)
    assert [run.seed for run in merge([one, other]).participants["vit"].sizes["half"]] == [1, 2]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"code": "other"}, 'code: "c0de" in the first, "other" in another'),
        ({"packages": {"jax": "1.2.4"}}, 'packages.jax: "1.2.3" .* "1.2.4"'),
        ({"rules": replace(RULES, examples=640)}, "rules.examples: 38400 .* 640"),
    ],
    ids=["code", "packages", "rules"],
)
def test_other_rules_or_code_are_not_merged_and_named(changes, words):
    with pytest.raises(UserError, match=words):
        merge([scores({"vit": family(0.97)}), scores({"cnn": family(0.9)}, **changes)])


def test_results_that_disagree_are_named():
    one, other = family(0.97), family(0.96)
    with pytest.raises(UserError, match=r"vit, seed 1: the score is 0\.967 .* 0\.957"):
        merge([scores({"vit": one}), scores({"vit": other})])
    other: FamilyScores = replace(one, setting={"optimizer.learning_rate": 0.01})
    with pytest.raises(UserError, match="vit was tuned to"):
        merge([scores({"vit": one}), scores({"vit": other})])


def test_a_range_of_ranks_and_what_would_have_been_found_are_in_the_table():
    outcome = scores({"vit": family(0.9), "cnn": varied(0.9005), "mlp": family(0.7)})
    first, second, third = (tables.texts(row, RULES) for row in tables.rows(outcome))
    assert (first["rank"], second["rank"], third["rank"]) == ("1-2", "1-2", "3")
    assert float(first["detectable"]) > 0 and (second["detectable"], third["detectable"]) == ("-", "-")


def test_two_seeds_are_too_few_for_a_rank_and_the_table_says_so(capsys):
    outcome = scores({"vit": family(0.9, seeds=(1, 2)), "cnn": family(0.5, seeds=(1, 2))})
    assert [tables.texts(row, RULES)["rank"] for row in tables.rows(outcome)] == ["none: 2 seeds"] * 2
    tables.show(outcome)
    assert "No ranks: 2 independent scores of a family" in capsys.readouterr().out


def test_an_edge_and_a_shortened_run_are_marked(capsys):
    rules = replace(RULES, examples=640)
    outcome = scores({"vit": replace(family(0.9), edge=True), "cnn": family(0.5)}, rules=rules)
    rates = {row.family: tables.texts(row, rules)["rate"] for row in tables.rows(outcome)}
    assert rates == {"vit": "0.003 (edge)", "cnn": "0.003"}
    tables.show(outcome)
    out = capsys.readouterr().out
    assert "Shortened: 640 examples in each final run in place of 38,400" in out
    assert "a better one may lie beyond: vit." in out


def test_predictions_of_the_examples_widen_the_interval(tmp_path):
    """A mean over 20 test images says little about other images, whatever the seeds say."""
    values = encoded(np.repeat([1.0, 0.0], [18, 2]))
    few = family(0.9)
    few = replace(few, runs=[replace(run, examples=values) for run in few.runs])
    alone, with_test = (scores({"vit": each}).comparison[""].standings[0] for each in (family(0.9), few))
    assert alone.sources.test is None and with_test.sources.test == pytest.approx((0.9 * 0.1 / 19) ** 0.5)
    assert alone.low is not None and with_test.low is not None and with_test.low < alone.low - 0.05
    scores_module.write(outcome := scores({"vit": few}), tmp_path)
    assert scores_module.read(tmp_path) == outcome


def test_results_of_other_grids_are_not_merged():
    one, other = scores({"vit": family(0.97)}), scores({"cnn": family(0.9)})
    with pytest.raises(UserError, match="learning rates 0.001, 0.003 in one of these results, with 0.003"):
        merge([replace(one, rates=(0.001, 0.003)), replace(other, rates=(0.003,))])


def test_no_share_differs_by_more_than_a_hundred_points():
    texts = [tables.detectable_text(value, rules) for rules in (RULES, replace(RULES, percent=False))
             for value in (0.0123, 1.78)]  # fmt: skip
    assert texts == ["1.23 points", "over 100 points", "0.0123", "1.7800"]
