"""Several runs as one program: everything that one run has, all members have, stacked along a first axis "members".

The train step is a pure function, so `jax.vmap`, or a loop on a CPU, turns the step of one run into the step of all of
them. The axis is divided over the devices. No member needs anything of another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

from training.fingerprints import is_key
from training.loop import NonFinite

AXIS = "members"


def make_mesh(members: int) -> tuple[Mesh, int]:
    """Returns the mesh that the members are divided over, and its number of places, at least `members`.

    Each device has equally many places. Some of them may stay empty.
    """
    each = -(-members // jax.device_count())
    used = -(-members // each)
    return Mesh(np.array(jax.devices()[:used]), (AXIS,), axis_types=(AxisType.Auto,)), used * each


def placement(mesh: Mesh, *, shared: bool = False) -> NamedSharding:
    """Returns the sharding of arrays with an axis of members, or of arrays that all members share."""
    return NamedSharding(mesh, P() if shared else P(AXIS))


def for_all_members(program: Callable, mesh: Mesh, axes: tuple[int | None, ...]) -> Callable:
    """Returns `program`, which is for one member, as a function for all members at once.

    Args:
      axes: one entry for each argument: 0 if it has an axis of members, None if all members share it.
    """
    specs = tuple(P() if axis is None else P(AXIS) for axis in axes)
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def local(*arguments):
        own = tuple(argument for argument, axis in zip(arguments, axes) if axis == 0)

        def of_one(own):
            remaining = iter(own)
            return program(*(argument if axis is None else next(remaining) for argument, axis in zip(arguments, axes)))

        if len(jax.tree.leaves(own)[0]) == 1:
            return jax.tree.map(lambda x: x[None], of_one(_first(own)))
        # On a CPU one member after the other: its arrays stay in the cache, and its numbers do not depend on how many
        # others there are.
        return jax.lax.map(of_one, own) if on_cpu else jax.vmap(of_one)(own)

    # XLA's partitioner might exchange data between members, and the numbers would depend on the devices.
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)


def stack(members: Sequence[Any], mesh: Mesh) -> Any:
    """Returns one pytree with an axis of members from one pytree for each member."""
    # NumPy does it without a program, which would have to be compiled for each shape.
    joined = lambda *x: jnp.stack(x) if is_key(x[0]) else np.stack(jax.device_get(x))
    return jax.device_put(jax.tree.map(joined, *members), placement(mesh))


def member_getter(mesh: Mesh) -> Callable[[Any, int], Any]:
    """Returns the compiled function `get(members, index)`, which gives the pytree of one member."""
    get = lambda members, index: jax.tree.map(lambda x: x[index], members)
    return jax.jit(get, out_shardings=placement(mesh, shared=True))


def member_setter(mesh: Mesh) -> Callable[[Any, int, Any], Any]:
    """Returns the compiled function `set(members, index, member)`, which replaces one member. It donates `members`."""
    replace = lambda members, index, member: jax.tree.map(lambda all_, x: all_.at[index].set(x), members, member)
    replace = jax.jit(replace, donate_argnums=0, out_shardings=placement(mesh))
    return lambda members, index, member: replace(
        members, index, jax.device_put(member, placement(mesh, shared=True))
    )  # fmt: skip


def _first(members):
    return jax.tree.map(lambda x: x[0], members)


def _range(values: Sequence[float]) -> str:
    """The lowest and the highest of the numbers that are finite."""
    finite = [value for value in values if np.isfinite(value)]
    return f"{min(finite):.4f} to {max(finite):.4f}" if finite else "not finite"


class Member(Protocol):
    """What a group needs of the record of each run: see `training.loop.Record`."""

    start: int

    def train(self, number: int, metrics: Mapping, amount: int) -> dict[str, float] | None: ...

    def pause(self) -> AbstractContextManager[None]: ...

    def evaluation(self, number: int, means: dict[str, float]) -> bool: ...

    def evaluated(self, number: int) -> bool: ...

    def save(self, number: int, state: Any, place: Any, *, improved: bool, due: bool) -> None: ...

    def wait(self) -> None: ...


class GroupDisplay(Protocol):
    """What a group needs of a display: see `training.log.Display`."""

    def step(self, step: int) -> None: ...

    def progress(self, step: int, text: str) -> None: ...

    def line(self, step: int, text: str) -> None: ...


class Group:
    """The records of several runs, for `loop.fit`: what it reports of one run is passed on to each.

    A member takes part from the step after its own `start`. A member whose numbers are no longer finite is left out
    from then on, and `leave` is called with its place and the reason.

    Args:
      records: by place on the axis of members.
      places: the size of that axis.
      take: gives the state of one member, see `member_getter`.

    Raises:
      NonFinite: in every method that trains or saves, when no member is left.
    """

    def __init__(
        self, records: Mapping[int, Member], *, places: int, take: Callable[[Any, int], Any],
        leave: Callable[[int, str], None], display: GroupDisplay,
    ):  # fmt: skip
        self.records = dict(records)
        self.start = min(record.start for record in records.values())
        self._places, self._take, self._leave, self._display = places, take, leave, display

    def step(self, number: int) -> None:
        """Moves the bar."""
        self._display.step(number)

    def train(self, number: int, metrics: Mapping, amount: int) -> None:
        """Passes each member its part of the metrics of a step."""
        losses = []
        for place, record in self._taking_part(number):
            own = {name: (total[place], count[place]) for name, (total, count) in metrics.items()}
            with self._without_if_not_finite(place):
                means = record.train(number, own, amount // self._places)
                losses += [means["loss"]] if means else []
        if losses:
            self._display.progress(number, f"loss {min(losses):.4f} to {max(losses):.4f} in {len(losses)} runs")

    @contextmanager
    def pause(self) -> Iterator[None]:
        """A context whose time does not count in the speed."""
        with ExitStack() as stack:
            for record in self.records.values():
                stack.enter_context(record.pause())
            yield

    def evaluation(self, number: int, means: Sequence[dict[str, float]]) -> set[int]:
        """Notes the metrics of each place. Returns the places of the members that improved."""
        taking_part = self._taking_part(number)
        if number == self.start:  # all members are at this step; none trains further
            taking_part = [(place, record) for place, record in self.records.items() if not record.evaluated(number)]
        values = {name: [means[place][name] for place, _ in taking_part] for name in means[0]}
        text = "  ".join(f"{name} {_range(each)}" for name, each in values.items())
        self._display.line(number, f"evaluation  {text}")
        return {place for place, record in taking_part if record.evaluation(number, means[place])}

    def evaluated(self, number: int) -> bool:
        """Returns whether all members were evaluated at this step."""
        return all(record.evaluated(number) for record in self.records.values())

    def out_of_patience(self) -> bool:
        """Returns False: runs that may stop early do not share a program."""
        return False

    def save(self, number: int, state: Any, place: Any, *, improved: set[int] | bool, due: bool) -> None:
        """Starts to write a checkpoint of each member if it is `due`, else of the members that improved.

        Args:
          place: the state of the batches.
          improved: what `evaluation` returned, or False if nothing was evaluated.
        """
        better = improved if isinstance(improved, set) else set()
        for member, record in self._taking_part(number):
            if due or member in better:
                with self._without_if_not_finite(member):
                    record.save(number, self._take(state, member), place, improved=member in better, due=due)

    def wait(self) -> None:
        """Returns when nothing is being written."""
        for record in self.records.values():
            record.wait()

    def _taking_part(self, number: int) -> list[tuple[int, Member]]:
        return [(place, record) for place, record in self.records.items() if record.start < number]

    @contextmanager
    def _without_if_not_finite(self, place: int) -> Iterator[None]:
        try:
            yield
        except NonFinite as error:
            del self.records[place]
            self._leave(place, str(error))
            if not self.records:
                raise NonFinite("no run of the group is left") from error
