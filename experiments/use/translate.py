"""Translations by a trained encoder-decoder.

python -m experiments.translate --workdir=runs/number_words --text="forty-two"
python -m experiments.translate --workdir=runs/multi30k --file=test.en --references=test.de --beams=5 > test.out

python -m experiments.translate --weights=t5-small --text="translate English to German: forty-two" --beams=4

The newest checkpoint of the run is used; or the weights in a published folder with its own tokenizer.json. Of what such
a folder asks for (forced tokens, no repetitions, ...) the search knows only where a target begins and ends.
Translations go to standard output, a line each; scores to standard error.
"""

import argparse
import sys

import jax.numpy as jnp
import numpy as np
from sacrebleu import BLEU

from data.lines import read_lines
from data.subwords import BOS, EOS, PAD
from experiments.use import published
from models.beam_search import beam_search
from models.pretrained import is_published
from models.protocols import Translator
import train


def translate(
    folder: str, texts: list[str], *, beams: int = 1, length_penalty: float = 0.6, batch_size: int = 64
) -> list[str]:
    """The best translation of each text that a search with `beams` beams finds, see `models.beam_search`.

    The folder is a run's workdir or that of a published model.

    Raises FileNotFoundError where it holds no checkpoint, or no tokenizer, and ValueError for a model that does not
    translate, a text that is empty or too long for it, or a setting out of range.
    """
    model, vocabulary, ends = _published(folder) if is_published(folder) else _load(folder)
    sources = vocabulary.encode_all(texts)
    for number, source in enumerate(sources, start=1):
        if not 1 <= len(source) <= model.source_context:
            raise ValueError(
                f"text {number} has {len(source)} tokens, not 1 to {model.source_context}: {texts[number - 1]}"
            )
    settings = ends | {"length": model.context, "beams": beams, "length_penalty": length_penalty}
    translations = []
    for start in range(0, len(sources), batch_size):
        some = sources[start : start + batch_size]
        # All batches have one shape, so that they are one program; what fills up the last one is not read.
        source_BS = np.full((min(batch_size, len(sources)), model.source_context), PAD, np.int32)
        for row, source in zip(source_BS, some):
            row[: len(source)] = source
        counts_B = np.array([len(source) for source in some] + [0] * (len(source_BS) - len(some)))
        mask_BS = np.arange(model.source_context) < counts_B[:, None]
        tokens_BKT, _ = beam_search(model, jnp.asarray(source_BS), jnp.asarray(mask_BS), **settings)
        translations += [vocabulary.decode(row) for row in np.asarray(tokens_BKT)[: len(some), 0]]
    return translations


def _load(workdir: str):
    model, run = train.load(workdir)
    if not isinstance(model, Translator):
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise ValueError(f"{workdir} holds the model {name!r} of the data {data!r}, which does not translate")
    return model, run.dataset.vocabulary, {"bos": BOS, "eos": EOS}


def _published(folder: str):
    model, vocabulary = published.load(folder)
    if not isinstance(model, Translator):
        raise ValueError(f"{folder} holds a {type(model).__name__}, which does not translate")
    if vocabulary.bos is None:
        raise ValueError(f"{folder}/config.json lacks decoder_start_token_id, the token before the first of a target")
    return model, vocabulary, {"bos": vocabulary.bos, "eos": vocabulary.eos}


def scores(translations: list[str], references: list[str]) -> str:
    """BLEU by sacrebleu with its signature, and the share of translations that are their reference."""
    if len(translations) != len(references):
        raise ValueError(f"there are {len(translations):,} texts, but {len(references):,} references")
    bleu = BLEU()
    value = bleu.corpus_score(translations, [references]).score
    exact = np.mean([mine == right for mine, right in zip(translations, references)])
    return f"BLEU {value:.2f} ({bleu.get_signature()})  exact {exact:.4f}  of {len(references):,}"


def main(arguments: list[str] | None = None) -> None:
    """The command line: translations on standard output, an error as one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m experiments.translate", description=__doc__.splitlines()[0])
    folder = parser.add_mutually_exclusive_group(required=True)
    folder.add_argument("--workdir", dest="folder", help="folder of the run")
    folder.add_argument("--weights", dest="folder", help="folder of a published model with its tokenizer.json")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", help="a text to translate")
    what.add_argument("--file", help="a UTF-8 file with a text on each line")
    parser.add_argument("--references", help="a UTF-8 file with the right translation on each line, to score by")
    parser.add_argument("--beams", type=int, default=1, help="1: greedy (default %(default)s)")
    parser.add_argument("--length_penalty", type=float, default=0.6, help="0: none (default %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="texts at once (default %(default)s)")
    given = vars(parser.parse_args(arguments))
    text, file, references = given.pop("text"), given.pop("file"), given.pop("references")
    try:
        texts = read_lines(file) if file else [text]
        right = read_lines(references) if references else None
        translations = translate(given.pop("folder"), texts, **given)
        print("\n".join(translations))
        if right is not None:
            print(scores(translations, right), file=sys.stderr)
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
