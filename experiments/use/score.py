"""Scores texts, and answers to multiple-choice questions, with a trained language model.

python -m experiments.score --workdir=runs/gpt --text="The import statement"
python -m experiments.score --weights=gpt2 --questions=questions.jsonl --shots=2

Each line of the questions is {"question": ..., "choices": [...], "answer": number of the right choice, from 0}. With
`--shots`, answered questions come before each question as examples.
"""

import argparse
from functools import partial
from typing import Protocol, TypedDict

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from core.command import command
from core.errors import UserError
from core.files import parse_json
from core.ranges import Seed, refuse_outside
from data.lines import read_lines
from experiments.use.inputs import add_folders
from experiments.use.opened import describe, open_folder
from models import GPT


class Question(TypedDict):
    """A multiple-choice question; `answer` is the number of the right choice, from 0."""

    question: str
    choices: list[str]
    answer: int


class Chooser(Protocol):
    """Compares answers to a question, as `Scorer` does."""

    def choose(self, question: str, choices: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores (C,) of the choices, in total and per token."""
        ...


class Scorer:
    """The language model of a run's newest checkpoint, or of a published folder with its tokenizer.json.

    Args:
      folder: the workdir of the run, or the published folder.

    Raises:
      UserError: there is no checkpoint, or the model is not a GPT over text.
    """

    def __init__(self, folder: str):
        opened = open_folder(folder)
        if opened.run is None and opened.vocabulary is None:
            raise UserError(f"{folder} has no tokenizer.json")
        if not isinstance(opened.model, GPT) or opened.vocabulary is None:
            raise UserError(f"{describe(opened)}, which predicts no next token of a text")
        self._model, self.vocabulary = opened.model, opened.vocabulary

    def log_probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Returns log p of each token but the first, given those before it, in nats: float32 (T - 1,) for tokens (T,).

        In a text longer than the model's context, each token sees at least half a context.

        Raises:
          UserError: there are fewer than 2 tokens.
        """
        if len(tokens) < 2:
            raise UserError(f"a text of {len(tokens)} token(s): expected at least 2, as the first one is not scored")
        context = self._model.context
        step = max(1, context // 2)
        last = max(0, len(tokens) - 1 - context)
        starts = [*range(0, last, step), last]
        padded = np.pad(tokens, (0, max(0, context + 1 - len(tokens))))
        scores = np.empty(len(padded) - 1, np.float32)
        for start in reversed(starts):  # where windows overlap, the value with more context is written last
            new = slice(0 if start == 0 else context - step, None)
            scores[start : start + context][new] = self._window(padded[start : start + context + 1])[new]
        return scores[: len(tokens) - 1]

    def choose(self, question: str, choices: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns log p of each choice after the question, in nats, in total and per token: (C,) both.

        A question that is too long for the context loses its beginning.

        Raises:
          UserError: a choice leaves no tokens of the context for its question.
        """
        totals, lengths = [], []
        for choice in choices:
            tokens, length = self._question_and_choice(question, choice)
            tokens = tokens[-self._model.context - 1 :]
            if length >= len(tokens):
                raise UserError(f"the choice {choice!r} of {length} tokens leaves no room for its question")
            totals.append(self.log_probabilities(tokens)[-length:].sum())
            lengths.append(length)
        return np.array(totals), np.array(totals) / np.array(lengths)

    def _question_and_choice(self, question: str, choice: str) -> tuple[np.ndarray, int]:
        """The tokens of a question with a choice, and how many are the choice's.

        They are tokens of one text: a tokenizer may put special tokens around a text, which are no part of its middle.
        """
        alone, tokens = self.vocabulary.encode(question), self.vocabulary.encode(f"{question} {choice}")
        shorter = min(len(alone), len(tokens))
        (different,) = np.nonzero(alone[:shorter] != tokens[:shorter])
        same = int(different[0]) if len(different) else shorter
        if end := len(alone) - same:  # what stands behind a text
            tokens = tokens[:-end] if np.array_equal(tokens[-end:], alone[same:]) else tokens
        if len(tokens) <= same:
            raise UserError(f"the choice {choice!r} has no tokens of its own behind its question")
        return tokens, len(tokens) - same

    def _window(self, tokens: np.ndarray) -> np.ndarray:
        structure, state = nnx.split(self._model)
        return np.asarray(_log_probabilities(structure, state, tokens[None, :-1], tokens[None, 1:])[0])


def multiple_choice(scorer: Chooser, questions: list[Question], *, shots: int = 0, seed: Seed = 0) -> dict[str, float]:
    """Returns the share of questions whose right choice is the most likely one, in total and per token.

    Args:
      scorer: scores the choices.
      questions: what is asked.
      shots: how many answered questions come before each one, drawn from the others in the list (Brown et al. 2020,
        section 2.4, draws them from a training set).
      seed: of the draws.

    Raises:
      UserError: there are too few questions for so many shots.
    """
    refuse_outside(multiple_choice, {"seed": seed})
    if not 0 <= shots < len(questions):
        raise UserError(
            f"shots = {shots}: expected 0 to {len(questions) - 1}, as there are {len(questions)} questions"
        )
    correct = np.zeros(2)
    for number, question in enumerate(questions):
        others = np.delete(np.arange(len(questions)), number)
        chosen = np.random.default_rng([seed, number]).permutation(others)[:shots]
        examples = "".join(f"{questions[i]['question']} {_answer(questions[i])}\n" for i in chosen)
        scores = scorer.choose(examples + question["question"], question["choices"])
        correct += [score.argmax() == question["answer"] for score in scores]
    total, per_token = correct / len(questions)
    return {"accuracy": float(total), "accuracy_by_token": float(per_token)}


def read_questions(path: str) -> list[Question]:
    """Returns the questions in a JSONL file.

    Raises:
      UserError: there is no such file, or a line is not a question; the message has its number.
    """
    questions = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            question = parse_json(line)
            valid = (
                isinstance(question["question"], str) and question["question"] and len(question["choices"]) >= 2
                and all(isinstance(choice, str) and choice for choice in question["choices"])
                and type(question["answer"]) is int and 0 <= question["answer"] < len(question["choices"])
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            question, valid = None, False
        if not valid:
            raise UserError(
                f'{path}, line {number}: expected {{"question": text, "choices": [text, text, ...], '
                '"answer": number of the right choice, from 0}'
            )
        questions.append(question)
    return questions


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the scores of the text's tokens, or the accuracies."""
    parser = argparse.ArgumentParser(prog="python -m experiments.score", description=(__doc__ or "").partition("\n")[0])
    add_folders(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="the text to score")
    source.add_argument("--questions", help="JSONL file of multiple-choice questions")
    parser.add_argument("--shots", type=int, default=0, help="answered questions before each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="chooses these questions (default %(default)s)")
    args = parser.parse_args(arguments)
    questions = None if args.questions is None else read_questions(args.questions)
    scorer = Scorer(args.folder)
    if questions is None:
        _print_text(scorer, args.text)
        return
    for name, value in multiple_choice(scorer, questions, shots=args.shots, seed=args.seed).items():
        print(f"{name:<18} {value:.4f}  ({len(questions)} questions, {args.shots} shots)")


def _print_text(scorer: Scorer, text: str) -> None:
    tokens = scorer.vocabulary.encode(text)
    scores = scorer.log_probabilities(tokens)
    for token, score in zip(tokens[1:], scores):
        print(f"{score:9.4f}  {scorer.vocabulary.decode([token])!r}")
    print(f"{scores.sum():9.4f}  nats in total, {scores.mean():.4f} per token, perplexity {np.exp(-scores.mean()):.2f}")


def _answer(question: Question) -> str:
    return question["choices"][question["answer"]]


@partial(jax.jit, static_argnames="structure")
def _log_probabilities(structure, state, tokens_BT, targets_BT):
    logits_BTV = nnx.merge(structure, state)(tokens_BT)
    return jnp.take_along_axis(jax.nn.log_softmax(logits_BTV), targets_BT[..., None], axis=-1)[..., 0]


if __name__ == "__main__":
    main()
