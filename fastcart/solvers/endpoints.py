"""The endpoints of the burden that every result has: a row each, read by all engines, tables and studies.

An endpoint is read off something that is watched along the burden: how it crosses a level, which is a part of
its start, or its extremum. Engines watch what `watched_marks` lists, each in its own way, and `fill` makes
the columns of what they found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastcart.solvers.transform import LOG_ZERO, to_natural

if TYPE_CHECKING:
    from fastcart.solvers.problem import ChunkResult

TIME, BURDEN = "time", "burden"  # units
FIRST, LAST, BEST, WHEN = "first", "last", "best", "when"
UP, DOWN, HIGHEST, LOWEST = "up", "down", "highest", "lowest"


class Mark(NamedTuple):
    """What is watched along the burden.

    Parameters
    ----------
    kind : str
        `UP` or `DOWN` for crossings of a level, `HIGHEST` or `LOWEST` for the extremum.
    part : float
        The level, as a part of the burden's start.
    """

    kind: str
    part: float = 1.0


STEPS_DETECT = GROWTH, NADIR = Mark(UP), Mark(LOWEST)  # in lanes; others as events are


class Endpoint(NamedTuple):
    """One column of the results.

    Parameters
    ----------
    name : str
        Also its name in outputs of sensitivity, objectives of searches and scans; no model may use it.
    unit : str
        `TIME` of the model, `BURDEN` for that of its state, or none.
    reads : str
        What of the mark: `FIRST`, the time of the first crossing, NaN where there is none; `LAST`, the last
        time at which the burden is not yet beyond the level for good, the end where it never is; `BEST`, the
        extremum; `WHEN`, its time. Empty for what `fastcart.result` makes of other numbers.
    of : Mark
    title : str
        In pictures; the name where it is empty.
    survival : bool
        Whether it is still to come where the column ``censored`` is true.
    """

    name: str
    unit: str = ""
    reads: str = ""
    of: Mark = GROWTH
    title: str = ""
    survival: bool = False


# In the order of their columns. A mark that is neither `GROWTH` nor `NADIR` is detected as events are, which
# costs every solve in lanes about a tenth.
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("pfs", TIME, LAST, GROWTH, "Progression-free survival", survival=True),
    Endpoint("progression", TIME, FIRST, GROWTH, "Time of first progression", survival=True),
    Endpoint("censored"),
    Endpoint("nadir", BURDEN, BEST, NADIR, "Nadir"),
    Endpoint("t_nadir", TIME, WHEN, NADIR),
    Endpoint("final", BURDEN),
    Endpoint("cured"),
)


def endpoint_names() -> list[str]:
    """Return the names of all endpoints, in the order of their columns."""
    return [row.name for row in ENDPOINTS]


def endpoint_titles() -> dict[str, str]:
    """Return what pictures call endpoints that have other words than their names."""
    return {row.name: row.title for row in ENDPOINTS if row.title}


def survival_endpoints() -> list[str]:
    """Return the endpoints that are still to come where the column ``censored`` is true."""
    return [row.name for row in ENDPOINTS if row.survival]


def endpoint_units(time: str, burden: str | None) -> dict[str, str]:
    """Return the unit of each endpoint that has one, from those of time and burden (None: without one)."""
    known = {TIME: time, BURDEN: burden}
    return {row.name: unit for row in ENDPOINTS if (unit := known.get(row.unit)) is not None}


def recorded_endpoints() -> list[Endpoint]:
    """Return the endpoints that engines record: the columns of `ChunkResult.endpoints`."""
    return [row for row in ENDPOINTS if row.reads]


def watched_marks() -> list[Mark]:
    """Return the marks to be watched, each once; first those that steps of lanes detect."""
    return sorted(
        dict.fromkeys(row.of for row in recorded_endpoints()), key=lambda mark: mark not in STEPS_DETECT
    )


class Found(NamedTuple):
    """What an engine found of one mark, arrays of shape (patients,); levels and values as integrated."""

    level: np.ndarray
    first: np.ndarray  # time of the first crossing, infinite for none, or of the extremum
    last: np.ndarray  # time of the last crossing
    best: np.ndarray  # the extremum


def level_of(start: np.ndarray, part: float, log: bool) -> np.ndarray:
    """Return a part of a start, as it is integrated; in logarithm nothing stays nothing."""
    return start + (start != LOG_ZERO) * np.log(part) if log else part * start


def fill(
    result: ChunkResult, found: Sequence[Found], y0: np.ndarray, final: np.ndarray, *,
    log: bool = False, scale: float = 1.0,
) -> None:  # fmt: skip
    """Fill in the endpoints of the burden.

    Parameters
    ----------
    result : ChunkResult
        Its ``t_reached`` is known.
    found : sequence of Found
        Of each of `watched_marks`.
    y0 : ndarray, shape (patients,)
        The burden at the start, natural units.
    final : ndarray, shape (patients,)
        At the end, as it is integrated.
    log, scale : bool, float
        How the burden is integrated.
    """
    of = dict(zip(watched_marks(), found, strict=True))
    for column, row in enumerate(recorded_endpoints()):
        if row.of.kind in (HIGHEST, LOWEST):
            best, when = _extremum(row.of, of[row.of], final, result.t_reached)
            values = to_natural(best, np.bool_(log), scale)
            # at the start without the rounding of logarithms, unless it died out at once
            values = np.where((when == 0.0) & (values != 0.0), y0, values) if row.reads == BEST else when
        else:
            values = _crossing(row, of[row.of], final, result.t_reached)
        result.endpoints[:, column] = values


def _extremum(mark: Mark, found: Found, final: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an extremum and its time; not every engine records the very end."""
    at_end = final < found.best if mark.kind == LOWEST else final > found.best
    return np.where(at_end, final, found.best), np.where(at_end, end, found.first)


def _crossing(row: Endpoint, found: Found, final: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the time of the first or last crossing; who ends beyond the level without one began there."""
    seen = np.isfinite(found.first)
    beyond = final > found.level if row.of.kind == UP else final < found.level
    if row.reads == FIRST:
        return np.where(seen, found.first, np.where(beyond, 0.0, np.nan))
    return np.where(beyond, np.where(seen, found.last, 0.0), end)
