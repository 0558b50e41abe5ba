"""Checkpoints: the whole state of a run on disk, written beside the training, restored to the bit.

Orbax writes the arrays. What is added here:

- Each checkpoint describes itself in `about.json`: the caller's own dict, and the path, dtype, shape and
  fingerprint of every array. So a mismatch is named before anything is loaded, and damage that the file
  format does not notice (a flipped byte) is found.
- A damaged checkpoint is set aside and the one before it is used.
- A state that holds NaN or infinity is never written.

Every method is called by every process of a run, in the same order.
"""

import errno
import hashlib
import json
import logging
import math
import os
from pathlib import Path
import shutil
import sys

from etils import epy
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

with epy.lazy_imports():  # what is wrong with a config is said before this loads
    import orbax.checkpoint as ocp

LAYOUT = 2  # raise it when the meaning of what is saved changes

# Orbax logs a failed save with several stack traces. CheckpointFailed says it once.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
# After a failed save Orbax leaves tasks and callbacks behind, and each would print a trace.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL)


def _without_late_writes(unraisable, hook=sys.unraisablehook):
    if str(unraisable.exc_value) != "Event loop is closed":
        hook(unraisable)


# A write of TensorStore that ends after its save was given up says so to a loop that is gone.
sys.unraisablehook = _without_late_writes


def _array_handlers():
    # Orbax cuts an array with copies on several devices, so that each writes a part. For small arrays the cutting takes
    # most of a save.
    handler = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=2**20)
    return ocp.type_handlers.create_type_handler_registry((jax.Array, handler))


class NonFiniteState(FloatingPointError):
    """The arrays `paths` hold NaN or infinity: `step` is not saved. `newest`: the last good step, or None."""

    def __init__(self, step: int, paths: list[str], newest: int | None):
        self.step, self.paths, self.newest = step, paths, newest
        super().__init__(f"step {step}: NaN or infinity in {_some(paths)}. Nothing was saved; {_last_good(newest)}.")


class CheckpointFailed(OSError):
    """`step` could not be written, because of `reason`. `newest`: the last good step, or None."""

    def __init__(self, step: int, reason: str, newest: int | None):
        self.step, self.reason, self.newest = step, reason, newest
        super().__init__(f"step {step}: its checkpoint could not be written ({reason}); {_last_good(newest)}.")
        self.errno = next((code for code in errno.errorcode if os.strerror(code) == reason), None)


class Checkpoints:
    """The checkpoints of one run, one folder a step.

    Keeps the last `keep` and the one with the best metric (`better`: "max" or "min"). Folders that a killed
    save left behind are removed. `say` takes one line of text: a damaged checkpoint is named there. With `read_only`
    nothing in the folder is changed, so that a run may go on in it.
    """

    def __init__(self, directory, *, keep: int = 2, better: str = "max", read_only: bool = False, say=print):
        self.directory = Path(directory).absolute()
        self._read_only = read_only
        self._say = say
        self._saving = None
        self._keep = _LastAndBest(keep, better)
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(type_handler_registry=_array_handlers()),
                "about": ocp.JsonCheckpointHandler(filename="about.json"),
            },
            options=ocp.CheckpointManagerOptions(
                cleanup_tmp_directories=not read_only,
                create=not read_only,
                read_only=read_only,
                preservation_policy=None if read_only else self._keep,
            ),
        )
        for step in self.steps():
            try:
                self._keep.metrics[step] = self._read_record(step)["metric"]
            except (_Damaged, _Unfit):
                pass  # named by restore, which is where it matters

    def save(self, step: int, state, about: dict, metric: float | None = None) -> None:
        """Starts to write `state`, a pytree of JAX arrays, and `about`, a dict that JSON can hold.

        Returns as soon as `state` may be donated; the writing goes on beside the training. A step that is on disk
        already is left as it is. A metric of NaN counts as none.

        Raises NonFiniteState (nothing is written) and CheckpointFailed (for this save, or for the one before).
        """
        steps = self.steps()
        if step in steps:
            return
        if steps and step < steps[-1]:
            raise ValueError(f"step {step} comes before checkpoint {steps[-1]} in {self.directory}: restore that first")
        arrays = _arrays(state)
        fingerprints, finite = _examine(arrays)
        if bad := [path for path, fine in finite.items() if not fine]:
            self.wait()  # the save before may be the last good one
            raise NonFiniteState(step, bad, self._newest())
        metric = None if metric is None or math.isnan(metric) else float(metric)
        record = {
            "layout": LAYOUT,
            "about": about,
            "metric": metric,
            "arrays": {path: _describe(leaf) for path, leaf in _by_path(state).items()},
            "fingerprints": fingerprints,
        }
        self.wait()
        self._saving, self._keep.metrics[step] = step, metric
        filled = {path: array for path, array in arrays.items() if array.size}  # Orbax refuses empty arrays
        self._watched(
            lambda: self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.PyTreeSave(filled), about=ocp.args.JsonSave(_sealed(record))),
            )
        )

    def about(self) -> dict | None:
        """The `about` of the newest readable checkpoint, without its arrays; None if there is no checkpoint.

        Raises ValueError for another layout, OSError if no checkpoint is readable.
        """
        damaged = {}
        for step in reversed(self.steps()):
            try:
                return self._read_record(step)["about"]
            except _Damaged as error:
                damaged[step] = str(error)
        self._refuse_if_any(damaged)

    def restore(self, state_like) -> tuple | None:
        """The newest good checkpoint as (step, state, about); None if there is no checkpoint.

        `state_like` is a pytree of arrays or `jax.ShapeDtypeStruct`s. Each array is placed by the sharding found
        there, or on the first device where there is none, whatever mesh or number of processes wrote it. A
        damaged checkpoint is named through `say`, and kept as `damaged-<step>` once one before it is restored.

        Raises ValueError if the arrays on disk are not those of `state_like` (all are named) or the layout is
        another one, and OSError if every checkpoint is damaged.
        """
        damaged = {}
        for step in reversed(self.steps()):
            try:
                state, about = self._load(step, state_like)
            except _Damaged as error:
                self._say(f"warning: checkpoint {step} in {self.directory} is damaged ({error})")
                damaged[step] = str(error)
            else:
                if not self._read_only:
                    self._set_aside(list(damaged))
                return step, state, about
        self._refuse_if_any(damaged)

    def steps(self) -> list[int]:
        """The steps that are saved or being saved, in order."""
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Returns when nothing is being written. Raises CheckpointFailed."""
        self._watched(self._manager.wait_until_finished)

    def close(self) -> None:
        """Finishes the writing and ends. Raises CheckpointFailed."""
        self._watched(self._manager.close)

    def _watched(self, work):
        try:
            work()
        except Exception as error:  # Orbax and TensorStore raise many kinds for a disk that takes no more
            self._manager.reload()
            raise CheckpointFailed(self._saving, _reason(error), self._newest()) from error

    def _newest(self) -> int | None:
        return max((step for step in self.steps() if (self.directory / str(step)).is_dir()), default=None)

    def _read_record(self, step: int) -> dict:
        try:
            sealed = json.loads((self.directory / str(step) / "about" / "about.json").read_text())
            record = sealed["record"]
            whole = sealed["sha256"] == _sealed(record)["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _Damaged(f"about.json: {_reason(error)}") from error
        if not whole:
            raise _Damaged("about.json was changed after it was written")
        if record["layout"] != LAYOUT:
            raise _Unfit(
                f"checkpoint {step} in {self.directory} has layout {record['layout']}, this code reads "
                f"layout {LAYOUT}: use the code that wrote it, or another workdir"
            )
        return record

    def _load(self, step: int, state_like):
        leaves = _by_path(state_like)
        problem = None
        try:
            record = self._read_record(step)
            self._refuse_mismatch(step, record["arrays"], leaves)
            # The handler and not the manager, whose restore ends in a barrier: processes would wait there for one
            # that met a damaged file.
            handler = ocp.PyTreeCheckpointHandler()
            arrays = handler.restore(self.directory / str(step) / "state", args=_restore_args(leaves))
        except (_Unfit, jax.errors.JaxRuntimeError):  # the latter: out of memory, which is no damage
            raise
        except Exception as error:  # Orbax, TensorStore and JSON raise many kinds for bytes that they cannot read
            problem = _reason(error)
        if not _everywhere(problem is None):
            raise _Damaged(problem or "another process could not read it")
        for path, leaf in leaves.items():
            if not math.prod(leaf.shape):
                arrays[path] = jnp.zeros(leaf.shape, leaf.dtype, device=_placement(leaf))
        fingerprints, _ = _examine(dict(sorted(arrays.items())))
        if wrong := [path for path, value in fingerprints.items() if value != record["fingerprints"][path]]:
            raise _Damaged(f"not what was saved: {_some(wrong)}")
        state = [_like(leaf, arrays[path]) for path, leaf in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(state_like), state), record["about"]

    def _refuse_mismatch(self, step: int, saved: dict, leaves: dict) -> None:
        wanted = {path: _describe(leaf) for path, leaf in leaves.items()}
        lines = [
            f"  {path}: {saved.get(path, 'not')} in the checkpoint, {wanted.get(path, 'not')} in the state"
            for path in sorted(saved | wanted)
            if saved.get(path) != wanted.get(path)
        ]
        if lines:
            raise _Unfit(f"checkpoint {step} in {self.directory} does not fit this state:\n" + "\n".join(lines))

    def _refuse_if_any(self, damaged: dict) -> None:
        if damaged:
            lines = "".join(f"\n  {step}: {reason}" for step, reason in damaged.items())
            raise OSError(
                f"every checkpoint in {self.directory} is damaged. To begin anew, move this folder away.{lines}"
            )

    def _set_aside(self, damaged: list[int]) -> None:
        if not damaged:
            return
        if jax.process_index() == 0:
            for step in damaged:
                aside = self.directory / f"damaged-{step}"
                shutil.rmtree(aside, ignore_errors=True)
                (self.directory / str(step)).rename(aside)
        _everywhere(True)
        self._manager.reload()


def digest(state) -> str:
    """SHA-256, in hex, over path, dtype, shape and bytes of every array of a pytree, in the order of the paths.

    Equal for equal values, however the arrays are sharded. Every process must call it.
    """
    total = hashlib.sha256()
    described = {path: _describe(leaf) for path, leaf in _by_path(state).items()}
    for path, array in _arrays(state).items():
        if not (array.is_fully_addressable or array.is_fully_replicated):
            array = multihost_utils.process_allgather(array, tiled=True)
        total.update(f"{path} {described[path]}\n".encode())
        total.update(np.asarray(array).tobytes())
    return total.hexdigest()


class _Damaged(Exception):
    """A checkpoint is not what was written. Its text is the reason."""


class _Unfit(ValueError):
    """A whole checkpoint, but of another state or layout."""


class _LastAndBest:
    """A preservation policy for Orbax: keeps the last `keep` steps and the best one.

    Orbax's own BestN reads a metrics file of its own for each step, and refuses to start when one is damaged.
    """

    def __init__(self, keep: int, better: str):
        if better not in ("max", "min"):
            raise ValueError(f'better is "{better}", expected "max" or "min"')
        self.keep, self.better, self.metrics = keep, better, {}

    def should_preserve(self, checkpoints, *, context):
        steps = [checkpoint.step for checkpoint in checkpoints]
        measured = [step for step in steps if self.metrics.get(step) is not None]
        pick = max if self.better == "max" else min
        kept = steps[-self.keep :] + ([pick(measured, key=self.metrics.get)] if measured else [])
        return [step in kept for step in steps]


def _by_path(tree) -> dict:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _arrays(state) -> dict:
    """Path -> array, in the order of the paths, random keys as their data."""
    leaves = sorted(_by_path(state).items())
    return {path: jax.random.key_data(leaf) if _is_key(leaf) else leaf for path, leaf in leaves}


def _like(leaf, array):
    """The saved form of a leaf, turned back."""
    if not _is_key(leaf):
        return array
    kinds = []  # key_impl takes no ShapeDtypeStruct, but what traces one
    jax.eval_shape(lambda key: kinds.append(jax.random.key_impl(key)), leaf)
    return jax.random.wrap_key_data(array, impl=kinds[0])


def _describe(leaf) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _placement(leaf):
    return leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])


def _restore_args(leaves: dict):
    data = {path: jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf for path, leaf in leaves.items()}
    filled = {path: leaf for path, leaf in data.items() if math.prod(leaf.shape)}
    how = {
        path: ocp.ArrayRestoreArgs(sharding=_placement(leaves[path]), global_shape=leaf.shape, dtype=leaf.dtype)
        for path, leaf in filled.items()
    }
    return ocp.args.PyTreeRestore(item=filled, restore_args=how)


def _sealed(record: dict) -> dict:
    text = json.dumps(json.loads(json.dumps(record)), sort_keys=True)
    return {"record": json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _examine(arrays: dict) -> tuple[dict, dict]:
    """From one compiled program, for every array: its fingerprint, and whether all of it is finite."""
    fingerprints, finite = map(np.asarray, _examine_all(arrays))
    return dict(zip(arrays, fingerprints.tolist())), dict(zip(arrays, finite.tolist()))


@jax.jit
def _examine_all(arrays: dict):
    values = [arrays[path] for path in sorted(arrays)]
    finite = [jnp.isfinite(x).all() if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.array(True) for x in values]
    return jnp.stack([_fingerprint(x) for x in values]), jnp.stack(finite)


def _fingerprint(x):
    """Sum of the array's words, each times an odd number that depends on its position, modulo 2^32.

    A sum has no order, so the result is the same for every sharding. An odd weight loses no bit, so one changed
    word always shows.
    """
    if x.dtype == bool:
        x = x.astype(jnp.uint8)
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag])
    words = jax.lax.bitcast_convert_type(x, f"uint{8 * min(x.dtype.itemsize, 4)}").astype(jnp.uint32)
    position = jnp.uint32(0)
    for axis, size in enumerate(words.shape):
        position = position * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(words * (2 * position + 1), dtype=jnp.uint32)


def _everywhere(fine: bool) -> bool:
    """Whether `fine` holds on every process. Every process must call it."""
    return fine if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(fine)).all())


def _reason(error: BaseException) -> str:
    """One short line: what the operating system said if that is in the text, else how the text begins."""
    text = str(error).strip() or type(error).__name__
    said = (os.strerror(code) for code in errno.errorcode)
    return next((words for words in said if words in text), text.splitlines()[0].split(". ")[0][:160])


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _last_good(newest: int | None) -> str:
    return "there is no good checkpoint" if newest is None else f"the newest good checkpoint is step {newest}"
