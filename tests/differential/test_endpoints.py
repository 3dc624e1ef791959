"""A standard endpoint is a row of one table: rows that nobody ships, in all engines, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from families import TURNING, courses, free
from hypothesis import assume
from hypothesis import strategies as st
from law import RUNS, law, solve
from numba import njit
from test_turning import near, tolerance

from fastcart import DosingSchedule, Event, Model, PublishedScheme, State
from fastcart.model import RESERVED
from fastcart.optimization.problem import _endpoints as known_to_searches
from fastcart.scanning.plot import _label, _units
from fastcart.sensitivity_analysis.outputs import parse_outputs
from fastcart.solvers import endpoints
from fastcart.solvers.endpoints import BEST, BURDEN, FIRST, LAST, TIME, WHEN, Endpoint, Mark, endpoint_names

ALL = [*RUNS, ("published", None)]
HALVED = Endpoint("halved", TIME, FIRST, Mark("down", 0.5), "Time to half of the tumor")


@contextmanager
def more(*rows: Endpoint) -> Iterator[None]:
    """Let the table have further rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoints, "ENDPOINTS", (*endpoints.ENDPOINTS, *rows))
        yield


@njit
def _wave(t, y, p):
    return (p[0] * (t - p[1]) * y[0],)


STEP = 0.0025


def wave(*, log: bool) -> Model:
    """y = y₀ exp(a (t²/2 - b t)): down to its lowest at b, back at its start at 2 b."""
    return Model(
        "wave", [State("y", "cells", 3.0, log=log, extinction=True)], free(a=1.0, b=1.0, half=1.0), _wave,
        t_end=3.0, burden="y", published=PublishedScheme(_wave, STEP),
    )  # fmt: skip


def test_names_of_all_rows_are_reserved():
    assert set(endpoint_names()) <= RESERVED


@pytest.mark.parametrize("log", [True, False], ids=["log", "linear"])
@pytest.mark.parametrize("run", ALL, ids=str)
def test_one_row_is_a_column_in_every_engine(run, log):
    patients = {"a": [0.5, 1.0, 3.0], "b": [5.0, 1.0, 1.0], "y": [3.0, 1e-4, 7e8]}
    plain = solve(wave(log=log), patients, run).endpoints
    with more(HALVED):
        ends = solve(wave(log=log), patients, run).endpoints
    # a (t²/2 - b t) = -ln 2
    exact = [5 - math.sqrt(25 - 4 * math.log(2)), math.nan, 1 - math.sqrt(1 - 2 / 3 * math.log(2))]
    late = STEP if run[0] == "published" else 0.0
    for found, t in zip(ends["halved"], exact, strict=True):
        assert found == pytest.approx(t, abs=1e-6 + late, nan_ok=True)
        assert not found < t - 1e-5
    counters = ["engine", "steps", "rejected", "rhs_calls"]
    for name in plain.columns.difference(counters):
        np.testing.assert_array_equal(ends[name], plain[name], err_msg=name)


@pytest.mark.parametrize("log", [True, False], ids=["log", "linear"])
@pytest.mark.parametrize("run", ALL, ids=str)
def test_all_kinds_of_rows_against_closed_forms(run, log):
    away = math.sqrt(1 + 2 * math.log(0.8))
    expected = {
        Endpoint("eased", TIME, FIRST, Mark("down", 0.8)): 1 - away,
        Endpoint("regrown", TIME, FIRST, Mark("up", 0.8)): 1 + away,
        Endpoint("doubled", TIME, FIRST, Mark("up", 2.0)): 1 + math.sqrt(1 + 2 * math.log(2)),
        Endpoint("control", TIME, LAST, Mark("up", 0.8)): 1 + away,
        Endpoint("held", TIME, LAST, Mark("down", 0.8)): 3.0,
        Endpoint("gone", TIME, FIRST, Mark("down", 0.1)): math.nan,
        Endpoint("under", TIME, FIRST, Mark("up", 5.0)): math.nan,
        Endpoint("once", TIME, LAST, Mark("up", 5.0)): 3.0,
        Endpoint("top", BURDEN, BEST, Mark("highest")): 3 * math.exp(1.5),
        Endpoint("t_top", TIME, WHEN, Mark("highest")): 3.0,
        Endpoint("t_least", TIME, WHEN, Mark("lowest")): 1.0,
    }
    with more(*expected):
        row = solve(wave(log=log), 1, run, rtol=1e-9).endpoints.iloc[0]
    for endpoint, value in expected.items():
        late = STEP if run[0] == "published" else 0.0
        assert row[endpoint.name] == pytest.approx(value, rel=1e-6, abs=1e-4 * (late > 0) + late, nan_ok=True)
    assert row["t_least"] == row["t_nadir"]


@pytest.mark.parametrize("log", [True, False], ids=["log", "linear"])
@pytest.mark.parametrize("run", RUNS, ids=str)
def test_doses_and_death(run, log):
    rows = (HALVED, Endpoint("doubled", TIME, FIRST, Mark("up", 2.0)))
    plan = DosingSchedule().bolus(1.0, "y", 5.0)
    patients = {"a": 1.0, "b": 9.0, "y": [0.0, 0.5, 4.0, 1000.0]}
    with more(*rows):
        ends = solve(wave(log=log), patients, run, doses=plan, extinction=3.0, t_end=2.0).endpoints
    assert (ends["status"] == "ok").all()
    died = 9 - math.sqrt(81 - 2 * math.log(4 / 3))  # a jump to nothing is a fall to half
    fell = 9 - math.sqrt(81 - 2 * math.log(2))
    assert ends["halved"].tolist() == pytest.approx([math.nan, 0.0, died, fell], abs=1e-5, nan_ok=True)
    assert ends["doubled"].tolist() == pytest.approx([1.0, 1.0, math.nan, math.nan], nan_ok=True)


MANY = {
    (reads, kind, part): Endpoint(f"{reads}_{kind}_{j}", TIME, reads, Mark(kind, part))
    for reads in (FIRST, LAST)
    for kind in ("up", "down")
    for j, part in enumerate((0.5, 0.9, 1.2))
}


@law(
    30, run=RUNS, course=courses(), burden=st.sampled_from(["x", "z"]),
    rtol=st.sampled_from([1e-4, 1e-6, 1e-9]), asked=st.sampled_from(sorted(MANY)),
)  # fmt: skip
def test_rows_through_every_turn(run, course, burden, rtol, asked):
    reads, kind, part = asked
    level = part * course.x0 if burden == "x" else course.x0 + np.log(part) / course.k
    knots = course.x([0.0, *course.within, course.t_end])
    assume(np.abs(knots - level).min() > 0.02 * abs(course.height))
    with more(*MANY.values()):
        ends = solve(TURNING[burden], course.row(), run, t_end=course.t_end, rtol=rtol).endpoints.iloc[0]
    assert ends["status"] == "ok"
    sign = 1 if kind == "up" else -1
    seen = [t for t, way in course.crossings(level) if way == sign]
    beyond = sign * (knots[-1] - level) > 0
    found = ends[MANY[asked].name]
    if reads == FIRST and not seen:
        assert found == 0.0 if beyond else np.isnan(found)
    elif reads == LAST and not (beyond and seen):
        assert found == (0.0 if beyond else course.t_end)
    else:
        exact = seen[0] if reads == FIRST else seen[-1]
        near(course, found, level, exact, 10 * tolerance(course, rtol))


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_row_is_the_event_with_that_level(run):
    patients = {"a": [0.5, 2.0, 3.0], "b": [5.0, 1.0, 1.0], "y": [3.0, 1e-4, 7e8]}
    patients["half"] = [0.5 * y for y in patients["y"]]
    with more(HALVED):
        ends = solve(wave(log=False), patients, run, events=[Event("half", "y", "half", "down")]).endpoints
    np.testing.assert_array_equal(ends["halved"], ends["event_half"])


def test_studies_know_a_new_row():
    model = wave(log=True)
    with more(HALVED, Endpoint("top", BURDEN, BEST, Mark("highest"))):
        halved, top = parse_outputs(model, ["halved", "ln_top"], t_end=3.0).columns
        assert (halved.unit, top.unit) == ("days", "ln cells")
        assert {"halved", "top"} <= set(known_to_searches(model))
        units = _units(model)
        assert (units["halved"], units["top"]) == ("days", "cells")
        assert _label(units, "halved") == "Time to half of the tumor (days)"
