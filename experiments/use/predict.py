"""Predicts classes or numbers for images, texts or arrays, with a trained or a published model.

python -m experiments.predict --workdir=runs/pets --images photos/ cat.jpg
python -m experiments.predict --workdir=runs/reviews --file=reviews.txt --format=csv > answers.csv
echo "a fine film" | python -m experiments.predict --weights=bert-reviews

Each line of `--file`, or of standard input, is a text, or the path of an image. `--split=test` takes a split of the
run's own data set, with its labels. A classifier gives a class and probabilities, a tagger these for each token, a
model of pixels the share of each class, and a regressor numbers.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
import csv
import json
from pathlib import Path
import sys
import time
from typing import Annotated, Any, TextIO

import numpy as np
from rich.console import Console
from rich.progress import Progress

from core.command import command, print_foreign
from core.errors import cut
from core.files import make_folder_of, replacing
from core.ranges import Range, Size, refuse_outside
from experiments.use.answers import answers
from experiments.use.inputs import Inputs, add_folders, add_inputs, read_inputs
from experiments.use.opened import Opened, open_folder

FORMATS = ("table", "csv", "jsonl")
TopK = Annotated[int, Range(1, 2**20)]
LONGEST = 60  # characters of an input in a table


def predict(
    opened: Opened, inputs: Inputs, *, top_k: TopK = 3, batch_size: Size = 32
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yields what a model answers to each input, in their order.

    Args:
      opened: the model.
      inputs: what it is asked about.
      top_k: how many classes have their probability in "probabilities", the most likely ones first.
      batch_size: examples at once.

    Returns:
      A dictionary for each input, with "input", its name, and, if it has one, "label". A classifier adds "class",
      "probability" and "probabilities" by class. A tagger adds "elements", a list of dictionaries with "place",
      "token" (of a text), "class" and "probability". A model of pixels adds "shares" by class, and a regressor
      "numbers", a number or nested lists.

    Raises:
      UserError: the model does none of this, does not read these inputs, or a setting is out of range.
    """
    refuse_outside(predict, {"top_k": top_k, "batch_size": batch_size})
    number = 0
    for part in answers(opened, inputs.source, batch_size=batch_size):
        for row, values in enumerate(part.values):
            label = part.batch["targets"][row] if inputs.labelled else None
            tokens = part.batch["inputs"].get("tokens")
            tokens = None if tokens is None or opened.vocabulary is None else tokens[row]
            answer = _answer(opened, values, label, tokens, part.batch["weights"][row], top_k)
            yield {"input": inputs.names[number]} | answer
            number += 1


def write_rows(rows: Iterator[Mapping[str, Any]], form: str, file: TextIO, top_k: int) -> int:
    """Writes rows of `predict` as a table, CSV or JSON lines, and returns how many there were.

    CSV has a line for each input, or for each token of a tagger and each number of a sequence.
    """
    count, lines, head = 0, [], []
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        count += 1
        if form == "jsonl":
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for line in _lines(row) if form != "jsonl" else ():
            if not head:
                head = list(line)
                if form == "csv":
                    writer.writerow(head)
            if form == "csv":
                writer.writerow([_number(line[name]) if name in line else "" for name in head])
            else:
                lines.append(_cells(line, top_k))
    if form == "table":
        _print_table(lines, file)
    return count


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the answers, and progress to standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.predict", description=(__doc__ or "").partition("\n")[0]
    )
    add_folders(parser)
    add_inputs(parser)
    parser.add_argument("--format", choices=FORMATS, help="(default: as --out ends, else table)")
    parser.add_argument("--out", help="file to write, such as answers.csv or answers.jsonl (default: standard output)")
    parser.add_argument("--top_k", type=int, default=3, help="classes in a table and in JSON (default %(default)s)")
    parser.add_argument("--batch_size", type=int, default=32, help="examples at once (default %(default)s)")
    args = parser.parse_args(arguments)
    refuse_outside(predict, {"top_k": args.top_k, "batch_size": args.batch_size})  # before anything is read
    ending = Path(args.out or "").suffix.removeprefix(".")
    form = args.format or (ending if ending in FORMATS else "table")
    if args.out:
        make_folder_of(args.out)
    opened = open_folder(args.folder)
    inputs = read_inputs(args, opened)
    count = len(opened.classes or ()) if form == "csv" else 0
    rows = predict(opened, inputs, top_k=max(count, args.top_k), batch_size=args.batch_size)
    start = time.monotonic()
    with replacing(args.out) if args.out else nullcontext() as path:
        with path.open("w", encoding="utf-8", newline="") if path else nullcontext(sys.stdout) as file:
            done = write_rows(_with_progress(rows, len(inputs.source)), form, file, args.top_k)
    seconds = time.monotonic() - start
    text = f"{done:,} answer{'s' * (done != 1)} in {seconds:.1f} s"
    print(text + (f": {args.out}" if args.out else ""), file=sys.stderr)


def _with_progress(rows: Iterator[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """The rows; on a terminal, a bar shows how many are done."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(rows, total=count, description="predicting")


def _answer(opened: Opened, values: np.ndarray, label, tokens, weights: np.ndarray, top_k: int) -> dict[str, Any]:
    """What the model answers to one input."""
    if opened.classes is None:
        label_of = {} if label is None else {"label": np.asarray(label, float).tolist()}
        return label_of | {"numbers": np.asarray(values, float).tolist()}
    names = opened.classes
    if values.ndim == 1:
        label_of = {} if label is None else {"label": names[int(label)]}
        order = np.argsort(-values, kind="stable")[:top_k]
        probabilities = {names[c]: _rounded(values[c]) for c in order}
        first = order[0]
        answer = {"class": names[first], "probability": _rounded(values[first]), "probabilities": probabilities}
        return label_of | answer
    if values.ndim == 3:
        shares = np.bincount(values.argmax(-1).ravel(), minlength=len(names)) / values[..., 0].size
        return {"shares": {name: _rounded(share) for name, share in zip(names, shares)}}
    elements = []
    for place in np.flatnonzero(np.broadcast_to(weights, len(values))):
        best = int(values[place].argmax())
        element: dict[str, Any] = {"place": int(place)}
        if tokens is not None and opened.vocabulary is not None:
            element["token"] = opened.vocabulary.decode(tokens[place : place + 1])
        if label is not None:
            element["label"] = names[int(label[place])]
        elements.append(element | {"class": names[best], "probability": _rounded(values[place, best])})
    return {"elements": elements}


def _lines(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines of CSV or of a table for the answer to one input, as cells by column."""
    first = {name: value for name, value in row.items() if name in ("input", "label", "class", "probability")}
    if "elements" in row:
        yield from ({"input": row["input"]} | element for element in row["elements"])
    elif "shares" in row:
        yield first | row["shares"]
    elif "probabilities" in row:
        # A class may be called as a column is.
        yield first | {f"p({name})": value for name, value in sorted(row["probabilities"].items())}
    else:
        numbers, labels = np.ravel(row["numbers"]), np.ravel(row.get("label", []))
        for place, number in enumerate(numbers):
            named = {"label": labels[place]} if len(labels) else {}
            yield {"input": row["input"]} | ({"place": place} if len(numbers) > 1 else {}) | named | {"number": number}


def _cells(line: Mapping[str, Any], top_k: int) -> dict[str, str]:
    """The cells of a line of a table: the most likely classes are one cell, "others"."""
    text = lambda value: f"{value:.4f}" if isinstance(value, float) else cut(str(value), LONGEST)
    cells = {name: text(value) for name, value in line.items() if not name.startswith("p(")}
    others = {name[2:-1]: value for name, value in line.items() if name.startswith("p(")}
    ranked = sorted(others.items(), key=lambda item: -item[1])[1:top_k]
    return cells | ({"others": ", ".join(f"{name} {value:.4f}" for name, value in ranked)} if ranked else {})


def _print_table(lines: Sequence[Mapping[str, str]], file: TextIO) -> None:
    if not lines:
        return
    cells = [dict(zip(lines[0], lines[0])), *lines]
    cells = [{name: " ".join(cell.split()) for name, cell in line.items()} for line in cells]
    widths = {name: max(len(line.get(name, "")) for line in cells) for name in lines[0]}
    text = "\n".join("  ".join(line.get(name, "").ljust(widths[name]) for name in widths).rstrip() for line in cells)
    print_foreign(text) if file is sys.stdout else file.write(text + "\n")


def _rounded(value) -> float:
    return round(float(value), 6)


def _number(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
