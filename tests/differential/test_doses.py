"""Random doses against closed forms: what is given decays by itself, and everything adds up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from families import CLEARANCE, Clearance, Dose, free, numbers, powers
from hypothesis import assume
from hypothesis import strategies as st
from law import LANES, RUNS, each_of, law, solve
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, Model, State


@njit
def _regrowing(t, y, p):
    rate = p[1] if t > p[2] else -p[0]
    return rate * y[0], rate * y[1]


# two kinds of cells that shrink and later grow, in logarithm or not, that die out alone or together
MORTAL = {
    f"{'log' if log else 'linear'} {'together' if mark == 'ab' else 'alone'}": Model(
        "mortal",
        [State(name, default=2.0, log=log, extinction=mark) for name in ("a", "b")],
        free(k=2.0, g=0.0, since=2.5),
        _regrowing,
        t_end=4.0,
        burden="a",
    )
    for log in (True, False)
    for mark in (True, "ab")
}

quarters = st.integers(0, 48).map(lambda k: k / 4)
doses = st.lists(
    st.builds(
        Dose,
        time=quarters,
        state=st.sampled_from(["y", "w"]),
        amount=st.sampled_from([0.0, 0.3, 1.0, 7.0, 100.0]),
        duration=st.sampled_from([0.0, 0.0, 0.25, 1.0, 5.5]),
    ),
    max_size=6,
).map(tuple)
patients = st.builds(
    Clearance,
    y=st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
    w=st.sampled_from([0.0, 1.0, 50.0]),
    k=powers(1e-2, 3.0),
    l=powers(1e-2, 3.0),
)
RTOL = st.sampled_from([1e-4, 1e-6, 1e-8])


def schedule(given: tuple[Dose, ...]) -> DosingSchedule | None:
    plan = DosingSchedule()
    for dose in given:
        if dose.duration:
            plan = plan.infusion(dose.time, dose.state, dose.amount, dose.duration)
        else:
            plan = plan.bolus(dose.time, dose.state, dose.amount)
    return plan if given else None


def changes(given: tuple[Dose, ...], t_end: float) -> list[float]:
    """Times at which something is given, begins or stops, from 0 to the horizon."""
    times = {0.0, t_end}
    for dose in given:
        times |= {dose.time, dose.time + dose.duration}
    return sorted(t for t in times if t <= t_end)


def course(patient: Clearance, name: str, given: tuple[Dose, ...], t_end: float) -> list[tuple[float, float]]:
    """Values just before and just after every change; between two changes a state is monotone."""
    points = []
    for t in changes(given, t_end):
        before = [d for d in given if not (d.duration == 0 and d.time == t)]
        if t > 0:
            points.append((t, float(patient.state(name, t, before))))
        points.append((t, float(patient.state(name, t, given))))
    return points


def before_the_horizon(given: tuple[Dose, ...], t_end: float) -> tuple[Dose, ...]:
    return tuple(dose for dose in given if dose.time <= t_end)


@law(25, run=RUNS, patient=patients, given=doses, t_end=quarters, rtol=RTOL)
def test_final_saved_and_integrated(run, patient, given, t_end, rtol):
    t_end += 0.25
    given = before_the_horizon(given, t_end)
    times = sorted({*changes(given, t_end), 0.37 * t_end, 0.61 * t_end, 0.0, t_end})
    result = solve(
        CLEARANCE,
        patient.row(),
        run,
        doses=schedule(given),
        t_end=t_end,
        rtol=rtol,
        save_at=times,
        auc=["y", "w"],
    )
    ends = result.endpoints.iloc[0]
    assert ends["status"] == "ok"
    total = 1 + patient.y + patient.w + sum(d.amount for d in given)
    for name in ("y", "w"):
        exact = patient.state(name, times, given)
        np.testing.assert_allclose(result.trajectories[name], exact, rtol=0, atol=100 * rtol * total)
        assert ends[f"final_{name}"] == pytest.approx(exact[-1], abs=100 * rtol * total)
        area = patient.area(name, t_end, given)
        assert ends[f"auc_{name}"] == pytest.approx(area, rel=30 * rtol, abs=30 * rtol * t_end)


@law(25, run=RUNS, patient=patients, given=doses, t_end=quarters, place=numbers(0.01, 0.99, 2), rtol=RTOL)
def test_peaks_and_crossings_between_and_at_doses(run, patient, given, t_end, place, rtol):
    t_end += 0.25
    given = before_the_horizon(given, t_end)
    points = {name: course(patient, name, given, t_end) for name in ("y", "w")}
    levels, counts = {}, {}
    for name, path in points.items():
        values = np.array([value for _, value in path])
        levels[f"level_{name}"] = level = values.min() + place * np.ptp(values) if np.ptp(values) > 0 else 1e9
        assume(np.abs(values - level).min() > 1e-3 * (1 + level))
        side = np.sign(values - level)
        counts[name] = (np.count_nonzero(np.diff(side) > 0), np.count_nonzero(np.diff(side) < 0))
    events = [Event(f"{way}_{n}", n, f"level_{n}", way) for n in ("y", "w") for way in ("up", "down", "both")]
    options = dict(doses=schedule(given), t_end=t_end, rtol=rtol, peaks=["y", "w"], events=events)
    ends = solve(CLEARANCE, patient.row() | levels, run, **options).endpoints.iloc[0]
    assert ends["status"] == "ok"
    for name, path in points.items():
        highest = max(value for _, value in path)
        assert ends[f"peak_{name}"] == pytest.approx(highest, rel=100 * rtol, abs=100 * rtol)
        up, down = counts[name]
        assert (ends[f"count_up_{name}"], ends[f"count_down_{name}"]) == (up, down)
        assert ends[f"count_both_{name}"] == up + down
        when = ends[f"event_both_{name}"]
        assert np.isnan(when) == (up + down == 0)
        if up + down and not any(abs(when - t) < 1e-6 * t_end for t, _ in path):
            value = float(patient.state(name, when, given))
            assert value == pytest.approx(levels[f"level_{name}"], rel=1000 * rtol, abs=1000 * rtol)
    # when something happens does not depend on what is saved
    times = np.linspace(0, t_end, 41)
    saved = solve(CLEARANCE, patient.row() | levels, run, save_at=times, **options).endpoints
    for column in [c for c in saved if c.startswith(("event_", "count_", "peak_", "final_"))]:
        np.testing.assert_array_equal(saved[column].iloc[0], ends[column])


@law(25, run=RUNS, patient=patients, given=doses, t_end=quarters, exact=st.booleans())
def test_ups_and_downs_alternate(run, patient, given, t_end, exact):
    """Who ends on the side of the start has come down as often as up, even where a dose just reaches."""
    t_end += 0.25
    given = before_the_horizon(given, t_end)
    path = course(patient, "w", given, t_end)
    reached = [value for _, value in path[1:-1]] or [2.0]
    level = max(reached) if exact else 0.5 * max(reached) + 1e-3
    assume(abs(path[0][1] - level) > 1e-3 * (1 + level))
    assume(abs(path[-1][1] - level) > 1e-3 * (1 + level))
    events = [Event(way, "w", "level_w", way) for way in ("up", "down", "both")]
    ends = solve(
        CLEARANCE, patient.row() | {"level_w": level}, run, doses=schedule(given), t_end=t_end, events=events
    ).endpoints.iloc[0]
    net = int(path[-1][1] > level) - int(path[0][1] > level)
    assert ends["count_up"] - ends["count_down"] == net
    assert ends["count_both"] == ends["count_up"] + ends["count_down"]


@law(15, run=RUNS, patient=patients, given=doses, empty=doses, t_end=quarters)
def test_a_dose_of_nothing_changes_nothing(run, patient, given, empty, t_end):
    t_end += 0.25
    given = before_the_horizon(given, t_end)
    nothing = before_the_horizon(tuple(replace(d, amount=0.0, duration=0.0) for d in empty), t_end)
    options = dict(t_end=t_end, rtol=1e-8, auc=["y", "w"])
    plain = solve(CLEARANCE, patient.row(), run, doses=schedule(given), **options).endpoints
    more = solve(CLEARANCE, patient.row(), run, doses=schedule(given + nothing), **options).endpoints
    for column in ("final_y", "final_w", "auc_y", "auc_w"):
        np.testing.assert_allclose(more[column], plain[column], rtol=1e-5, atol=1e-5)


@law(15, run=LANES, patient=patients, given=doses, t_end=quarters, later=quarters)
def test_everything_later_is_the_same_later(run, patient, given, t_end, later):
    patient = replace(patient, y=0.0, w=0.0)
    t_end += 0.25
    given = before_the_horizon(given, t_end)
    assume(any(d.amount for d in given))
    moved = tuple(replace(d, time=d.time + later) for d in given)
    options = dict(rtol=1e-8, auc=["y", "w"], peaks=["y", "w"])
    now = solve(CLEARANCE, patient.row(), run, doses=schedule(given), t_end=t_end, **options).endpoints
    then = solve(
        CLEARANCE, patient.row(), run, doses=schedule(moved), t_end=t_end + later, **options
    ).endpoints
    for column in ("final_y", "final_w", "auc_y", "auc_w", "peak_y", "peak_w"):
        np.testing.assert_allclose(then[column], now[column], rtol=1e-5, atol=1e-5)


@law(15, run=RUNS, patient=patients, given=doses, t_end=quarters, unit=st.sampled_from([24.0, 1 / 7, 1e-3]),
     cells=st.sampled_from([1e6, 0.01]))  # fmt: skip
def test_units_of_time_and_of_cells(run, patient, given, t_end, unit, cells):
    t_end += 0.25
    given = before_the_horizon(given, t_end)
    options = dict(auc=["y", "w"], rtol=1e-8)
    plain = solve(CLEARANCE, patient.row(), run, doses=schedule(given), t_end=t_end, **options)
    other = replace(patient, k=patient.k / unit, l=patient.l / unit, y=patient.y * cells, w=patient.w * cells)
    moved = [
        replace(d, time=d.time * unit, duration=d.duration * unit, amount=d.amount * cells) for d in given
    ]
    found = solve(
        CLEARANCE,
        other.row(),
        run,
        doses=schedule(tuple(moved)),
        t_end=t_end * unit,
        atol=1e-8 * cells,
        **options,
    ).endpoints
    for name in ("y", "w"):
        exact = plain.endpoints[f"final_{name}"] * cells
        np.testing.assert_allclose(found[f"final_{name}"], exact, rtol=1e-5, atol=1e-5 * cells)
        exact = plain.endpoints[f"auc_{name}"] * cells * unit
        np.testing.assert_allclose(found[f"auc_{name}"], exact, rtol=1e-5, atol=1e-5 * cells * unit * t_end)


# --- dying out -------------------------------------------------------------------------------------------


@law(25, run=RUNS, patient=patients,
     boluses=st.lists(st.tuples(quarters, st.sampled_from([0.3, 3.0, 70.0])), max_size=4),
     infused=st.sampled_from([None, "w", "y"]), t_end=quarters)  # fmt: skip
def test_who_falls_below_is_gone_until_the_next_dose(run, patient, boluses, infused, t_end):
    t_end += 0.25
    limit = 0.1
    given = [Dose(t, "y", amount) for t, amount in boluses if t <= t_end]
    # an infusion that ends at once after the start, so that y is not integrated in logarithm
    extra = (Dose(0.0, infused, 40.0, 0.25),) if infused else ()
    assume(patient.y == 0 or patient.y > 2 * limit)
    now = 0.0
    value, gone = patient.y, patient.y == 0
    ever = False
    if infused == "y":  # what the infusion has brought when it stops
        assume(t_end > 0.25)
        now = 0.25
        given = [dose for dose in given if dose.time == 0 or dose.time >= 0.25]
        initial = tuple(dose for dose in given if dose.time == 0)
        value = float(patient.state("y", 0.25, initial + extra))
        given = [dose for dose in given if dose.time >= 0.25]
        gone = False
        assume(value > 2 * limit)
    for stop in sorted({*(dose.time for dose in given), t_end}):
        if value > 0:
            at = np.log(value / limit) / patient.k if value > limit else 0.0
            assume(abs(now + at - stop) > 1e-4)
            if now + at < stop:
                value, gone, ever = 0.0, True, True
            else:
                value *= np.exp(-patient.k * (stop - now))
        brought = sum(dose.amount for dose in given if dose.time == stop)
        if brought:
            value, gone = value + brought, False
        now = stop
    initial = [] if infused != "y" else [Dose(0.0, "y", a) for t, a in boluses if t == 0]
    plan = schedule((*initial, *given, *extra))
    ends = solve(
        CLEARANCE, patient.row(), run, doses=plan, t_end=t_end, extinction=limit, rtol=1e-8
    ).endpoints
    row = ends.iloc[0]
    assert row["status"] == "ok"
    assert row["final_y"] == pytest.approx(value, rel=1e-5)
    assert (row["final_y"] == 0) == gone
    assert row["cured"] == (gone and ever)


@law(
    20, run=RUNS, kind=st.sampled_from(sorted(MORTAL)), seed=numbers(0.05, 0.95, 2),
    share=numbers(0.0, 1.0, 2), at_end=st.booleans(), grows=st.sampled_from([0.0, 50.0]),
    since=st.sampled_from([2.5, 3.0]),
)  # fmt: skip
def test_what_is_seeded_below_the_threshold_is_gone_at_once(run, kind, seed, share, at_end, grows, since):
    """The state that is saved at such a dose is the one after it: nothing; also where it would grow fast,
    and where there is a break at the same time."""
    dose = 4.0 if at_end else 3.0
    plan = DosingSchedule().bolus(dose, "a", share * seed).bolus(dose, "b", (1 - share) * seed)
    row = {"a": [2.0], "b": [2.0], "k": [2.0], "g": [grows], "since": [since]}
    times = [1.0, 3.0, 3.5, 4.0]
    result = solve(
        MORTAL[kind], row, run, doses=plan, extinction=1.0, save_at=times, t_end=4.0, breaks=["since"]
    )
    ends = result.endpoints.iloc[0]
    assert ends["status"] == "ok"
    assert ends["cured"]
    assert ends["nadir"] == ends["final_a"] == ends["final_b"] == 0.0
    for name in ("a", "b"):
        assert result.trajectories[name].tolist() == [0.0, 0.0, 0.0, 0.0], name


def test_a_reseeded_tumor_is_not_cured():
    plan = DosingSchedule().bolus(8.0, "y", 5.0)
    row = Clearance(y=10.0, k=1.0).row()
    ends = solve(CLEARANCE, row, doses=plan, extinction=0.1, t_end=9.0).endpoints.iloc[0]
    assert ends["final_y"] == pytest.approx(5 * np.exp(-1), rel=1e-5)
    assert not ends["cured"]
    ends = solve(CLEARANCE, row, extinction=0.1, t_end=7.0).endpoints.iloc[0]
    assert ends["cured"]


def test_times_to_save_may_be_rounded():
    """The last of arange(0, 0.31, 0.1) is 0.30000000000000004."""
    result = fastcart.solve(CLEARANCE, 1, t_end=0.3, save_at=np.arange(0, 0.31, 0.1))
    exact = np.exp(-0.1 * np.array([0, 0.1, 0.2, 0.3]))
    np.testing.assert_allclose(result.trajectories["y"], exact, rtol=1e-6)


@each_of(RUNS, __name__)
@pytest.mark.parametrize("kind", sorted(MORTAL))
def test_an_event_that_ends_all_at_a_dose_comes_before_a_death_there(run, kind):
    plan = DosingSchedule().bolus(3.0, "a", 0.3)
    options = dict(doses=plan, extinction=1.0, save_at=[1.0, 3.0, 4.0], t_end=4.0)
    for terminal in (True, False):
        events = [Event("seeded", "a", 0.2, "up", terminal=terminal)]
        result = solve(MORTAL[kind], {"b": [0.0]}, run, events=events, **options)
        ends, saved = result.endpoints.iloc[0], result.trajectories["a"].to_numpy()
        assert (ends["status"], ends["event_seeded"], ends["count_seeded"]) == ("ok", 3.0, 1)
        assert ends["t_reached"] == (3.0 if terminal else 4.0)
        left = pytest.approx(0.3, rel=1e-12) if terminal else 0.0
        assert (saved[0], saved[1], ends["final_a"]) == (0.0, left, left if terminal else 0.0)
        assert np.isnan(saved[2]) if terminal else saved[2] == 0.0
