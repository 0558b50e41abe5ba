"""Log-probabilities of texts and of choices, compared with the logits of the model."""

import json
from pathlib import Path
import shutil
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from data.subwords import Subwords
from experiments.use.score import Question, Scorer, main, multiple_choice, read_questions
from models import GPT, pretrained
import train

PUBLISHED = Path(__file__).parents[2] / "models" / "pretrained"

CONTEXT = 11


def gpt_run(workdir, **data):
    config = {
        "seed": 0, "steps": 1, "batch_size": 3, "eval_every": 1, "checkpoint_every": 1,
        "optimizer": {"learning_rate": 1e-2},
        "model": {"name": "gpt", "width": 10, "depth": 1, "heads": 2},
        "objective": {"name": "language_modeling"},
        "data": {"name": "python_docs", "context": CONTEXT, "evaluation": "validation[:60]"} | data,
    }  # fmt: skip
    train.run(config, workdir)
    return workdir


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTERN_DATA", str(tmp_path_factory.mktemp("sets")))
        yield


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return gpt_run(tmp_path_factory.mktemp("runs") / "gpt")


@pytest.fixture(scope="module")
def scorer(workdir):
    return Scorer(workdir)


def by_hand(workdir, tokens):
    model, _ = train.load(workdir)
    assert isinstance(model, GPT)
    logits = model(jnp.array([tokens[:-1]]))
    return np.asarray(jax.nn.log_softmax(logits))[0, np.arange(len(tokens) - 1), tokens[1:]]


def test_a_short_text(workdir, scorer):
    tokens = scorer.vocabulary.encode("class A:")
    np.testing.assert_allclose(scorer.log_probabilities(tokens), by_hand(workdir, tokens), atol=1e-5)


@pytest.mark.parametrize("length", [12, 13, 23, pytest.param(40, marks=pytest.mark.slow)])
def test_a_long_text_keeps_half_of_the_context(workdir, scorer, length):
    tokens = scorer.vocabulary.encode("A class statement defines a class object, it is said."[:length])
    scores = scorer.log_probabilities(tokens)
    assert len(scores) == length - 1
    np.testing.assert_allclose(scores[:CONTEXT], by_hand(workdir, tokens[: CONTEXT + 1]), atol=1e-5)
    for place in range(CONTEXT, length - 1):
        candidates = [by_hand(workdir, tokens[start : place + 2])[-1] for start in range(place - 10, place - 4)]
        assert np.abs(np.array(candidates) - scores[place]).min() < 1e-5


def test_one_token_has_nothing_before_it(scorer):
    with pytest.raises(ValueError, match="expected at least 2"):
        scorer.log_probabilities(scorer.vocabulary.encode("a"))


def test_choices_are_scored_after_the_question_alone(workdir, scorer):
    totals, means = scorer.choose("is it", ["so", "not"])
    for choice, total, mean in zip(["so", "not"], totals, means):
        expected = by_hand(workdir, scorer.vocabulary.encode(f"is it {choice}"))[-len(choice) - 1 :]
        assert total == pytest.approx(expected.sum(), abs=1e-4)
        assert mean == pytest.approx(expected.mean(), abs=1e-4)


class Framed:
    """Numbers words, between the special tokens 1 and 2."""

    words = ("is", "it", "so", "not")

    def encode(self, text):
        return np.array([1, *(3 + self.words.index(word) for word in text.split()), 2])


def test_special_tokens_around_a_text_do_not_get_into_its_middle():
    scorer = Scorer.__new__(Scorer)
    framed: Any = Framed()
    scorer._model = GPT(vocab_size=7, context=11, width=6, depth=1, heads=2, rngs=nnx.Rngs(0))
    scorer.vocabulary = framed
    totals, means = scorer.choose("is it", ["so", "not so"])
    expected = [scorer.log_probabilities(np.array([1, 3, 4, *choice]))[2:] for choice in ([5], [6, 5])]
    np.testing.assert_allclose(totals, [scores.sum() for scores in expected], atol=1e-5)
    np.testing.assert_allclose(means, [scores.mean() for scores in expected], atol=1e-5)
    with pytest.raises(ValueError, match="the choice '' has no tokens of its own"):
        scorer.choose("is it", [""])


def test_a_long_question_loses_its_beginning(scorer):
    long, short = scorer.choose("What is the class of it", ["a"]), scorer.choose("ass of it", ["a"])
    np.testing.assert_allclose(long, scorer.choose("class of it", ["a"]), atol=1e-5)
    assert (np.abs(np.array(long) - np.array(short)) < 1).all()
    with pytest.raises(ValueError, match="leaves no room"):
        scorer.choose("is it", ["a very long choice"])


class Alphabet:
    """Prefers "b" in total, but "aaaa" per token. Keeps the questions that it was asked."""

    def __init__(self):
        self.questions = []

    def choose(self, question, choices):
        self.questions.append(question)
        return np.array([{"aaaa": -4.0, "b": -2.0}[c] for c in choices]), np.array(
            [{"aaaa": -1.0, "b": -2.0}[c] for c in choices]
        )


QUESTIONS: list[Question] = [
    {"question": f"Q{number}", "choices": ["aaaa", "b"], "answer": answer} for number, answer in enumerate([0, 1, 1])
]


def test_accuracy_counts_both_ways():
    accuracies = multiple_choice(Alphabet(), QUESTIONS)
    assert accuracies == {"accuracy": pytest.approx(2 / 3), "accuracy_by_token": pytest.approx(1 / 3)}


def test_shots_are_other_questions_with_their_answers():
    chooser = Alphabet()
    multiple_choice(chooser, QUESTIONS, shots=2)
    lines = ["Q0 aaaa", "Q1 b", "Q2 b"]
    for number, text in enumerate(chooser.questions):
        *examples, last = text.split("\n")
        assert last == f"Q{number}" and sorted(examples) == lines[:number] + lines[number + 1 :]
    again = Alphabet()
    multiple_choice(again, QUESTIONS, shots=2)
    assert again.questions == chooser.questions
    with pytest.raises(ValueError, match="shots = 3: expected 0 to 2"):
        multiple_choice(chooser, QUESTIONS, shots=3)


@pytest.mark.parametrize(
    "line",
    ["no json", "[1]", '{"question": "a", "choices": ["b", "c"]}', '{"question": "a", "choices": ["b"], "answer": 0}',
     '{"question": "a", "choices": ["b", "c"], "answer": 2}', '{"question": "a", "choices": ["b", 1], "answer": 0}'],
)  # fmt: skip
def test_a_malformed_question_is_named_by_its_line(tmp_path, line):
    path = tmp_path / "questions.jsonl"
    path.write_text(f"{json.dumps(QUESTIONS[0])}\n{line}\n")
    with pytest.raises(ValueError, match="questions.jsonl, line 2: expected"):
        read_questions(path)


def test_the_command_line(workdir, tmp_path, capsys):
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    main([f"--workdir={workdir}", f"--questions={path}", "--shots=1"])
    assert "(3 questions, 1 shots)" in capsys.readouterr().out
    main([f"--workdir={workdir}", "--text=abc"])
    assert "'c'\n" in (out := capsys.readouterr().out) and "perplexity" in out
    with pytest.raises(SystemExit) as stop:
        main([f"--workdir={workdir}", "--text=a"])
    assert stop.value.code == 1 and capsys.readouterr().err.startswith("error: a text of 1 token")


def test_byte_level_bpe_is_scored_too(tmp_path):
    docs = "The class statement. A class is an object – always. " * 9
    (tmp_path / "text.txt").write_text(docs)
    Subwords.train([docs], kind="bpe", vocab_size=300).save(tmp_path / "tokenizer.json")
    data = {"name": "text_file", "path": str(tmp_path / "text.txt"), "tokenizer": str(tmp_path / "tokenizer.json")}
    scorer = Scorer(gpt_run(tmp_path / "run", **data, evaluation="validation"))
    tokens = scorer.vocabulary.encode("The class – π")
    assert len(tokens) < len("The class – π".encode()) and scorer.vocabulary.decode(tokens) == "The class – π"
    assert (scorer.log_probabilities(tokens) < 0).all()


def test_a_published_folder_is_scored_as_its_model_says(tmp_path):
    folder = shutil.copytree(PUBLISHED / "gpt2", tmp_path / "gpt2")
    model = pretrained.load(folder)
    assert isinstance(model, GPT)
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1, "c": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue] # as documented
    with pytest.raises(ValueError, match="gpt2 has no tokenizer.json"):
        Scorer(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    scorer = Scorer(str(folder))
    tokens = scorer.vocabulary.encode("b a c a")
    assert tokens.tolist() == [1, 0, 2, 0]
    expected = np.asarray(jax.nn.log_softmax(model(jnp.array([[1, 0, 2]]))))[0, np.arange(3), [0, 2, 0]]
    np.testing.assert_allclose(scorer.log_probabilities(tokens), expected, atol=1e-5)
