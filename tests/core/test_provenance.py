"""What a result depends on: found through every kind of import, on made-up projects and on this one."""

import os
from pathlib import Path
import sys
import textwrap

import pytest

from core import files, provenance


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes files, given as {path: source}, and makes them the project. Returns its root."""

    def write(sources: dict[str, str]) -> Path:
        for path, source in sources.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(textwrap.dedent(source))
        return tmp_path

    monkeypatch.setattr(files, "ROOT", tmp_path)
    return write


def names(*entries: str) -> set[str]:
    """The closure, as paths from the root."""
    return {str(path.relative_to(files.ROOT)) for path in provenance.closure(*entries)}


def test_imports_are_followed_through_modules_and_the_packages_that_contain_them(project):
    project({
        "main.py": "from models.gpt import GPT",
        "models/__init__.py": "", "models/gpt.py": "import models.parts.layers", "models/parts/layers.py": "",
        "models/parts/__init__.py": "import more", "more.py": "", "models/vit.py": "import main",
    })  # fmt: skip
    with_gpt = {"models/__init__.py", "models/gpt.py", "models/parts/__init__.py", "models/parts/layers.py", "more.py"}
    assert names("main.py") == {"main.py"} | with_gpt
    assert names("models/vit.py") == {"main.py", "models/vit.py"} | with_gpt
    assert names("more.py", "models/parts/layers.py") == {"more.py", "models/parts/layers.py"}


def test_imports_anywhere_in_a_file_count(project):
    project({
        "main.py": """
            def f():
                import a
            if f:
                from b import anything
            class C:
                from models import *
            """,
        "a.py": "", "b.py": "try: import c\nexcept ImportError: pass", "c.py": "", "d.py": "",
        "models/__init__.py": "", "models/gpt.py": "",
    })  # fmt: skip
    assert names("main.py") == {"main.py", "a.py", "b.py", "c.py", "models/__init__.py"}


def test_a_member_of_a_package_may_be_a_module_or_something_in_it(project):
    project({"main.py": "from models import gpt, MODELS", "models/__init__.py": "MODELS = {}", "models/gpt.py": ""})
    assert names("main.py") == {"main.py", "models/__init__.py", "models/gpt.py"}


def test_relative_imports(project):
    project({
        "models/__init__.py": "from . import gpt", "models/gpt.py": "from .parts.layers import x",
        "models/parts/layers.py": "from .. import vit\nfrom ..bert import y", "models/vit.py": "", "models/bert.py": "",
        "models/other.py": "",
    })  # fmt: skip
    assert names("models/gpt.py") == {f"models/{n}.py" for n in ("__init__", "gpt", "parts/layers", "vit", "bert")}


def test_folders_without_init_are_packages_too(project):
    sources = {"configs/small/gpt.py": "", "configs/x.py": ""}
    project(sources | {"main.py": "from configs.small import gpt\nimport configs"})
    assert names("main.py") == {"main.py", "configs/small/gpt.py"}


def test_a_package_that_extends_its_path_is_searched_there(project):
    project({
        "main.py": 'command = ["-m", "experiments.generate"]',
        "experiments/__init__.py": '__path__ += [str(f) for f in map(here.joinpath, ("sweep", "use", "absent"))]',
        "experiments/use/__init__.py": "", "experiments/use/generate.py": "import experiments.use.parts",
        "experiments/use/parts.py": "",
    })  # fmt: skip
    generate = {"experiments/__init__.py", "experiments/use/generate.py"}
    assert names("main.py") == {"main.py", *generate, "experiments/use/__init__.py", "experiments/use/parts.py"}


def test_strings_name_modules_and_files(project):
    project({
        "main.py": """
            '''A docstring about configs/vit.py and models.vit names nothing.'''
            CONFIG = "configs/gpt.py"
            OTHER = ["configs/bert.py:small", "report.html", "notes/readme.txt", "../outside.py", "/etc/passwd", "a.b"]
            MODULE = importlib.import_module("models.gpt")
            TEXTS = ["models.vit.absent", f"configs/{CONFIG}.py", "models", "a text: with.dots and more"]
            """,
        "configs/gpt.py": "import shared", "shared.py": "", "configs/bert.py": "", "configs/vit.py": "",
        "report.html": "", "notes/readme.txt": "", "models/gpt.py": "", "models/vit.py": "",
    })  # fmt: skip
    named = {"configs/gpt.py", "shared.py", "configs/bert.py", "report.html", "models/gpt.py"}
    assert names("main.py") == {"main.py"} | named


def test_files_beside_the_one_that_names_them_count(project):
    project({"reports/page.py": 'TEMPLATE = here.with_name("page.html")', "reports/page.html": "", "page.html": ""})
    assert names("reports/page.py") == {"reports/page.py", "reports/page.html"}


@pytest.mark.parametrize("line", ["import models.gtp", "from models.gtp import GPT", "from .gtp import GPT"])
def test_a_module_that_is_not_there_is_an_error(project, line):
    project({"models/x.py": f"\n{line}", "models/gpt.py": ""})
    with pytest.raises(ValueError, match=r"models/x\.py, line 2: there is no module models\.gtp in this project"):
        provenance.closure("models/x.py")


def test_packages_are_those_that_are_imported_with_their_versions(project):
    root = project({"main.py": "import jax.numpy\nfrom numpy import linalg\nimport other", "other.py": "import PIL"})
    packages = provenance.packages(provenance.closure("main.py"))
    assert [name.split("==")[0] for name in packages] == ["jax", "jaxlib", "numpy", "pillow", "python"]
    assert f"python=={sys.version.split()[0]}" in packages
    (root / "other.py").write_text("import json, absent_from_every_machine")
    packages = provenance.packages(provenance.closure("main.py"))
    assert [name.split("==")[0] for name in packages] == ["jax", "jaxlib", "numpy", "python"]


def test_the_digest_is_of_contents_paths_packages_and_words(project, monkeypatch):
    root = project({"main.py": "import a", "a.py": "import numpy", "b.py": "import numpy", "c.py": ""})
    digests = [provenance.digest(["main.py"]), provenance.digest(["main.py"], "word")]
    (root / "a.py").write_text("import numpy  # changed")
    digests.append(provenance.digest(["main.py"]))
    (root / "main.py").write_text("import b")
    digests.append(provenance.digest(["main.py"]))
    monkeypatch.setattr(provenance, "_packages", lambda read: ["numpy==0"])
    digests.append(provenance.digest(["main.py"]))
    assert len(set(digests)) == len(digests)
    (root / "c.py").write_text("# changed")
    assert provenance.digest(["main.py"]) == digests[-1]


def test_the_digest_does_not_depend_on_where_the_project_lies(project, tmp_path, monkeypatch):
    project({"main.py": "import a", "a.py": ""})
    before = provenance.digest(["main.py"])
    os.rename(tmp_path, tmp_path.with_name("moved"))
    monkeypatch.setattr(files, "ROOT", tmp_path.with_name("moved"))
    assert provenance.digest(["main.py"]) == before


def test_a_run_depends_on_everything_below_experiments_that_train_reaches_and_on_no_config():
    rooms = {path.relative_to(files.ROOT).parts[0] for path in provenance.closure("train.py")}
    assert {"data", "models", "objectives", "train.py", "training"} <= rooms <= {
        "core", "data", "models", "objectives", "train.py", "training"
    }  # fmt: skip
