"""A model with one example: where both come from, and what can be seen inside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from flax import nnx
import jax.numpy as jnp
import numpy as np

from core.errors import UserError
from core.parameters import merge, split
from data.dataset import Source
from data.published_tokenizer import PublishedTokenizer
from data.vocabulary import Vocabulary
from experiments.inside.attention_maps import attention_maps
from experiments.use.inputs import Inputs
from experiments.use.opened import Opened, describe
from models import Perceiver
from models.pretrained import preprocessing
import train
from training.command_line import read_command_line

MOST_LABELS = 40  # a map of more tokens is drawn without their names


@dataclass(frozen=True)
class Inspection:
    """A model with one example, and what can be seen inside it.

    Attributes:
      inputs: of the example, a batch of one.
      untrained: returns a model of the same structure whose attention is 0 only where it must be.
      mean, std: what images were normalised with, if they were.
      scan: whether the layers are scanned.
    """

    title: str
    model: nnx.Module
    inputs: dict[str, np.ndarray]
    untrained: Callable[[], nnx.Module]
    vocabulary: Vocabulary | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    scan: bool = False

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """The attention weights `HTS` by path."""
        return {path: weights[0] for path, weights in attention_maps(self.model, self.inputs).items()}

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Which queries may attend to which keys, `TS` by path: where a model with random parameters has any weight."""
        maps = attention_maps(self.untrained(), self.inputs)
        return {path: weights[0].any(0) for path, weights in maps.items()}

    @cached_property
    def image(self) -> np.ndarray | None:
        """The image of the example, (rows, columns, channels) in [0, 1], or None."""
        if "images" not in self.inputs:
            return None
        return self.inputs["images"][0] * np.array(self.std or 1, np.float32) + np.array(self.mean or 0, np.float32)

    def reads_input(self, path: str) -> bool:
        """Whether the keys of an attention are places of the input, rather than latents of a Perceiver."""
        return not isinstance(self.model, Perceiver) or path.startswith("crosses")

    def places(self, path: str, count: int) -> tuple[int, int] | None:
        """Returns the grid (rows, columns) that `count` tokens form on the image, or None.

        A first token beside the patches is not counted.
        """
        if self.image is None or not self.reads_input(path):
            return None
        rows, columns, _ = self.image.shape
        for patches in (count, count - 1):
            side = (rows * columns / max(patches, 1)) ** 0.5
            if side == int(side) and rows % side == columns % side == 0:
                return rows // int(side), columns // int(side)
        return None

    def labels(self, path: str, count: int, *, keys: bool) -> list[str] | None:
        """Returns the tokens along one axis of a map, if the axis has as many places as there are tokens."""
        from_source = keys and path.endswith("cross") or path.startswith("encoder")
        tokens = self.inputs.get("source" if from_source and "source" in self.inputs else "tokens")
        if tokens is None or tokens.shape[1] != count or count > MOST_LABELS:
            return None
        if isinstance(self.model, Perceiver) and not (keys and self.reads_input(path)):
            return None
        vocabulary = self.vocabulary
        text = lambda token: repr(vocabulary.decode(np.array([token])))[1:-1] if vocabulary else str(token)
        return [text(int(token)) or str(int(token)) for token in tokens[0]]


def open_workdir(workdir: str, example: int = 0, inputs: Inputs | None = None) -> Inspection:
    """Opens the newest model of a run, with a held-out example, or with one of `inputs`.

    Raises:
      UserError: there is no such run, or no such example.
    """
    model, run = train.load(workdir, same_data=inputs is None)
    return _of_run(f"{workdir}: {type(model).__name__}", model, run, example, inputs)


def open_config(config: str, example: int = 0) -> Inspection:
    """Opens the model of a config file as it is before training.

    Raises:
      UserError: the config cannot be read, or its data has no such held-out example.
    """
    run = train.Run.of(read_command_line([f"--config={config}", "--workdir=none"]).config)
    model = run.make_model(nnx.Rngs(run.fields.seed))
    return _of_run(f"{config}: {type(model).__name__}, untrained", model, run, example, None)


def open_weights(opened: Opened, inputs: Mapping[str, np.ndarray]) -> Inspection:
    """Opens a published model with the inputs of one example."""
    structure, parameters = split(opened.model)
    # Where all parameters are 0, all scores are the same, and a weight is 0 only where a mask makes it so.
    zeros = {path: jnp.zeros_like(x) for path, x in parameters.items()}
    settings = preprocessing(opened.folder) if "images" in inputs else {}
    return Inspection(
        f"{opened.folder}: {type(opened.model).__name__}", opened.model, dict(inputs), lambda: merge(structure, zeros),
        opened.vocabulary, settings.get("mean"), settings.get("std"),
    )  # fmt: skip


def _of_run(title: str, model: nnx.Module, run: train.Run, example: int, inputs: Inputs | None) -> Inspection:
    source, data = run.dataset.evaluation if inputs is None else inputs.source, run.config["data"]
    return Inspection(
        title, model, example_of(source, example), lambda: run.make_model(nnx.Rngs(0)), run.dataset.vocabulary,
        data.get("mean"), data.get("std"), bool(run.config["model"].get("scan")),
    )  # fmt: skip


def example_of(source: Source, number: int) -> dict[str, np.ndarray]:
    """Returns the inputs of an example, a batch of one. Raises UserError if there is no such example."""
    if not 0 <= number < len(source):
        raise UserError(f"example={number}: expected 0 to {len(source) - 1:,}")
    return source.examples(np.array([number]))["inputs"]


def pair(opened: Opened, source: str | None, target: str | None) -> dict[str, np.ndarray]:
    """Returns the inputs of a published encoder-decoder, which reads the target after the token that begins one.

    Raises:
      UserError: a text is missing, or the folder does not say how texts become tokens.
    """
    vocabulary = opened.vocabulary
    if not source or not target:
        raise UserError(f"{describe(opened)}: give --text, the source, and --target")
    if not isinstance(vocabulary, PublishedTokenizer) or vocabulary.bos is None:
        raise UserError(f"{opened.folder}: expected a tokenizer.json, and decoder_start_token_id in config.json")
    tokens = np.append(np.int32(vocabulary.bos), vocabulary.until_end(vocabulary.encode(target)))
    return {"source": vocabulary.encode(source)[None], "tokens": tokens[None].astype(np.int32)}
