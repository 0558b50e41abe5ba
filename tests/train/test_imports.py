"""Importing the project changes nothing outside it, so that a notebook stays as it was."""

import subprocess
import sys

from tests import tiny

PROGRAM = """
import gc, importlib, logging, pkgutil, signal, sys, threading, warnings


def state():
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items() if name in KNOWN}
    return {
        "gc": (gc.isenabled(), gc.get_freeze_count(), gc.get_threshold(), gc.get_debug()),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "loggers": {name: (x.level, list(x.filters), x.disabled, x.propagate) for name, x in loggers.items()},
        "root logger": (logging.root.level, list(logging.root.filters), logging.root.manager.disable),
        "streams": (sys.stdout, sys.stderr),
    }


# What the project is built on may set up its own loggers; the project must not touch them afterwards.
import absl.logging, asyncio, concurrent.futures, flax.nnx, grain, jax, ml_collections, optax, orbax.checkpoint
import tensorboardX, tensorflow_datasets
import jax.experimental.multihost_utils

KNOWN = {name for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger)}
KNOWN |= {"asyncio", "concurrent.futures", "absl"}
before = state()
packages = [importlib.import_module(name) for name in ("core", "models", "objectives", "training", "data")]
for package in packages:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
import train

after = state()
for name, value in before.items():
    if isinstance(value, dict):
        print(*(f"{name}: {key} {value[key]} -> {after[name][key]}" for key in value if value[key] != after[name][key]))
    elif value != after[name]:
        print(f"{name}: {value} -> {after[name]}")
"""


def test_imports_leave_collector_hooks_loggers_and_signals_as_they_were():
    process = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tiny.ROOT, capture_output=True, text=True)
    assert (process.returncode, process.stdout.strip()) == (0, ""), process.stdout + process.stderr
