"""Translations from the folder of a run or of a published model, their scores, and errors in one line."""

import json
from typing import Any

from flax import nnx
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from data.subwords import BOS, EOS, Subwords
from experiments.use.translate import main, scores, translate
from models import EncoderDecoder
from models.beam_search import beam_search
from models.pretrained import load, save
import train

PAIRS = {"a dog": "ein Hund", "a cat": "eine Katze", "dogs": "Hunde", "cats": "Katzen"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run that has memorised four pairs of phrases."""
    folder = tmp_path_factory.mktemp("runs")
    Subwords.train([], kind="bpe", vocab_size=263).save(folder / "tokenizer.json")
    for split in ("train", "validation"):
        (folder / f"{split}.en").write_text("\n".join(PAIRS) + "\n")
        (folder / f"{split}.de").write_text("\n".join(PAIRS.values()) + "\n")
    data = {"path": str(folder), "source": "en", "target": "de", "tokenizer": str(folder / "tokenizer.json")}
    config = {
        "seed": 0, "steps": 80, "batch_size": 4, "eval_every": 80, "checkpoint_every": 80,
        "model": {"name": "encoder_decoder", "width": 32, "depth": 1, "heads": 2},
        "objective": {"name": "seq2seq"},
        "data": {"name": "translation", "source_length": 7, "length": 11} | data,
        "optimizer": {"name": "adamw", "learning_rate": 1e-2, "schedule": "constant"},
    }  # fmt: skip
    summary = train.run(config, folder / "run")
    assert summary["metrics"]["validation/exact"] == 1
    return folder / "run"


def refused(capsys, *arguments):
    """The one line with which the command refuses its arguments."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    output = capsys.readouterr()
    assert stop.value.code == 1 and output.out == "" and output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.medium
@pytest.mark.parametrize("settings", [{}, {"beams": 3}, {"beams": 2, "batch_size": 3}], ids=str)
def test_memorised_phrases_are_translated(workdir, settings):
    assert translate(workdir, list(PAIRS), **settings) == list(PAIRS.values())


def test_a_file_is_translated_and_scored(workdir, tmp_path, capsys):
    (tmp_path / "references.de").write_text("ein Hund\neine Katze\nHunde\nirgendwas\n")
    texts = workdir.parent / "train.en"
    main([f"--workdir={workdir}", f"--file={texts}", f"--references={tmp_path / 'references.de'}"])
    output = capsys.readouterr()
    assert output.out.splitlines() == list(PAIRS.values())
    assert "exact 0.7500" in output.err and "tok:13a" in output.err


def test_a_recurrent_network_translates_by_the_same_search(workdir, tmp_path):
    config = json.loads((workdir / "config.json").read_text())
    config |= {
        "steps": 2, "eval_every": 2, "checkpoint_every": 2,
        "model": {"name": "recurrent_encoder_decoder", "width": 8, "attention": "dot"},
    }  # fmt: skip
    train.run(config, tmp_path / "recurrent")
    model: Any
    model, run = train.load(tmp_path / "recurrent")
    vocabulary: Any = run.dataset.vocabulary
    batch = run.dataset.train.examples(np.arange(4))["inputs"]
    settings = {"bos": BOS, "eos": EOS, "length": 11, "length_penalty": 0.6}
    tokens, _ = beam_search(model, batch["source"], batch["source_mask"], **settings)
    expected = [vocabulary.decode(row) for row in np.asarray(tokens)[:, 0]]
    assert translate(tmp_path / "recurrent", list(PAIRS)) == expected


def test_scores_by_hand():
    text = "the cat sat on the mat today"
    assert scores([text], [text]).startswith("BLEU 100.00") and "exact 1.0000" in scores([text], [text])
    # 5 of 6 words, 4 of 5 pairs, 3 of 4 triples and 2 of 3 quadruples are right, and nothing is too short.
    value = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert scores(["a b c d e x"], ["a b c d e f"]).startswith(f"BLEU {value:.2f}")


def test_one_text(workdir, capsys):
    main([f"--workdir={workdir}", "--text=dogs"])
    assert capsys.readouterr().out == "Hunde\n"


@pytest.fixture
def published(tmp_path):
    """The folder of a T5 whose tokens are words, with an end token after each source."""
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "dog": 4, "ein": 5, "Hund": 6}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    model = EncoderDecoder(
        source_vocab_size=7, vocab_size=7, source_context=5, context=5, width=8, depth=1, heads=2, norm="rms",
        bias=False, scaled=False, positions="none", embedding_scale="out", epsilon=1e-6, activation="relu",
        relative_buckets=8,
        rngs=nnx.Rngs(3),
    )  # fmt: skip
    save(model, tmp_path / "t5")
    tokenizer.save(str(tmp_path / "t5" / "tokenizer.json"))
    return tmp_path / "t5"


def test_published_weights_translate_with_their_own_tokens(published, capsys):
    main([f"--weights={published}", "--text=a dog", "--beams=2", "--length_penalty=1"])
    source, mask = jnp.array([[3, 4, 1, 0, 0]]), jnp.array([[True, True, True, False, False]])
    model = load(published)
    assert isinstance(model, EncoderDecoder)
    tokens, _ = beam_search(model, source, mask, bos=0, eos=1, length=5, beams=2, length_penalty=1.0)
    best = tokens[0, 0].tolist()
    best = best[: best.index(1)] if 1 in best else best
    words = ["", "", "", "a", "dog", "ein", "Hund"]
    assert capsys.readouterr().out.split() == [words[token] for token in best if words[token]]
    assert "text 1 has 6 tokens, expected 1 to 5" in refused(capsys, f"--weights={published}", "--text=a a a a a")


def test_errors_are_one_line(workdir, tmp_path, capsys):
    assert "text 1 has 8 tokens, expected 1 to 7" in refused(capsys, f"--workdir={workdir}", "--text=a dog it")
    assert "beams = 0" in refused(capsys, f"--workdir={workdir}", "--text=dogs", "--beams=0")
    assert "nothing.en" in refused(capsys, f"--workdir={workdir}", "--file=nothing.en")
    assert "config.json" in refused(capsys, f"--workdir={tmp_path}", "--text=dogs")


def test_as_many_references_as_texts():
    with pytest.raises(ValueError, match="2 texts, but 1 references"):
        scores(["a", "b"], ["a"])
