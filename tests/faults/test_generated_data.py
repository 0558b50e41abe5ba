"""Whatever stands in a file that is read as data, it is accepted, or refused in one line that names it."""

import csv
import io
import json
from pathlib import Path
import shutil

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import pytest

from core.command import command
from core.files import ROOT
from data import DATASETS
from data.published_tokenizer import PublishedTokenizer
from data.subwords import Subwords
from experiments.benchmark import scores
from models.pretrained import preprocessing
from tests.experiments.benchmark import planted
from tests.faults.generated import mutated, properties, rejection, spoiled
from tests.faults.test_generated import assert_names

WORDS = ["the", "quick", "brown", "fox", "jumps", "über"]
LINES = [" ".join(WORDS[i % 6 :] + WORDS[: i % 5]) for i in range(20)]
NODES = "".join(f"n{i}\t{'train' if i < 7 else 'validation'}\t{'ab'[i % 2]}\t{i / 3}\t{-i}\n" for i in range(11))
EDGES = "".join(f"n{i}\tn{(3 * i + 1) % 11}\n" for i in range(11))
MOLECULES = "".join(f"{'C' * i}O {i / 7} {i}\n" for i in range(1, 21))
PREPROCESSING = {
    "do_resize": True, "size": {"height": 8, "width": 8}, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7],
}  # fmt: skip


def image(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)).save(stream, kind)
    return stream.getvalue()


def arrays() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, images=np.zeros((13, 5, 7), np.uint8), labels=np.arange(13) % 3)
    return stream.getvalue()


def table() -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([["text", "label"], *([line, "ab"[i % 2]] for i, line in enumerate(LINES))])
    return stream.getvalue().encode()


def columns() -> bytes:
    stream = pa.BufferOutputStream()
    parquet.write_table(pa.table({"text": LINES, "label": ["ab"[i % 2] for i in range(20)]}), stream)
    return stream.getvalue().to_pybytes()


def tokenizer() -> bytes:
    return Subwords.train(LINES, kind="wordpiece", vocab_size=60).text().encode()


# The file that is spoiled, in a folder with all others -> what it holds, and the data set that reads it.
FILES = {
    "graph/nodes.tsv": (lambda: NODES.encode(), {"name": "graph_files", "path": "graph"}),
    "graph/edges.tsv": (lambda: EDGES.encode(), {"name": "graph_files", "path": "graph"}),
    "molecules.txt": (lambda: MOLECULES.encode(), {"name": "molecules_file", "path": "molecules.txt"}),
    "arrays.npz": (arrays, {"name": "image_array", "path": "arrays.npz"}),
    "table/train.csv": (table, {"name": "labelled_text", "path": "table", "context": 16}),
    "columns/train.parquet": (columns, {"name": "labelled_text", "path": "columns", "context": 16}),
    "images/a/1.png": (lambda: image("PNG"), {"name": "image_folder", "path": "images"}),
    "images/a/2.jpg": (lambda: image("JPEG"), {"name": "image_folder", "path": "images"}),
    "images/b/3.gif": (lambda: image("GIF"), {"name": "image_folder", "path": "images"}),
    "images/b/4.webp": (lambda: image("WEBP"), {"name": "image_folder", "path": "images"}),
    "images/b/5.tiff": (lambda: image("TIFF"), {"name": "image_folder", "path": "images"}),
    "images/b/6.ppm": (lambda: image("PPM"), {"name": "image_folder", "path": "images"}),
    "pairs/train.en": (
        lambda: "\n".join(LINES).encode(),
        {
            "name": "translation", "path": "pairs", "source": "en", "target": "de", "tokenizer": "pairs/words.json",
            "source_length": 30, "length": 31,
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with all files, as they should be."""
    folder = tmp_path_factory.mktemp("generated")
    for name, (content, _) in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content())
    for file in (folder / "table" / "train.csv", folder / "columns" / "train.parquet"):
        shutil.copy(file, file.with_stem("validation"))
    for name in ("train.de", "validation.en", "validation.de"):
        shutil.copy(folder / "pairs" / "train.en", folder / "pairs" / name)
    (folder / "pairs" / "words.json").write_bytes(tokenizer())
    return folder


def discard(_: object) -> None:
    """What a command returns is its exit code; here only its errors count."""


def read_all(data: dict) -> None:
    """Makes a data set and reads each of its examples."""
    settings = {key: value for key, value in data.items() if key != "name"}
    dataset = DATASETS[data["name"]](**settings)
    for source in (dataset.train, dataset.evaluation):
        source.examples(np.arange(len(source)))


@properties
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_data(folder, name, data, monkeypatch):
    monkeypatch.chdir(folder)
    content, settings = FILES[name]
    original = content()
    Path(name).write_bytes(data.draw(spoiled(original)))
    try:
        assert_names(rejection(command(lambda _: read_all(settings))), name, str(Path(name).parent))
    finally:
        Path(name).write_bytes(original)


@properties
@given(data=st.data())
def test_a_tokenizer(folder, data):
    path = folder / "tokenizer.json"
    original = json.loads((folder / "pairs" / "words.json").read_text())
    content = json.dumps(data.draw(mutated(original))).encode()
    path.write_bytes(data.draw(spoiled(content)) if data.draw(st.booleans()) else content)
    assert_names(rejection(command(lambda _: discard(Subwords.load(path).encode_all(LINES)))), "tokenizer.json")


@properties
@given(data=st.data())
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_a_published_tokenizer(folder, name, data):
    published = folder / "published"
    published.mkdir(exist_ok=True)
    contents = {
        "tokenizer.json": json.loads((folder / "pairs" / "words.json").read_text()),
        "tokenizer_config.json": {"do_lower_case": False, "add_bos_token": False, "bos_token": {"content": "the"}},
        "generation_config.json": {"eos_token_id": [1, 2], "decoder_start_token_id": 3},
    }
    contents[name] = data.draw(mutated(contents[name]))
    for file, content in contents.items():
        (published / file).write_text(json.dumps(content))
    if data.draw(st.booleans()):
        (published / name).write_bytes(data.draw(spoiled((published / name).read_bytes())))
    assert_names(rejection(command(lambda _: discard(PublishedTokenizer(published).encode_all(LINES)))), str(published))


@properties
@given(data=st.data())
def test_what_a_published_model_does_to_images(folder, data):
    model = folder / "vit"
    model.mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests" / "models" / "pretrained" / "vit" / "config.json", model)
    content = json.dumps(data.draw(mutated(PREPROCESSING))).encode()
    path = model / "preprocessor_config.json"
    path.write_bytes(data.draw(spoiled(content)) if data.draw(st.booleans()) else content)
    assert_names(rejection(command(lambda _: discard(preprocessing(model)))), "preprocessor_config.json")


@properties
@given(data=st.data())
def test_results_of_a_benchmark(folder, data):
    content = json.dumps(data.draw(mutated(planted.scores({"vit": planted.family(0.9)}).to_json()))).encode()
    path = folder / "results.json"
    path.write_bytes(data.draw(spoiled(content)) if data.draw(st.booleans()) else content)
    assert_names(rejection(command(lambda _: discard(scores.read(folder)))), "results.json")
