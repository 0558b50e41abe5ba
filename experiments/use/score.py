"""How likely a language model finds texts, or the choices of questions, from none, one or a few examples.

python -m experiments.score --workdir=runs/gpt --text="The import statement"
python -m experiments.score --workdir=runs/gpt --questions=questions.jsonl --shots=2

A line of the questions is {"question": ..., "choices": [...], "answer": number of the right choice, from 0}.
"""

import argparse
from functools import partial
import json
import sys

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from data.lines import read_lines
from models import GPT
import train


class Scorer:
    """The language model of a workdir's newest checkpoint.

    Raises FileNotFoundError where there is none, and ValueError where the model is no GPT over text.
    """

    def __init__(self, workdir: str):
        self._model, run = train.load(workdir)
        self.vocabulary = run.dataset.vocabulary
        if not isinstance(self._model, GPT) or self.vocabulary is None:
            name, data = run.fields.model["name"], run.fields.data["name"]
            raise ValueError(f"{workdir} holds the model {name!r} of the data {data!r}, which predicts no next token")

    def log_probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """log p of each token but the first, given those before it, in nats: float32 (T - 1,) for tokens (T,).

        Of a text longer than the model's context a token sees half of it at least. Raises ValueError below 2 tokens.
        """
        if len(tokens) < 2:
            raise ValueError(f"a text of {len(tokens)} token(s): expected at least 2, the first is only a condition")
        context = self._model.context
        step = max(1, context // 2)
        last = max(0, len(tokens) - 1 - context)
        starts = [*range(0, last, step), last]
        padded = np.pad(tokens, (0, max(0, context + 1 - len(tokens))))
        found = np.empty(len(padded) - 1, np.float32)
        for start in reversed(starts):  # so that where windows overlap, the one that sees more stays
            new = slice(0 if start == 0 else context - step, None)
            found[start : start + context][new] = self._window(padded[start : start + context + 1])[new]
        return found[: len(tokens) - 1]

    def choose(self, question: str, choices: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """log p of each choice after the question, in nats, and the same for a token on average: (C,) both.

        A question that leaves no room in the context loses its beginning.
        """
        encode = self.vocabulary.encode
        begin, totals, lengths = encode(question), [], []
        for choice in choices:
            end = encode(f" {choice}")
            tokens = np.concatenate([begin, end])[-self._model.context - 1 :]
            if len(end) >= len(tokens):
                raise ValueError(f"the choice {choice!r} of {len(end)} tokens leaves no room for its question")
            totals.append(self.log_probabilities(tokens)[-len(end) :].sum())
            lengths.append(len(end))
        return np.array(totals), np.array(totals) / np.array(lengths)

    def _window(self, tokens: np.ndarray) -> np.ndarray:
        structure, state = nnx.split(self._model)
        return np.asarray(_log_probabilities(structure, state, tokens[None, :-1], tokens[None, 1:])[0])


def multiple_choice(scorer: Scorer, questions: list[dict], *, shots: int = 0, seed: int = 0) -> dict[str, float]:
    """The share of questions whose right choice is the most likely one, as a whole and by token (length-normalised).

    Before each question stand `shots` others, drawn from the same list, with their answers (Brown et al. 2020,
    section 2.4, where they come from a training set). Raises ValueError where there are too few questions.
    """
    if not 0 <= shots < len(questions):
        raise ValueError(
            f"shots = {shots}: expected 0 to {len(questions) - 1}, as there are {len(questions)} questions"
        )
    right = np.zeros(2)
    for number, asked in enumerate(questions):
        others = np.delete(np.arange(len(questions)), number)
        drawn = np.random.default_rng([seed, number]).permutation(others)[:shots]
        examples = "".join(f"{questions[i]['question']} {_answer(questions[i])}\n" for i in drawn)
        scores = scorer.choose(examples + asked["question"], asked["choices"])
        right += [score.argmax() == asked["answer"] for score in scores]
    whole, by_token = right / len(questions)
    return {"accuracy": float(whole), "accuracy_by_token": float(by_token)}


def read_questions(path: str) -> list[dict]:
    """The questions in a JSONL file. Raises FileNotFoundError, or ValueError that names the line."""
    questions = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            found = json.loads(line)
            fine = (
                isinstance(found["question"], str) and found["question"] and len(found["choices"]) >= 2
                and all(isinstance(choice, str) and choice for choice in found["choices"])
                and type(found["answer"]) is int and 0 <= found["answer"] < len(found["choices"])
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            fine = False
        if not fine:
            raise ValueError(
                f'{path}, line {number}: expected {{"question": text, "choices": [text, text, ...], '
                '"answer": number of the right choice, from 0}'
            )
        questions.append(found)
    return questions


def main(arguments: list[str] | None = None) -> None:
    """The command line: an error is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.score", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="folder of the run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="the text to score")
    what.add_argument("--questions", help="JSONL file of multiple-choice questions")
    parser.add_argument("--shots", type=int, default=0, help="answered questions before each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides which these are (default %(default)s)")
    given = parser.parse_args(arguments)
    try:
        questions = None if given.questions is None else read_questions(given.questions)
        scorer = Scorer(given.workdir)
        if questions is None:
            _print_text(scorer, given.text)
        else:
            for name, value in multiple_choice(scorer, questions, shots=given.shots, seed=given.seed).items():
                print(f"{name:<18} {value:.4f}  ({len(questions)} questions, {given.shots} shots)")
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _print_text(scorer: Scorer, text: str) -> None:
    tokens = scorer.vocabulary.encode(text)
    found = scorer.log_probabilities(tokens)
    for token, value in zip(tokens[1:], found):
        print(f"{value:9.4f}  {scorer.vocabulary.decode([token])!r}")
    print(f"{found.sum():9.4f}  nats in all, {found.mean():.4f} a token, perplexity {np.exp(-found.mean()):.2f}")


def _answer(question: dict) -> str:
    return question["choices"][question["answer"]]


@partial(jax.jit, static_argnames="structure")
def _log_probabilities(structure, state, tokens_BT, targets_BT):
    logits_BTV = nnx.merge(structure, state)(tokens_BT)
    return jnp.take_along_axis(jax.nn.log_softmax(logits_BTV), targets_BT[..., None], axis=-1)[..., 0]


if __name__ == "__main__":
    main()
