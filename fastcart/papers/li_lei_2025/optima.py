"""Doses of Figures 7 to 10: what the authors' program really does, and true optima, for 400 tumor burdens.

Numbers of cells throughout. What is computed here is shared by four figures, and computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.optimization.optimize import optimize
from fastcart.optimization.pareto import pareto
from fastcart.papers.frame import Job, within
from fastcart.papers.li_lei_2025.plans import CONTROL, SUBTYPES
from fastcart.papers.li_lei_2025.published_values import FIGURE_8_START
from fastcart.runs.forms import ARRAYS

BURDENS = 400
BURDEN_RANGE = (1e6, 6e6)
SEED = 2025
PARTICLES, ITERATIONS = 100, 20  # as the paper has them
FIGURE_8_BURDEN = FIGURE_8_START["C"]
LIMITS = (1e3, 2e7)  # limits of each subtype
FRONT_BURDENS = (FIGURE_8_BURDEN, 3e6, 6e6)
_GUIDES = 11  # burdens that are searched for longer first; their optima start all others
# of all searches: at the default of 1e-6 a search finds the doses at which the error in PFS is largest
RTOL = 1e-8
_WIDTHS = (2.0, 1.2)  # then all burdens, in two rounds, within these factors of the first guess
_NEIGHBOURS = 11  # burdens that one learns from before each round

PROTOCOL = "published protocol"
BOX = "optimum in the published box"
LIMITED = "optimum under limits"

# the box that the authors' program draws from: parts of 10 C, in 20012 parts; regulatory cells in cells
_PARTS = {"T4": (10.0, 15.0), "TP": (8000.0, 12000.0), "TE": (8000.0, 12000.0), "TM": (0.1, 1.5)}
_ALL_PARTS = 20012.0
_DOSE_PER_TUMOR_CELL = 10.0
_REGULATORY = (10.0, 2000.0)

TOTAL = " + ".join(SUBTYPES)


@dataclass(frozen=True)
class Optima:
    """Doses for each burden, and what goes with them.

    Parameters
    ----------
    doses : dict of str to DataFrame
        By `PROTOCOL`, `BOX` and `LIMITED`: ``C`` and the subtypes, a row for each burden; the first row is
        the burden of Figure 8.
    control_peak : float
        Peak IL-6 of the control of Figure 5 (ng/ml).
    front : DataFrame
        Trade-off of PFS, total dose and peak IL-6 within the same limits, for `FRONT_BURDENS`.
    unlimited : DataFrame
        Optima inside these limits without a further one, for `FRONT_BURDENS`.
    solves : dict of str to int
        How many patients were solved for each.
    above : int
        For how many burdens the published protocol exceeds the control's peak of IL-6.
    """

    doses: Mapping[str, pd.DataFrame]
    control_peak: float
    front: pd.DataFrame
    unlimited: pd.DataFrame
    solves: Mapping[str, int]
    above: int


def tumor_burdens(number: int = BURDENS) -> np.ndarray:
    """Return the tumor burdens (cells): that of Figure 8, and others uniform in 1e6 to 6e6, sorted."""
    drawn = np.random.default_rng([SEED, 0]).uniform(*BURDEN_RANGE, number - 1)
    return np.append(FIGURE_8_BURDEN, np.sort(drawn))


def box(C: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the ends of the published box (cells) of each subtype, for tumor burdens C (cells)."""
    part = _DOSE_PER_TUMOR_CELL * C / _ALL_PARTS
    ends = {name: (low * part, high * part) for name, (low, high) in _PARTS.items()}
    ends["Tr"] = (np.full_like(C, _REGULATORY[0]), np.full_like(C, _REGULATORY[1]))
    return ends


def published_protocol(C: np.ndarray, *, threads: int | None, progress: bool | None) -> pd.DataFrame:
    """Return the best of 100 random points of the box for each burden, judged by the published scheme.

    That is what the authors' program amounts to: velocities of at most 30 cells, and limits of position that
    are applied to a copy, leave the particles where they were drawn (erratum 6).
    """
    rng = np.random.default_rng([SEED, 1])
    u = rng.random((len(C), PARTICLES, len(SUBTYPES)))
    ends = box(C)
    points = {
        name: (ends[name][0][:, None] + u[:, :, j] * (ends[name][1] - ends[name][0])[:, None]).ravel()
        for j, name in enumerate(SUBTYPES)
    }
    patients = pd.DataFrame({"C": np.repeat(C, PARTICLES), **points})
    result = solve("li_lei", patients, engine="published", threads=threads, progress=progress)
    best = result.endpoints["pfs"].to_numpy().reshape(len(C), PARTICLES).argmax(axis=1)
    rows = np.arange(len(C)) * PARTICLES + best
    return patients.iloc[rows].reset_index(drop=True)


def optima(
    *,
    burdens: int = BURDENS,
    threads: int | None = None,
    progress: bool | None = None,
    job: Job | None = None,
) -> Optima:
    """Return the doses of Figures 7 to 10 for so many tumor burdens; computed once in a session.

    A ``job`` keeps every search, so that it can go on.
    """
    return _optima(burdens, threads, progress, job)


@lru_cache(maxsize=1)
def _optima(number: int, threads: int | None, progress: bool | None, job: Job | None) -> Optima:
    options: dict[str, Any] = {"threads": threads, "progress": progress, "seed": SEED, "rtol": RTOL}
    C = tumor_burdens(number)
    published = _protocol(C, threads, progress, job)
    inside = optimize(
        "li_lei", box(C), for_each={"C": C}, particles=PARTICLES, iterations=ITERATIONS, **options,
        **within(job, "box"),
    )  # fmt: skip
    control = solve("li_lei", pd.DataFrame([CONTROL]), peaks=("I6",), rtol=RTOL, threads=threads)
    peak = float(control.endpoints["peak_I6"].iloc[0])
    peaks = solve("li_lei", published, peaks=("I6",), rtol=RTOL, threads=threads).endpoints["peak_I6"]
    rows = pd.DataFrame({"C": C, "most": published[list(SUBTYPES)].sum(axis=1)})
    limited, solves = _limited(rows, peak, options, job)
    few = pd.DataFrame({"C": FRONT_BURDENS})
    unlimited = optimize(
        "li_lei", _subtypes(), for_each=few, particles=PARTICLES, iterations=ITERATIONS,
        target=200.0, **options, **within(job, "unlimited"),
    )  # fmt: skip
    chosen = [int(np.argmin(np.abs(C - burden))) for burden in FRONT_BURDENS]
    few["most"] = rows["most"].iloc[chosen].to_numpy()
    front = pareto(
        "li_lei", _subtypes(), objectives={"pfs": "maximize", TOTAL: "minimize", "peak_I6": "minimize"},
        constraints=_constraints(peak), for_each=few, start=limited[list(SUBTYPES)].iloc[chosen],
        particles=PARTICLES, iterations=2 * ITERATIONS, **options, **within(job, "front"),
    )  # fmt: skip
    columns = ["C", *SUBTYPES]
    return Optima(
        {PROTOCOL: published[columns], BOX: inside.best[columns], LIMITED: limited[columns]},
        peak,
        front.front.rename(columns={TOTAL: "total"}).drop(columns=["row", "most"]),
        unlimited.best,
        {
            PROTOCOL: len(C) * PARTICLES, BOX: int(inside.best["evaluations"].sum()), LIMITED: solves,
            "front": len(few) * PARTICLES * 2 * ITERATIONS,
        },
        int((peaks > peak).sum()),
    )  # fmt: skip


def _protocol(C: np.ndarray, threads: int | None, progress: bool | None, job: Job | None) -> pd.DataFrame:
    """Return the doses of the published protocol, which a job keeps."""

    def make() -> dict[str, np.ndarray]:
        found = published_protocol(C, threads=threads, progress=progress)
        return {str(name): found[name].to_numpy() for name in found}

    return pd.DataFrame(make() if job is None else job.run.kept("protocol.npz", make, ARRAYS))


def _subtypes() -> dict[str, tuple[float, float, str]]:
    return dict.fromkeys(SUBTYPES, (*LIMITS, "log"))


def _constraints(peak: float) -> list[str]:
    """A total dose of at most the column ``most``, and a peak of IL-6 of at most the control's."""
    return [f"{TOTAL} <= most", f"peak_I6 <= {peak!r}"]


def _limited(
    rows: pd.DataFrame, peak: float, options: Mapping[str, Any], job: Job | None
) -> tuple[pd.DataFrame, int]:
    """Return the optima under limits on total dose and IL-6, and how many patients were solved.

    Most of the space has no response at all, and says nothing of where one is. So a few burdens are searched
    for long, and their optima are the first guesses of all others; then burdens learn from their neighbours.
    """
    constraints = _constraints(peak)
    order = np.argsort(rows["C"].to_numpy(), kind="stable")
    guides = rows.iloc[order[np.linspace(0, len(order) - 1, min(_GUIDES, 1 + len(order) // 10)).astype(int)]]
    long = {**options, "constraints": constraints, "particles": PARTICLES, "iterations": 4 * ITERATIONS}
    found = optimize("li_lei", _subtypes(), for_each=guides, **long, **within(job, "guides")).best
    solves = int(found["evaluations"].sum())
    # the best of the guides helps those that found less
    start = found.loc[[found["objective"].idxmax()], list(SUBTYPES)]
    again = within(job, "guides-again")
    found = optimize("li_lei", _subtypes(), for_each=guides, start=start, **long, **again).best
    solves += int(found["evaluations"].sum())
    for width in _WIDTHS:
        start, tried = _best_of_neighbours(rows, found, peak, options["threads"])
        found = optimize(
            "li_lei", _around(start, width), for_each=rows, constraints=constraints,
            particles=PARTICLES // 4, iterations=ITERATIONS, start=start, **options,
            **within(job, f"around-{width:g}"),
        ).best  # fmt: skip
        solves += tried + int(found["evaluations"].sum())
    return found, solves


def _around(doses: pd.DataFrame, width: float) -> dict[str, tuple[Any, Any, str]]:
    """Return boxes around doses: within a factor of ``width``, and within the limits of each subtype."""
    low, high = LIMITS
    ends = {}
    for name in SUBTYPES:
        dose = doses[name].to_numpy()
        ends[name] = (np.maximum(low, dose / width), np.minimum(high, dose * width), "log")
    return ends


def _best_of_neighbours(
    rows: pd.DataFrame, found: pd.DataFrame, peak: float, threads: int | None
) -> tuple[pd.DataFrame, int]:
    """Return for each burden the best of the doses found for burdens next to it, and the solves it took."""
    apart = np.abs(rows["C"].to_numpy()[:, None] - found["C"].to_numpy())
    near = np.argsort(apart, axis=1, kind="stable")[:, :_NEIGHBOURS]
    doses = found[list(SUBTYPES)].iloc[near.ravel()].reset_index(drop=True)
    patients = doses.assign(C=np.repeat(rows["C"].to_numpy(), near.shape[1]))
    ends = solve("li_lei", patients, peaks=("I6",), rtol=RTOL, threads=threads).endpoints
    kept = ends["peak_I6"] <= peak
    kept &= doses.sum(axis=1) <= np.repeat(rows["most"].to_numpy(), near.shape[1])
    worth = np.where(kept, ends["pfs"], -1.0).reshape(near.shape)
    best = np.take_along_axis(near, worth.argmax(axis=1)[:, None], axis=1)[:, 0]
    return found[list(SUBTYPES)].iloc[best], near.size
