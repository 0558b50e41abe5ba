"""Sections of a config are checked against the functions that they are for."""

from typing import Required, TypedDict, Unpack

from ml_collections import ConfigDict
import pytest

from data import DATASETS
from models import MODELS
from models.fields import Semantic, forwards
from objectives import OBJECTIVES
from training.optimizer import make_optimizer
from training.settings import accepted, check_settings


def oven(*, heat: int, minutes: float = 1.5, tray: str | None = None, size: tuple[int, int] = (2, 3), fan: bool = True):
    pass


class OvenFields(TypedDict, total=False):
    heat: Required[int]
    minutes: float
    size: tuple[int, int]


class Kitchen:
    """Passes some fields on, and sets the tray itself."""

    @forwards(oven)
    def __init__(self, *, rooms: int, fan: str = "large", rngs, **fields: Unpack[OvenFields]):
        oven(tray="deep", **fields)


@pytest.mark.parametrize(
    "settings",
    [
        {"heat": 5},
        {"heat": 5, "minutes": 2},  # a whole number is a number
        {"heat": 5, "tray": None, "size": [7, 11], "fan": False},  # JSON knows no tuples
        {"heat": 5, "tray": "deep", "size": (7, 11)},
    ],
)
def test_good(settings):
    assert check_settings("oven", settings, oven) is None  # and nothing is raised


@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "oven lacks heat"),
        ({"heat": 5, "minuts": 2}, "oven.minuts is not a field. Did you mean 'minutes'?"),
        ({"heat": 5.0}, "oven.heat = 5.0: expected int, not float"),
        ({"heat": True}, "oven.heat = True: expected int, not bool"),
        ({"heat": 5, "fan": 1}, "oven.fan = 1: expected bool, not int"),
        ({"heat": 5, "minutes": "2"}, "oven.minutes = '2': expected float, not str"),
        ({"heat": 5, "tray": 3}, r"oven.tray = 3: expected str \| None, not int"),
        ({"heat": 5, "size": (7, 11, 13)}, r"oven.size = \(7, 11, 13\): expected tuple\[int, int\], not tuple"),
    ],
)
def test_bad(settings, words):
    with pytest.raises(ValueError, match=words):
        check_settings("oven", settings, oven)


def test_fields_that_are_passed_on():
    fields = accepted(Kitchen)
    assert set(fields) == {"rooms", "rngs", "heat", "minutes", "size", "fan"}
    assert fields["fan"].annotation is str and fields["minutes"].default == 1.5
    check_settings("kitchen", {"rooms": 2, "heat": 5}, Kitchen, supplied=["rngs"])
    with pytest.raises(ValueError, match="kitchen.rngs is not a field"):
        check_settings("kitchen", {"rooms": 2, "heat": 5, "rngs": 0}, Kitchen, supplied=["rngs"])
    with pytest.raises(ValueError, match="kitchen.tray is not a field"):
        check_settings("kitchen", {"rooms": 2, "heat": 5, "tray": "deep"}, Kitchen, supplied=["rngs"])


def test_a_field_that_nothing_takes_cannot_be_passed_on():
    class Wrong(TypedDict, total=False):
        heat: str

    with pytest.raises(TypeError, match="passes heat: <class 'str'> on, which no target takes so"):

        @forwards(oven)
        def cook(self, **fields: Unpack[Wrong]):
            pass


def test_what_is_said_beside_a_type_is_no_part_of_it():
    def bake(*, heat: Semantic[int], tray: Semantic[str | None] = None):
        pass

    with pytest.raises(ValueError, match="oven.heat = 'hot': expected int, not str"):
        check_settings("oven", {"heat": "hot"}, bake)
    with pytest.raises(ValueError, match=r"oven.tray = 3: expected str \| None, not int"):
        check_settings("oven", {"heat": 5, "tray": 3}, bake)


@pytest.mark.parametrize("target", [*DATASETS.values(), *MODELS.values(), *OBJECTIVES.values(), make_optimizer])
def test_no_field_has_the_name_of_a_method_of_a_config(target):
    """Such a field, as keys, cannot be set on the command line: --config.data.keys=13 means the method."""
    assert not accepted(target).keys() & set(dir(ConfigDict))
