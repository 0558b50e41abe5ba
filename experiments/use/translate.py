"""Translates texts with a trained encoder-decoder.

python -m experiments.translate --workdir=runs/number_words --text="forty-two"
python -m experiments.translate --workdir=runs/multi30k --file=test.en --references=test.de --beams=5 > test.out

python -m experiments.translate --weights=t5-small --text="translate English to German: forty-two" --beams=4

`--workdir` uses the newest checkpoint of a run. `--weights` uses a published folder with its tokenizer.json; of the
folder's settings for generation, the search uses only the tokens that begin and end a target. Translations go to
standard output, one per line, and scores to standard error.
"""

import argparse
from collections.abc import Sequence
import sys
from typing import Annotated

import jax.numpy as jnp
import numpy as np
from sacrebleu import BLEU

from core.command import command, print_foreign
from core.errors import UserError
from core.ranges import Nonnegative, Range, Size, refuse_outside
from data.lines import read_lines
from data.published_tokenizer import PublishedTokenizer
from data.subwords import BOS, EOS, PAD, Subwords
from experiments.use import published
from models.beam_search import beam_search
from models.pretrained import is_published
from models.protocols import Translator
import train

Beams = Annotated[int, Range(1, 1024)]


def translate(
    folder: str, texts: list[str], *, beams: Beams = 1, length_penalty: Nonnegative = 0.6, batch_size: Size = 64
) -> list[str]:
    """Returns the best translation of each text that beam search finds.

    Args:
      folder: the workdir of a run, or the folder of a published model.
      texts: what to translate.
      beams, length_penalty: see `models.beam_search`; one beam is greedy search.
      batch_size: how many texts are translated at once.

    Raises:
      UserError: the folder has no such model or no tokenizer, the model does not translate, a text is empty or too long
        for it, or a setting is out of range.
    """
    refuse_outside(translate, {"beams": beams, "length_penalty": length_penalty, "batch_size": batch_size})
    model, vocabulary, bos, ends = _published(folder) if is_published(folder) else _load(folder)
    until_end = vocabulary.until_end if isinstance(vocabulary, PublishedTokenizer) else np.asarray
    sources = vocabulary.encode_all(texts)
    for number, source in enumerate(sources, start=1):
        if not 1 <= len(source) <= model.source_context:
            raise UserError(
                f"text {number} has {len(source)} tokens, expected 1 to {model.source_context}: {texts[number - 1]}"
            )
    translations = []
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        # All batches have the same shape, so that one program translates them; rows that fill the last are not read.
        source_BS = np.full((min(batch_size, len(sources)), model.source_context), PAD, np.int32)
        for row, source in zip(source_BS, batch):
            row[: len(source)] = source
        counts_B = np.array([len(source) for source in batch] + [0] * (len(source_BS) - len(batch)))
        mask_BS = np.arange(model.source_context) < counts_B[:, None]
        tokens_BKT, _ = beam_search(
            model, jnp.asarray(source_BS), jnp.asarray(mask_BS), bos=bos, eos=ends, length=model.context, beams=beams,
            length_penalty=length_penalty,
        )  # fmt: skip
        translations += [vocabulary.decode(until_end(row)) for row in np.asarray(tokens_BKT)[: len(batch), 0]]
    return translations


def scores(translations: list[str], references: list[str]) -> str:
    """Returns one line with BLEU, sacrebleu's signature, and the share of translations equal to their reference.

    Raises:
      UserError: there are not as many references as translations.
    """
    if len(translations) != len(references):
        raise UserError(f"there are {len(translations):,} texts, but {len(references):,} references")
    bleu = BLEU()
    value = bleu.corpus_score(translations, [references]).score
    exact = np.mean([translation == reference for translation, reference in zip(translations, references)])
    return f"BLEU {value:.2f} ({bleu.get_signature()})  exact {exact:.4f}  of {len(references):,}"


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the translations, and the scores to standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.translate", description=(__doc__ or "").partition("\n")[0]
    )
    folder = parser.add_mutually_exclusive_group(required=True)
    folder.add_argument("--workdir", dest="folder", help="folder of the run")
    folder.add_argument("--weights", dest="folder", help="folder of a published model with its tokenizer.json")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="a text to translate")
    source.add_argument("--file", help="a UTF-8 file with one text per line")
    parser.add_argument("--references", help="a UTF-8 file with the right translation on each line, for the scores")
    parser.add_argument("--beams", type=int, default=1, help="1: greedy (default %(default)s)")
    parser.add_argument("--length_penalty", type=float, default=0.6, help="0: none (default %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="texts at once (default %(default)s)")
    args = parser.parse_args(arguments)
    texts = read_lines(args.file) if args.file else [args.text]
    references = read_lines(args.references) if args.references else None
    settings = {"beams": args.beams, "length_penalty": args.length_penalty, "batch_size": args.batch_size}
    translations = translate(args.folder, texts, **settings)
    print_foreign("\n".join(translations))
    if references is not None:
        print(scores(translations, references), file=sys.stderr)


def _load(workdir: str) -> tuple[Translator, Subwords, int, Sequence[int]]:
    """The model of a run, its vocabulary, the token before a target, and those that end one."""
    model, run = train.load(workdir, same_data=False)
    vocabulary = run.dataset.vocabulary
    if not (isinstance(model, Translator) and isinstance(vocabulary, Subwords)):
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise UserError(f"{workdir} holds the model {name!r} of the data {data!r}, which does not translate")
    return model, vocabulary, BOS, [EOS]


def _published(folder: str) -> tuple[Translator, PublishedTokenizer, int, Sequence[int]]:
    """The same for a published folder."""
    model, vocabulary = published.load(folder)
    if not isinstance(model, Translator):
        raise UserError(f"{folder} holds a {type(model).__name__}, which does not translate")
    if vocabulary.bos is None:
        raise UserError(f"{folder}/config.json lacks decoder_start_token_id, the token before the first of a target")
    return model, vocabulary, vocabulary.bos, vocabulary.ends


if __name__ == "__main__":
    main()
