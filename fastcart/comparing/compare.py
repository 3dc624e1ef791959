"""One dose of CAR-T cells in every model that can be asked: expansion, persistence, nadir and relapse."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.checks import number, shown
from fastcart.errors import InputError, counted, nearest
from fastcart.model import Model
from fastcart.models import for_trial, get, is_file, names
from fastcart.models.core_variables import DISH, MOUSE, PATIENT, CoreVariables, core_variables
from fastcart.options import SolveOptions
from fastcart.representation import in_brief, section, table
from fastcart.tables.storage import check_output, csv_text, write_text

SUBJECTS = (PATIENT, MOUSE, DISH)
PERSISTS = 0.01
"""CAR-T cells persist while there is this share of their maximum."""
ERADICATED = 1.0
"""Tumor cells below which there is none."""
_FINE, _DAYS = 1000, 40.0  # steps of the first days, and of all
_HOURS = {"day": 24.0, "hour": 1.0, "week": 168.0}
FILES = ("comparison.csv", "courses.csv", "comparison.png")

COLUMNS = {
    "model": "as it was asked for",
    "status": "ok; the status of a patient that was not solved; left out",
    "cmax": "most CAR-T cells at a time",
    "tmax": "day of cmax",
    "expansion": "cmax over the dose",
    "persistence": f"last day with at least {PERSISTS:g} of cmax; the horizon for cells that persist",
    "cart_end": "CAR-T cells at the horizon",
    "tumor_start": "tumor cells on day 0",
    "nadir": "fewest tumor cells",
    "t_nadir": "day of the nadir",
    "log10_fall": "decades from the start to the nadir",
    "eradicated": "whether the nadir is below one cell, where a tumor would be gone",
    "relapse": "first day behind the nadir with the tumor of day 0; 0 where it only grew, empty for none",
    "tumor_end": "tumor cells at the horizon",
    "cytokine_max": "largest cytokine, pg/ml; empty for a model without",
    "papers": "references of the model",
    "note": "what was assumed, or why the model was left out",
}
"""Columns of the table, and what they mean. Cells are those of the body or, as a note says, of the blood."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """What models say of one dose.

    Parameters
    ----------
    table : DataFrame
        A row for each model, with the columns `COLUMNS`.
    courses : DataFrame
        ``model, t, cart, tumor, cytokine``: days, cells, cells, pg/ml.
    dose, horizon : float
        Cells and days.
    """

    table: pd.DataFrame
    courses: pd.DataFrame
    dose: float
    horizon: float

    def __repr__(self) -> str:
        size = counted(len(self.table) - len(self.left_out), "model")
        return in_brief("Comparison", [f"{self.dose:g} cells", f"{self.horizon:g} days", size])

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        return section(repr(self), [table(self.table, rows=30)])

    @property
    def left_out(self) -> dict[str, str]:
        """Models that were not asked, and why."""
        rows = self.table[self.table["status"] == "left out"]
        return dict(zip(rows["model"], rows["note"], strict=True))

    def plot(self) -> Any:
        """Return a figure: courses in common units, and what the table says, side by side."""
        from fastcart.comparing.figure import comparison_figure

        return comparison_figure(self)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False, figure: bool = True) -> Path:
        """Write the table, the courses and the figure (PNG, SVG, PDF) into a folder.

        Raises
        ------
        InputError
            For files that are there already, unless ``force``.
        """
        out = Path(folder)
        check_folder(out, force=force)
        out.mkdir(parents=True, exist_ok=True)
        table, courses, picture = (out / name for name in FILES)
        write_text(table, csv_text(self.table))
        write_text(courses, csv_text(self.courses))
        if figure:
            from fastcart.plotting import VECTORS, save_figure

            save_figure(self.plot(), picture, also=VECTORS)
        return out


@dataclass(frozen=True)
class _Asked:
    """A model, and what is needed to ask it."""

    label: str
    model: Model
    core: CoreVariables | None


def check_folder(folder: Path, *, force: bool) -> None:
    """Check that a comparison can be written into a folder, before anything is computed.

    Raises
    ------
    InputError
        For a file in its place, and for files of another comparison, unless ``force``.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The folder {folder} is a file; give another name.")
    for name in FILES[:2]:
        if folder.exists():
            check_output(folder / name, "comparison", force=force)


def compare(
    models: Iterable[str | Model] | str | None = None,
    *,
    dose: float,
    horizon: float = 365.0,
    subject: str = PATIENT,
    **options: Any,
) -> Comparison:
    """Ask models what one dose of CAR-T cells on day 0 does.

    Each model starts as its paper does, without CAR-T cells; all of them enter with the dose, in the states
    that `fastcart.models.core_variables` names.

    Parameters
    ----------
    models : sequence of str or Model, optional
        Names, also with options, ``"kirouac:patient=NR-1"``; default: all that fastcart ships.
    dose : float
        Cells.
    horizon : float
        Days.
    subject : str
        ``"patient"`` or ``"mouse"``: models of other subjects are left out.
    **options
        Of `fastcart.solve`, see `fastcart.SolveOptions`, e.g. ``engine="lsoda"``.

    Returns
    -------
    Comparison
        Maxima and nadirs are read off courses of some thousand times, their place by a parabola.

    Raises
    ------
    InputError
        For an unknown model or option of one, and for a dose or a horizon that is not positive.

    Examples
    --------
    >>> import fastcart
    >>> found = fastcart.compare(["kimmel", "leon_triana", "cart_kinetics"], dose=1e8)
    >>> found.table["status"].tolist()
    ['ok', 'ok', 'left out']
    """
    cells = number(dose, "The dose", positive=True)
    days = number(horizon, "The horizon", positive=True)
    if subject not in SUBJECTS:
        raise InputError(f"The subject must be one of {', '.join(SUBJECTS)}, not {shown(subject)}."
                         + nearest(str(subject), SUBJECTS))  # fmt: skip
    solving = SolveOptions(**options)
    if solving.t_end is not None:
        raise InputError("A comparison has a 'horizon' in days, for all models; leave out 't_end'.")
    asked = [models] if isinstance(models, str | Model) else (names() if models is None else list(models))
    rows, courses = [], []
    for one in map(_asked, asked):
        reason = _reason(one, subject)
        if reason:
            rows.append({"model": one.label, "status": "left out", "note": reason, **_papers(one.model)})
            continue
        row, course = _answer(one, cells, days, solving)
        rows.append({"model": one.label, **row, **_papers(one.model)})
        courses.append(course.assign(model=one.label))
    columns = ["model", "t", "cart", "tumor", "cytokine"]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    joined = pd.concat(courses)[columns] if courses else pd.DataFrame(columns=columns)
    return Comparison(table, joined.reset_index(drop=True), cells, days)


def _asked(given: str | Model) -> _Asked:
    """Return a model with its label."""
    if isinstance(given, Model):
        model = given
    elif isinstance(given, str):
        name, _, text = (given, "", "") if is_file(given) else given.partition(":")
        settings = {}
        for part in filter(None, text.split(",")):
            key, equals, value = part.partition("=")
            if not equals or not key:
                raise InputError(f"A model with options must be NAME:OPTION=VALUE, not {shown(given)}.")
            settings[key] = value
        model = get(name, **settings)
    else:
        raise InputError(f"What is compared must be models or their names, not {shown(given)}.")
    return _Asked(given if isinstance(given, str) else model.name, model, core_variables(model))


def _papers(model: Model) -> dict[str, str]:
    return {"papers": "; ".join(model.references)}


def _reason(asked: _Asked, subject: str) -> str:
    """Say why a model cannot be asked; nothing where it can."""
    core = asked.core
    if core is None:
        return "what its tumor and its CAR-T cells are is not in the table of fastcart.models.core_variables"
    if core.reason:
        return core.reason
    if core.subject != subject:
        return f"it is of a {core.subject}, not of a {subject}"
    return ""


def _answer(
    asked: _Asked, dose: float, horizon: float, solving: SolveOptions
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Solve one model and read what the table says of it."""
    model, core = asked.model, asked.core
    assert core is not None
    assert core.cells is not None
    per_day = 24.0 / _HOURS[model.time_unit]
    patients = pd.DataFrame({"patient": [asked.label]})
    infused = core.infused
    for name in {*core.cart, *(infused or {})}:
        patients[name] = 0.0
    if infused is None:
        doses = for_trial(model).infusions(patients, [(0.0, 1.0, 1.0)], D=dose)
    else:
        amounts = [(0.0, state, dose * share / core.cells) for state, share in infused.items()]
        doses = pd.DataFrame(amounts, columns=["time", "state", "amount"])
    grid = np.union1d(np.linspace(0, min(_DAYS, horizon), _FINE + 1), np.linspace(0, horizon, _FINE + 1))
    result = solve(
        model, patients, doses=doses, save_at=grid * per_day, warn=False,
        options=replace(solving, t_end=horizon * per_day),
    )  # fmt: skip
    path = result.trajectories
    assert path is not None
    course = pd.DataFrame({"t": grid})
    course["cart"] = core.cells * path[list(core.cart)].sum(axis=1).to_numpy()
    course["tumor"] = core.cells * path[list(core.tumor)].sum(axis=1).to_numpy()
    unit = core.pg_per_ml
    has_cytokine = bool(core.cytokine) and unit is not None
    course["cytokine"] = unit * path[list(core.cytokine)].sum(axis=1).to_numpy() if has_cytokine else np.nan
    status = str(result.endpoints["status"].iloc[0])
    row: dict[str, Any] = {"status": status, "note": core.note}
    return ({**row, **_read(course, dose)} if status == "ok" else row), course


def _read(course: pd.DataFrame, dose: float) -> dict[str, Any]:
    """Read the numbers of the table off a course."""
    t, cart, tumor = (course[name].to_numpy() for name in ("t", "cart", "tumor"))
    tmax, cmax = extremum(t, cart, highest=True)
    t_nadir, nadir = extremum(t, tumor, highest=False)
    last = np.flatnonzero(cart >= PERSISTS * cmax)[-1]
    behind = np.flatnonzero((t > t_nadir) & (tumor >= tumor[0]))
    return {
        "cmax": cmax,
        "tmax": tmax,
        "expansion": cmax / dose,
        "persistence": t[last] if last + 1 == len(t) else _crossing(t, cart, last, PERSISTS * cmax),
        "cart_end": cart[-1],
        "tumor_start": tumor[0],
        "nadir": nadir,
        "t_nadir": t_nadir,
        "log10_fall": float(np.log10(tumor[0] / max(nadir, 1e-300))),
        "eradicated": bool(nadir < ERADICATED),
        "relapse": _crossing(t, tumor, behind[0] - 1, tumor[0]) if len(behind) else np.nan,
        "tumor_end": tumor[-1],
        "cytokine_max": course["cytokine"].max(),
    }


def extremum(t: np.ndarray, values: np.ndarray, *, highest: bool) -> tuple[float, float]:
    """Return time and value of the largest or smallest of a course: of a parabola through its logarithm.

    Parameters
    ----------
    t, values : ndarray, shape (times,)
    highest : bool
    """
    k = int(np.argmax(values) if highest else np.argmin(values))
    if not 0 < k < len(t) - 1 or not (values[k - 1 : k + 2] > 0).all():
        return float(t[k]), float(values[k])
    a, b, c = np.polyfit(t[k - 1 : k + 2] - t[k], np.log(values[k - 1 : k + 2]), 2)
    if not (a < 0 if highest else a > 0):
        return float(t[k]), float(values[k])
    shift = -b / (2 * a)
    return float(t[k] + shift), float(np.exp(c - b * b / (4 * a)))


def _crossing(t: np.ndarray, values: np.ndarray, k: int, level: float) -> float:
    """Return when a course crosses a level behind its time k, on a straight line of its logarithm."""
    low, high, at = np.log(np.maximum([values[k], values[k + 1], level], 1e-300))
    return float(t[k] + (t[k + 1] - t[k]) * (0.0 if low == high else (at - low) / (high - low)))
