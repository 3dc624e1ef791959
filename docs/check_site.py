"""Look at the built site as a reader's browser does: ``python docs/check_site.py``, which ``make docs`` runs.

It says what a page asks of an outside host, which file of a page is missing, and which words the search
does not find.
"""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parent / "_build" / "html"
FOUND = {"infusion": "infus", "blow-up": "blow", "hazard ratio": "hazard"}  # what is asked, and its stem
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note the address of a picture, a script or a style."""
        given = dict(attributes)
        address = given.get(LOADED.get(tag, ""))
        if address and given.get("rel") not in ("canonical", "next", "prev", "index", "search", "author"):
            self.loads.append(address)


def complaints(site: Path = SITE) -> list[str]:
    """Return what is wrong with a built site."""
    found = []
    pages = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    if not pages:
        return [f"There is no site in {site.name}; run make docs."]
    for path in pages:
        page = Page()
        page.feed(path.read_text("utf-8"))
        for address in page.loads:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                found.append(f"{path.relative_to(site)} asks {address}")
            elif not (path.parent / unquote(parts.path)).exists():
                found.append(f"{path.relative_to(site)} lacks {address}")
    for style in site.rglob("*.css"):
        outside = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^)'\"]+)", style.read_text("utf-8"))
        found += [f"{style.relative_to(site)} asks {address}" for address in outside]
    index = (site / "searchindex.js").read_text("utf-8")
    terms = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["terms"]
    found += [f"the search does not find {words!r}" for words, stem in FOUND.items() if stem not in terms]
    return found


if __name__ == "__main__":
    said = complaints()
    print(*said, sep="\n", file=sys.stderr)
    sys.exit(bool(said))
