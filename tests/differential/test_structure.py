"""A handful of models whose right-hand sides are drawn as a text; `make fuzz` draws them without end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from families import numbers
from hypothesis import assume
from hypothesis import strategies as st
from law import law, solve
from network import accurate
from structure import drawn_models

from fastcart import DosingSchedule, Event

QUICK = [("lanes", "tsit5"), ("lanes", "vern7"), ("lsoda", None)]


@law(2, run=QUICK, shrink=False, turn=4, drawn=drawn_models(states=5), t_end=numbers(0.2, 8.0, 3),
     size=st.sampled_from([1, 33, 65]), dosed=st.booleans())  # fmt: skip
def test_drawn_models(run, drawn, t_end, size, dosed):
    model, rtol = drawn.model, 1e-6
    assume(all(value <= 100 for row in drawn.rows for value in row.values()) or run[1] is None)
    truths = [accurate(model, row, t_end) for row in drawn.rows]
    assume(all(truth is not None for truth in truths))
    times = np.linspace(0, t_end, 9)
    options = dict(t_end=t_end, rtol=rtol, save_at=times, auc=["y0", "o0"])
    options |= dict(peaks=["y0", "o0"], events=[Event("half", "y0", 0.5)])
    places = np.arange(size) % len(drawn.rows)
    if dosed:  # a dose of nothing, which only makes the engine stop
        options["doses"] = DosingSchedule().bolus(t_end / 3, f"y{len(drawn.log) - 1}", 0.0)
    result = solve(model, pd.DataFrame(drawn.rows).iloc[places], run, **options)
    ends = result.endpoints
    assert set(ends["status"]) == {"ok"}
    found = result.trajectories[model.state_names].to_numpy().reshape(size, len(times), -1)
    for k, place in enumerate(places):
        truth = truths[place]
        exact = truth.at(times).T
        assert (np.abs(found[k] - exact) <= 3000 * rtol * (1 + np.abs(exact).max(axis=0))).all(), k
        if k >= len(drawn.rows):  # the same patient as one before
            same = found[k - len(drawn.rows)]
            np.testing.assert_array_equal(found[k], same)
            continue
        dense = np.unique(np.concatenate([np.linspace(0.0, t_end, 4001), truth.t]))
        for column, course in (
            ("y0", truth.at(dense)[0]),
            ("o0", truth.observed(model, drawn.rows[place], dense)[:, 0]),
        ):
            size_of = np.trapezoid(np.abs(course), dense)
            area, rough = np.trapezoid(course, dense), np.trapezoid(course[::2], dense[::2])
            allowed = 1000 * rtol * (size_of + t_end) + 2 * abs(area - rough)
            assert ends[f"auc_{column}"].iloc[k] == pytest.approx(area, abs=allowed), column
            allowed = 1000 * rtol * (1 + np.abs(course).max()) + np.abs(np.diff(course, 2)).max()
            assert ends[f"peak_{column}"].iloc[k] == pytest.approx(course.max(), abs=allowed), column
        course = truth.at(dense)[0]
        turning = np.flatnonzero(np.diff(np.sign(np.diff(course)))) + 1
        if np.abs(course[[0, -1, *turning]] - 0.5).min() > 1e-3:
            above = course > 0.5
            assert ends["count_half"].iloc[k] == np.count_nonzero(above[1:] != above[:-1])
