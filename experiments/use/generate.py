"""Text from a trained language model.

python -m experiments.generate --workdir=runs/gpt --prompt="The import statement"
python -m experiments.generate --weights=gpt2 --prompt="The import statement"

The newest checkpoint of the run is used; or the weights in a published folder with its own tokenizer.json, where a text
may end early. Text may be longer than the model's context: see `models.decoding.sample`.
"""

import argparse
import sys

import jax
import numpy as np

from experiments.use import published
from models.decoding import sample
from models.pretrained import is_published
from models.protocols import LanguageModel, Translator
import train


def generate(
    folder: str, prompt: str, *, tokens: int = 200, temperature: float = 0.8, top_k: int = 0, top_p: float = 1.0,
    seed: int = 0, samples: int = 1,
) -> list[str]:  # fmt: skip
    """The prompt with `tokens` further ones, `samples` times; the other settings are those of `sample`.

    The folder is a run's workdir or that of a published model.

    Raises FileNotFoundError where it holds no checkpoint, or no tokenizer, and ValueError for a model that cannot write
    text or cannot be rebuilt here, for a prompt that is empty or has a character unknown to the run, or for a setting
    out of range.
    """
    if samples < 1:
        raise ValueError(f"samples = {samples}: expected at least 1")
    model, vocabulary = published.load(folder) if is_published(folder) else _load(folder)
    if isinstance(model, Translator):
        raise ValueError(f"{folder} holds an encoder-decoder: it goes on from no prompt, see experiments.translate")
    if not prompt:
        raise ValueError("the prompt is empty: give at least one character to go on from")
    prompt_BT = np.tile(vocabulary.encode(prompt), (samples, 1))
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    written = sample(model, prompt_BT, jax.random.key(seed), length=tokens, **settings)
    return [prompt + vocabulary.decode(row) for row in np.asarray(written)]


def main(arguments: list[str] | None = None) -> None:
    """The command line: texts on standard output, an error as one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.generate", description=__doc__.splitlines()[0])
    folder = parser.add_mutually_exclusive_group(required=True)
    folder.add_argument("--workdir", dest="folder", help="folder of the run")
    folder.add_argument("--weights", dest="folder", help="folder of a published model with its tokenizer.json")
    parser.add_argument("--prompt", required=True, help="the text to go on from")
    parser.add_argument("--tokens", type=int, default=200, help="tokens to add (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest (default %(default)s)")
    parser.add_argument("--top_k", type=int, default=0, help="draw from the k likeliest; 0: from all")
    parser.add_argument("--top_p", type=float, default=1.0, help="draw from the likeliest that reach this share")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same text (default %(default)s)")
    parser.add_argument("--samples", type=int, default=1, help="how many texts (default %(default)s)")
    try:
        texts = generate(**vars(parser.parse_args(arguments)))
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"\n{'-' * 80}\n".join(texts))


def _load(workdir: str):
    try:
        model, run = train.load(workdir)
    except ValueError as error:
        # Such as another vocabulary: python_docs is the text of the Python that runs.
        raise ValueError(
            f"{workdir} cannot be rebuilt here: {error}. What it ran on is in {workdir}/environment.json"
        ) from error
    if not isinstance(model, (LanguageModel, Translator)) or run.dataset.vocabulary is None:
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise ValueError(f"{workdir} holds the model {name!r} of the data {data!r}, which cannot write text")
    return model, run.dataset.vocabulary


if __name__ == "__main__":
    main()
