"""What a reader misses in a figure: labels, a legend, whole texts, more than colour to tell lines apart."""

from __future__ import annotations

from typing import Any


def drawn_panels(figure: Any) -> list[Any]:
    """Return the panels that are shown and hold something."""
    return [x for x in figure.axes if x.get_visible() and x.axison and x.has_data()]


def missing_labels(figure: Any) -> list[str]:
    """Return panels without the name of an axis whose ticks have numbers, and what legends leave out."""
    figure.draw_without_rendering()
    missing = []
    for number, axes in enumerate(drawn_panels(figure)):
        for axis in (axes.xaxis, axes.yaxis):
            numbers = any(text.get_text() for text in axis.get_ticklabels() if text.get_visible())
            beside = [x for x in axes.get_shared_y_axes().get_siblings(axes) if x.get_ylabel()]
            if numbers and not axis.get_label_text() and not (axis is axes.yaxis and beside):
                missing.append(f"panel {number}: {axis.axis_name}")
    told = {text.get_text() for legend in legends(figure) for text in legend.get_texts()}
    for axes in drawn_panels(figure):
        missing += [x for x in axes.get_legend_handles_labels()[1] if x not in told]
    return missing


def legends(figure: Any) -> list[Any]:
    """Return all legends, of the figure and of its panels."""
    return [*figure.legends, *(x.get_legend() for x in figure.axes if x.get_legend() is not None)]


def cut_off(figure: Any) -> list[str]:
    """Return texts that reach out of the figure."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    whole = figure.bbox.padded(1.0)
    texts = [x for x in figure.findobj(Text) if x.get_visible() and x.get_text().strip()]
    hidden = {id(t) for axes in figure.axes if not axes.get_visible() for t in axes.findobj(Text)}
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        within = {id(tick) for tick in axis._update_ticks()}  # others have texts, but are not drawn
        hidden |= {
            id(text)
            for tick in (*axis.majorTicks, *axis.minorTicks)
            if id(tick) not in within
            for text in (tick.label1, tick.label2)
        }
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if id(text) not in hidden]
    return [
        text
        for text, box in boxes
        if box.width and not (whole.contains(box.x0, box.y0) and whole.contains(box.x1, box.y1))
    ]


def alike_but_for_colour(axes: Any) -> list[str]:
    """Return labels of lines that only their colour tells from another one."""
    looks: dict[tuple[Any, ...], list[str]] = {}
    for line in axes.lines:
        if line.get_label() and not str(line.get_label()).startswith("_"):
            look = (
                str(line._dash_pattern),
                line.get_marker(),
                line.get_markerfacecolor() == "none",
                line.get_linewidth(),
            )
            looks.setdefault(look, []).append(str(line.get_label()))
    return [label for labels in looks.values() for label in (labels if len(set(labels)) > 1 else [])]
