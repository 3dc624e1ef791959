"""Draw ``architecture.svg``: how a patient travels, and the rooms. ``python docs/draw_architecture.py``."""

from __future__ import annotations

from html import escape
from pathlib import Path

# from above to below; a room imports only from its own row and from those below it
ROOMS = (
    ("cli", "the command, a file for each"),
    ("papers", "li_lei_2025 · t_cell_theories · srct, in one frame"),
    ("exploring", "a page with sliders, and its server"),
    ("trial · petab · fit · population · protocols", "trials; fits, of other people's problems, too"),
    ("scanning · sensitivity_analysis · optimization", "each: problem, methods, tables, plots"),
    ("runs · sampling", "what is kept, who is simulated"),
    ("batch · result", "checks, chunks, threads, tables"),
    ("models", "a file or a few each, with its trial adapter"),
    ("model · patients · dosing · events · options · trial.adapter", "what a user says"),
    ("tables", "files in and out"),
    ("solvers", "tableaus · lanes · lsoda · scipy · published"),
    ("errors · checks · math", ""),
)
# what happens, where, and what goes on to the next
WAY = (
    ("A table of patients", "tables", "rows of names and numbers"),
    ("Columns are named, defaults filled, ranges checked", "patients", "y0, p: arrays (patients, states)"),
    ("Options, doses, events, areas become one problem", "batch", "Problem, DosePlan"),
    ("A chunk of rows goes to an engine", "solvers.auto", "logarithms of some states"),
    ("Threads take patients from a common counter", "solvers.lanes.engine", "32 patients a core"),
    ("Step · detect · locate · save", "solvers.lanes.loop", "outcome and status of each patient"),
    ("Who failed is tried again by a slower engine", "solvers.auto", "flat arrays"),
    ("Endpoints, trajectories, reasons in words", "result", "tables"),
)
WIDTH, HEIGHT = 1180, 700
LEFT, RIGHT = 30, 610
INK, SOFT, BLUE, PALE, ORANGE = "#1a1a1a", "#6b6b6b", "#0072b2", "#eaf3f9", "#fdf3e1"


def text(x: float, y: float, words: str, *, size: int = 13, color: str = INK, weight: str = "normal") -> str:
    """Return a line of text."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="Helvetica, Arial, sans-serif" font-size="{size}" '
        f'font-weight="{weight}" fill="{color}">{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """Return a box."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" ry="6" fill="{fill}" '
        f'stroke="{SOFT}" stroke-width="1"/>'
    )


def arrow(x: float, y: float, length: float) -> str:
    """Return an arrow downwards."""
    end = y + length
    return (
        f'<line x1="{x:g}" y1="{y:g}" x2="{x:g}" y2="{end - 5:g}" stroke="{BLUE}" stroke-width="2"/>'
        f'<polygon points="{x - 5:g},{end - 7:g} {x + 5:g},{end - 7:g} {x:g},{end:g}" fill="{BLUE}"/>'
    )


def way() -> list[str]:
    """Return the left half: from a table to the kernel and back to a table."""
    parts = [text(LEFT, 36, "How a patient travels", size=18, weight="bold")]
    pitch = 79
    for k, (what, where, then) in enumerate(WAY):
        y = 56 + pitch * k
        inside = where.startswith("solvers")
        parts += [
            box(LEFT, y, 520, 48, ORANGE if inside else PALE),
            text(LEFT + 14, y + 20, what, weight="bold"),
            text(LEFT + 14, y + 39, where, size=12, color=SOFT),
        ]
        if k < len(WAY) - 1:
            parts += [
                arrow(LEFT + 60, y + 48, pitch - 48),
                text(LEFT + 76, y + 68, then, size=12, color=BLUE),
            ]
    return parts


def rooms() -> list[str]:
    """Return the right half: the rooms in their order."""
    parts = [text(RIGHT, 36, "The rooms: imports point downwards only", size=18, weight="bold")]
    pitch = 53.5
    for k, (names, what) in enumerate(ROOMS):
        y = 56 + pitch * k
        inside = k >= ROOMS.index(("solvers", ROOMS[-2][1]))
        parts += [
            box(RIGHT, y, 540, 42, ORANGE if inside else PALE),
            text(RIGHT + 14, y + (19 if what else 27), names, weight="bold"),
            text(RIGHT + 14, y + 36, what, size=12, color=SOFT),
        ]
        if k < len(ROOMS) - 1:
            parts.append(arrow(RIGHT + 500, y + 42, pitch - 42))
    return parts


def picture() -> str:
    """Return the whole picture."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}">',
            f'<rect x="0" y="0" width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *way(),
            *rooms(),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(picture(), encoding="utf-8")
