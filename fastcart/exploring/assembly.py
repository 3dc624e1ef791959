"""The page: one file of HTML, put together from the folder ``page``, that asks nobody else for anything."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

_SCRIPTS = {
    "model": ("draw", "talk", "keeping", "form", "model"),
    "trial": ("draw", "talk", "keeping", "trial"),
}


def page(kind: str, facts: dict[str, Any], nonce: str) -> str:
    """Return the page of a kind, "model" or "trial", with what it must know.

    Parameters
    ----------
    kind : str
    facts : dict
        In the types of JSON.
    nonce : str
        What the policy of the server lets scripts and styles run by.
    """
    scripts = "".join(_part(f"{name}.js") for name in _SCRIPTS[kind])
    # nothing in a JSON may end the element that it stands in
    known = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    return (
        _part(f"{kind}.html")
        .replace("/*STYLE*/", _part("style.css"))
        .replace("/*SCRIPT*/", scripts)
        .replace("NONCE", nonce)
        .replace("/*FACTS*/", known)
    )


@cache
def _part(name: str) -> str:
    return files("fastcart.exploring").joinpath("page", name).read_text(encoding="utf-8")
