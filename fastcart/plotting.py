"""Figures in one style: colour-blind safe colours, units on every axis, whole files only.

matplotlib is optional. It is imported inside the functions, and figures are drawn on their own Agg canvas,
so that the backend and the settings of the user stay as they are.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastcart.errors import optional_import

DPI = 300
_SHOWN_DPI = 120
VECTORS = ("svg", "pdf")  # forms beside a PNG
BESIDE_SVG = ("png", "pdf")

# M. Okabe, K. Ito, Color Universal Design (2008), without yellow, which is too pale for lines on white
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
RED = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#6B6B6B"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK)
# beside colours, so that neither is needed alone
DASHES: tuple[Any, ...] = (
    "-",
    "--",
    ":",
    "-.",
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (1, 1)),
    (0, (8, 2)),
    (0, (3, 3)),
)
MARKERS = ("o", "s", "^", "D", "P", "v", "X", "*")

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.3,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "mathtext.default": "regular",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.prop_cycle": None,  # filled in by `style`, which knows cycler
}


def require_matplotlib() -> Any:
    """Return matplotlib, or say in one sentence how to install it.

    Raises
    ------
    MissingDependencyError
        When matplotlib is not installed.
    """
    return optional_import("matplotlib", extra="plot", purpose="Plotting")


@contextmanager
def style() -> Iterator[None]:
    """Within the context, matplotlib draws in the style of fastcart; afterwards as before.

    Only the settings of the style are put back: the first figure of a notebook lets it choose its backend and
    turn on interactive drawing, and whoever puts that back, as `matplotlib.rc_context` does, hides all
    figures that follow.
    """
    matplotlib = require_matplotlib()
    settings = dict(_STYLE)
    settings["axes.prop_cycle"] = matplotlib.cycler(color=list(PALETTE))
    before = {name: matplotlib.rcParams[name] for name in settings}
    try:
        matplotlib.rcParams.update(settings)
        yield
    finally:
        matplotlib.rcParams.update(before)


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure on an Agg canvas, with a layout that keeps labels from overlapping.

    Parameters
    ----------
    width, height : float
        Size in inches; 7.2 inches is the width of a page with two columns.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Shown(Figure):
        """A figure that a notebook shows, though no backend knows it."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=_SHOWN_DPI)
            return buffer.getvalue()

    figure = Shown(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def ordered_colors(n: int) -> list[Any]:
    """Return n colours for ordered values, from dark (low) to light (high), safe for the colour-blind."""
    matplotlib = require_matplotlib()
    # the last fifth of viridis is too pale for lines on white
    return [matplotlib.colormaps["viridis"](0.82 * i / max(1, n - 1)) for i in range(n)]


def panel(axes: Any, letter: str, title: str, xlabel: str, ylabel: str) -> None:
    """Name a panel and its axes; labels carry the units."""
    axes.set_title(f"$\\bf{{({letter})}}$ {title}" if letter else title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def with_unit(name: str, unit: str) -> str:
    """Return the label of an axis."""
    return f"{name} ({unit})" if unit else name


def time_label(unit: str) -> str:
    """Return the label of an axis of time, whose unit is that of a model, such as "day"."""
    return with_unit("Time", f"{unit}s" if unit else "")


def from_zero(axes: Any) -> None:
    """Let a linear vertical axis of amounts begin at 0 where it would show negative ones that there are not.

    One on which all is 0 goes up to 1.
    """
    low, high = axes.dataLim.intervaly
    if axes.get_yscale() != "linear" or not 0 <= low <= high < math.inf:
        return
    if high == 0:
        axes.set_ylim(0, 1)
    elif axes.get_ylim()[0] < 0:
        axes.set_ylim(bottom=0)


def entries(panels: Iterable[Any]) -> dict[str, Any]:
    """Return what a legend of several panels says: each label once, with an artist that has it."""
    found: dict[str, Any] = {}
    for axes in panels:
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, artist)
    return found


def legend_below(figure: Any, panels: Iterable[Any], *, columns: int = 4) -> None:
    """Write one legend of all panels below them, where it covers nothing, as wide as there is room."""
    found = entries(panels)
    if not found:
        return
    size = _STYLE["legend.fontsize"]
    # a letter is about 0.6 of its height wide; a mark and the gap between columns about four heights
    width = size * (0.6 * max(map(len, found)) + 4.0)
    room = max(1, int(72 * figure.get_figwidth() / width))
    legend = figure.legend(
        list(found.values()), list(found), loc="outside lower center", ncols=min(columns, room, len(found))
    )
    for line in legend.get_lines():  # so short a piece of a thin or pale line would not be seen
        line.set_linewidth(max(line.get_linewidth(), 0.8))
        line.set_alpha(None)


def shortened(name: str, letters: int) -> str:
    """Return a name as far as there is room for it: its beginning and its end, by which names differ."""
    if len(name) <= letters:
        return name
    end = (letters - 1) // 3
    return f"{name[: letters - 1 - end]}…{name[len(name) - end :]}"


def log_axis(axes: Any, low: float, high: float, *, step: int = 2) -> None:
    """Make the y axis logarithmic from ``low`` to ``high``, with a label every ``step`` decades."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    axes.set_yscale("log")
    axes.set_ylim(low, high)
    # no more than can be seen: each is laid out, seen or not
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    axes.yaxis.set_major_locator(FixedLocator([10.0**k for k in decades if k % step == 0]))
    axes.yaxis.set_minor_locator(FixedLocator([10.0**k for k in decades if k % step]))
    axes.yaxis.set_minor_formatter(NullFormatter())


def save_figure(
    figure: Any, path: str | os.PathLike[str], *, dpi: int = DPI, also: Sequence[str] = ()
) -> Path:
    """Write a figure, and in other forms beside it, each whole or not at all.

    Other forms have the layout of the first one: to find it takes as long as to draw.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        A name that ends with ``.svg`` makes an SVG with its text as text, for pages, with ``.pdf`` a PDF, any
        other one a PNG.
    dpi : int
        Dots per inch; in an SVG of what is drawn as pixels.
    also : sequence of str
        Endings of further files, such as `VECTORS` beside a PNG.

    Returns
    -------
    Path
        As given.
    """
    target = Path(path)
    kind = target.suffix.removeprefix(".")
    _write(figure, target, kind if kind in VECTORS else "png", dpi, text="none")
    engine = figure.get_layout_engine()
    if also:
        figure.set_layout_engine("none")
    for kind in also:
        _write(figure, target.with_suffix(f".{kind}"), kind, dpi)
    if also and engine is not None:
        figure.set_layout_engine(engine)
    return target


def beside(names: Iterable[str]) -> list[str]:
    """Return names of files, and behind each PNG those of the same figure in vector form."""
    found = []
    for name in names:
        found.append(name)
        if name.endswith(".png"):
            found += [f"{name.removesuffix('png')}{kind}" for kind in VECTORS]
    return found


def write_forms(figure: Any, name: str, write: Callable[[str, bytes], Any], *, dpi: int = DPI) -> None:
    """Give a figure as PNG and in vector form to who keeps files, such as `fastcart.runs.store.Run.write`.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Of the file, without an ending.
    write : callable
        Gets the name of a file and its bytes.
    dpi : int
    """
    with style():  # ticks are made when they are drawn
        for kind in ("png", *VECTORS):
            write(f"{name}.{kind}", _encoded(figure, kind, dpi, salt=Path(name).name))


def _write(figure: Any, target: Path, kind: str, dpi: int, *, text: str = "path") -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(_encoded(figure, kind, dpi, salt=target.stem, text=text))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _encoded(figure: Any, kind: str, dpi: int, *, salt: str, text: str = "path") -> bytes:
    """Return a figure in some form; the same figure gives the same bytes."""
    # without time, and with names that follow from the content
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    buffer = io.BytesIO()
    with require_matplotlib().rc_context({"svg.hashsalt": salt, "svg.fonttype": text}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
