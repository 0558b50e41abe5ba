"""The documentation of Python as plain text, half a million characters, which comes with CPython itself."""

import sys

import tensorflow_datasets as tfds

from core.ranges import Length
from data.dataset import Dataset
from data.storage import open_embedded
from data.text import builder_texts, text_dataset


def python_docs(
    *, context: Length, train: str = "train", evaluation: str = "validation", jitter: bool = True, tokenizer: str = ""
) -> Dataset:
    """Returns the help topics of the running Python, splits train and validation (90 and 10 %).

    The text and its vocabulary of about 100 characters depend on the version of Python.
    `context` and `jitter`: see `data.text.Windows`; `tokenizer`: see `data.text.text_dataset`.
    """
    texts = builder_texts(open_embedded(PythonDocs))
    return text_dataset("python_docs", texts, train, evaluation, context=context, jitter=jitter, tokenizer=tokenizer)


class PythonDocs(tfds.core.GeneratorBasedBuilder):
    """All topics of `pydoc_data`, sorted by name, as one text. The first 90 % of it is for training."""

    VERSION = tfds.core.Version("{}.{}.{}".format(*sys.version_info))

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, description=__doc__, features=features)

    def _split_generators(self, dl_manager):
        # Imported here because only the first run prepares the set.
        from pydoc_data.topics import topics

        text = "\n\n".join(topics[name] for name in sorted(topics))
        border = len(text) * 9 // 10
        return {
            "train": self._generate_examples(text[:border]),
            "validation": self._generate_examples(text[border:]),
        }

    def _generate_examples(self, text):
        yield 0, {"text": text}
