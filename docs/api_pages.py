"""Writes the pages of docs/reference/ from the source: an API reference, and what configs, sweeps and figures say.

The pages follow the tree, so a new module has its page without a line anywhere. Griffe reads the source and imports
nothing, so JAX need not be installed. Docstrings are Markdown, with sections in Google's style.
"""

import ast
import inspect
from pathlib import Path
import re

import griffe
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
PACKAGES = ["core", "models", "objectives", "data", "training", "train", "experiments"]
# Folders of files that are alike share one page, with the command for each file and its docstring.
DECLARATIONS = {
    "configs": ("Configs", "python train.py --config={path} --workdir=runs/{name}"),
    "experiments/sweeps": ("Sweeps", "python -m experiments.sweep {path} --workdir=runs/{name}"),
    "experiments/suites": ("Suites", "python -m experiments.benchmark {name}"),
    "experiments/figures": ("Lecture figures", "python -m experiments.figures {name}"),
}
_log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", lambda app: write_pages())
    app.connect("source-read", include_from_root)
    return {"parallel_read_safe": True}


def include_from_root(app: Sphinx, page: str, source: list[str]) -> None:
    """Puts a file of the root where a page says `{{ README.md }}`, with links that lead to the pages.

    A link to a file that has no page becomes its label.
    """

    def link(match: re.Match) -> str:
        label, target = match["label"], match["target"]
        if "://" in target or target.startswith("#"):
            return match[0]
        if target.startswith("docs/"):
            return f"{label}({target.removeprefix('docs/')})"
        path, _, anchor = target.partition("#")
        if (ROOT / "docs" / path.lower()).is_file():
            return f"{label}({path.lower()}{'#' * bool(anchor)}{anchor})"
        return label[1:-1]

    def text(match: re.Match) -> str:
        path = ROOT / match[1]
        app.env.note_dependency(str(path))
        return re.sub(r"(?P<label>!?\[[^\]]*\])\((?P<target>[^)\s]+)\)", link, path.read_text())

    source[0] = re.sub(r"\{\{ (\w+\.md) \}\}", text, source[0])


def write_pages() -> None:
    """Writes docs/reference/. Pages that did not change are left alone, so Sphinx need not read them again."""
    pages = {"commands.md": _commands()}
    for folder, (title, command) in DECLARATIONS.items():
        pages[f"{folder.split('/')[-1]}.md"] = _declarations(folder, title, command)
    contents = [f"{title} <{folder.split('/')[-1]}>" for folder, (title, _) in DECLARATIONS.items()]
    tree = "\n".join(["commands", *contents, *PACKAGES])
    pages["index.md"] = f"# Reference\n\n```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n"
    for package in PACKAGES:
        package_object = griffe.load(package, search_paths=[ROOT], docstring_parser="google", allow_inspection=False)
        pages |= _pages(package_object)
    REFERENCE.mkdir(exist_ok=True)
    for path in REFERENCE.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = REFERENCE / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def _pages(module: griffe.Module) -> dict[str, str]:
    """Returns a page for a package, with a section for each module in it, and one page for each package inside."""
    lines, pages = [f"# {module.path}", ""], {}
    if module.docstring:
        lines += _module(module)
    for name, child in sorted(module.modules.items()):
        if child.is_subpackage or child.is_namespace_subpackage:
            if child.docstring:
                pages |= _pages(child)
        elif child.docstring and not name.startswith("_"):
            lines += [f"## {child.path}", "", *_module(child)]
    if pages:
        inside = [name.removesuffix(".md") for name in pages if name.count(".") == module.path.count(".") + 2]
        lines += ["## Packages", "", "```{toctree}", ":maxdepth: 1", "", *inside, "```", ""]
    return {f"{module.path}.md": "\n".join(lines)} | pages


def _module(module: griffe.Module) -> list[str]:
    lines = [f":::{{py:module}} {module.path}", ":::", "", *_docstring(module)]
    for member in module.members.values():
        lines += _object(member)
    return lines


def _object(member: griffe.Object | griffe.Alias, fence: str = ":::::::") -> list[str]:
    """Returns the Markdown of a public function, class or attribute that has a docstring; else nothing."""
    if isinstance(member, griffe.Alias) or member.is_module or not member.is_public or not member.has_docstring:
        return []
    inside = isinstance(member.parent, griffe.Class)
    if isinstance(member, griffe.Class):
        kind, signature = "class", member.name + _parameters(member)
    elif isinstance(member, griffe.Function):
        returns = f" -> {_annotation(member.returns)}" if member.returns else ""
        kind, signature = "method" if inside else "function", member.name + _parameters(member) + returns
    else:
        kind, signature = "property" if "property" in member.labels else "attribute" if inside else "data", member.name
    # The fence of a directive has to be longer than the fences in it.
    lines = [f"{fence}{{py:{kind}}} {' '.join(signature.split())}"]
    lines += [f":{label}:" for label in ("classmethod", "staticmethod") if kind == "method" and label in member.labels]
    lines += ["", *_docstring(member), ""]
    if isinstance(member, griffe.Class):
        for child in member.members.values():
            lines += _object(child, fence[2:])
    return [*lines, fence, ""]


def _parameters(member: griffe.Class | griffe.Function) -> str:
    """The parameters as they stand in a signature, without `self`."""
    parts, kinds = [], griffe.ParameterKind
    for i, parameter in enumerate(member.parameters):
        if i == 0 and parameter.name in ("self", "cls"):
            continue
        star = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(parameter.kind, "")
        earlier = {other.kind for other in list(member.parameters)[:i]}
        if parameter.kind is kinds.keyword_only and not earlier & {kinds.keyword_only, kinds.var_positional}:
            parts.append("*")
        text = f"{star}{parameter.name}" + (f": {_annotation(parameter.annotation)}" if parameter.annotation else "")
        if parameter.default is not None and not star:
            text += f" = {parameter.default}" if parameter.annotation else f"={parameter.default}"
        parts.append(text)
    return f"({', '.join(parts)})"


def _annotation(expression: str | griffe.Expr) -> str:
    """An annotation with the full names of this project's types, which Sphinx links and shows by their last part."""
    if isinstance(expression, str):
        return expression
    parts = []
    for part in expression.iterate(flat=True):
        path = part.canonical_path if isinstance(part, griffe.ExprName) else ""
        parts.append(path if path.split(".")[0] in PACKAGES else str(part))
    return "".join(parts)


def _docstring(member: griffe.Object) -> list[str]:
    """Returns the Markdown of a docstring, its sections as lists; warns of an argument that does not exist."""
    if member.docstring is None:
        return []
    lines = []
    for section in member.docstring.parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            lines += [_with_code_blocks(section.value), ""]
            continue
        if section.kind is griffe.DocstringSectionKind.admonition:
            lines += [f"**{section.title}**", "", section.value.description, ""]
            continue
        if section.kind is griffe.DocstringSectionKind.parameters:
            _check_names(member, section.value)
        lines += [f"**{section.kind.value.capitalize()}**", ""]
        for item in section.value if isinstance(section.value, list) else []:
            name = getattr(item, "name", None) or getattr(item, "annotation", None)
            text = " ".join(item.description.split())
            lines.append(f"- `{name}`: {text}" if name else f"- {text}")
        lines.append("")
    return lines


def _check_names(member: griffe.Object, items: list) -> None:
    parameters = getattr(member, "parameters", [])
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is griffe.ParameterKind.var_keyword for parameter in parameters):
        return  # what is passed on is documented too
    for item in items:
        for name in re.split(r",\s*", item.name):
            if name.lstrip("*") not in names:
                _log.warning("%s documents an argument %r that it does not have", member.path, name)


def _with_code_blocks(text: str) -> str:
    """Fences the commands that docstrings show indented by two spaces, between empty lines."""
    paragraphs = text.split("\n\n")
    for i, paragraph in enumerate(paragraphs):
        if all(re.match(r" {2,3}\S", line) for line in paragraph.split("\n")):
            language = "bash" if paragraph.strip().startswith(("python ", "make ")) else "text"
            paragraphs[i] = f"```{language}\n{inspect.cleandoc(paragraph)}\n```"
    return "\n\n".join(paragraphs)


def _declarations(folder: str, title: str, command: str) -> str:
    lines = [f"# {title}", "", f"The files in `{folder}/`: how each is run, and what its docstring says.", ""]
    for path in sorted((ROOT / folder).rglob("*.py"), key=lambda path: path.stem):
        if path.parent == ROOT / "experiments/figures" or path.stem == "__init__":
            continue  # the engine of the figures
        if text := _docstring_of(path):
            command_line = command.format(path=path.relative_to(ROOT).as_posix(), name=path.stem)
            lines += [f"## {path.stem}", "", "```bash", command_line, "```", "", "```text", text, "```", ""]
    return "\n".join(lines)


def _commands() -> str:
    """The docstring of each command, which is also the beginning of its `--help`."""
    lines = ["# Commands", "", "`--help` prints the options of a command; `--traceback` shows where an error arose."]
    wings = (ROOT / "experiments/__init__.py").read_text()  # those whose commands go by their short name
    for path in [ROOT / "train.py", *sorted((ROOT / "experiments").rglob("*.py"))]:
        text = _docstring_of(path)
        if text and '__name__ == "__main__"' in path.read_text():
            if path.stem == "__main__":
                name = path.parent.name
            else:
                name = path.stem if f'"{path.parent.name}"' in wings else f"{path.parent.name}.{path.stem}"
            name = "python train.py" if path.stem == "train" else f"python -m experiments.{name}"
            lines += ["", f"## {name}", "", "```text", text, "```"]
    return "\n".join(lines)


def _docstring_of(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))
