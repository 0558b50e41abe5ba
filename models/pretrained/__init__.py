"""Loads and saves published weights: folders as the transformers library writes them, and our architectures.

    from models.pretrained import load, preprocessing, save

    model = load("gpt2")            # a folder with config.json and model.safetensors
    save(model, "mine")             # the same format, which transformers loads
    preprocessing("vit")            # mean, std and size of the images that load("vit") reads

The model gives the same numbers as theirs. Each published format is one short table in a file of its own: their tensor
-> our parameter, their setting -> our field. The architectures are those of `models/`; nothing here computes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
import types
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from core.errors import UserError, shown
from core.parameters import merge, split
from core.ranges import refuse_outside
from core.signatures import keywords
from models.fields import semantic_fields
from models.parametrization import refuse_scaled
from models.pretrained.bart import BART
from models.pretrained.bert import BERT
from models.pretrained.clip import CLIP
from models.pretrained.convnext import CONVNEXT
from models.pretrained.deit import DEIT
from models.pretrained.dinov2 import DINOV2, DINOV2_WITH_REGISTERS
from models.pretrained.files import CONFIG, Tensors, read_config, write
from models.pretrained.gpt2 import GPT2
from models.pretrained.marian import MARIAN
from models.pretrained.perceiver import PERCEIVER
from models.pretrained.preprocessing import FILE as PREPROCESSOR
from models.pretrained.preprocessing import preprocessing, to_config
from models.pretrained.reference import Head, Reference
from models.pretrained.resnet import RESNET
from models.pretrained.rows import Row
from models.pretrained.settings import class_count
from models.pretrained.swin import SWIN
from models.pretrained.t5 import T5
from models.pretrained.vit import VIT
from models.transformer import Stack

__all__ = [
    "REFERENCES", "class_names", "describe", "is_published", "load", "load_for", "preprocessing", "save", "table",
]  # fmt: skip

DEPTHS = ("depth", "decoder_depth", "text_depth")  # fields that say how many layers a part has
REFERENCES = {
    reference.name: reference
    for reference in [
        BART, BERT, CLIP, CONVNEXT, DEIT, DINOV2, DINOV2_WITH_REGISTERS, GPT2, MARIAN, PERCEIVER, RESNET, SWIN, T5, VIT,
    ]
}  # fmt: skip


def load(
    folder: str | Path, *, dropout: float | None = None, dtype: str = "float32", remat: bool = False
) -> nnx.Module:  # fmt: skip
    """Returns the model in a folder with `config.json` and `model.safetensors`, or several such files with an index.

    It is an ordinary module with float32 parameters, and has the head of the class that `architectures` in config.json
    names. Tensors that this class does not use are listed on standard error. Without `architectures`, the head is that
    whose tensors are in the folder.

    Args:
      dropout: the rate to train with, instead of the folder's.
      dtype, remat: see `models.transformer.Stack` and `Block`.

    Raises UserError, and loads nothing, if the folder or a file is missing or damaged, if the file is a pickle, if our
    model cannot have these settings or does not know one of them, or if tensors are missing, unknown, of another shape
    or not finite. Up to ten of them are named.
    """
    folder = Path(folder)
    config = read_config(folder)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in REFERENCES:
        names = ", ".join(REFERENCES)
        raise UserError(f"{folder}/config.json: model_type = {shown(model_type)}: expected one of {names}")
    reference = REFERENCES[model_type]
    with ExitStack() as stack:
        try:
            fields = reference.fields_of(config, dropout=dropout)
            refuse_outside(reference.model, fields)
            tensors = stack.enter_context(Tensors(folder, reference.rename))
            deepest = max(sum(fields.get("depths", ())), *(fields.get(name, 0) for name in DEPTHS))
            if deepest > len(tensors.shapes):
                raise UserError(f"{deepest:,} layers, but there are {len(tensors.shapes):,} tensors in the folder")
            head, copies = reference.head_of(config, fields, tensors)
            fields |= head.fields | ({"classes": class_count(config)} if head.classes else {})
            if remat and "remat" not in keywords(reference.model):
                raise UserError(f"remat=True: a {reference.model.__name__} has no field for it")
            options = {"dtype": dtype} | ({"remat": True} if remat else {})
            structure, shapes = split(_abstract(reference, fields | options))
        except UserError as error:
            raise UserError(f"{folder}/config.json: {error}") from error
        rows = reference.table(fields, head)
        expected = {}
        for row in rows:
            their_shapes = jax.eval_shape(row.write, *(shapes[path] for path in row.ours))
            expected |= {name: x.shape for name, x in zip(row.theirs, their_shapes)}
        reference.check(folder, config, expected, tensors.shapes, head, copies)
        reference.values(tensors)
        parameters = {}
        for row in rows:
            parameters |= zip(row.ours, map(jnp.asarray, row.read(*(tensors[name] for name in row.theirs))))
    return merge(structure, parameters)


def load_for(make_model: Callable[[nnx.Rngs], nnx.Module], folder: str | Path) -> nnx.Module:
    """Returns `load(folder)`, for a model that is to start from those of its parameters that fit.

    Raises UserError as `load` does, and if the two models would compute different things from the same parameters (see
    `models.fields.Semantic`); the message names the fields to set.
    """
    published, model = load(folder, dropout=0.0), nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))
    if type(model) is not type(published):
        raise UserError(f"{folder} holds a {type(published).__name__}, and this model is a {type(model).__name__}")
    refuse_scaled(model, f"{folder} has weights in the standard parametrization")
    theirs, ours = describe(published), describe(model)
    names = [name for name in semantic_fields(type(model)) if name in theirs.keys() & ours.keys()]
    if differ := [name for name in names if theirs[name] != ours[name]]:
        fields = ", ".join(f"model.{name}={theirs[name]!r}, not {ours[name]!r}" for name in differ)
        raise UserError(f"{folder} computes other things with its parameters: set {fields}")
    return published


def describe(model: nnx.Module) -> dict:
    """Returns the fields that a model was built with. Raises UserError if it has no published format."""
    return _formats(model)[0].describe(model)


def class_names(folder: str | Path) -> tuple[str, ...]:
    """Returns the names of the classes of a published classifier by number: its `id2label`, or else LABEL_0, ...

    Raises UserError for names that are no texts, or whose numbers are not 0, 1, ...
    """
    config = read_config(Path(folder))
    count, labels = class_count(config), config.get("id2label") or {}
    labels = labels or {str(number): f"LABEL_{number}" for number in range(count)}
    if set(labels) != set(map(str, range(count))) or not all(isinstance(name, str) for name in labels.values()):
        expected = f"expected a text for each of 0 to {count - 1}"
        raise UserError(f"{folder}/config.json: id2label = {labels!r:.60}: {expected}")
    return tuple(labels[str(number)] for number in range(count))


def is_published(folder: str | Path) -> bool:
    """Returns whether a folder is one for `load`, and not the workdir of a run, which has another config.json."""
    path = Path(folder) / CONFIG
    return path.is_file() and "model_type" in read_config(path.parent)


def save(
    model: nnx.Module, folder: str | Path, *, mean: Sequence[float] = (), std: Sequence[float] = (),
    resample: str = "bilinear", centre: float = 1.0, proportions: bool = False,
    classes: Sequence[str] = (), settings: Mapping[str, Any] = types.MappingProxyType({}),
) -> None:  # fmt: skip
    """Writes `config.json` and `model.safetensors` into a new folder; from it `load` and transformers give this model.

    For a model of images it also writes `preprocessor_config.json`.

    Args:
      mean, std: what an image in [0, 1] is normalised by before the model reads it, for each channel or for all; as
        `preprocessing` returns them, or the section `data` of a run's config has them. By default nothing is done.
      resample, centre, proportions: how images get their size, see `data.resizing.Resizing`.
      classes: the names of the classes, for `id2label`; LABEL_0, ... by default.
      settings: further settings of config.json that change no numbers, such as the tokens that end a text.

    Raises UserError if the folder holds a model already, and for a model that no published format can express; the
    message names the fields in question.
    """
    refuse_scaled(model, "no published format has the factors of its products")
    reference, fields, head = _recognise(model)
    parameters = _unstacked(model)
    tensors = {}
    rows = reference.table(fields, head)
    if homeless := parameters.keys() - {path for row in rows for path in row.ours}:
        raise UserError(f"the format {reference.name!r} has no place for {', '.join(sorted(homeless))}")
    for row in rows:
        tensors |= zip(row.theirs, row.write(*(parameters[path] for path in row.ours)))
    arrays = {name: np.array(x, np.float32, order="C") for name, x in tensors.items()}
    configs = {CONFIG: reference.config_of(fields, head) | dict(settings)}
    if head.classes and classes:
        configs[CONFIG]["id2label"] = {str(number): name for number, name in enumerate(classes)}
        configs[CONFIG]["label2id"] = {name: number for number, name in enumerate(classes)}
    if shape := fields.get("image_shape"):
        configs[PREPROCESSOR] = to_config(
            reference.name, shape, mean, std, resample=resample, centre=centre, proportions=proportions
        )
    write(Path(folder), arrays | reference.constants(fields), configs)


def table(model: nnx.Module) -> list[Row]:
    """Returns the rows that a model is read and written by. Raises UserError as `save` does."""
    reference, fields, head = _recognise(model)
    return reference.table(fields, head)


def _formats(model: nnx.Module) -> list[Reference]:
    """The published formats of models of this class. Raises UserError if there is none."""
    formats = [reference for reference in REFERENCES.values() if type(model) is reference.model]
    if not formats:
        names = ", ".join(sorted({reference.model.__name__ for reference in REFERENCES.values()}))
        raise UserError(f"a {type(model).__name__} has no published format here: expected one of {names}")
    return formats


def _recognise(model: nnx.Module) -> tuple[Reference, dict, Head]:
    """The published format of a model, with its fields and its head."""
    refusals = []
    for reference in _formats(model):
        fields = reference.describe(model)
        try:
            return reference, fields, _head_of(reference, fields)
        except UserError as error:
            refusals.append(str(error))
    raise UserError("; ".join(refusals))


def _head_of(reference: Reference, fields: dict) -> Head:
    """Raises UserError if the settings of the format would give another model than the one with these fields."""
    head = next((head for head in reference.heads if head.fields.items() <= fields.items()), None)
    if head is None:
        names = dict.fromkeys(name for head in reference.heads for name in head.fields)
        values = ", ".join(f"{name}={fields[name]!r}" for name in names)
        raise UserError(f"the format {reference.name!r} has no head for {values}")
    again = reference.fields_of(reference.config_of(fields, head)) | head.fields
    if head.classes:
        again["classes"] = fields["classes"]
    expected = reference.describe(_abstract(reference, again))
    if differences := [name for name in fields if fields[name] != expected[name]]:
        values = ", ".join(f"{name}={fields[name]!r} (only {expected[name]!r})" for name in differences)
        raise UserError(f"the format {reference.name!r} cannot express {values}")
    return head


def _abstract(reference: Reference, fields: dict) -> nnx.Module:
    return nnx.eval_shape(lambda: reference.model(**fields, rngs=nnx.Rngs(0)))


def _unstacked(model: nnx.Module) -> dict:
    """The parameters of a model, those of scanned layers under the paths that they have without `scan`."""
    flat = split(model)[1]
    for place, module in nnx.iter_modules(model):
        if isinstance(module, Stack) and module.scan:
            prefix = ".".join(map(str, [*place, "blocks", ""]))
            for path in [path for path in flat if path.startswith(prefix)]:
                layers, name = flat.pop(path), path.removeprefix(prefix)
                flat |= {f"{prefix}{layer}.{name}": layers[layer] for layer in range(module.depth)}
    return flat
