"""Several runs as one program: what one run has, they have stacked along a first axis, "members".

The step is a pure function, so `jax.vmap` makes of the step of one run the step of all of them. The axis is shared out
over the devices, and no member needs anything of another.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
import numpy as np

from training.log import Display
from training.loop import NonFinite, Record

AXIS = "members"


def make_mesh(members: int) -> tuple[Mesh, int]:
    """The devices that the members are shared out over, and the places they have: each device has equally many, some
    of them may stay empty."""
    each = -(-members // jax.device_count())
    used = -(-members // each)
    return Mesh(np.array(jax.devices()[:used]), (AXIS,), axis_types=(AxisType.Auto,)), used * each


def placement(mesh: Mesh, *, shared: bool = False) -> NamedSharding:
    """Of arrays with an axis of members, or of what every member shares."""
    return NamedSharding(mesh, P() if shared else P(AXIS))


def together(program: Callable, mesh: Mesh, axes: tuple[int | None, ...]) -> Callable:
    """`program` for all members at once. `axes`: 0 for each argument that has the axis of members, None for one that
    all members share."""
    specs = tuple(P() if axis is None else P(AXIS) for axis in axes)

    def local(*arguments):
        own = [argument for argument, axis in zip(arguments, axes) if axis == 0]
        if len(jax.tree.leaves(own)[0]) > 1:
            return jax.vmap(program, in_axes=axes)(*arguments)
        # A member that has its device for itself needs no product of stacked matrices, which are slower.
        alone = (_first(argument) if axis == 0 else argument for argument, axis in zip(arguments, axes))
        return jax.tree.map(lambda x: x[None], program(*alone))

    # Not left to XLA's partitioner, which might let members talk, and then their numbers depend on the devices.
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)


def stack(members: Sequence[Any], mesh: Mesh) -> Any:
    """One pytree from one for each member."""
    return jax.device_put(jax.tree.map(lambda *x: jnp.stack(x), *members), placement(mesh))


def taker(mesh: Mesh) -> Callable[[Any, int], Any]:
    """The compiled function that takes the pytree of one member out of that of all."""
    take = lambda members, index: jax.tree.map(lambda x: x[index], members)
    return jax.jit(take, out_shardings=placement(mesh, shared=True))


def putter(mesh: Mesh) -> Callable[[Any, int, Any], Any]:
    """The compiled function that puts the pytree of one member in; the memory of the old one is given away."""
    put = lambda members, index, one: jax.tree.map(lambda all_, x: all_.at[index].set(x), members, one)
    put = jax.jit(put, donate_argnums=0, out_shardings=placement(mesh))
    return lambda members, index, one: put(members, index, jax.device_put(one, placement(mesh, shared=True)))


def _first(members):
    return jax.tree.map(lambda x: x[0], members)


class Group:
    """The records of several runs, for `loop.fit`: what it asks of one run is asked of each.

    A member takes part from the step on that its own state is of. One whose numbers are no longer finite is left out
    from then on: `leave` is told its place and the reason. Raises NonFinite when none is left.

    Args:
      records: by place on the axis of members, of `places` places. take: see `taker`.
    """

    def __init__(
        self, records: Mapping[int, Record], *, places: int, take: Callable, leave: Callable[[int, str], None],
        display: Display,
    ):  # fmt: skip
        self.records = dict(records)
        self.start = min(record.start for record in records.values())
        self._places, self._take, self._leave, self._display = places, take, leave, display

    def step(self, number: int) -> None:
        """Moves the bar."""
        self._display.step(number)

    def train(self, number: int, metrics: dict, amount: int) -> None:
        """Gives each member its part of what a step measured."""
        logged = []
        for place, record in self._taking_part(number):
            own = {name: (total[place], count[place]) for name, (total, count) in metrics.items()}
            with self._left_if_not_finite(place):
                means = record.train(number, own, amount // self._places)
                logged += [means["loss"]] if means else []
        if logged:
            self._display.progress(number, f"loss {min(logged):.4f} to {max(logged):.4f} in {len(logged)} runs")

    @contextmanager
    def pause(self):
        """A block whose time does not count against the speed."""
        with ExitStack() as stack:
            for record in self.records.values():
                stack.enter_context(record.pause())
            yield

    def evaluation(self, number: int, means: Sequence[dict]) -> set[int]:
        """Notes the metrics of each place; the places of those that are better than before."""
        taking_part = self._taking_part(number)
        ranges = {name: [means[place][name] for place, _ in taking_part] for name in means[0]}
        shown = "  ".join(f"{name} {min(values):.4f} to {max(values):.4f}" for name, values in ranges.items())
        self._display.line(number, f"evaluation  {shown}")
        return {place for place, record in taking_part if record.evaluation(number, means[place])}

    def save(self, number: int, state: Any, position: Any, *, improved: set[int] | bool, due: bool) -> None:
        """Starts to write a checkpoint of each member if it is `due`, else of those that improved."""
        improved = improved or set()  # False: nothing was evaluated
        for place, record in self._taking_part(number):
            if due or place in improved:
                with self._left_if_not_finite(place):
                    record.save(number, self._take(state, place), position, improved=place in improved, due=due)

    def wait(self) -> None:
        """Returns when nothing is being written."""
        for record in self.records.values():
            record.wait()

    def _taking_part(self, number: int) -> list[tuple[int, Record]]:
        return [(place, record) for place, record in self.records.items() if record.start < number]

    @contextmanager
    def _left_if_not_finite(self, place: int):
        try:
            yield
        except NonFinite as error:
            del self.records[place]
            self._leave(place, str(error))
            if not self.records:
                raise NonFinite("no run of the group is left") from error
