"""Areas, peaks, crossings and saved values of observables that are faster than the states, in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from families import CLEARANCE, FORCED, Clearance, Forced, clearances, forced, numbers, powers
from hypothesis import assume
from hypothesis import strategies as st
from law import RUNS, each_of, law, solve
from numba import njit

import fastcart
from fastcart import Event, Model, Observable, State

EXPLICIT = ("tsit5", "vern7", "dop853", "stab5")


@law(20, run=RUNS, patient=clearances(), t_end=powers(0.05, 50.0), rtol=st.sampled_from([1e-4, 1e-6, 1e-8]))
def test_areas_are_as_near_as_the_tolerance(run, patient, t_end, rtol):
    if run[0] == "scipy":
        assume(patient.f * t_end < 30)
    result = solve(
        CLEARANCE, patient.row(), run, t_end=t_end, rtol=rtol, auc=["fast", "share"]
    ).endpoints.iloc[0]
    assert result["status"] == "ok"
    # w is in no logarithm: it is known to rtol times its scale, 1
    unsure = 10 * rtol * t_end
    for name, exact, allowed in (
        ("fast", patient.area_fast(t_end), 1e-12 * patient.y * t_end),
        ("share", patient.area_share(t_end), unsure / patient.h),
    ):
        assert result[f"auc_{name}"] == pytest.approx(exact, rel=30 * rtol, abs=allowed), name
    # what is watched does not disturb the solution
    assert result["final_y"] == pytest.approx(
        patient.state("y", t_end), rel=30 * rtol * (1 + patient.k * t_end)
    )
    assert result["final_w"] == pytest.approx(
        patient.state("w", t_end), rel=30 * rtol * (1 + patient.l * t_end), abs=10 * rtol
    )


@pytest.mark.parametrize("method", ["rodas5p", "tsit5", "vern7"])
def test_no_wave_looks_like_none_to_a_first_step(method):
    """The states hardly change over the horizon: some waves have the same value at all stages of one step."""
    waves = [Clearance(k=0.005, l=0.005, f=f) for f in np.linspace(2.0, 20.0, 2000)]
    table = pd.DataFrame([wave.row() for wave in waves])
    ends = fastcart.solve(
        CLEARANCE, table, engine="lanes", method=method, t_end=10.0, rtol=1e-3, auc=["fast"],
        events=[Event("up", "fast", 0.5, "up")], progress=False,
    ).endpoints  # fmt: skip
    np.testing.assert_allclose(ends["auc_fast"], [wave.area_fast(10.0) for wave in waves], rtol=0.01)
    # the crests are at odd numbers of half periods
    np.testing.assert_allclose(ends["count_up"], np.floor(10.0 * table["f"] + 0.5), atol=1)


@njit
def _fading(t, y, p):
    return (-0.01 * y[0],)


@njit
def _warm(t, y, p):
    return (p[0] + 0.5 * np.sin(2.0 * np.pi * t / 24.0), np.sin(np.pi * p[1] * t + p[2]) ** 2)


WARM = Model(
    "warm", [State("y", default=1.0, log=True)], {"level": 310.15, "waves": 1.0, "phase": 0.0}, _fading,
    t_end=24.0, observables=[Observable("temperature"), Observable("wave")], observe=_warm,
)  # fmt: skip


@pytest.mark.parametrize("method", [*EXPLICIT, "rodas5p"])
def test_small_waves_on_a_high_level_are_seen_for_ten_years(method):
    levels = np.array([310.15, 1000.0, 5000.0])
    rising = [Event("rises", "temperature", "beyond", "up")]
    ends = fastcart.solve(
        WARM, pd.DataFrame({"level": levels, "beyond": levels + 0.3}), engine="lanes", method=method,
        events=rising, peaks=["temperature"], t_end=24.0 * 3650, progress=False,
    ).endpoints  # fmt: skip
    assert (ends["count_rises"] == 3650).all()
    np.testing.assert_allclose(ends["peak_temperature"], levels + 0.5, rtol=1e-9)


@pytest.mark.parametrize(
    ("waves", "phase", "method", "rtol"),
    [(24.0, 1.9765, "tsit5", 1e-2), (4.0, 0.7651, "tsit5", 1e-2), (2.0, 0.2408, "vern7", 1e-2),
     (18.0, 1.6381, "stab5", 1e-2), (20.0, 2.2405, "dop853", 1e-3)],
)  # fmt: skip
def test_doses_in_step_with_waves_do_not_hide_them(waves, phase, method, rtol):
    """A step from each dose to the next, over as many waves each time, would see all of them alike."""
    daily = fastcart.DosingSchedule().bolus(1.0, "y", 1e-6, every=1.0, repeats=198)
    ends = fastcart.solve(
        WARM, {"waves": [waves], "phase": [phase]}, doses=daily, t_end=200.0, rtol=rtol, engine="lanes",
        method=method, auc=["wave"], events=[Event("up", "wave", 0.6, "up")], progress=False,
    ).endpoints.iloc[0]  # fmt: skip
    assert ends["count_up"] == pytest.approx(200 * waves, abs=4)
    assert ends["auc_wave"] == pytest.approx(100.0, rel=20 * rtol)


@law(20, scipy=10, run=RUNS, patient=clearances(), t_end=powers(0.5, 100.0),
     share=st.sampled_from([0.9, 0.5, 0.02]), rtol=st.sampled_from([1e-3, 1e-6]))  # fmt: skip
def test_an_observable_faster_than_its_states(run, patient, t_end, share, rtol):
    times, heights = patient.crests(t_end)
    level = share * patient.y
    dense = np.linspace(0.0, t_end, max(int(200 * patient.f * t_end), 1000))
    values = patient.fast(dense)
    assume(len(times) < 300)
    assume(not len(heights) or np.abs(heights / level - 1).min() > 0.05)
    assume(abs(values[-1] / level - 1) > 0.05)
    above = values > level
    ups = np.flatnonzero(~above[:-1] & above[1:])
    downs = np.flatnonzero(above[:-1] & ~above[1:])
    events = [Event(way, "fast", "level_y", way) for way in ("up", "down", "both")]
    ends = solve(
        CLEARANCE,
        patient.row() | {"level_y": level},
        run,
        t_end=t_end,
        rtol=rtol,
        peaks=["fast"],
        events=events,
    ).endpoints.iloc[0]
    assert ends["status"] == "ok"
    highest = max([*heights, values[-1]])
    assert ends["peak_fast"] == pytest.approx(highest, rel=100 * rtol)
    assert ends["count_up"] == len(ups)
    assert ends["count_down"] == len(downs)
    assert ends["count_both"] == len(ups) + len(downs)
    if len(ups):
        width = dense[1]
        assert dense[ups[0]] - 0.1 * width <= ends["event_up"] <= dense[ups[0] + 1] + 0.1 * width


@law(25, scipy=12, run=RUNS, patient=forced(), t_end=powers(0.1, 30.0),
     rtol=st.sampled_from([1e-4, 1e-6, 1e-8]), seed=st.integers(0, 1000))  # fmt: skip
def test_saved_values_under_smooth_forcing(run, patient, t_end, rtol, seed):
    if run[1] in EXPLICIT or run[0] == "scipy":  # not for stiff patients
        assume(patient.rate * t_end < 3000)
    assume(patient.w * t_end < 500)
    times = np.sort(np.random.default_rng(seed).uniform(0, t_end, 40))
    times = np.concatenate([[0.0], times, [t_end]])
    result = solve(FORCED, patient.row(), run, t_end=t_end, rtol=rtol, save_at=times)
    assert result.summary() == {"ok": 1}
    exact = patient.values(times)[:, 0]
    size = 1 + abs(patient.c) + patient.a + abs(patient.q)
    wrong = np.abs(result.trajectories["q"].to_numpy() - exact)
    assert wrong.max() <= 100 * rtol * size


@law(20, run=RUNS, patient=forced(), t_end=powers(0.1, 30.0), rtol=st.sampled_from([1e-4, 1e-6, 1e-8]))
def test_areas_under_smooth_forcing(run, patient, t_end, rtol):
    if run[1] in EXPLICIT or run[0] == "scipy":
        assume(patient.rate * t_end < 3000)
    assume(patient.w * t_end < 500)
    ends = solve(FORCED, patient.row(), run, t_end=t_end, rtol=rtol, auc=["q"]).endpoints.iloc[0]
    assert ends["status"] == "ok"
    dense = np.linspace(0, t_end, 20001)
    size = np.abs(patient.values(dense)[:, 0]).mean() * t_end
    assert ends["auc_q"] == pytest.approx(patient.area(t_end), abs=30 * rtol * (size + t_end))


@law(10, run=RUNS, patient=forced(), t_end=numbers(1.0, 20.0))
def test_a_hundredth_of_the_tolerance_brings_the_answer_nearer(run, patient, t_end):
    assume(patient.rate * t_end < 300)
    assume(patient.w * t_end < 100)
    times = np.linspace(0, t_end, 31)
    exact = patient.values(times)[:, 0]
    size = 1 + abs(patient.c) + patient.a + abs(patient.q)
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8):
        path = solve(FORCED, patient.row(), run, t_end=t_end, rtol=rtol, save_at=times).trajectories
        errors.append(np.abs(path["q"] - exact).max() / size)
    assert errors[1] <= max(0.2 * errors[0], 1e-5)
    assert errors[2] <= max(0.2 * errors[1], 1e-7)


# --- what was found first, as it was found ---------------------------------------------------------------


@each_of(RUNS, __name__)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_the_area_under_a_decay_in_logarithm(run, rtol):
    patient = Clearance(y=1e6, k=0.5)
    ends = solve(CLEARANCE, patient.row(), run, t_end=100.0, rtol=rtol, auc=["y"]).endpoints.iloc[0]
    assert ends["auc_y"] == pytest.approx(2e6, rel=30 * rtol)


@each_of(RUNS, __name__)
def test_the_area_under_a_quotient(run):
    patient = Clearance(w=3.0, l=0.2, h=0.5)
    ends = solve(CLEARANCE, patient.row(), run, t_end=20.0, auc=["share"]).endpoints.iloc[0]
    assert ends["auc_share"] == pytest.approx(patient.area_share(20.0), rel=3e-5)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
@each_of(RUNS, __name__)
def test_a_fast_wave_on_a_slow_decay(run, rtol):
    patient = Clearance(k=0.01, f=2.0)
    events = [Event("half", "fast", 0.5)]
    options = dict(t_end=100.0, rtol=rtol, auc=["fast"], peaks=["fast"], events=events)
    ends = solve(CLEARANCE, patient.row(), run, **options).endpoints.iloc[0]
    assert ends["auc_fast"] == pytest.approx(patient.area_fast(100.0), rel=30 * rtol)
    assert ends["peak_fast"] == pytest.approx(patient.crests(1.0)[1].max(), rel=100 * rtol)
    crests = patient.crests(100.0)[1]
    assert ends["count_half"] == 2 * np.count_nonzero(crests > 0.5)


@pytest.mark.parametrize("run", [("auto", None), ("lanes", "rodas5p"), ("lsoda", None)], ids=str)
def test_a_stiff_equation_follows_its_forcing(run):
    patient = Forced(q=0.0, rate=1e9, c=0.0, a=1.0, w=50.0)
    times = np.linspace(0, 20.0, 1001)
    path = solve(FORCED, patient.row(), run, t_end=20.0, save_at=times).trajectories
    assert np.abs(path["q"] - patient.values(times)[:, 0]).max() < 1e-4
