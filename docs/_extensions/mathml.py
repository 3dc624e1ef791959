"""Formulas as MathML, which browsers draw themselves: no script, no font, no outside host."""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own, with its source for readers of the page's text."""
    source = node.astext()
    formula = convert(source, display="block").replace(
        "<math ", f'<math alttext="{escape(" ".join(source.split()))}" ', 1
    )
    translator.body.append(
        f'<div class="math" tabindex="0" role="group" aria-label="Equations">{formula}</div>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
