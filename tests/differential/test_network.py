"""Random networks of 1, 3 and 12 states against SciPy at a tight tolerance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from families import numbers
from hypothesis import assume
from hypothesis import strategies as st
from law import RUNS, law, solve
from network import NETWORKS, reference, rows

from fastcart import Event

cells = st.tuples(st.just("cells"), rows("cells"))
large = st.tuples(st.just("large"), rows("large"))
stiff = st.tuples(st.just("cells"), rows("cells", stiff=True))
HORIZON = numbers(0.1, 15.0, 3)


def scale(truth: np.ndarray) -> np.ndarray:
    """The size of each quantity: what an error is compared with."""
    return np.abs(truth).max(axis=0) + 1


def compare(patient, run, t_end: float, rtol: float) -> None:
    name, row = patient
    model = NETWORKS[name]
    exact = reference(model, row, t_end)
    assume(exact is not None)
    times = np.linspace(0.0, t_end, 23)
    options = dict(t_end=t_end, rtol=rtol, save_at=times, auc=["ratio", "beat"], peaks=["y0", "beat"])
    result = solve(model, row, run, **options)
    ends = result.endpoints.iloc[0]
    assert ends["status"] == "ok"
    truth = exact.at(times).T
    found = result.trajectories[model.state_names].to_numpy()
    allowed = 1000 * rtol
    assert (np.abs(found - truth) <= allowed * scale(truth)).all()
    dense = np.unique(np.concatenate([np.linspace(0.0, t_end, 6001), exact.t]))
    observed = exact.observed(model, row, dense)
    first = exact.at(dense)[0]
    for column, course in (("ratio", observed[:, 1]), ("beat", observed[:, 2])):
        area = np.trapezoid(course, dense)
        rough = np.trapezoid(course[::2], dense[::2])
        size = np.trapezoid(np.abs(course), dense)
        # the error of the trapezoidal rule itself is about a third of what halving changed
        assert ends[f"auc_{column}"] == pytest.approx(
            area, abs=allowed * (size + t_end) + 2 * abs(area - rough)
        ), column
    for column, course in (("y0", first), ("beat", observed[:, 2])):
        steepest = np.abs(np.diff(course, 2)).max()  # between two samples it may be so much higher
        assert ends[f"peak_{column}"] == pytest.approx(
            course.max(), abs=allowed * (np.abs(course).max() + 1) + steepest
        ), column


@law(
    6, scipy=3, run=RUNS, shrink=False, patient=cells, t_end=HORIZON, rtol=st.sampled_from([1e-4, 1e-6, 1e-8])
)
def test_networks(run, patient, t_end, rtol):
    compare(patient, run, t_end, rtol)


@pytest.mark.slow  # half a minute of compiling; `make fuzz` tries them, too
@law(
    5,
    run=[("auto", None), ("lsoda", None)],
    shrink=False,
    patient=large,
    t_end=HORIZON,
    rtol=st.sampled_from([1e-4, 1e-6]),
)
def test_large_networks(run, patient, t_end, rtol):
    compare(patient, run, t_end, rtol)


@law(6, run=[("auto", None), ("lanes", "rodas5p"), ("lsoda", None)], shrink=False, patient=stiff,
     t_end=numbers(0.1, 5.0), rtol=st.sampled_from([1e-4, 1e-6]))  # fmt: skip
def test_stiff_networks(run, patient, t_end, rtol):
    compare(patient, run, t_end, rtol)


# SciPy takes half a minute
@law(6, run=RUNS[:-1], shrink=False, patient=cells, t_end=HORIZON, level=numbers(0.1, 0.9, 2),
     of=st.sampled_from(["y0", "total", "beat"]), seed=st.integers(0, 100))  # fmt: skip
def test_events_of_networks(run, patient, t_end, level, of, seed):
    name, row = patient
    model = NETWORKS[name]
    exact = reference(model, row, t_end)
    assume(exact is not None)
    dense = np.linspace(0.0, t_end, 4001)
    course = (
        exact.at(dense)[0] if of == "y0" else exact.observed(model, row, dense)[:, 0 if of == "total" else 2]
    )
    span = np.ptp(course)
    assume(span > 1e-2)
    threshold = float(course.min() + level * span)
    above = course > threshold
    # what touches the threshold is left out: each crossing must be clear
    turning = np.flatnonzero(np.diff(np.sign(np.diff(course)))) + 1
    assume(np.abs(course[[0, -1, *turning]] - threshold).min() > 1e-3 * span)
    changes = np.flatnonzero(above[1:] != above[:-1])
    events = [Event(way, of, "level", way) for way in ("up", "down", "both")]
    # all are watched whichever is looked at, so that one kernel serves all
    events += [Event(f"of_{name}", name, "level") for name in ("total", "beat")]
    options = dict(t_end=t_end, rtol=1e-7, events=events)
    ends = solve(model, row | {"level": threshold}, run, **options).endpoints.iloc[0]
    assert ends["status"] == "ok"
    assert ends["count_both"] == len(changes)
    assert ends["count_up"] == np.count_nonzero(above[1:] & ~above[:-1])
    assert ends["count_down"] == np.count_nonzero(~above[1:] & above[:-1])
    if len(changes):
        width = dense[1]
        assert dense[changes[0]] - width <= ends["event_both"] <= dense[changes[0] + 1] + width
    # neither saving nor watching anything else moves an event beyond the tolerance
    times = np.sort(np.random.default_rng(seed).uniform(0, t_end, 30))
    more = solve(
        model, row | {"level": threshold}, run, save_at=times, peaks=["y0"], auc=["beat", "total"], **options
    ).endpoints.iloc[0]
    assert more["count_both"] == ends["count_both"]
    if len(changes):
        assert more["event_both"] == pytest.approx(ends["event_both"], abs=1e-4 * t_end)


@law(5, run=RUNS[:-1], shrink=False, some=st.lists(rows("cells"), min_size=2, max_size=5), t_end=HORIZON,
     size=st.sampled_from([33, 65]), threads=st.sampled_from([1, 2]))  # fmt: skip
def test_networks_do_not_notice_each_other(run, some, t_end, size, threads):  # scipy solves one by one
    model = NETWORKS["cells"]
    places = np.arange(size) % len(some)
    options = dict(t_end=t_end, peaks=["beat"], auc=["ratio"], save_at=[0.0, t_end / 2])
    together = solve(model, pd.DataFrame(some).iloc[places], run, threads=threads, **options)
    alone = solve(model, pd.DataFrame(some), run, **options)
    for name in ("endpoints", "trajectories"):
        found, one = getattr(together, name), getattr(alone, name)
        per = len(one) // len(some)
        expected = one.iloc[[per * k + i for k in places for i in range(per)]]
        pd.testing.assert_frame_equal(
            found.drop(columns="patient").reset_index(drop=True),
            expected.drop(columns="patient").reset_index(drop=True),
            check_exact=True,
        )
