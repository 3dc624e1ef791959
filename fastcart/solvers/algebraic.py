"""Consistent values of algebraic variables: at the start, and wherever states or parameters jump.

Engines integrate an algebraic variable as any other state (`fastcart.solvers.trace.algebraic`). What they
ask here is to solve its equation anew behind a dose, a break, an action, a switch of a parameter, for each of
these moves what is a solution. They do so through the address of one C function of one row of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import carray, njit, types

from fastcart.solvers.codegen import written
from fastcart.solvers.compile import EXACT, INNER, cached, made_once
from fastcart.solvers.doses import PARAMETER, RATE, DosePlan
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lanes.intrinsics import evaluate
from fastcart.solvers.moments import (
    AGAIN,
    DONE,
    NO_ROOM,
    ROUNDS,
    begin_moment,
    look_again,
    moment_lines,
    next_of_moment,
    room_for,
)
from fastcart.solvers.problem import ChunkResult, Problem, Saves
from fastcart.solvers.root_search import INSIDE, NOT_SOLVED, SOLVED, Row, row_of, search_many, search_one
from fastcart.solvers.status import Status
from fastcart.solvers.system import System

_SIGNATURE = types.void(types.CPointer(types.float64))
# How far an algebraic variable may be from its equation at the end, in tolerances: more than errors of steps
# add up to, and it is on another branch, or on none
_OFF = 1e4
_MOST_OFF = 1.0


class Settling(NamedTuple):
    """What engines need in order to solve for the algebraic variables; no address where there are none."""

    address: int
    row: Row
    solved: np.ndarray  # the states that it gives


def settling(system: System) -> Settling:
    """Return what solves the equations of a system.

    The C function takes a row of numbers, see `fastcart.solvers.root_search`: states in natural units, time,
    parameters. It writes the algebraic variables, and 0 for success.
    """
    manifold = system.manifold
    n, m = len(system.states), len(system.parameters)
    if system.moments is not None:
        return _settling_moments(system)
    if manifold is None:
        return Settling(0, row_of(n, m, 0), np.empty(0, dtype=np.int64))
    solved = np.array([*manifold.places, *manifold.following], dtype=np.int64)
    texts = [getattr(x, "__fastcart_source__", "") for x in (manifold.equations, manifold.followers)]
    key = ("settling", *texts, *manifold[:3], manifold.following, n, m)
    return Settling(
        made_once(key, lambda: _compiled(system)).address, row_of(n, m, len(manifold.places)), solved
    )


def _settling_moments(system: System) -> Settling:
    """Return what lets the events of a model happen; all states are what it gives."""
    moments, n, m = system.moments, len(system.states), len(system.parameters)
    assert moments is not None
    row = row_of(n, m, 0)
    key = ("moments", fingerprint(moments.say), repr(moments.table), moments.needed, n, m)

    def made() -> Any:
        lines = [
            "def settle(w_):",
            "    w = carray(w_, (ROOM,))",
            *moment_lines(moments.needed, len(moments.table.true)),
            "    w[STATUS] = SOLVED if done == DONE else NOT_SOLVED",
        ]
        constants = {
            "TIME": row.time, "PARAMETERS": row.parameters, "ROOM": row.room, "STATUS": row.status,
            "SOLVED": SOLVED, "NOT_SOLVED": NOT_SOLVED, "AGAIN": AGAIN, "DONE": DONE, "NO_ROOM": NO_ROOM,
            "ROUNDS": ROUNDS,
        }  # fmt: skip
        scope = {
            "carray": carray, "empty": np.empty, "say": moments.say, "TABLE": moments.table,
            "room_for": room_for, "begin_moment": begin_moment, "next_of_moment": next_of_moment,
            "look_again": look_again,
        }  # fmt: skip
        function = written(lines, constants, scope)
        return cached(function, f"the events of {system.name}", signature=_SIGNATURE, **EXACT)

    return Settling(made_once(key, made).address, row, np.arange(n))


def _compiled(system: System) -> Any:
    manifold = system.manifold
    assert manifold is not None
    n, m, count = len(system.states), len(system.parameters), len(manifold.places)
    row = row_of(n, m, count)
    filled = [f"    w[VALUES + {k}] = f[{k}]" for k in range((3 + count) * count)]
    inner: dict[str, Any] = {"equations": njit(**INSIDE)(manifold.equations)}
    constants = {"TIME": row.time, "PARAMETERS": row.parameters, "VALUES": row.values, "ROOM": row.room}
    lines = ["def fill(w):", "    f = equations(w[TIME], w, w[PARAMETERS:])", *filled]
    scope: dict[str, Any] = {
        "fill": njit(**INSIDE)(written(lines, constants, inner)), "carray": carray, "array": np.array,
        "search_one": search_one, "search_many": search_many, "ROW": row, "SOLVED": SOLVED,
        "NOT_SOLVED": NOT_SOLVED, "PLACES": np.array(manifold.places), "LOG": np.array(manifold.log),
        "nan": np.nan,
    }  # fmt: skip
    starts = ", ".join(manifold.starts)
    if count == 1:
        search = f"search_one(w, fill, ROW, {manifold.places[0]}, {manifold.log[0]}, {starts})"
    else:
        search = f"search_many(w, fill, ROW, PLACES, LOG, array([{starts}]))"
    lines = [
        "def settle(w_):",
        "    w = carray(w_, (ROOM,))",
        "    y, p = w, w[PARAMETERS:]",
        f"    found = {search}",
        "    w[ROW.status] = SOLVED if found else NOT_SOLVED",
        f"    if not found: {' = '.join(f'w[{i}]' for i in manifold.places)} = nan",
    ]
    if manifold.followers is not None:
        scope["followers"] = njit(**INSIDE)(manifold.followers)
        lines += ["    f = followers(w[TIME], y, p)"]
        lines += [f"    w[{i}] = f[{k}]" for k, i in enumerate(manifold.following)]
    function = written(lines, constants, scope)
    return cached(function, f"the algebraic variables of {system.name}", signature=_SIGNATURE, **EXACT)


@njit(**INNER)
def _settle_rows(address, row, t, y, p, failed, w):
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            w[j] = y[i, j]
        w[row.time] = t[i]
        for k in range(p.shape[1]):
            w[row.parameters + k] = p[i, k]
        evaluate(address, w)
        failed[i] = w[row.status] != 0.0
        for j in range(y.shape[1]):
            y[i, j] = w[j]


def _solve_rows(address, row, t, y, p, failed, w):
    _settle_rows(address, row, t, y, p, failed, w)


@cache
def _loop() -> Any:
    return cached(_solve_rows, "the loop over algebraic variables", takes=(Row,), nogil=True, **EXACT)


def settle(system: System, t: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Solve for the algebraic variables of many patients.

    Parameters
    ----------
    system : System
    t : ndarray, shape (patients,)
    y : ndarray, shape (patients, states)
        Natural units; the algebraic variables are set, from where they are on, to NaN where there is no root.
    p : ndarray, shape (patients, parameters)
        Behind these there may be more.

    Returns
    -------
    ndarray of bool, shape (patients,)
        Who has no solution.
    """
    failed = np.zeros(len(y), dtype=np.bool_)
    found = settling(system)
    if found.address:
        given = np.ascontiguousarray(p[:, : len(system.parameters)])
        _loop()(found.address, found.row, t, y, given, failed, np.zeros(found.row.room))
    return failed


def begin(system: System, y0: np.ndarray, p: np.ndarray) -> None:
    """Set the algebraic variables of initial values, in place: NaN where there is no root.

    What the model itself does at time 0 is done, too.
    """
    if system.moments is not None:
        y0[settle(system, np.zeros(len(y0)), y0, p)] = np.nan
    if system.manifold is not None:
        y0[:, list(system.manifold.places)] = np.nan
        settle(system, np.zeros(len(y0)), y0, p)


def finish(
    problem: Problem, y0: np.ndarray, p: np.ndarray, doses: DosePlan | None, saves: Saves, result: ChunkResult
) -> None:  # fmt: skip
    """Solve for the algebraic variables once more at the end and at times to save, and name who has no root.

    What errors of steps left of their equations is gone in what is returned.

    Parameters
    ----------
    problem : Problem
    y0 : ndarray, shape (patients, states)
        As `begin` left them.
    p : ndarray, shape (patients, parameters)
        At time 0.
    doses : DosePlan or None
    saves : Saves
    result : ChunkResult
        States in natural units; algebraic variables and the status are changed.
    """
    manifold = problem.model.manifold
    if manifold is None:
        return
    result.status[np.isnan(y0[:, list(manifold.places)]).any(axis=1)] = Status.no_root
    rows = np.flatnonzero(result.status == Status.ok)
    at = p if doses is None else doses.parameters(p)
    y = result.final[rows]
    near = _corrected(problem, result.t_reached, y, _rows_of(at, result.t_reached, rows), rows)
    result.final[rows] = y
    result.status[rows[~near]] = Status.no_root
    n = len(problem.model.states)
    if len(problem.saved_states) < n or not result.saved.size:
        return
    rows = rows[near]
    count = np.diff(result.offsets)
    times = np.zeros(len(p))
    for k in range(int(count.max(initial=0))):
        rows = rows[count[rows] > k]
        times[rows] = problem.save_at[saves.begin[rows] + k]
        where = result.offsets[rows] + k
        y = np.ascontiguousarray(result.saved[:, where].T)
        near = _corrected(problem, times, y, _rows_of(at, times, rows), rows)
        result.saved[:, where] = y.T
        result.status[rows[~near]] = Status.no_root


def _rows_of(parameters: Any, t: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the parameters of some patients, at the time of each."""
    values = parameters(t) if callable(parameters) else parameters
    return values if len(rows) == len(values) else values[rows]


def _corrected(problem: Problem, t: np.ndarray, y: np.ndarray, p: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Put states back on their manifold where it is near, in place; return where it is."""
    manifold = problem.model.manifold
    assert manifold is not None
    before = y[:, list(manifold.places)]  # a copy
    near = ~settle(problem.model, t[rows], y, p)
    allowed = min(_OFF * problem.rtol, _MOST_OFF)
    with np.errstate(all="ignore"):
        for place, log, old in zip(manifold.places, manifold.log, before.T, strict=True):
            size = np.abs(y[:, place])
            if not (log and problem.log[place]):
                size += problem.scale[place]
            near &= np.abs(old - y[:, place]) <= allowed * size
    y[np.ix_(~near, manifold.places)] = before[~near]
    return near


def with_rates(
    problem: Problem, p: np.ndarray, plan: DosePlan | None
) -> tuple[Problem, np.ndarray, DosePlan | None]:
    """Return a problem whose algebraic variables follow infusions: rates are further parameters there.

    What is infused is not in the derivatives of the other states, but moves the algebraic variables.

    Parameters
    ----------
    problem : Problem
        With the states that are infused.
    p : ndarray, shape (patients, parameters)
    plan : DosePlan, optional

    Returns
    -------
    Problem, parameters, DosePlan
        The same where there is nothing to do.
    """
    manifold = problem.model.manifold
    if manifold is None or manifold.fed is None or not any(problem.infused) or plan is None:
        return problem, p, plan
    own, n = len(problem.model.parameters), len(problem.model.states)
    if "fed" not in problem.kept:
        infused = np.array(problem.infused)
        if (infused & np.array([state.log for state in problem.model.states])).any():
            infused[list(manifold.places)] = True  # they may start from zero, too
        problem.kept["fed"] = replace(problem, model=manifold.fed(), infused=tuple(infused.tolist()))
    rates = plan.kind == RATE
    behind = np.concatenate([[0], np.cumsum(rates)])
    order = np.repeat(np.arange(len(rates)), 1 + rates)
    second = np.append(False, order[1:] == order[:-1]) if len(order) else np.empty(0, dtype=bool)
    state, kind = plan.state[order], plan.kind[order]
    state[second] += own
    kind[second] = PARAMETER
    wider = replace(
        plan, time=plan.time[order], state=state, kind=kind, value=plan.value[order],
        first=plan.first + behind[plan.first], start=plan.start + behind[plan.start],
        stop=plan.stop + behind[plan.stop],
    )  # fmt: skip
    given = np.hstack([p[:, :own], np.zeros((len(p), n)), p[:, own:]])
    return problem.kept["fed"], given, wider


def names_of_rates(states: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the parameters that are rates of infusion."""
    return tuple(f"_rate_of_{name}" for name in states)
