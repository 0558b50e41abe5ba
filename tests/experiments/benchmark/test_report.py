"""The page of a benchmark: its content, and in a real browser that it sorts, shows its figures and fits a phone."""

from dataclasses import replace
import json
from pathlib import Path
import re
import shutil
import subprocess

from matplotlib.figure import Figure
import numpy as np
import pytest

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import plots, report, suite
from experiments.benchmark.scores import Scores
from tests.experiments.benchmark import planted
from tests.experiments.benchmark.planted import failed, family, scores

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("page")
    small = family(0.93, parameters=7_000).runs
    outcome = scores({
        "vit": replace(family(0.97, flops=3e6), sizes={"quarter": small}), "cnn": family(0.9, flops=2e6),
        "perceiver": family(0.8, flops=7e6), "mlp": failed("1 of 5 runs: <out of memory>"),
        "bottleneck": "makes no sense",
    })  # fmt: skip
    return report.write_page(outcome, plots.draw(outcome, workdir), workdir)


def write(outcome: Scores, workdir: Path) -> str:
    """The text of a page without figures."""
    return report.write_page(outcome, [], workdir).read_text()


def test_the_command_ends_with_the_commands_that_come_next(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plots, "draw", lambda *_: [])
    outcome, folder = scores({"vit": family(0.97), "cnn": family(0.9)}), tmp_path / "a folder"
    for finals, count in ((False, 1), (True, 2)):  # merged results have no runs of their own
        if finals:
            (folder / "final").mkdir()
        benchmark.publish(outcome, folder)
        after = capsys.readouterr().out.partition("\nnext ")[2].splitlines()
        expected = [f"benchmark summary '{folder}'", f"results --workdir='{folder}/final'"][:count]
        assert [line.strip() for line in after] == [f"python -m experiments.{line}" for line in expected]


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", text) and "http" not in re.sub('base64,[^"]*', "", text)
    assert text.count("<figure>") == 8  # seeds, FLOPs, inference, time, parameters, curves, tuning, scaling
    assert text.count('<ul class="key"') == 1 and text.count("<path d=") == 3  # one legend: vit, cnn, perceiver
    assert "&lt;out of memory&gt;" in text and "makes no sense" in text
    assert "python -m experiments.benchmark digits --families=vit" in text
    assert "vit is first, with significance." in text


def test_a_tie_is_called_a_tie(tmp_path):
    outcome = scores({"vit": family(0.9), "cnn": family(0.9), "mlp": family(0.7)})
    assert "vit and cnn share the first rank: 5 seeds do not separate them." in write(outcome, tmp_path)


def test_the_first_of_each_task_is_named_with_it(tmp_path):
    tasks = {"vit": "the whole", "perceiver": "the whole", "cnn": "a half", "mlp": "a half"}
    families = {"vit": family(0.7), "perceiver": family(0.6), "cnn": family(0.9), "mlp": family(0.8)}
    text = write(scores(families, rules=planted.among(planted.identity().rules, tasks)), tmp_path)
    assert "On the whole: vit is first, with significance." in text
    assert "On a half: cnn is first, with significance." in text


def test_the_command_of_a_row_has_all_that_was_set(tmp_path):
    """Otherwise it would not reproduce the row."""
    rules = replace(planted.identity().rules, examples=640)
    outcome = scores({"vit": family(0.9)}, rules=rules, overrides={"data.shift": 1, "model.dtype": "float32"})
    text = write(outcome, tmp_path)
    assert "--seeds=5 --examples=640 --set data.shift=1 --set model.dtype=float32</code>" in text


def test_the_protocol_names_the_split_that_was_set(tmp_path):
    outcome = scores({"vit": family(0.9)}, overrides={"data.evaluation": "train[95%:]"})
    assert "selected on train[95%:]; " in write(outcome, tmp_path)


def test_speeds_of_two_machines_are_listed_apart(tmp_path):
    environment = planted.ENVIRONMENT | {"devices": {"count": 1, "kind": "NVIDIA H100"}}
    other = replace(family(0.8), cost=replace(family(0.8).measured_cost, environment=environment))
    text = write(scores({"vit": family(0.9), "cnn": other}), tmp_path)
    assert "2 x cpu, Linux, Python 3.12: vit; 1 x NVIDIA H100, Linux, Python 3.12: cnn" in text


def test_scores_by_number_of_pairs_are_a_figure(tmp_path):
    harder = replace(family(0.9), by={f"data.pairs={n}": family(0.9 - n / 40).runs for n in (12, 3, 8)})
    outcome = scores({"decoder": harder, "encoder": family(0.8)}, rules=suite.load("recall"), suite="recall")
    pictures = plots.draw(outcome, tmp_path)
    assert pictures[-1].path == tmp_path / "by.svg" and pictures[-1].title == "Accuracy by pairs"
    text = report.write_page(outcome, pictures, tmp_path).read_text()
    assert "--families=decoder --workdir=runs/recall_decoder --seeds=5 --by</code>" in text
    assert "--families=encoder --workdir=runs/recall_encoder --seeds=5</code>" in text


def test_failed_families_are_in_no_figure_and_none_at_all_is_no_error(tmp_path):
    assert plots.draw(scores({"mlp": failed("why")}), tmp_path) == []


def test_families_that_all_score_alike_have_a_figure_of_their_tuning(tmp_path, recwarn):
    tuning = family(0.9).tuning
    alike = replace(tuning, tried=[replace(run, score=0.5) for run in tuning.tried])
    pictures = plots.draw(scores({"vit": replace(family(0.9), tuning=alike)}), tmp_path)
    assert "tuning" in [picture.path.stem for picture in pictures]
    assert not [str(warning.message) for warning in recwarn if "ylims" in str(warning.message)]


# A page that shows the report as wide as a phone, clicks on it, and records what it sees.
HARNESS = """<!doctype html><iframe id="phone" width="360" height="800"></iframe><pre id="seen"></pre><script>
const phone = document.getElementById("phone"), seen = {errors: []};
phone.onload = () => {
  const page = phone.contentDocument;
  const order = () => [...page.querySelectorAll(".standings tbody tr")].map(row => row.cells[1].innerText);
  const head = text => [...page.querySelectorAll(".standings th")].find(h => h.innerText.startsWith(text));
  seen.width = page.documentElement.scrollWidth;
  seen.figures = [...page.images].map(image => image.naturalWidth > 0 && image.clientWidth <= 360);
  seen.start = order();
  const table = page.querySelector(".wide"), name = page.querySelector(".standings tbody tr").cells[1];
  table.scrollLeft = 400;
  seen.scrolled = [table.scrollLeft, name.getBoundingClientRect().left];
  seen.smallest = Math.min(...[...page.querySelectorAll("p, td, th, figcaption")].map(
    text => parseFloat(phone.contentWindow.getComputedStyle(text).fontSize)));
  for (const text of ["FLOPs/example, training", "FLOPs/example, training", "family"]) {
    head(text).querySelector("button").click();
    seen[text + (seen[text] ? ", again" : "")] = order();
  }
  seen.sorted = head("family").getAttribute("aria-sort");
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
phone.srcdoc = REPORT;
</script>"""


@pytest.fixture(scope="module")
def browser(page):
    """(what the harness recorded, the lines of the console)"""
    if BROWSER is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    harness = page.with_name("harness.html")
    content = json.dumps(page.read_text()).replace("</", "<\\/")
    harness.write_text(HARNESS.replace("REPORT", content))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += ["--no-first-run", "--disable-sync", "--disable-background-networking", "--disable-component-update"]
    command += [f"--user-data-dir={page.with_name('profile')}", "--virtual-time-budget=5000", harness.as_uri()]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    seen = re.search(r'<pre id="seen">(.*?)</pre>', process.stdout, re.DOTALL)
    assert seen and seen.group(1), process.stderr[-2000:]
    return json.loads(seen.group(1)), [line for line in process.stderr.splitlines() if "CONSOLE" in line]


def test_a_click_sorts_and_another_reverses_the_order(browser):
    seen, _ = browser
    assert seen["start"] == ["vit", "cnn", "perceiver", "mlp", "bottleneck"]
    rising, falling = (seen[f"FLOPs/example, training{again}"] for again in ("", ", again"))
    assert rising == ["cnn", "vit", "perceiver", "mlp", "bottleneck"]  # numbers, not texts
    assert falling == ["perceiver", "vit", "cnn", "mlp", "bottleneck"]  # rows without a value stay at the bottom
    assert seen["family"] == ["bottleneck", "cnn", "mlp", "perceiver", "vit"] and seen["sorted"] == "ascending"


def test_figures_show_on_a_narrow_screen_and_the_page_is_no_wider(browser):
    seen, _ = browser
    assert seen["figures"] == [True] * 8 and seen["width"] <= 360


def test_the_table_scrolls_sideways_and_the_names_stay(browser):
    (moved, name), smallest = browser[0]["scrolled"], browser[0]["smallest"]
    assert moved > 200 and 0 <= name <= 40 and smallest >= 12


def test_the_console_is_silent(browser):
    assert browser[1] == []


def test_a_comparison_is_a_statement_with_its_evidence(tmp_path):
    runs = [replace(run, score=0.9 + x) for run, x in zip(family(0.9).runs, (0.002, -0.0041, 0.004, -0.002, 0.001))]
    outcome = scores({"vit": family(0.9), "cnn": replace(family(0.9), runs=runs), "mlp": family(0.7)})
    text = write(outcome, tmp_path)
    assert "Pairwise comparisons (3 pairs)" in text and "with 80 % power" in text
    assert "the correlation of two families" in text and "Sources of variation" in text
    assert "selected on train[80%:]" in text and "<h2>Environment</h2>" in text


def test_a_shortened_run_has_a_banner(tmp_path):
    outcome = scores({"vit": family(0.9)}, rules=replace(planted.identity().rules, examples=640))
    assert '<p class="banner">Shortened: 640 examples' in write(outcome, tmp_path)
    assert 'class="banner"' not in write(scores({"vit": family(0.9)}), tmp_path)


def test_the_front_goes_from_the_cheapest_family_to_the_best(tmp_path):
    outcome = scores({"vit": family(0.9, flops=9e6), "cnn": family(0.8, flops=1e6), "mlp": family(0.7, flops=3e6)})
    figure = Figure()
    axes = figure.add_subplot()
    view = plots._View(outcome, plots.tables.rows(outcome)[:3], plots._styles(outcome))
    plots._front(axes, view, lambda row: row.train_flops)
    steps = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert np.asarray(steps.get_xdata()).tolist() == [1e6, 9e6]
    assert np.asarray(steps.get_ydata()).tolist() == pytest.approx([0.8, 0.9])
