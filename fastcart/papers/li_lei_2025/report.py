"""The report in Markdown: comparison tables, errata, and how everything was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fastcart
from fastcart.models import get
from fastcart.models.li_lei_parameters import REFERENCE
from fastcart.papers.frame import how_made, markdown
from fastcart.papers.li_lei_2025.comparison import FigureResult, format_number
from fastcart.papers.li_lei_2025.errata import ERRATA
from fastcart.papers.li_lei_2025.runs import RTOL
from fastcart.papers.li_lei_2025.statements import VERDICTS, Assessment
from fastcart.plotting import DPI
from fastcart.tables.storage import write_text

_COMPARED = (
    "Quantity", "Unit", "Published", "Where", "Reproduced with the published scheme", "Accurate", "Agrees",
)  # fmt: skip

_JUDGED = (
    "No.",
    "Where",
    "The paper says",
    "Published numbers say",
    "Accurate solution says",
    "Verdict",
    "Taken as",
)

_INTRODUCTION = (
    "The first table of a figure shows what the paper or its published result files say, what the authors' "
    "own numerical scheme gives here, and what an accurate solution of the same equations gives. Only the "
    'published numbers are constants; all others were computed for this report. "Agrees" compares the '
    "published number with the published scheme, to the digits that were printed; a range agrees when both "
    "its ends do."
)

_ON_STATEMENTS = (
    "A second table takes what the text says of the figure, statement by statement. Verdicts are computed. "
    '"Published numbers" are those of the text or of the result files where that is said, and else those of '
    "the published scheme, which repeats the result files that we have. Where they lead to another verdict "
    "than the accurate solution, the statement holds in part. Words such as rapidly or marginally have no "
    "exact meaning: the last column says what they are taken to mean, a choice of this report. Statements "
    "are judged within the model; no verdict says anything of patients."
)

_COLUMNS = (
    ("solution", "", "`published scheme` or `accurate`"),
    ("parameter, output, index", "", "what varies, what depends on it, and by which index of sensitivity"),
    ("value, low, high", "", "the index and the ends of its 95% interval"),
    ("responders, patients", "", "how many went into it; in `figure2_boundary.csv` the share of responders"),
    ("lambda_C, d_C, k_TE, d_TE", "1/day", "parameters of patients of Figure 2, or middles of cells"),
    ("panel, plan, group, change, variant", "", "which panel or treatment plan"),
    ("lambda_TEM", "1/day", "conversion of effector into memory cells"),
    ("protocol, regimen, strategy", "", "how the dose of Figures 7 to 10 was chosen"),
    ("T4_0, TP_0, TE_0, TM_0, Tr_0, total", "cells", "doses"),
    ("t", "days", "time after infusion"),
    ("T4, TP, TE, TM, Tr, C, M", "cells",
     "CD4+, pre-CD8+, effector, memory, regulatory CAR-T cells, tumor, macrophages"),
    ("I2, Ig, Tb, I6", "ng/ml", "IL-2, IFN-γ, TGF-β, IL-6 at quasi-equilibrium"),
    ("C_free", "cells", "tumor cells that no CAR-T cell has bound, C*"),
    ("killing_TE, killing_T4", "1/day", "killing rates by effector and CD4+ cells"),
    ("peak_I6", "ng/ml", "highest IL-6"),
    ("share_T4, ...", "", "proportion of a subtype of the total dose"),
    ("pfs, progression", "days",
     "progression-free survival; first time above the start (empty: never)"),
    ("censored", "", "whether the tumor is still at or below its start at the horizon"),
    ("nadir, t_nadir, final", "cells, days, cells", "smallest tumor, its time; tumor at the horizon"),
    ("status, steps", "", "how the integration went, and its steps"),
)  # fmt: skip


def write_report(results: Sequence[FigureResult], path: Path, taken: str) -> None:
    """Write the report, whole or not at all.

    Parameters
    ----------
    results : sequence of FigureResult
    path : Path
    threads : int
    wall_time : float
        Seconds, from the start of the job to this report.
    """
    lines = ["# Li & Lei 2025, reproduced with fastcart", "", f"Paper: {REFERENCE}", "", _INTRODUCTION]
    lines += ["", _ON_STATEMENTS, "", *_summary(results)]
    for result in results:
        lines += _figure(result)
    lines += ["", "## Errata of the paper", "", *_errata()]
    lines += ["", "## Columns of the data files", "", *markdown(("Column", "Unit", "Meaning"), _COLUMNS)]
    lines += ["", "## How this was made", "", *_provenance(results, taken)]
    lines += ["", "## Citation", "", f"Cite the paper: {REFERENCE}.", ""]
    lines += [f"Computed with fastcart {fastcart.__version__}.", ""]
    write_text(path, "\n".join(lines))


def _figure(result: FigureResult) -> list[str]:
    rows = [
        (row.quantity, row.unit, row.published, row.source, row.reproduced, row.accurate, row.agrees)
        for row in result.rows
    ]
    picture = f"figure{result.number}.png"
    lines = ["", f"## Figure {result.number}: {result.title}", ""]
    lines += [f"![Figure {result.number}]({picture})", "", result.caption, ""]
    lines += ["Data: " + ", ".join(f"[{name}]({name})" for name in result.tables) + ".", ""]
    lines += markdown(_COMPARED, rows)
    if result.statements:
        lines += ["", f"### What the text says of Figure {result.number}", "", *_judged(result.statements)]
    if result.notes:
        lines += ["", *(f"- {note}" for note in result.notes)]
    return lines


def _judged(assessments: Sequence[Assessment]) -> list[str]:
    rows = []
    for found in assessments:
        statement = found.statement
        source = f"{found.source}: " if found.source else ""
        rows.append(
            (statement.name, statement.where, statement.says, source + found.published.numbers,
             found.accurate.numbers, found.verdict, statement.note)
        )  # fmt: skip
    return markdown(_JUDGED, rows)


def _summary(results: Sequence[FigureResult]) -> list[str]:
    """Return how many statements hold, by figure."""
    heads = ("Figure", *(verdict[0].upper() + verdict[1:] for verdict in VERDICTS))
    rows = []
    for result in results:
        names: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
        for found in result.statements:
            names[found.verdict].append(found.statement.name)
        rows.append((result.number, *(", ".join(names[verdict]) or "none" for verdict in VERDICTS)))
    total = [sum(f.verdict == verdict for r in results for f in r.statements) for verdict in VERDICTS]
    return markdown(heads, [*rows, ("All", *total)])


def _errata() -> list[str]:
    heads = ("No.", "Where", "What the paper prints", "What its results used", "What follows")
    return markdown(heads, [(e.number, e.where, e.printed, e.used, e.consequence) for e in ERRATA])


def _provenance(results: Sequence[FigureResult], taken: str) -> list[str]:
    full, coarse = get("li_lei"), get("li_lei_coarse")
    assert full.published is not None
    assert coarse.published is not None
    figures = ",".join(str(result.number) for result in results)
    packages = ("numpy", "scipy", "numba", "numbalsoda", "pandas", "matplotlib", "SALib")
    made = how_made(taken, packages)
    rows = [
        ("fastcart", made["fastcart"]),
        ("Figures", figures.replace(",", ", ")),
        *((name, made[name]) for name in ("Date", "Wall time")),
        (
            "Published scheme",
            f"engine `published`: classical RK4 with fixed step, {full.published.step:g} day (full model), "
            f"{coarse.published.step:g} day (coarse-grained model), free "
            "tumor cells by the authors' fixed-point iteration",
        ),
        (
            "Accurate",
            f"engine `lsoda`, rtol {format_number(RTOL)}, absolute tolerance rtol times the scale of each "
            "state that is not integrated in logarithm",
        ),
        (
            "Models",
            f"`li_lei` (killing={full.options['killing']!r}, {full.t_end:g} days), "
            f"`li_lei_coarse` (killing={coarse.options['killing']!r}, {coarse.t_end:g} days)",
        ),
        ("Pictures", f"PNG, {DPI} dpi"),
        *((name, made[name]) for name in ("Python", "Packages")),
        ("Again", f"`fastcart reproduce li-lei-2025 --out results --figures {figures}`"),
    ]
    return markdown(("What", "How"), rows)
