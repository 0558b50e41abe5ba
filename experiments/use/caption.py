"""Writes captions of images with a trained captioner.

python -m experiments.caption --workdir=runs/captions --split=combinations
python -m experiments.caption --workdir=runs/captions --images pictures/ --beams=3

Captions go to standard output, one line for each image, with the image's file or its number in the split before it. Of
a split, the right caption stands behind those that are wrong, and standard error says how many are right.
"""

import argparse
from collections.abc import Iterator
import sys
from typing import Annotated

import numpy as np

from core.command import command, print_foreign
from core.errors import UserError
from core.ranges import Nonnegative, Range, Size, refuse_outside
from data.dataset import Source
from data.subwords import BOS, EOS, PAD, Subwords
from experiments.use.inputs import image_files, of_items
from experiments.use.opened import describe, open_folder, open_split
from models.beam_search import beam_search
from models.protocols import Describer, Translator

Beams = Annotated[int, Range(1, 1024)]


def captions(
    model: Describer, vocabulary: Subwords, source: Source, *, beams: Beams = 1, length_penalty: Nonnegative = 0.6,
    batch_size: Size = 64, limit: Size | None = None,
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Yields for each image of a source its caption by beam search, and the right one, "" if the source has none.

    Args:
      beams, length_penalty: see `models.beam_search`; one beam is greedy search.
      limit: how many images at most, the first ones.

    Raises:
      UserError: a setting is out of range.
    """
    settings = {"beams": beams, "length_penalty": length_penalty, "batch_size": batch_size, "limit": limit}
    refuse_outside(captions, settings)
    count = len(source) if limit is None else min(limit, len(source))
    for start in range(0, count, batch_size):
        numbers = np.arange(start, min(start + batch_size, count))
        batch = source.examples(numbers)
        images = batch["inputs"]["images"]
        # All batches have the same shape, so that one program describes them; rows that fill the last are not read.
        images = np.pad(images, [(0, min(batch_size, count) - len(images)), (0, 0), (0, 0), (0, 0)])
        tokens_BKT, _ = beam_search(
            model, images, bos=BOS, eos=EOS, length=model.context, beams=beams, length_penalty=length_penalty
        )
        targets = batch["targets"] if "tokens" in batch["inputs"] else np.zeros((len(numbers), 0), np.int32)
        for row, target in zip(np.asarray(tokens_BKT)[:, 0], targets):
            yield vocabulary.decode(_until_end(row)), vocabulary.decode(_until_end(target))


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the captions, and for a split the share of right ones to standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.caption", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="folder of the run; its newest checkpoint is used")
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--images", nargs="+", metavar="PATH", help="image files, and folders of them")
    images.add_argument("--split", help="a split of the run's own data set (default: the one that it is evaluated on)")
    parser.add_argument("--limit", type=int, help="how many, the first ones (default: all of --images, 20 of a split)")
    parser.add_argument("--beams", type=int, default=1, help="1: greedy (default %(default)s)")
    parser.add_argument("--length_penalty", type=float, default=0.6, help="0: none (default %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="images at once (default %(default)s)")
    args = parser.parse_args(arguments)
    opened = open_folder(args.workdir)
    model, vocabulary, run = opened.model, opened.vocabulary, opened.run
    if not isinstance(model, Describer) or isinstance(model, Translator) or not isinstance(vocabulary, Subwords):
        raise UserError(f"{describe(opened)}, which writes no captions of images")
    assert run is not None  # a published model has another vocabulary
    if args.images:
        inputs = of_items(opened, image_files(args.images), "images")
        names, source = inputs.names, inputs.source
    else:
        source = open_split(run, args.split or run.dataset.evaluation_name).evaluation
        names = list(map(str, range(len(source))))
    limit = args.limit if args.limit is not None or args.images else 20
    settings = {"beams": args.beams, "length_penalty": args.length_penalty, "batch_size": args.batch_size}
    right = number = 0
    for number, (caption, target) in enumerate(captions(model, vocabulary, source, limit=limit, **settings), start=1):
        right += caption == target
        wrong = f"   (right: {target})" if target and caption != target else ""
        print_foreign(f"{names[number - 1]}  {caption}{wrong}")
    if not args.images:
        print(f"{right:,} of {number:,} captions are right", file=sys.stderr)


def _until_end(tokens: np.ndarray) -> np.ndarray:
    ends = np.isin(tokens, (EOS, PAD)).nonzero()[0]
    return tokens[: ends[0]] if len(ends) else tokens


if __name__ == "__main__":
    main()
