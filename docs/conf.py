"""The site: `sphinx-build -W docs site` makes it; the pages are Markdown and read well without it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "pytest-dogfood"
author = "The pytest-dogfood maintainers"
html_title = "pytest-dogfood"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.programoutput"]
exclude_patterns = ["schema"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
default_role = "code"  # in docstrings, as in Markdown
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"  # of a console, only what is typed

# The commands whose help is shown are those of the environment that builds the site.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ |= {"COLUMNS": "90", "NO_COLOR": "1"}

_OUT_OF_DOCS = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)")


def unlink_what_is_no_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn a link to a file of the repository that is no page of the site into the words it stands behind."""
    folder = (Path(app.srcdir) / docname).parent

    def words_or_link(link: re.Match[str]) -> str:
        target = (folder / link[2].partition("#")[0]).resolve()
        return link[0] if target.is_relative_to(app.srcdir) else link[1]

    source[0] = _OUT_OF_DOCS.sub(words_or_link, source[0])


def setup(app: Sphinx) -> None:
    """Register what this site adds to Sphinx."""
    app.connect("source-read", unlink_what_is_no_page)
