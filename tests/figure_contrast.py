"""Contrast of the texts of a figure with what lies behind them, as WCAG 2.2 measures it."""

from __future__ import annotations

from typing import Any

import numpy as np

READABLE = 4.5  # WCAG 2.2, 1.4.3: text below 18 points


def _luminance(rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def ratio(one: Any, other: Any) -> np.ndarray:
    """Return the contrast of colours, shape (..., 3), from 1 to 21."""
    a, b = (_luminance(np.asarray(x, dtype=float)) + 0.05 for x in (one, other))
    return np.maximum(a, b) / np.minimum(a, b)


def faint_texts(figure: Any) -> list[tuple[str, float]]:
    """Return texts that cannot be read, with their contrast with the colour that most of their place has.

    The figure is drawn once without its texts, to see what is behind each.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.text import Text

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    texts = [x for x in figure.findobj(Text) if x.get_visible() and x.get_text().strip()]
    boxes = [text.get_window_extent() for text in texts]
    for text in texts:
        text.set_visible(False)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255.0  # from below, as boxes count
    for text in texts:
        text.set_visible(True)
    faint = []
    for text, box in zip(texts, boxes, strict=True):
        x0, x1, y0, y1 = (int(max(v, 0)) for v in (box.x0, box.x1 + 1, box.y0, box.y1 + 1))
        behind = pixels[y0:y1, x0:x1].reshape(-1, 3)
        if not len(behind):
            continue
        colours, counts = np.unique(np.round(behind, 2), axis=0, return_counts=True)
        alpha = 1.0 if text.get_alpha() is None else float(text.get_alpha())
        ground = colours[counts.argmax()]
        seen = alpha * np.array(to_rgb(text.get_color())) + (1 - alpha) * ground
        found = float(ratio(seen, ground))
        if found < READABLE:
            faint.append((text.get_text(), round(found, 2)))
    return faint
