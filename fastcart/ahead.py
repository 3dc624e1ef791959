"""Compile ahead of time what all models share, so that a first result of a new model takes seconds.

The loops of the lane engine and of LSODA, and the steps for a number of states, are the same for every
model. They are compiled when they are first needed, which takes a dozen seconds or two, and kept on disk;
here they are made before, on Linux by two processes where there are two processors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

STATES = 8  # models of up to so many states find everything at hand


def compile_ahead(states: int = STATES, progress: Callable[[str], None] | None = None) -> None:
    """Compile the kernels that models of up to so many states have in common, unless they are on disk.

    Parameters
    ----------
    states : int
    progress : callable, optional
        Told what is compiled now.

    Raises
    ------
    InputError
        For a number of states that is not a whole number from 1 on.
    """
    from fastcart.batch import check_threads
    from fastcart.checks import count
    from fastcart.runs.sharing import in_two
    from fastcart.solvers.compile import announcements, collector_paused

    states = count(states, "The number of states")
    small = _small_model()
    jobs = [partial(_solve_in_all_ways, small), partial(_compile_the_rest, small, states)]
    with announcements(progress), collector_paused():
        in_two(jobs, threads=check_threads(None))


def _compile_the_rest(small: Any, states: int) -> None:
    """Compile what takes together about as long as all ways to solve by lanes."""
    _solve_by_lsoda(small)
    for n in range(1, states + 1):
        _compile_steps(n)


def _compile_steps(states: int) -> None:
    """Compile the steps of the methods that `auto` begins with."""
    from fastcart.solvers.lanes.engine import DEFAULT_METHOD, STIFF_METHOD, get_method
    from fastcart.solvers.lanes.layout import roomy

    sizes = (states, roomy(1), 0, ())
    for name in (DEFAULT_METHOD, "vern7"):
        get_method(name).step(*sizes)
    whole = get_method(STIFF_METHOD).whole
    if whole is not None:
        whole.step(*sizes)


def _small_model() -> Any:
    """Return a model of two states."""
    from numba import njit

    from fastcart.model import Model, Observable, Parameter, State

    @njit
    def rhs(t, y, p):
        return p.growth * y.C - p.kill * y.E * y.C, -p.death * y.E

    @njit
    def observe(t, y, p):
        return (p.kill * y.E,)

    states = [State("C", default=1e6), State("E", default=1e7)]
    rates = [
        Parameter("growth", default=0.3),
        Parameter("kill", default=1e-7),
        Parameter("death", default=0.1),
    ]
    observed = [Observable("killing")]
    return Model("ahead", states, rates, rhs, burden="C", t_end=50.0, observables=observed, observe=observe)


def _solve_in_all_ways(model: Any) -> None:
    """Solve in all the ways that need another loop of lanes."""
    from fastcart.batch import solve
    from fastcart.dosing import DosingSchedule
    from fastcart.events import Event
    from fastcart.options import SolveOptions

    doses = DosingSchedule().bolus(5.0, "E", 1e6).infusion(8.0, "E", 1e6, duration=2.0)
    watched = SolveOptions(peaks=["E"], events=[Event("low", "C", 1e3)])
    for options in (SolveOptions(), watched):
        for given in (None, doses):
            solve(model, 2, doses=given, save_at=np.linspace(0, 50, 3), progress=False, options=options)


def _solve_by_lsoda(model: Any) -> None:
    from fastcart.batch import solve
    from fastcart.errors import MissingDependencyError

    with suppress(MissingDependencyError):  # then no patient is left to it
        solve(model, 1, engine="lsoda", progress=False)
