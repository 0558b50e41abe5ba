"""Checkpoints: the complete state of a run on disk, written beside the training, restored to the bit.

Orbax writes the arrays. This module adds:

- Each checkpoint describes itself in `about.json`: a dictionary of the caller's, and the path, dtype, shape and
  fingerprint of every array. So a mismatch is named before anything is loaded, and damage that the file format does not
  notice (a flipped bit) is found.
- A damaged checkpoint is set aside, and the one before it is used.
- A state with NaN or infinity is never written.

All processes of a run must call the same methods in the same order.
"""

from collections.abc import Callable
import errno
import hashlib
import json
import math
import os
from pathlib import Path
import shutil
from typing import Any

from etils import epath, epy
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np

from core.errors import UserError, reason
from core.files import parse_json
from training.fingerprints import by_path, describe, digest, examine, is_key, plain_arrays
from training.noise import without_remarks
from training.plain_paths import PlainPath

with epy.lazy_imports():  # takes long to load, and mistakes in a config are reported before
    import orbax.checkpoint as ocp

__all__ = ["CheckpointFailed", "Checkpoints", "NonFiniteState", "digest"]

LAYOUT = 2  # raise it when the meaning of what is saved changes


class NonFiniteState(FloatingPointError):
    """A state holds NaN or infinity, and was not saved.

    Attributes:
      step: of the state.
      paths: the arrays that are not finite.
      newest: the step of the last good checkpoint, or None.
    """

    def __init__(self, step: int, paths: list[str], newest: int | None):
        self.step, self.paths, self.newest = step, paths, newest
        super().__init__(f"step {step}: NaN or infinity in {_some(paths)}. Nothing was saved; {_last_good(newest)}.")


class CheckpointFailed(OSError):
    """A checkpoint could not be written.

    Attributes:
      step: the step of the checkpoint.
      reason: one line.
      newest: the step of the last good checkpoint, or None.
      errno: that of `reason`, or None if the operating system has none for it.
    """

    def __init__(self, directory: Path, step: int | None, reason: str, newest: int | None):
        self.step, self.reason, self.newest = step, reason, newest
        where = f"its checkpoint in {directory}"
        super().__init__(f"step {step}: {where} could not be written ({reason}); {_last_good(newest)}.")
        self.errno = next((code for code in errno.errorcode if os.strerror(code) == reason), None)


class Checkpoints:
    """The checkpoints of one run, each in a folder named by its step.

    Folders that a killed save left behind are removed.

    Args:
      keep: how many of the newest checkpoints are kept, in addition to the one with the best metric.
      better: "max" or "min": which metric is the best.
      read_only: changes nothing in the folder, so that the run may go on at the same time.
      say: is called with a line of text about each damaged checkpoint.
    """

    def __init__(
        self, directory: str | Path, *, keep: int = 2, better: str = "max", read_only: bool = False,
        say: Callable[[str], Any] = print,
    ):  # fmt: skip
        self.directory = Path(directory).absolute()
        if not read_only:
            self.directory.mkdir(parents=True, exist_ok=True)
        self._plain = PlainPath(self.directory)
        self._read_only = read_only
        self._say = say
        self._saving: int | None = None
        self._keep = _LastAndBest(keep, better)
        with without_remarks():  # that a run is opened read-only is no news
            self._manager = ocp.CheckpointManager(
                self._plain.path,
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
                pass  # reported by `restore`, where it matters

    def save(self, step: int, state: Any, about: dict, metric: float | None = None) -> None:
        """Starts to write a checkpoint, and returns as soon as `state` may be donated.

        A step that is already on disk is left as it is.

        Args:
          state: a pytree of JAX arrays.
          about: anything that JSON can hold.
          metric: decides whether this checkpoint is the best; None, NaN and infinity do not count.

        Raises:
          NonFiniteState: nothing is written.
          CheckpointFailed: this checkpoint, or the one before it, could not be written.
        """
        steps = self.steps()
        if step in steps:
            return
        if steps and step < steps[-1]:
            raise ValueError(f"step {step} comes before checkpoint {steps[-1]} in {self.directory}: restore that first")
        arrays = plain_arrays(state)
        fingerprints, finite = examine(arrays)
        if bad := [path for path, is_finite in finite.items() if not is_finite]:
            self.wait()  # the checkpoint before may be the last good one
            raise NonFiniteState(step, bad, self._newest())
        metric = float(metric) if metric is not None and math.isfinite(metric) else None
        record = {
            "layout": LAYOUT,
            "about": about,
            "metric": metric,
            "arrays": {path: describe(leaf) for path, leaf in by_path(state).items()},
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
        """Returns the `about` of the newest readable checkpoint, or None if there is no checkpoint.

        Raises:
          UserError: the checkpoint has another layout, or no checkpoint is readable.
        """
        damaged = {}
        for step in reversed(self.steps()):
            try:
                return self._read_record(step)["about"]
            except _Damaged as error:
                damaged[step] = str(error)
        self._refuse_if_all_are(damaged)
        return None

    def restore(self, state_like: Any) -> tuple[int, Any, dict] | None:
        """Returns (step, state, about) of the newest good checkpoint, or None if there is no checkpoint.

        A damaged checkpoint is reported through `say`, and renamed to `damaged-<step>` once one before it is restored.

        Args:
          state_like: a pytree of arrays or `jax.ShapeDtypeStruct`s. Each array is placed by the sharding given there,
            or else on the first device, whatever mesh or number of processes wrote it.

        Raises:
          UserError: the arrays on disk are not those of `state_like` (all differences are named), the checkpoint has
            another layout, or every checkpoint is damaged.
        """
        damaged = {}
        for step in reversed(self.steps()):
            try:
                state, about = self._load(step, state_like)
            except _Damaged as error:
                self._say(f"warning: checkpoint {step} in {self.directory} is damaged ({reason(error)})")
                damaged[step] = str(error)
            else:
                if not self._read_only:
                    self._set_aside(list(damaged))
                return step, state, about
        self._refuse_if_all_are(damaged)
        return None

    def verify(self, step: int, state_like: Any) -> None:
        """Reads the checkpoint of a step as `restore` would, which compares every array with its fingerprint.

        Raises:
          CheckpointFailed: it is not there, or not what was saved.
        """
        self.wait()
        try:
            if step not in self.steps():
                raise _Damaged("it is not there")
            self._load(step, state_like)
        except _Damaged as error:
            newest = max((other for other in self.steps() if other < step), default=None)
            raise CheckpointFailed(self.directory, step, f"it cannot be read again: {reason(error)}", newest) from error

    def steps(self) -> list[int]:
        """Returns the steps that are saved or being saved, in order."""
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Returns when nothing is being written.

        Raises:
          CheckpointFailed: the checkpoint could not be written.
        """
        self._watched(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits, and releases everything that Orbax holds.

        Raises:
          CheckpointFailed: the checkpoint could not be written.
        """
        self._watched(self._manager.close)

    def _watched(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # for a full disk, Orbax and TensorStore raise exceptions of many kinds
            self._manager.reload()
            raise CheckpointFailed(self.directory, self._saving, _reason(error), self._newest()) from error

    def _newest(self) -> int | None:
        return max((step for step in self.steps() if (self.directory / str(step)).is_dir()), default=None)

    def _read_record(self, step: int) -> dict:
        try:
            sealed = parse_json((self.directory / str(step) / "about" / "about.json").read_text())
            record = sealed["record"]
            intact = sealed["sha256"] == _sealed(record)["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _Damaged(f"about.json: {_reason(error)}") from error
        if not intact:
            raise _Damaged("about.json was changed after it was written")
        if record["layout"] != LAYOUT:
            raise _Unfit(
                f"checkpoint {step} in {self.directory} has layout {record['layout']}, this code reads "
                f"layout {LAYOUT}: use the code that wrote it, or another workdir"
            )
        return record

    def _load(self, step: int, state_like: Any) -> tuple[Any, dict]:
        leaves = by_path(state_like)
        record, arrays, problem = {}, {}, None
        try:
            record = self._read_record(step)
            self._refuse_mismatch(step, record["arrays"], leaves)
            # The handler and not the manager, whose restore ends in a barrier: all processes would wait there for one
            # that met a damaged file.
            folder = epath.Path(self._plain.path) / str(step) / "state"
            arrays = ocp.PyTreeCheckpointHandler().restore(folder, args=_restore_args(leaves))
        except (_Unfit, jax.errors.JaxRuntimeError):  # the latter: out of memory, which is no damage
            raise
        except Exception as error:  # for unreadable bytes, Orbax, TensorStore and JSON raise exceptions of many kinds
            problem = _reason(error)
        if not _on_all_processes(problem is None):
            raise _Damaged(problem or "another process could not read it")
        for path, leaf in leaves.items():
            if not math.prod(leaf.shape):
                arrays[path] = jnp.zeros(leaf.shape, leaf.dtype, device=_placement(leaf))
        fingerprints, _ = examine(dict(sorted(arrays.items())))
        if wrong := [path for path, value in fingerprints.items() if value != record["fingerprints"][path]]:
            raise _Damaged(f"not what was saved: {_some(wrong)}")
        state = [_like(leaf, arrays[path]) for path, leaf in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(state_like), state), record["about"]

    def _refuse_mismatch(self, step: int, saved: dict[str, str], leaves: dict[str, Any]) -> None:
        expected = {path: describe(leaf) for path, leaf in leaves.items()}
        lines = [
            f"  {path}: {saved.get(path, 'not')} in the checkpoint, {expected.get(path, 'not')} in the state"
            for path in sorted(saved | expected)
            if saved.get(path) != expected.get(path)
        ]
        if lines:
            raise _Unfit(f"checkpoint {step} in {self.directory} does not fit this state:\n" + "\n".join(lines))

    def _refuse_if_all_are(self, damaged: dict[int, str]) -> None:
        if damaged:
            lines = "".join(f"\n  {step}: {reason}" for step, reason in damaged.items())
            raise UserError(
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
        _on_all_processes(True)
        self._manager.reload()


class _Damaged(Exception):
    """A checkpoint is not what was written. The message is the reason."""


class _Unfit(UserError):
    """An undamaged checkpoint, but of another state or layout."""


class _LastAndBest:
    """A preservation policy for Orbax: keeps the last `keep` steps and the best one.

    Orbax's own BestN reads a file of metrics for each step, and refuses to start when one is damaged.
    """

    def __init__(self, keep: int, better: str):
        if better not in ("max", "min"):
            raise ValueError(f'better is "{better}", expected "max" or "min"')
        self.keep, self.better = keep, better
        self.metrics: dict[int, float | None] = {}

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        metrics = {step: self.metrics.get(step) for step in steps}
        measured = {step: metric for step, metric in metrics.items() if metric is not None and math.isfinite(metric)}
        pick = max if self.better == "max" else min
        kept = steps[-self.keep :] + ([pick(measured, key=lambda step: measured[step])] if measured else [])
        return [step in kept for step in steps]


def _array_handlers():
    # Orbax cuts an array that several devices have copies of, so that each writes a part. For small arrays this takes
    # most of the time of a save.
    handler = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=2**20)
    return ocp.type_handlers.create_type_handler_registry((jax.Array, handler))


def _like(leaf: Any, array: jax.Array) -> jax.Array:
    """Turns a saved array back into what it was: random keys, if `leaf` is those."""
    if not is_key(leaf):
        return array
    implementations = []  # key_impl does not take a ShapeDtypeStruct, but the tracer of one
    jax.eval_shape(lambda key: implementations.append(jax.random.key_impl(key)), leaf)
    return jax.random.wrap_key_data(array, impl=implementations[0])


def _placement(leaf: Any) -> jax.sharding.Sharding:
    return leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])


def _restore_args(leaves: dict[str, Any]):
    plain = lambda leaf: jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
    arrays = {path: plain(leaf) for path, leaf in leaves.items()}
    filled = {path: leaf for path, leaf in arrays.items() if math.prod(leaf.shape)}
    restore_args = {
        path: ocp.ArrayRestoreArgs(sharding=_placement(leaves[path]), global_shape=leaf.shape, dtype=leaf.dtype)
        for path, leaf in filled.items()
    }
    return ocp.args.PyTreeRestore(item=filled, restore_args=restore_args)


def _sealed(record: dict) -> dict:
    text = json.dumps(json.loads(json.dumps(record)), sort_keys=True)
    return {"record": json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _on_all_processes(condition: bool) -> bool:
    """Returns whether `condition` holds on every process. Every process must call this function."""
    if jax.process_count() == 1:
        return condition
    return bool(np.all(multihost_utils.process_allgather(np.array(condition))))


def _reason(error: BaseException) -> str:
    """One short line: the text of the operating system if the error contains it, else the error's first sentence."""
    text = str(error).strip() or type(error).__name__
    of_the_system = (os.strerror(code) for code in errno.errorcode)
    return next((words for words in of_the_system if words in text), text.splitlines()[0].split(". ")[0][:160])


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _last_good(newest: int | None) -> str:
    return "there is no good checkpoint" if newest is None else f"the newest good checkpoint is step {newest}"
