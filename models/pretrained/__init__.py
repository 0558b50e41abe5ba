"""Published weights in, the same numbers out: folders as Hugging Face writes them, and our architectures.

    from models.pretrained import load, save

    model = load("gpt2")        # a folder with config.json and model.safetensors
    save(model, "mine")         # the same format, which the reference loads

A reference is one short table in a file of its own: their tensor -> our parameter, their setting -> our field. The
architectures are those of `models/`, so there is nothing here that computes.
"""

from collections.abc import Callable
from pathlib import Path

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from models.pretrained.bart import BART
from models.pretrained.bert import BERT
from models.pretrained.files import CONFIG, Tensors, read_config, write
from models.pretrained.gpt2 import GPT2
from models.pretrained.marian import MARIAN
from models.pretrained.perceiver import PERCEIVER
from models.pretrained.reference import Head, Reference, Row, class_count
from models.pretrained.t5 import T5
from models.pretrained.vit import VIT
from models.transformer import Stack

REFERENCES = {reference.name: reference for reference in [BART, BERT, GPT2, MARIAN, PERCEIVER, T5, VIT]}

COMPUTED = (
    "heads", "scaled", "relative_farthest", "norm", "norm_order", "epsilon", "activation", "embedding_scale", "pooling",
    "patch", "repeats", "reads", "sharing", "join", "resolution", "cross_heads", "cross_residual", "decoder_heads",
    "decoder_residual", "source_norm", "final_norm", "project_positions",
)  # fmt: skip
"""Fields that change what is computed with parameters of the same path and shape."""


def load(
    folder: str | Path, *, dropout: float | None = None, dtype: str = "float32", remat: bool = False
) -> nnx.Module:  # fmt: skip
    """The model in a folder with `config.json` and `model.safetensors`, or several such files and their index.

    It is an ordinary module with float32 parameters, under the head whose tensors are in the folder.

    Args:
      dropout: the rate to train with, in the place of the folder's.
      dtype, remat: see `models.transformer.Stack` and `Block`.

    Raises:
      FileNotFoundError: there is no such folder, or a file is missing in it.
      ValueError: the settings are none that ours can have; tensors are missing, not known or of another shape, all of
        which are named; a file is damaged, or a pickle. Nothing is loaded then.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.get("model_type") not in REFERENCES:
        known = ", ".join(REFERENCES)
        raise ValueError(f"{folder}/config.json: model_type = {config.get('model_type')!r}: expected one of {known}")
    reference = REFERENCES[config["model_type"]]
    try:
        fields = reference.fields_of(config, dropout=dropout)
    except ValueError as error:
        raise ValueError(f"{folder}/config.json: {error}") from error
    with Tensors(folder, reference.rename) as tensors:
        repeated = reference.repeated(tensors)
        found = {name: shape for name, shape in tensors.shapes.items() if name not in repeated}
        head = reference.closest_head(fields, found)
        fields |= head.fields | ({"classes": class_count(config)} if head.classes else {})
        structure, shapes = _split(_abstract(reference, fields | {"dtype": dtype, "remat": remat}))
        rows = reference.table(fields, head)
        expected = {}
        for row in rows:
            written = jax.eval_shape(row.write, *(shapes[path] for path in row.ours))
            expected |= {name: x.shape for name, x in zip(row.theirs, written)}
        reference.check(folder, expected, found)
        parameters = {}
        for row in rows:
            parameters |= zip(row.ours, map(jnp.asarray, row.read(*(tensors[name] for name in row.theirs))))
    return _merge(structure, parameters)


def load_for(make_model: Callable[[nnx.Rngs], nnx.Module], folder: str | Path) -> nnx.Module:
    """`load`, for a model that is to begin with what fits of these parameters.

    Raises ValueError as `load` does, and where both would compute different things from the same parameters, with the
    fields to set.
    """
    known, model = load(folder, dropout=0.0), nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))
    if type(model) is not type(known):
        raise ValueError(f"{folder} holds a {type(known).__name__}, and this model is a {type(model).__name__}")
    describe = next(reference.describe for reference in REFERENCES.values() if type(known) is reference.model)
    there, here = describe(known), describe(model)
    if differ := [name for name in COMPUTED if name in there.keys() & here.keys() and there[name] != here[name]]:
        fields = ", ".join(f"model.{name}={there[name]!r}, not {here[name]!r}" for name in differ)
        raise ValueError(f"{folder} computes other things with its parameters: set {fields}")
    return known


def is_published(folder: str | Path) -> bool:
    """Whether a folder is one for `load`, and not the workdir of a run, which has a config.json of its own."""
    path = Path(folder) / CONFIG
    return path.is_file() and "model_type" in read_config(path.parent)


def save(model: nnx.Module, folder: str | Path) -> None:
    """Writes `config.json` and `model.safetensors` into a new folder; the reference and `load` give the same model.

    Raises FileExistsError where the folder holds a model, and ValueError for a model that no reference can be, with
    the fields in which they differ.
    """
    reference, fields, head = _recognise(model)
    parameters = _unstacked(model)
    tensors = {}
    rows = reference.table(fields, head)
    if lost := parameters.keys() - {path for row in rows for path in row.ours}:
        raise ValueError(f"the format {reference.name!r} has no place for {', '.join(sorted(lost))}")
    for row in rows:
        tensors |= zip(row.theirs, row.write(*(parameters[path] for path in row.ours)))
    arrays = {name: np.array(x, np.float32, order="C") for name, x in tensors.items()}
    write(Path(folder), reference.config_of(fields, head), arrays | reference.constants(fields))


def table(model: nnx.Module) -> list[Row]:
    """The rows that a model is read and written by. Raises ValueError as `save` does."""
    reference, fields, head = _recognise(model)
    return reference.table(fields, head)


def _recognise(model: nnx.Module) -> tuple[Reference, dict, Head]:
    """The reference that a model is one of, with the fields and the head that say which."""
    candidates = [reference for reference in REFERENCES.values() if type(model) is reference.model]
    if not candidates:
        known = ", ".join(sorted({reference.model.__name__ for reference in REFERENCES.values()}))
        raise ValueError(f"a {type(model).__name__} has no published format here: expected one of {known}")
    refusals = []
    for reference in candidates:
        fields = reference.describe(model)
        try:
            return reference, fields, _head_of(reference, fields)
        except ValueError as error:
            refusals.append(str(error))
    raise ValueError("; ".join(refusals))


def _head_of(reference: Reference, fields: dict) -> Head:
    """Raises ValueError where the reference's settings would give another model than the one with these fields."""
    head = next((head for head in reference.heads if head.fields.items() <= fields.items()), None)
    if head is None:
        said = ", ".join(
            f"{name}={fields[name]!r}" for name in {name: 0 for head in reference.heads for name in head.fields}
        )
        raise ValueError(f"the format {reference.name!r} has no head for {said}")
    again = reference.fields_of(reference.config_of(fields, head)) | head.fields
    if head.classes:
        again["classes"] = fields["classes"]
    expected = reference.describe(_abstract(reference, again))
    if differences := [name for name in fields if fields[name] != expected[name]]:
        said = ", ".join(f"{name}={fields[name]!r} (only {expected[name]!r})" for name in differences)
        raise ValueError(f"the format {reference.name!r} cannot say {said}")
    return head


def _abstract(reference: Reference, fields: dict) -> nnx.Module:
    return nnx.eval_shape(lambda: reference.model(**fields, rngs=nnx.Rngs(0)))


def _split(model: nnx.Module) -> tuple[nnx.GraphDef, dict]:
    structure, state = nnx.split(model)
    flat = nnx.traversals.flatten_mapping(nnx.to_pure_dict(state))
    return structure, {".".join(map(str, path)): x for path, x in flat.items()}


def _merge(structure: nnx.GraphDef, parameters: dict) -> nnx.Module:
    number = lambda part: int(part) if part.isdigit() else part
    flat = {tuple(map(number, path.split("."))): x for path, x in parameters.items()}
    return nnx.merge(structure, nnx.traversals.unflatten_mapping(flat))


def _unstacked(model: nnx.Module) -> dict:
    """The parameters of a model, those of scanned layers under the paths that they have one by one."""
    flat = _split(model)[1]
    for place, module in nnx.iter_modules(model):
        if isinstance(module, Stack) and module.scan:
            prefix = ".".join(map(str, [*place, "blocks", ""]))
            for path in [path for path in flat if path.startswith(prefix)]:
                layers, rest = flat.pop(path), path.removeprefix(prefix)
                flat |= {f"{prefix}{layer}.{rest}": layers[layer] for layer in range(module.depth)}
    return flat
