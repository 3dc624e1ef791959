"""Peaks, nadirs, crossings and areas of courses that turn several times within one step."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from families import TURNING, Course, courses, numbers
from hypothesis import assume
from hypothesis import strategies as st
from law import RUNS, each_of, law, solve
from scipy.integrate import IntegrationWarning, quad

from fastcart import Event

RTOL = st.sampled_from([1e-4, 1e-6, 1e-9])


def tolerance(course: Course, rtol: float) -> float:
    """How far x may be from its exact value."""
    times = np.linspace(0, course.t_end, 101)
    return 30 * rtol * (np.abs(course.x(times)).max() + 1)


def area_and_size(f, stop: float, points: list[float] | None) -> tuple[float, float]:
    """The integral of a function, and that of its magnitude; QUADPACK warns where it gets to rounding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationWarning)
        area = quad(f, 0, stop, points=points, epsabs=0, epsrel=1e-12, limit=400)[0]
        return area, quad(lambda t: abs(f(t)), 0, stop, points=points, epsrel=1e-9, limit=400)[0]


def near(course: Course, t: float, level: float, exact: float, allowed: float) -> None:
    """Check that a time is that of a crossing: the value is right, and no turning point lies between."""
    assert course.x(t) == pytest.approx(level, abs=allowed)
    assert not [turn for turn in course.within if min(t, exact) < turn < max(t, exact)]


@law(60, run=RUNS, course=courses(), rtol=RTOL)
def test_every_crossing_is_counted_and_the_first_is_right(run, course, rtol):
    levels = course.levels()[:4]
    assume(levels)
    # the same events for every course, so that one table of them serves all
    levels += [levels[0]] * (4 - len(levels))
    thresholds = {f"level{j}": level for j, level in enumerate(levels)}
    ways = ("up", "down", "both")
    events = [Event(f"{way}{j}", "x", f"level{j}", way) for j in range(4) for way in ways]
    ends = solve(
        TURNING["x"], course.row() | thresholds, run, events=events, t_end=course.t_end, rtol=rtol
    ).endpoints.iloc[0]
    assert ends["status"] == "ok"
    for j, level in enumerate(levels):
        exact = course.crossings(level)
        for way, sign in zip(ways, (1, -1, 0), strict=True):
            mine = [t for t, direction in exact if sign in (0, direction)]
            assert ends[f"count_{way}{j}"] == len(mine), (way, level)
            if mine:
                near(course, ends[f"event_{way}{j}"], level, mine[0], tolerance(course, rtol))


@law(60, scipy=30, run=RUNS, course=courses(), rtol=RTOL)
def test_peaks_are_the_highest_of_all_turning_points(run, course, rtol):
    ends = solve(
        TURNING["x"],
        course.row(),
        run,
        peaks=["x", "minus_x", "z", "minus_z"],
        t_end=course.t_end,
        rtol=rtol,
    ).endpoints.iloc[0]
    values = course.x([0.0, *course.within, course.t_end])
    allowed = tolerance(course, rtol)
    for name, sign in (("x", 1), ("minus_x", -1)):
        assert ends[f"peak_{name}"] == pytest.approx((sign * values).max(), abs=allowed)
        assert sign * course.x(ends[f"t_peak_{name}"]) == pytest.approx(
            (sign * values).max(), abs=2 * allowed
        )
    values = course.z([0.0, *course.within, course.t_end])
    # rodas5p knows an observable by the interpolant of its integral: near 1e-9 a turn may be taken for none
    relative = 100 * max(rtol, 2e-8 if run[1] == "rodas5p" else 0.0) * (1 + course.steepness)
    assert ends["peak_z"] == pytest.approx(values.max(), rel=relative)
    assert ends["peak_minus_z"] == pytest.approx(-values.min(), rel=relative, abs=relative * values.min())


@law(40, run=RUNS, course=courses(), burden=st.sampled_from(["x", "z"]), rtol=RTOL)
def test_the_burden_is_followed_through_every_turn(run, course, burden, rtol):
    start = course.x0
    ends_at = course.x(course.t_end)
    turning = course.x(course.within)
    clear = 0.02 * abs(course.height)
    assume(abs(ends_at - start) > clear)
    assume(not len(turning) or np.abs(turning - start).min() > clear)
    assume(all(abs(t) > 0.05 for t in course.turns))
    ends = solve(TURNING[burden], course.row(), run, t_end=course.t_end, rtol=rtol).endpoints.iloc[0]
    assert ends["status"] == "ok"
    allowed = tolerance(course, rtol)
    lowest = min([start, *turning, ends_at])
    if burden == "x":
        assert ends["nadir"] == pytest.approx(lowest, abs=allowed)
    else:
        exact = course.z0 * np.exp(course.k * (lowest - start))
        assert ends["nadir"] == pytest.approx(exact, rel=100 * rtol * (1 + course.steepness))
    assert course.x(ends["t_nadir"]) == pytest.approx(lowest, abs=max(10 * allowed, 1e-4 * clear))
    ups = [t for t, way in course.crossings(start) if way > 0]
    if course.slope(0.0) > 0:
        ups = [0.0, *ups]
    if not ups:
        assert np.isnan(ends["progression"]) == (ends_at < start)
    else:
        assert course.x(ends["progression"]) == pytest.approx(start, abs=10 * allowed)
        assert ends["progression"] == pytest.approx(ups[0], abs=0.02 * course.t_end)
    if ends_at > start:
        assert not ends["censored"]
        assert ends["pfs"] == pytest.approx(ups[-1], abs=0.02 * course.t_end)
    else:
        assert ends["censored"]
        assert ends["pfs"] == course.t_end


@law(25, run=RUNS, course=courses(), rtol=st.sampled_from([1e-4, 1e-6, 1e-8]))
def test_areas_under_courses_that_turn(run, course, rtol):
    ends = solve(
        TURNING["x"], course.row(), run, auc=["x", "z"], t_end=course.t_end, rtol=rtol
    ).endpoints.iloc[0]
    assert ends["status"] == "ok"
    places = [t for t in course.within if t < course.t_end] or None
    for name, f in (("x", course.x), ("z", course.z)):
        area, size = area_and_size(f, course.t_end, places)
        steep = 1 + (course.steepness if name == "z" else 0)
        assert ends[f"auc_{name}"] == pytest.approx(area, abs=30 * rtol * steep * size + 1e-300)


@law(40, run=RUNS, course=courses(), rtol=RTOL, since=numbers(0.0, 1.0, 2))
def test_events_after_a_time_and_after_another(run, course, rtol, since):
    levels = course.levels()
    assume(levels)
    level, begin = levels[len(levels) // 2], since * course.t_end
    exact = course.crossings(level)
    assume(all(abs(t - begin) > 1e-3 for t, _ in exact))
    events = [
        Event("down", "x", "level0", "down"),
        Event("late", "x", "level0", "both", after=begin),
        Event("relapse", "x", "level0", "up", after="down"),
    ]
    row = course.row() | {"level0": level}
    ends = solve(TURNING["x"], row, run, events=events, t_end=course.t_end, rtol=rtol).endpoints.iloc[0]
    downs = [t for t, way in exact if way < 0]
    expected = {
        "late": [t for t, _ in exact if t > begin],
        "relapse": [t for t, way in exact if way > 0 and downs and t > downs[0]],
    }
    for name, times in expected.items():
        assert ends[f"count_{name}"] == len(times), name
        if times:
            near(course, ends[f"event_{name}"], level, times[0], tolerance(course, rtol))


@law(40, run=RUNS, course=courses(), rtol=RTOL)
def test_a_terminal_event_ends_everything(run, course, rtol):
    levels = course.levels()
    assume(levels)
    exact = course.crossings(levels[-1])
    stop = exact[0][0] if exact else course.t_end
    times = np.linspace(0.0, course.t_end, 13)
    assume(np.abs(times[1:-1] - stop).min() > 1e-3)
    result = solve(
        TURNING["x"], course.row() | {"level0": levels[-1]}, run,
        events=[Event("stop", "x", "level0", terminal=True), Event("again", "x", "level0")],
        peaks=["x"], auc=["x", "z"], save_at=times, t_end=course.t_end, rtol=rtol,
    )  # fmt: skip
    ends = result.endpoints.iloc[0]
    assert ends["status"] == "ok"
    allowed = tolerance(course, rtol)
    assert ends["count_stop"] == bool(exact)
    if exact:
        near(course, ends["t_reached"], levels[-1], stop, allowed)
        assert ends["t_reached"] == ends["event_stop"]
        assert ends["final_x"] == pytest.approx(levels[-1], abs=allowed)
    else:
        assert ends["t_reached"] == course.t_end
    until = [0.0, *(t for t in course.within if t < stop), stop]
    assert ends["peak_x"] == pytest.approx(course.x(until).max(), abs=allowed)
    area, size = area_and_size(course.x, stop, until[1:-1] or None)
    late = abs(ends["t_reached"] - stop) * abs(levels[-1])
    assert ends["auc_x"] == pytest.approx(area, abs=30 * rtol * size + late + 1e-9)
    saved = result.trajectories["x"].to_numpy()
    before = times < stop
    np.testing.assert_allclose(saved[before], course.x(times[before]), rtol=0, atol=allowed)
    assert np.isnan(saved[times > stop]).all()


def known_cubic(t: float) -> float:
    s = t - 8.0
    return s**3 + 6 * s**2 - 4 * s - 24.0


@each_of(RUNS, __name__)
def test_the_known_cubic(run):
    """x' = 3 s² + 12 s - 4 with s = t - 8, from -120: three crossings of 0, a peak and a nadir inside."""
    high, low = (8 - 2 + sign * np.sqrt(16 / 3) for sign in (-1, 1))
    row = Course(x0=-120.0, height=1.0, turns=(high, low), t_end=1.0).row() | {"a": 3.0, "k": 0.0}
    events = [Event("any", "x", 0.0), Event("down", "x", 0.0, "down")]
    ends = solve(TURNING["x"], row, run, t_end=12.0, peaks=["x"], events=events).endpoints.iloc[0]
    assert ends["count_any"] == 3
    assert ends["event_down"] == pytest.approx(6.0, abs=1e-5)
    ends = solve(TURNING["x"], row, run, t_end=10.0, peaks=["x", "minus_x"], events=events).endpoints.iloc[0]
    assert ends["event_down"] == pytest.approx(6.0, abs=1e-5)
    assert ends["peak_x"] == pytest.approx(known_cubic(high), rel=1e-5)
    assert ends["peak_minus_x"] == 120.0
    ends = solve(TURNING["x"], row | {"x": 1.0}, run, t_end=10.0).endpoints.iloc[0]
    assert ends["nadir"] == pytest.approx(min(1.0, known_cubic(low) + 121), rel=1e-5)
