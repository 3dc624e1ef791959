"""Pulses and switches inside a right-hand side: with breaks or a longest step every engine sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from families import CLEARANCE, clearances, free, numbers, powers
from hypothesis import assume
from hypothesis import strategies as st
from law import RUNS, each_of, law, solve
from numba import njit

from fastcart import Event, Model, State


@njit
def _switched(t, y, p):
    height, on, off, k, up, down, period, duty = p[:8]
    pulse = height if on <= t < off else 0.0
    place = t - period * math.floor(t / period)
    slope = up if place < duty * period else -down
    return pulse - k * y[0], slope, slope * y[2]


SWITCHED = Model(
    "switched",
    [State("q"), State("s", default=1.0), State("z", default=1.0, log=True)],
    free(height=1.0, on=40.0, off=50.0, k=0.0, up=1.0, down=0.5, period=1e6, duty=1.0, level=0.0),
    _switched,
    t_end=100.0,
)


@dataclass(frozen=True)
class Switched:
    """q gets an input from `on` to `off` and decays at rate k; s is a saw, z its exponential."""

    height: float = 1.0
    on: float = 40.0
    off: float = 50.0
    k: float = 0.0
    up: float = 1.0
    down: float = 0.5
    period: float = 1e6
    duty: float = 1.0

    def row(self) -> dict[str, float]:
        return dict(self.__dict__)

    def q(self, t):
        since = np.clip(np.asarray(t, dtype=float) - self.on, 0.0, None)
        held = np.minimum(since, self.off - self.on)
        rate = self.k or 1e-300
        grown = held if self.k == 0 else -np.expm1(-rate * held) / rate
        return self.height * grown * np.exp(-self.k * (since - held))

    def s(self, t):
        whole, place = np.divmod(np.asarray(t, dtype=float), self.period)
        high = self.duty * self.period
        per = self.up * high - self.down * (self.period - high)
        return (
            1.0 + whole * per + self.up * np.minimum(place, high) - self.down * np.maximum(place - high, 0.0)
        )

    def breaks(self, t_end: float) -> list[float]:
        times = np.arange(0, t_end + self.period, self.period)
        both = np.concatenate([times, times + self.duty * self.period])
        return sorted(float(t) for t in {*both, self.on, self.off} if 0 < t <= t_end)


def saw(on: float, width: float, height: float, k: float, up: float, down: float, period: float, duty: float):
    return Switched(height, on, on + width, k, up, down, period, duty)


saws = st.builds(
    saw,
    on=numbers(0.0, 60.0, 3),
    width=st.sampled_from([0.01, 1.0, 10.0]),
    height=st.sampled_from([1.0, 1e6]),
    k=st.sampled_from([0.0, 0.1, 2.0]),
    up=numbers(0.0, 2.0, 2),
    down=numbers(0.0, 2.0, 2),
    period=st.sampled_from([1.0, 7.0, 1e6]),
    duty=st.sampled_from([0.25, 0.5]),
)


def check(patient: Switched, result, times: np.ndarray, allowed: float) -> None:
    assert result.summary() == {"ok": 1}
    path = result.trajectories
    np.testing.assert_allclose(path["q"], patient.q(times), rtol=allowed, atol=allowed * patient.height)
    np.testing.assert_allclose(
        path["s"], patient.s(times), rtol=allowed, atol=allowed * (1 + np.ptp(patient.s(times)))
    )
    steep = 1 + np.abs(patient.s(times)).max()
    np.testing.assert_allclose(np.log(path["z"]), patient.s(times) - 1, rtol=allowed, atol=allowed * steep)


@law(
    15,
    run=RUNS,
    shrink=False,
    patient=saws,
    t_end=numbers(1.0, 100.0, 3),
    rtol=st.sampled_from([1e-4, 1e-6, 1e-8]),
)
def test_breaks_make_switches_exact(run, patient, t_end, rtol):
    times = np.linspace(0.0, t_end, 21)
    breaks = patient.breaks(t_end)
    result = solve(SWITCHED, patient.row(), run, t_end=t_end, rtol=rtol, save_at=times, breaks=breaks)
    check(patient, result, times, 30 * rtol)


@each_of(RUNS, __name__)
def test_a_decay_behind_a_pulse_is_followed(run):
    """Found by `make fuzz`: LSODA's first step ended at a look, whose slope was taken over two steps."""
    patient = Switched(height=1e6, on=0.0, off=0.01, k=0.1, up=0.0, down=0.0, period=1.0, duty=0.25)
    times = np.linspace(0.0, 10.5, 21)
    result = solve(SWITCHED, patient.row(), run, t_end=10.5, breaks=patient.breaks(10.5), save_at=times)
    check(patient, result, times, 3e-5)


@njit
def _pulse(t, y, p):
    return ((1.0 / (p.off - p.on) if p.on <= t < p.off else 0.0),)


PULSE = Model("pulse", [State("x")], free(on=1.0, off=2.0), _pulse, t_end=10.0)


@each_of(RUNS, __name__)
@pytest.mark.parametrize(
    ("on", "width", "rtol"),
    [(365.0, 1e-2, 1e-10), (365.0, 1e-5, 1e-6), (1e5, 1e-5, 1e-6), (10.0, 1e-9, 1e-6), (0.3, 1e-6, 1e-8)],
)
def test_the_shortest_pulse_between_breaks_is_whole(run, on, width, rtol):
    """Engines stepped over 4e-13 of the time at each break, which was all of a short pulse."""
    patient = {"on": on, "off": on + width}
    result = solve(PULSE, patient, run, t_end=on + 1.0, rtol=rtol, breaks=["on", "off"])
    assert result.endpoints["final_x"].iloc[0] == pytest.approx(1.0, rel=30 * rtol)


@each_of(RUNS, __name__)
@pytest.mark.parametrize("rtol", [1e-3, 1e-4])
def test_stretches_without_any_error_are_followed(run, rtol):
    """Found by `make fuzz`: where the solution is a straight line LSODA came to steps of no length."""
    patient = Switched(height=1.0, on=0.0, off=0.01, k=0.0, up=2.0, down=0.0, period=1.0, duty=0.25)
    times = np.linspace(0.0, 16.0, 21)
    options = dict(t_end=16.0, rtol=rtol, breaks=patient.breaks(16.0), save_at=times)
    check(patient, solve(SWITCHED, patient.row(), run, **options), times, 30 * rtol)


@each_of(RUNS, __name__)
def test_a_switch_at_the_horizon_itself(run):
    """Found by `make fuzz`: an input of a million from the horizon on ended as ``step_too_small``."""
    patient, t_end = saw(35.7, 1.0, 1e6, 0.0, 1.0, 0.5, 1e6, 0.5), 35.7
    options = dict(t_end=t_end, rtol=1e-8, peaks=["s"], events=[Event("any", "s", 20.0)])
    times = np.linspace(0.0, t_end, 21)
    result = solve(SWITCHED, patient.row(), run, breaks=patient.breaks(t_end), save_at=times, **options)
    check(patient, result, times, 3e-7)
    ends = result.endpoints.iloc[0]
    assert ends["final_q"] == pytest.approx(0.0, abs=1e-4)
    assert ends["peak_s"] == pytest.approx(36.7, rel=1e-7)
    assert ends["count_any"] == 1
    assert ends["event_any"] == pytest.approx(19.0, rel=1e-6)


@law(10, run=RUNS, shrink=False, patient=saws, t_end=numbers(1.0, 30.0, 3))
def test_a_longest_step_sees_every_switch(run, patient, t_end):
    shortest = min(
        patient.off - patient.on, patient.duty * patient.period, (1 - patient.duty) * patient.period
    )
    assume(shortest > 0.1)
    times = np.linspace(0.0, t_end, 21)
    result = solve(
        SWITCHED, patient.row(), run, t_end=t_end, rtol=1e-6, save_at=times, max_step=0.6 * shortest
    )
    check(patient, result, times, 1e-3)


@law(10, run=RUNS, patient=saws, t_end=numbers(1.0, 60.0, 3), place=numbers(0.05, 0.95, 2))
def test_peaks_and_crossings_between_breaks(run, patient, t_end, place):
    corners = np.array([0.0, *patient.breaks(t_end), t_end])
    values = patient.s(corners)
    span = np.ptp(values)
    assume(span > 1e-2)
    level = values.min() + place * span
    assume(np.abs(values - level).min() > 1e-4 * span)
    side = np.sign(values - level)
    options = dict(t_end=t_end, breaks=list(corners[1:-1]), peaks=["s"], events=[Event("any", "s", "level")])
    ends = solve(SWITCHED, patient.row() | {"level": level}, run, **options).endpoints.iloc[0]
    assert ends["peak_s"] == pytest.approx(values.max(), rel=1e-4, abs=1e-4)
    assert ends["count_any"] == np.count_nonzero(np.diff(side))


@law(10, run=RUNS, patient=clearances(), t_end=numbers(0.5, 30.0, 3),
     places=st.lists(numbers(0.0, 1.5, 3), max_size=4), longest=powers(0.05, 10.0))  # fmt: skip
def test_breaks_and_short_steps_of_a_smooth_model_change_nothing(run, patient, t_end, places, longest):
    options = dict(t_end=t_end, rtol=1e-8, auc=["y", "w"])
    breaks = [place * t_end for place in places]
    for more in (dict(breaks=breaks), dict(max_step=longest), dict(breaks=breaks, max_step=longest)):
        ends = solve(CLEARANCE, patient.row(), run, **options, **more).endpoints.iloc[0]
        assert ends["status"] == "ok"
        for name in ("y", "w"):
            assert ends[f"final_{name}"] == pytest.approx(patient.state(name, t_end), rel=1e-5, abs=1e-7)
            assert ends[f"auc_{name}"] == pytest.approx(patient.area(name, t_end), rel=1e-5, abs=1e-6)
    late = solve(CLEARANCE, patient.row(), run, **options, breaks=[1.5 * t_end, 2 * t_end]).endpoints
    plain = solve(CLEARANCE, patient.row(), run, **options).endpoints
    assert late.equals(plain)


@each_of(RUNS, __name__)
def test_ten_days_of_input_in_a_hundred(run):
    """Each patient has the times of its own input, by the names of parameters."""
    patients = [Switched(k=0.2, on=on, off=on + 10) for on in (3.0, 40.0, 85.5)]
    rows = {name: [patient.row()[name] for patient in patients] for name in patients[0].row()}
    ends = solve(SWITCHED, rows, run, t_end=100.0, breaks=["on", "off"]).endpoints
    np.testing.assert_allclose(ends["final_q"], [p.q(100.0) for p in patients], rtol=1e-4, atol=1e-6)


@each_of(RUNS, __name__)
def test_a_saw(run):
    for down, exact in ((0.5, 13.5), (1.5, -11.5)):
        patient = Switched(height=0.0, up=1.0, down=down, period=1.0, duty=0.5)
        assert patient.s(50.0) == exact
        ends = solve(SWITCHED, patient.row(), run, t_end=50.0, breaks=patient.breaks(50.0)).endpoints
        assert ends["final_s"].iloc[0] == pytest.approx(exact, abs=1e-4)
        ends = solve(SWITCHED, patient.row(), run, t_end=50.0, max_step=0.2).endpoints
        assert ends["final_s"].iloc[0] == pytest.approx(exact, abs=1e-2)
