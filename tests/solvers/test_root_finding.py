"""The one root finder, and the table of what is watched."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import Event, SolveOptions
from fastcart.batch import make_problem
from fastcart.solvers.lanes.event_recording import (
    EXTINCTION,
    MAXIMUM,
    MINIMUM,
    PROGRESSION,
    UP,
)
from fastcart.solvers.lanes.root_finding import find_root
from fastcart.solvers.lanes.watched_items import items_of


@njit
def _power(x, data):
    place, power = data
    return math.copysign(abs(x - place) ** power, x - place)


@njit
def _falling(x, data):
    return -_power(x, data)


@pytest.mark.parametrize(("power", "within"), [(0.3, 3e-14), (1.0, 3e-14), (3.0, 3e-5)])
@pytest.mark.parametrize("place", [1e-9, 0.3, 0.999])
def test_the_root_is_found_however_steep_or_flat(place, power, within):
    for function, rises in ((_power, True), (_falling, False)):
        found = find_root.py_func(function, 0.0, 1.0, rises, (place, power))
        assert found == pytest.approx(place, abs=within)


def test_an_end_without_a_sign_does_not_hide_the_root_inside():
    """A slope of zero at the start of a step, and a turning point in it."""

    def polynomial(x, data):
        return x * (0.4 - x)

    assert find_root.py_func(polynomial, 0.0, 1.0, False, ()) == pytest.approx(0.4, abs=1e-13)


def test_every_endpoint_is_a_row_of_one_table():
    model = fastcart.models.get("b_all")
    options = SolveOptions(extinction=1.0, peaks=["C"], events=[Event("again", "T", 1e7, "up")])
    problem = make_problem(model, options)
    items = items_of(problem, problem.log).items
    kinds = items["kind"].tolist()
    assert sorted(kinds[:2]) == sorted([MINIMUM, PROGRESSION])
    assert kinds[2:4] == [MAXIMUM, UP]
    assert set(kinds[4:]) == {EXTINCTION}
    assert np.all(items["ends"][4:] == 1)
