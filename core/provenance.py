"""What a result depends on, derived from imports: files of the project, packages, and a digest of both.

A list of files that somebody has to keep goes wrong. Here the files are found by reading the imports of an entry point
and, in turn, of everything that it imports from this project. Nothing is run, and no file is imported.

    closure("train.py")               the files that a run of train.py depends on
    digest(["train.py"], "seed 0")    one SHA-256 of them, of the packages that they import, and of a word
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
import hashlib
from importlib import metadata
import os
from pathlib import Path
import platform
import re

from core import files

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FILE = re.compile(r"[\w./-]+\.\w+")


def closure(*entries: str | Path) -> list[Path]:
    """Returns the files of the project that `entries` depend on, themselves included, as sorted absolute paths.

    A Python file depends on

    - every module of the project that it imports, anywhere in the file, and the packages that contain it;
    - every module of the project that is named by a string, such as "experiments.population", which is how processes
      are started;
    - every Python file that is named by a string with its path from the root of the project, such as "configs/gpt.py",
      also with a choice behind it ("configs/gpt.py:small");
    - every file beside it that is named by a string, such as "report.html".

    A name that is computed while the program runs cannot be seen: whoever uses one gives that file as an entry too.

    Args:
      entries: files, by their path from the root of the project or an absolute one.

    Raises:
      ValueError: a file imports a module that looks like one of the project's, but does not exist.
    """
    return [Path(path) for path in sorted(_closure(entries))]


def digest(entries: Iterable[str | Path], *words: str) -> str:
    """Returns a SHA-256 of the closure of `entries`: paths, contents, packages with their versions, and `words`."""
    sha = hashlib.sha256()
    read = _closure(entries)
    for path in sorted(read):
        sha.update(read[path].name + read[path].sha)
    for word in [*_packages(read.values()), *words]:
        sha.update(f"{word}\0".encode())
    return sha.hexdigest()


def packages(paths: Iterable[str | Path]) -> list[str]:
    """Returns Python and the packages that these files import from outside the project, as sorted "name==version".

    With JAX comes jaxlib, its compiler. A package that is not installed is left out.
    """
    return _packages(_facts(str(path)) for path in paths)


# ---- files ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Facts:
    """A file: its path from the root, the hash of its content, what it needs directly, and modules from outside."""

    name: bytes
    sha: bytes
    needs: tuple[str, ...] = ()
    outside: frozenset[str] = frozenset()


def _closure(entries: Iterable[str | Path]) -> dict[str, _Facts]:
    pending, read = [str(files.ROOT / entry) for entry in entries], {}
    while pending:
        path = pending.pop()
        if path not in read:
            read[path] = _facts(path)
            pending += read[path].needs
    return read


def _facts(path: str) -> _Facts:
    status = os.stat(path)
    return _read(str(files.ROOT), path, status.st_mtime_ns, status.st_size)


@cache
def _read(root: str, path: str, mtime: int, size: int) -> _Facts:
    """Reads a file, again whenever its time or size has changed."""
    content = Path(path).read_bytes()
    identity = f"{os.path.relpath(path, root)}\0".encode(), hashlib.sha256(content).digest()
    if not path.endswith(".py"):
        return _Facts(*identity)
    needs, outside = set(), set()
    for node in ast.walk(ast.parse(content, path)):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and len(node.value) < 200:
                needs.update(_named(root, path, node.value))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name, members in _imports(root, path, node):
                if not _is_ours(root, name):
                    outside.add(name.split(".")[0])
                    continue
                modules, exists = _locate(root, name)
                if not exists:
                    raise ValueError(f"{path}, line {node.lineno}: there is no module {name} in this project")
                needs.update(modules)
                for member in members:  # a module, or something that is defined in one
                    needs.update(_locate(root, f"{name}.{member}")[0])
    return _Facts(*identity, tuple(sorted(needs)), frozenset(outside))


def _imports(root: str, path: str, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, list[str]]]:
    """The modules of an import statement, by their full names, each with the members that are taken from it."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, []) for alias in node.names)
        return
    parents = Path(os.path.relpath(path, root)).parts[: -node.level] if node.level else ()
    yield ".".join([*parents, *([node.module] if node.module else [])]), [alias.name for alias in node.names]


def _named(root: str, path: str, text: str) -> list[str]:
    """The files that a string names: a module, a Python file of the project, or a file beside the one at `path`."""
    if _DOTTED.fullmatch(text) and _is_ours(root, text):
        modules, exists = _locate(root, text)
        if exists:
            return modules
    name = text.split(":")[0]
    if not _FILE.fullmatch(name) or ".." in name or name.startswith("/"):
        return []
    candidates = [os.path.join(root, name)] if name.endswith(".py") else []
    candidates += [os.path.join(os.path.dirname(path), name)] if "/" not in name else []
    return [candidate for candidate in candidates if os.path.isfile(candidate)]


# ---- modules --------------------------------------------------------------------------------------------------------


@cache
def _is_ours(root: str, name: str) -> bool:
    top = os.path.join(root, name.split(".")[0])
    return os.path.isdir(top) or os.path.isfile(f"{top}.py")


@cache
def _locate(root: str, name: str) -> tuple[list[str], bool]:
    """The files that importing a module of the project runs, and whether all parts of its name exist.

    A folder without `__init__.py` is a package too, which runs nothing.
    """
    paths, folders = [], [root]
    for part in name.split("."):
        for folder in folders:
            path = os.path.join(folder, part)
            if os.path.isfile(file := os.path.join(path, "__init__.py")):
                paths.append(file)
                folders = [path, *_further_folders(path, file)]
                break
            if os.path.isfile(file := f"{path}.py"):
                paths.append(file)
                folders = []
                break
            if os.path.isdir(path):
                folders = [path]
                break
        else:
            return paths, False
    return paths, True


def _further_folders(package: str, file: str) -> list[str]:
    """The folders in which a package also looks for modules: those that it names, if it sets `__path__`."""
    source = Path(file).read_text(encoding="utf-8")
    if "__path__" not in source:
        return []
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    folders = (os.path.join(package, text) for text in texts if isinstance(text, str) and text.isidentifier())
    return [folder for folder in folders if os.path.isdir(folder)]


# ---- packages -------------------------------------------------------------------------------------------------------


def _packages(read: Iterable[_Facts]) -> list[str]:
    return _versions(frozenset().union(*(facts.outside for facts in read)))


@cache
def _versions(modules: frozenset[str]) -> list[str]:
    names = {name for module in modules for name in _distributions().get(module, ())}
    names |= {"jaxlib"} if "jax" in names else set()
    return sorted([f"python=={platform.python_version()}", *(f"{name}=={metadata.version(name)}" for name in names)])


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())
