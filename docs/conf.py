"""The documentation site: ``make docs``, or ``python -m sphinx -n -W --keep-going docs docs/_build/html``.

Nothing is asked of a network: formulas become MathML, fonts and scripts are those of Sphinx and furo. Pages
of models and notebooks are written at the start of a build by ``_extensions/pages_from_code.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from fastcart._version import __version__  # noqa: E402

project = "fastcart"
author = "The fastcart authors"
copyright = "the fastcart authors, MIT licence"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "mathml",
    "pages_from_code",
]
exclude_patterns = ["_build", "_generated", "_templates"]
templates_path = ["_templates"]
default_role = "autolink"
nitpicky = True
html_math_renderer = "mathml"

# names between backticks in docstrings may be words of the text or inner functions, and types are words
nitpick_ignore_regex = [(r"py:(obj|class)", r".*")]

autosummary_generate = True
autodoc_typehints = "none"  # types, shapes and units stand in the docstrings
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": False}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are stored with their outputs, and run by the tests
nb_merge_streams = True

linkcheck_ignore = [r"https?://"]
linkcheck_anchors = True

html_theme = "furo"
html_title = f"fastcart {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "default"
pygments_dark_style = "github-dark"
