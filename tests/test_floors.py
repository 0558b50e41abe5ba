"""The shape of the project: imports point down, tests mirror the tree, links lead somewhere, the install is light."""

import ast
from pathlib import Path
import re
import tomllib

import pytest

from models import MODELS

ROOT = Path(__file__).resolve().parents[1]
FOUNDATION = {"core"}
LIBRARY = {"models", "objectives", "data", "training"}
OURS = FOUNDATION | LIBRARY | {"configs", "experiments", "train", "tests"}
FILES = sorted(path.relative_to(ROOT) for folder in OURS for path in (ROOT / folder).rglob("*.py")) + [Path("train.py")]
PAGES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def imports(source: str) -> list[tuple[str, str]]:
    """What a file imports: pairs of a module's dotted name and a name in it, which is "" in `import module`."""
    pairs = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            pairs += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "relative import" if node.level or not node.module else node.module
            pairs += [(module, alias.name) for alias in node.names]
    return pairs


def folders(source: str) -> set[str]:
    """The top-level parts of this project that a file imports."""
    return {module.split(".")[0] for module, _ in imports(source)} & (OURS | {"relative import"})


def allowed(path: Path) -> set[str]:
    """The top-level parts that a file may import: those of the floors below, and its own."""
    folder = path.parts[0]
    if folder in FOUNDATION or folder == "configs":
        return {folder}
    if folder in LIBRARY:
        return FOUNDATION | {folder}
    if folder == "train.py":
        return FOUNDATION | LIBRARY
    return OURS if folder == "tests" else FOUNDATION | LIBRARY | {"train", "experiments"}


def resolves(module: str, name: str) -> bool:
    """Whether an import of the project's own leads to a file by its full path.

    `experiments/__init__.py` puts its wings on the path for commands, so `import experiments.generate` works too. It
    would be a second copy of `experiments.use.generate`, and `core.provenance` could not follow it.
    """
    path = ROOT.joinpath(*module.split("."))
    if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
        return True
    # A folder without __init__.py, such as configs/: what is imported has to be a module in it.
    return path.is_dir() and bool(name) and (path / f"{name}.py").is_file()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path):
    assert folders((ROOT / path).read_text()) <= allowed(path)


def test_the_check_sees_an_import_that_points_up():
    assert folders("from training.state import x\nimport models.gpt") - allowed(Path("models/x.py")) == {"training"}
    assert folders("from . import x") - allowed(Path("models/x.py")) == {"relative import"}
    assert folders("import train\nimport core.files") - allowed(Path("core/x.py")) == {"train"}
    assert folders("from core.errors import UserError") <= allowed(Path("data/x.py"))


def test_imports_use_full_paths_that_lead_to_files():
    pairs = ((path, pair) for path in FILES for pair in imports((ROOT / path).read_text()))
    assert [(str(path), pair) for path, pair in pairs if pair[0].split(".")[0] in OURS and not resolves(*pair)] == []


def test_the_check_sees_a_short_name():
    assert resolves("experiments.use.generate", "generate")
    assert not resolves("experiments.generate", "generate")
    assert resolves("configs", "vit")
    assert not resolves("configs", "no_such_config")


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] == "models" or p.name == "train.py"], ids=str)
def test_a_file_is_one_idea_long(path):
    assert len((ROOT / path).read_text().splitlines()) <= 300


def test_tests_mirror_the_tree():
    """Each folder of tests stands for a folder of code, or for train.py; each folder of code has tests."""
    code = {path.parent for path in FILES if path.parts[0] != "tests" and path.name != "train.py"} | {Path("train")}
    tested = (path.parent for path in FILES if path.parts[0] == "tests" and path.name.startswith("test_"))
    tests = {folder.relative_to("tests") for folder in tested} - {Path(".")}
    tests -= {Path("faults")}  # of everything at once
    assert tests <= code
    # Declarations are tested by the engine that runs them, and the parts of models beside the models.
    declarations = {Path("experiments"), Path("experiments/sweeps"), Path("experiments/suites")}
    parts = {path for path in code if len(path.parts) > (2 if path.is_relative_to("experiments/figures") else 1)}
    parts = {path for path in parts if path.is_relative_to("models") or path.is_relative_to("experiments/figures")}
    assert code - tests - declarations - parts == set()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_between_pages_lead_somewhere(page):
    """The local links of README and docs/, with their headings. Generated pages are checked by `make docs`."""
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        target, _, heading = link.partition("#")
        if "://" in target or target.startswith("reference/"):
            continue
        path = (ROOT / page.parent / target).resolve() if target else ROOT / page
        assert path.exists(), link
        if heading:
            headings = re.findall(r"(?m)^#+ (.*)$", path.read_text())
            assert heading in [re.sub(r"[^\w\- ]", "", text).lower().replace(" ", "-") for text in headings], link


def test_every_page_of_the_documentation_is_in_its_contents():
    contents = (ROOT / "docs/index.md").read_text().splitlines()
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - set(contents) == {"index"}


def test_the_readme_is_an_introduction():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_the_readme_names_the_file_of_every_architecture():
    files = {module.__module__.replace(".", "/") for module in MODELS.values()}
    named = set(re.findall(r"`(models/\w+)(?:\.py|/)`", (ROOT / "README.md").read_text()))
    missing = {file for file in files if file not in named and not any(file.startswith(f"{name}/") for name in named)}
    assert not missing, f"add a row to the table of architectures in README.md: {missing}"


def test_the_default_install_is_light_and_pinned():
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-docs.txt", "requirements-reference.txt",
                 "requirements-loggers.txt", "requirements-chemistry.txt"):  # fmt: skip
        lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
        assert all("==" in line for line in lines if line), name
    names = {line.split("==")[0].lower() for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert not names & {"tensorflow", "tensorflow-cpu", "torch", "transformers"}


def test_what_pip_installs_is_every_folder_of_code():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {pattern.rstrip("*") for pattern in setuptools["packages"]["find"]["include"]}
    assert packages | set(setuptools["py-modules"]) == OURS - {"tests"}
