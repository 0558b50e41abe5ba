"""Settings of Sphinx, which `make docs` runs."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).parent))

project = "Lectern"
author = "The Lectern authors"
copyright = "The Lectern authors"
extensions = ["myst_parser", "sphinx_copybutton", "api_pages"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "Lectern"
html_show_sphinx = False
html_copy_source = False
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"
