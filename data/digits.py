"""Handwritten digits, 1,797 grey images of 8x8 pixels, which come with scikit-learn: nothing is downloaded."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data.dataset import Dataset
from data.images import Crop, Levels, Mean, Shift, Std, image_dataset
from data.storage import open_embedded


def digits(
    *, train: str = "train", evaluation: str = "test", targets: str = "labels", shift: Shift = 0, crop: Crop = 1.0,
    flip: bool = False, levels: Levels = 0, form: str = "plain", mean: Mean = None, std: Std = None,
) -> Dataset:  # fmt: skip
    """Returns the digits: 10 classes, images (8, 8, 1), splits train (1,437) and test (360).

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    `targets`, `shift`, `crop`, `flip`, `levels`, `mean`, `std`: see `data.images.Images`; `form`: see `data.forms`.
    """
    builder = open_embedded(Digits)
    augmentation = {"shift": shift, "crop": crop, "flip": flip, "mean": mean, "std": std}
    return image_dataset(builder, train, evaluation, peak=16, targets=targets, levels=levels, form=form, **augmentation)


class Digits(tfds.core.GeneratorBasedBuilder):
    """Pixels are uint8, 0..16. `test` is a fixed fifth of all images, with every class in proportion."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        # Imported here because it takes about a second, and only the first run prepares the set.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        content: Any = load_digits()
        rows = np.arange(len(content.target))
        train, test = train_test_split(rows, test_size=0.2, stratify=content.target, random_state=0)
        return {
            name: self._generate_examples(content.images, content.target, np.sort(part))
            for name, part in {"train": train, "test": test}.items()
        }

    def _generate_examples(self, images, labels, rows):
        for row in rows.tolist():
            yield row, {"image": images[row, :, :, None].astype(np.uint8), "label": int(labels[row])}
