"""The page of all figures, `index.html` beside them: caption, formula, measured numbers, and the command."""

from html import escape
from pathlib import Path

from core import files
from experiments.figures.engine import LINES, caption, names, state

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
article { margin: 3rem 0; border-top: 1px solid #8888; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; }
td, th { padding: .15rem 1.2rem .15rem 0; text-align: left; vertical-align: top; }
td:first-child { overflow-wrap: anywhere; }
@media (max-width: 40rem) { td, th { padding-right: .6rem; } table { font-size: .85em; } dd { margin-left: 1rem; } }
code { font-size: .95em; overflow-wrap: anywhere; }
.passed { color: #009E73; } .failed { color: #D55E00; font-weight: bold; }
"""


def write_page(folder: str | Path) -> Path:
    """Writes the page for the figures in a folder, and returns its path. Figures that are not made are on it too."""
    states = {name: state(name, folder) for name in names()}
    words = [word for word, _ in states.values()]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Figures</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style>\n<h1>Figures</h1>\n<p>{counts}</p>",
        "<p>" + " · ".join(f'<a href="#{name}">{name}</a>' for name in states) + "</p>",
    ]
    parts += [_article(name, word, record, Path(folder)) for name, (word, record) in states.items()]
    page = Path(folder) / "index.html"
    files.write_text(page, "\n".join(parts) + "\n</html>\n")
    return page


def _article(name: str, word: str, record: dict, folder: Path) -> str:
    """One figure on the page; `word` is its state."""
    about = caption(name)
    lines = "".join(f"<dt>{line}</dt><dd>{escape(about[line])}</dd>" for line in LINES)
    picture = ""
    if (folder / f"{name}.svg").exists():
        picture = (
            f'<picture><source srcset="{name}_dark.svg" media="(prefers-color-scheme: dark)">'
            f'<img src="{name}.svg" alt="{escape(about["title"])}" loading="lazy"></picture>'
        )
    rows = "".join(
        f"<tr><td>{escape(c['name'])}</td><td>{_number(c['measured'])}</td><td>{escape(c['expected'])}</td>"
        f'<td class="{_outcome(c["passed"])}">{_outcome(c["passed"])}</td></tr>'
        for c in record.get("criteria", [])
    )
    header = "<tr><th>criterion</th><th>measured</th><th>expected</th><th></th></tr>"
    table = f"<table>{header}{rows}</table>" if rows else ""
    error = f'<p class="failed">{escape(record["error"])}</p>' if record.get("error") else ""
    details = f", seed {record['seed']}, {record['seconds']} s" if record else ""
    return (
        f'<article id="{name}">\n<h2>{escape(about["title"])}</h2>\n{picture}\n<p>{escape(about["text"])}</p>\n'
        f'<dl>{lines}</dl>\n{table}{error}\n<p><span class="{word}">{word}</span>{details}: '
        f"<code>python -m experiments.figures {name}</code></p>\n</article>"
    )


def _number(value: float | None) -> str:
    """A measured number; None stands for NaN and infinity, which JSON lacks."""
    return "not a number" if value is None else f"{value:.6g}"


def _outcome(passed: bool) -> str:
    return "passed" if passed else "failed"
