"""Generates text with a trained language model.

python -m experiments.generate --workdir=runs/gpt --prompt="The import statement"
python -m experiments.generate --weights=gpt2 --prompt="The import statement"

`--workdir` uses the newest checkpoint of a run. `--weights` uses a published folder with its tokenizer.json; its text
may end early. Text may be longer than the model's context, see `models.decoding.sample`.
"""

import argparse
from typing import Annotated

import jax
import numpy as np

from core.command import command, print_foreign
from core.errors import UserError
from core.ranges import Length, Nonnegative, Range, Seed, Size, refuse_outside
from data.published_tokenizer import PublishedTokenizer
from data.vocabulary import Vocabulary
from experiments.use import published
from models.decoding import sample
from models.pretrained import is_published
from models.protocols import Describer, LanguageModel, Translator
import train
from training.workdir import read_config

TopK = Annotated[int, Range(0, 2**20)]
TopP = Annotated[float, Range(0, 1, open_low=True)]


def generate(
    folder: str, prompt: str, *, tokens: Length = 200, temperature: Nonnegative = 0.8, top_k: TopK = 0,
    top_p: TopP = 1.0, seed: Seed = 0, samples: Size = 1,
) -> list[str]:  # fmt: skip
    """Continues a text, and returns it with its continuation, once for each of `samples`.

    The whole is decoded from its tokens, so a vocabulary that does not restore every text may change the prompt too.

    Args:
      folder: the workdir of a run, or the folder of a published model.
      prompt: the text to continue.
      tokens: the number of tokens to add.
      temperature, top_k, top_p: see `models.decoding.sample`.
      seed: the same seed gives the same texts.
      samples: the number of texts.

    Raises:
      UserError: the folder has no such model or no tokenizer, the model cannot write text or cannot be rebuilt here,
        the prompt is empty or has a character that the vocabulary lacks, or a setting is out of range.
    """
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    refuse_outside(generate, settings | {"tokens": tokens, "seed": seed, "samples": samples})
    model, vocabulary = _published(folder) if is_published(folder) else _load(folder)
    until_end = vocabulary.until_end if isinstance(vocabulary, PublishedTokenizer) else np.asarray
    if not prompt:
        raise UserError("the prompt is empty: expected at least one character to continue")
    prompt_BT = np.tile(vocabulary.encode(prompt), (samples, 1))
    tokens_BT = sample(model, prompt_BT, jax.random.key(seed), length=tokens, **settings)
    # Prompt and continuation together: only so does a vocabulary of word pieces know where a space belongs.
    rows = [np.concatenate([prompt_BT[0], until_end(row)]) for row in np.asarray(tokens_BT)]
    return [vocabulary.decode(row) for row in rows]


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the texts."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.generate", description=(__doc__ or "").partition("\n")[0]
    )
    folder = parser.add_mutually_exclusive_group(required=True)
    folder.add_argument("--workdir", dest="folder", help="folder of the run")
    folder.add_argument("--weights", dest="folder", help="folder of a published model with its tokenizer.json")
    parser.add_argument("--prompt", required=True, help="the text to continue")
    parser.add_argument("--tokens", type=int, default=200, help="tokens to add (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: the most likely token (default %(default)s)")
    parser.add_argument("--top_k", type=int, default=0, help="draw from the k most likely tokens; 0: from all")
    parser.add_argument("--top_p", type=float, default=1.0, help="draw from the fewest tokens that reach this share")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (default %(default)s)")
    parser.add_argument("--samples", type=int, default=1, help="how many texts (default %(default)s)")
    texts = generate(**vars(parser.parse_args(arguments)))
    print_foreign(f"\n{'-' * 80}\n".join(texts))


def _published(folder: str) -> tuple[LanguageModel, PublishedTokenizer]:
    model, vocabulary = published.load(folder)
    return refuse_others(folder, model), vocabulary


def _load(workdir: str) -> tuple[LanguageModel, Vocabulary]:
    read_config(workdir)  # of a folder without a run there is nothing to rebuild
    try:
        model, run = train.load(workdir, same_data=False)
    except UserError as error:
        # For example another vocabulary: python_docs is the documentation of the Python that runs.
        raise UserError(
            f"{workdir} cannot be rebuilt here: {error}. {workdir}/environment.json says what it was trained with"
        ) from error
    vocabulary = run.dataset.vocabulary
    if not isinstance(model, LanguageModel | Translator) or vocabulary is None:
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise UserError(f"{workdir} holds the model {name!r} of the data {data!r}, which cannot write text")
    return refuse_others(workdir, model), vocabulary


def refuse_others(folder: str, model: LanguageModel | Translator | Describer) -> LanguageModel:
    """Returns the model. Raises UserError if it writes about a source, and so cannot continue a prompt."""
    if isinstance(model, Describer):
        raise UserError(f"{folder} holds a model that writes about images, and continues no prompt")
    if isinstance(model, Translator):
        raise UserError(f"{folder} holds an encoder-decoder, which continues no prompt: use experiments.translate")
    return model


if __name__ == "__main__":
    main()
