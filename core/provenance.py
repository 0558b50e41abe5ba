"""What a result depends on, derived from imports: a digest of code, configs and package versions.

A list of files that somebody has to keep goes wrong. Here the files are found by reading the imports of an entry
point, and of everything that it imports from this project.
"""

import ast
from collections.abc import Iterable
from functools import cache
import hashlib
from importlib import metadata
from pathlib import Path

from core import files


def closure(*entries: str | Path) -> list[Path]:
    """Returns the files of the project that `entries` depend on, themselves included, sorted.

    Entries are Python files, relative to the root of the project or absolute. A file depends on what it imports,
    anywhere in it, with the packages on the way; and on a file that it names by a string that is its path, as in
    "configs/gpt.py".
    """
    pending, seen = [files.ROOT / entry for entry in entries], set()
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            pending += _dependencies(files.ROOT, path, path.stat().st_mtime_ns)[0]
    return sorted(seen)


def digest(entries: Iterable[str | Path], *words: str) -> str:
    """Returns the SHA-256 of the closure of `entries`, by path and content, its packages and `words`."""
    sha = hashlib.sha256()
    paths = closure(*entries)
    for path in paths:
        name = path.relative_to(files.ROOT) if path.is_relative_to(files.ROOT) else path
        sha.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    for word in [*packages(paths), *words]:
        sha.update(f"{word}\0".encode())
    return sha.hexdigest()


def packages(paths: Iterable[Path]) -> list[str]:
    """Returns what the given files import from outside, as sorted "name==version"; jaxlib, the compiler, with JAX."""
    modules = {name for path in paths for name in _dependencies(files.ROOT, path, path.stat().st_mtime_ns)[1]}
    names = {name for module in modules for name in _distributions().get(module, ())}
    names |= {"jaxlib"} if "jax" in names else set()
    return sorted(f"{name}=={metadata.version(name)}" for name in names)


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@cache
def _dependencies(root: Path, path: Path, mtime: int) -> tuple[tuple[Path, ...], frozenset[str]]:
    """What a file depends on directly: files of the project, and top-level modules from outside."""
    if path.suffix != ".py":
        return (), frozenset()
    ours, outside = [], set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            ours += _named(root, node.value)
            continue
        else:
            continue
        for name in names:
            found = _modules(root, name)
            ours += found
            if not found:
                outside.add(name.split(".")[0])
    return tuple(ours), frozenset(outside)


def _named(root: Path, text: str) -> list[Path]:
    """The file of the project that a string names by its path, also with a choice behind it, as in "x.py:gpt"."""
    text = text.split(":")[0]
    if "\n" in text or len(text) > 200 or not text.endswith((".py", ".html")):
        return []
    path = root / text
    return [path] if path.is_file() and path.is_relative_to(root) else []


def _modules(root: Path, name: str) -> list[Path]:
    """The files that importing a dotted name runs: the packages on the way, and the module itself."""
    found, folder = [], root
    for part in name.split("."):
        for path in (folder / part / "__init__.py", folder / f"{part}.py"):
            if path.is_file():
                found.append(path)
        folder = folder / part
    return found
