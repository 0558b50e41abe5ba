"""Marks on arguments."""

from core.ranges import Share
from core.traced import Traced, TracedUnlessZero, traced_arguments


def oven(model, *, heat: Traced[float], fan: TracedUnlessZero[Share] = 0.0, minutes: float = 1.5, tray=None):
    pass


def test_marked_arguments_are_listed_with_whether_zero_differs():
    assert traced_arguments(oven) == {"heat": False, "fan": True}
