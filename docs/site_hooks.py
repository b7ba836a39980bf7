"""For mkdocs: a link to a file of the repository that is no page of the site becomes the words it stands behind."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mkdocs.structure.pages import Page

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Page, **_others: object) -> str:
    """Take out what leads out of docs/, and leave everything else to mkdocs, which checks it."""
    depth = len(PurePosixPath(page.file.src_uri).parent.parts)
    return _LINK.sub(lambda link: link[1] if link[2].count("../") > depth else link[0], markdown)
