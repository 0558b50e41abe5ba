"""Classifies images by sentences about the classes, with a CLIP that has seen no example of a class.

python -m experiments.zero_shot --workdir=runs/clip_shapes --split=combinations
python -m experiments.zero_shot --workdir=runs/clip_shapes --templates "a {}" "here you see one {}" --probe
python -m experiments.zero_shot --weights=clip-vit-base --images photos   # published; a folder of images for each class

The vector of a class is the mean of those of several prompts, an ensemble (Radford et al. 2021, section 3.1.4). --probe
compares with a linear classifier that is fitted to the vectors of the training images (section 3.2).
"""

import argparse
from collections.abc import Sequence

from flax import nnx
import jax
import numpy as np
from sklearn.linear_model import LogisticRegression

from core.command import command
from core.errors import UserError
from data.dataset import Dataset, Source
from data.pipeline import evaluation_batches
from data.prompts import TEMPLATES, framed, prompts
from data.published_tokenizer import PublishedTokenizer
from data.subwords import UNK, Subwords
from data.user_files import image_folder
from experiments.use.opened import PublishedTexts, open_split
from models import CLIP, pretrained
import train

BATCH = 200  # images read at once
ENSEMBLE, PROBE = "ensemble of all", "linear probe"


def open_run(workdir: str, split: str | None = None) -> tuple[CLIP, Dataset, Subwords]:
    """Returns the CLIP of a run's newest checkpoint, its data, evaluated on `split`, and its vocabulary.

    Raises:
      UserError: there is no such run or split, or its model is no CLIP of images with classes.
    """
    model, run = train.load(workdir, same_data=False)
    dataset, vocabulary = run.dataset, run.dataset.vocabulary
    if not (isinstance(model, CLIP) and isinstance(vocabulary, Subwords) and dataset.classes):
        name, data = run.fields.model["name"], run.fields.data["name"]
        raise UserError(f"{workdir} holds the model {name!r} of the data {data!r}, which compares no images with texts")
    return model, dataset if split is None else open_split(run, split), vocabulary


def open_published(folder: str, images: str, split: str | None = None) -> tuple[CLIP, Dataset, PublishedTokenizer]:
    """Returns a published CLIP, the images of a folder as `data.user_files.image_folder` reads it, and its tokenizer.

    Images are prepared as the folder of the model says. All of them are classified, or those of `split`.

    Raises:
      UserError: the folder holds no CLIP or no tokenizer, or the images cannot be read.
    """
    model = pretrained.load(folder, dropout=0.0)
    if not isinstance(model, CLIP):
        raise UserError(f"{folder} holds a {type(model).__name__}, which compares no images with texts")
    side, _, channels = pretrained.describe(model)["image_shape"]
    settings = {"size": side, "channels": channels} | pretrained.preprocessing(folder)
    if settings["size"] != side:
        raise UserError(f"{folder}: images are resized to {settings['size']} pixels, but the model reads {side}")
    dataset = image_folder(path=images, train="train", evaluation=split or "train+validation", **settings)
    return model, dataset, PublishedTokenizer(folder)


def class_vectors(
    model: CLIP, vocabulary: Subwords | PublishedTokenizer, classes: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> np.ndarray:
    """Returns for each class the mean of the vectors of its prompts, scaled to length 1, (C, shared).

    Raises:
      UserError: a template has no place for the class, a prompt has a word that the model does not know, or is too
        long for it.
    """
    texts = prompts(classes, templates)
    if isinstance(vocabulary, PublishedTokenizer):  # it knows every word, and what belongs around a text
        lengths = [len(tokens) for tokens in vocabulary.encode_all(texts)]
        if max(lengths) > model.context:
            text = texts[lengths.index(max(lengths))]
            raise UserError(f"{text!r} has {max(lengths)} tokens: expected at most {model.context}")
        source = PublishedTexts(vocabulary, texts, model.context, full=False, mask=True)
        inputs = source.examples(np.arange(len(texts)))["inputs"]
        tokens, mask = inputs["tokens"], inputs["mask"]
    else:
        unknown = [word for text in texts for word in text.split() if UNK in vocabulary.encode(word)]
        if unknown:
            raise UserError(f"the model has never read the word {unknown[0]!r}: choose other templates")
        tokens, mask = framed(vocabulary, texts, model.context)
    vectors = np.asarray(nnx.jit(lambda model, tokens, mask: model.encode_texts(tokens, mask))(model, tokens, mask))
    means = vectors.reshape(len(classes), len(templates), -1).mean(axis=1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def image_vectors(model: CLIP, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors of all images of a source, (N, shared), and their classes, (N,)."""
    encode = nnx.jit(lambda model, images: model.encode_images(images))
    vectors, labels = [], []
    for batch in evaluation_batches(source, batch_size=min(BATCH, len(source))):
        vectors.append(jax.device_get(encode(model, batch["inputs"]["images"])))
        labels.append(batch["targets"])
    return np.concatenate(vectors)[: len(source)], np.concatenate(labels)[: len(source)]


def accuracies(
    model: CLIP,
    dataset: Dataset,
    vocabulary: Subwords | PublishedTokenizer,
    templates: Sequence[str] = TEMPLATES,
    *,
    probe: bool = False,
) -> dict[str, float]:
    """Returns the share of evaluation images that are classified right: by each template, by all, and by a probe.

    An image has the class whose vector is most similar to its own. All classes of the data are candidates, those of
    other splits too.

    Raises:
      UserError: as `class_vectors`.
    """
    assert dataset.classes is not None
    vectors, labels = image_vectors(model, dataset.evaluation)
    results = {}
    for name, chosen in [*((template, [template]) for template in templates), (ENSEMBLE, templates)]:
        similarities = vectors @ class_vectors(model, vocabulary, dataset.classes, chosen).T
        results[name] = float((similarities.argmax(1) == labels).mean())
    if probe:
        inputs, classes = image_vectors(model, dataset.train)
        of_class = classes < len(dataset.classes)  # others show more than one thing
        classifier = LogisticRegression(C=10.0, max_iter=1000).fit(inputs[of_class], classes[of_class])
        results[PROBE] = float((classifier.predict(vectors) == labels).mean())
    return results


@command
def main(arguments: list[str]) -> None:
    """Runs the command; prints the accuracies."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.zero_shot", description=(__doc__ or "").partition("\n")[0]
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", help="folder of the run")
    source.add_argument("--weights", help="folder of a published CLIP; needs --images")
    parser.add_argument("--images", help="folder with a folder of images for each class, named as the class")
    parser.add_argument("--split", help="whose images are classified (default: that of the run; all of --images)")
    parser.add_argument(
        "--templates", nargs="+", default=list(TEMPLATES), help="sentences with {} for the class (default: all known)"
    )
    parser.add_argument("--probe", action="store_true", help="also fit a linear classifier to the training images")
    args = parser.parse_args(arguments)
    if bool(args.weights) != bool(args.images):
        raise UserError("--weights and --images: expected both, or --workdir")
    if args.weights:
        model, dataset, vocabulary = open_published(args.weights, args.images, args.split)
    else:
        model, dataset, vocabulary = open_run(args.workdir, args.split)
    results = accuracies(model, dataset, vocabulary, args.templates, probe=args.probe)
    width = max(map(len, results))
    for name, accuracy in results.items():
        print(f"{name:<{width}}  {accuracy:.4f}")
    classes, images = len(dataset.classes or ()), len(dataset.evaluation)
    print(f"{images:,} images of the split {dataset.evaluation_name}, {classes} classes to choose from")


if __name__ == "__main__":
    main()
