"""Areas under curves to the tolerance asked for, whatever they are the areas of; watched observables too."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from conftest import slow_but
from numba import njit
from scipy.integrate import quad

import fastcart
from fastcart import Event, Model, Observable, State

METHODS = ("tsit5", "vern7", "dop853", "stab5", "rodas5p")
EVERY_METHOD = pytest.mark.parametrize("method", slow_but(("tsit5", "rodas5p"), METHODS))


@njit
def _decay(t, y, p):
    return (-p[0] * y[0],)


@njit
def _seen(t, y, p):
    s = math.sin(2 * math.pi * t)
    return y[0] * s * s, y[0] / (1.0 + y[0]), math.cos(t)


# y' = -k y in logarithm; an observable much faster than y, a quotient, one that cancels
FADING = Model(
    "fading",
    [State("y", default=1.0, log=True)],
    {"k": 0.01},
    _decay,
    t_end=100.0,
    observables=[Observable("fast"), Observable("quotient"), Observable("wave")],
    observe=_seen,
)


def exact(name: str, k: float, y0: float, t_end: float) -> tuple[float, float]:
    """The integral, and that of the absolute value, by quadrature day by day."""
    functions = {
        "y": lambda t: y0 * math.exp(-k * t),
        "fast": lambda t: y0 * math.exp(-k * t) * math.sin(2 * math.pi * t) ** 2,
        "quotient": lambda t: y0 * math.exp(-k * t) / (1 + y0 * math.exp(-k * t)),
        "wave": math.cos,
    }
    f = functions[name]
    parts = [
        [quad(g, a, a + 1, epsabs=0, epsrel=1e-12, limit=200)[0] for a in range(int(t_end))]
        for g in (f, lambda t: abs(f(t)))
    ]
    return math.fsum(parts[0]), math.fsum(parts[1])


@EVERY_METHOD
def test_areas_keep_the_tolerance(method):
    cases = [(0.01, 1.0), (0.5, 1e6), (0.05, 1e-3)]
    names = ["y", "fast", "quotient", "wave"]
    right = np.array([[exact(name, k, y0, 100.0) for name in names] for k, y0 in cases])
    for rtol in (1e-3, 1e-5, 1e-8, 1e-10) if method != "rodas5p" else (1e-3, 1e-5, 1e-7):
        patients = {"k": [k for k, _ in cases], "y": [y0 for _, y0 in cases]}
        ends = fastcart.solve(FADING, patients, auc=names, rtol=rtol, engine="lanes", method=method).endpoints
        assert ends["status"].eq("ok").all()
        found = ends[[f"auc_{name}" for name in names]].to_numpy()
        # beside 30 tolerances, what rounding leaves of some thousand sums
        assert (np.abs(found - right[..., 0]) <= (30 * rtol + 1e-11) * right[..., 1]).all()


def test_an_untreated_tumor_of_the_shipped_model():
    """Means over the course at every tolerance; 3.9623e11 cell days is the value of SciPy at 1e-12."""
    untreated = dict.fromkeys(("T4", "TP", "TE", "TM", "Tr"), 0.0)
    for rtol in (1e-2, 1e-3, 1e-6):
        area = fastcart.solve("li_lei", untreated, auc=["C"], rtol=rtol).endpoints["auc_C"].item()
        assert area == pytest.approx(3.9623e11, rel=30 * rtol + 2e-5)


def test_an_area_changes_no_solution_and_costs_no_more_than_a_state():
    plain = fastcart.solve("li_lei", 40, rtol=1e-6).endpoints
    with_area = fastcart.solve("li_lei", 40, rtol=1e-6, auc=["TE", "I6"]).endpoints
    np.testing.assert_allclose(with_area["pfs"], plain["pfs"], rtol=1e-5)
    assert with_area["steps"].mean() < 1.15 * plain["steps"].mean()


@njit
def _last(t, y, p):
    return (y[5],)


@njit
def _chain(t, y, p):
    return p[0], y[0], y[1], y[2], y[3], y[4]


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e9])
def test_an_area_that_begins_as_a_high_power_of_time_needs_no_steps_for_each_decade(unit):
    """The last of six states is unit t^6/6!, its area unit t^7/7!, whatever the unit."""
    model = Model(
        "chain", [State(f"y{k}") for k in range(6)], {"rate": unit}, _chain, t_end=2.0,
        observables=[Observable("last")], observe=_last,
    )  # fmt: skip
    plain = fastcart.solve(model, {}, engine="lanes", method="vern7").endpoints
    for name, steps in (("y5", 60), ("last", 120)):
        ends = fastcart.solve(model, {}, auc=(name,), engine="lanes", method="vern7").endpoints
        assert ends[f"auc_{name}"][0] == pytest.approx(unit * 2.0**7 / math.factorial(7), rel=3e-5)
        assert ends["steps"][0] <= plain["steps"][0] + steps


@EVERY_METHOD
def test_peaks_and_crossings_of_what_is_faster_than_the_states(method):
    events = [Event("up", "fast", 0.5, "up"), Event("down", "fast", 0.5, "down"), Event("any", "fast", 0.5)]
    peak = np.max(np.exp(-0.01 * (x := np.linspace(0.24, 0.26, 200_001))) * np.sin(2 * np.pi * x) ** 2)
    # two humps a day, each above 0.5 as long as its top is
    tops = 0.25 + 0.5 * np.arange(200)
    humps = int(np.sum(np.exp(-0.01 * tops) > 0.5))
    for rtol in (1e-3, 1e-6):
        row = fastcart.solve(
            FADING, 1, peaks=["fast"], events=events, rtol=rtol, engine="lanes", method=method
        ).endpoints.iloc[0]
        assert row["peak_fast"] == pytest.approx(peak, rel=rtol)
        assert row["t_peak_fast"] == pytest.approx(0.25, abs=1e-2)
        assert [row["count_up"], row["count_down"], row["count_any"]] == [humps, humps, 2 * humps]


def test_hidden_integrals_are_no_results():
    result = fastcart.solve(FADING, 2, peaks=["quotient"], save_at=[1.0, 2.0])
    for table in (result.endpoints, result.trajectories):
        assert not [name for name in table.columns if "integral" in name]
    assert result.trajectories.columns.tolist() == ["patient", "t", "y", "fast", "quotient", "wave"]


def test_an_integral_agrees_with_its_course_down_to_the_floor_of_logarithms():
    """``auc_L`` of ln A where A fades below what a float can hold, as the saved course has it."""

    @njit
    def logarithm(t, y, p):
        return (math.log(y[0]),)

    model = Model(
        "floor", [State("y", default=1.0, log=True)], {"k": 20.0}, _decay, t_end=60.0,
        observables=[Observable("L")], observe=logarithm,
    )  # fmt: skip
    times = np.linspace(0, 60, 6001)
    result = fastcart.solve(model, 1, auc=["L"], save_at=times, rtol=1e-8)
    course = result.trajectories["L"].to_numpy()
    assert np.isfinite(course).all()
    assert result.endpoints["auc_L"].item() == pytest.approx(np.trapezoid(course, times), rel=1e-5)


# --- corners and jumps in what is integrated ---


@njit
def _fall_and_swing(t, y, p):
    k, w, _ = p
    return -k * y[0], w * math.cos(w * t)


@njit
def _cut(t, y, p):
    c = p[2]
    above, high = max(y[0] - c, 0.0), max(y[1] - 0.5, 0.0)
    return 1.0 if y[0] > c else 0.0, above, min(y[0], c), abs(y[1]), 1.0 if y[1] > 0.5 else 0.0, high


CUT = ("days_above", "excess", "capped", "size", "days_high", "height")
# y = e^(-k t) and s = sin(w t), and what is made of them where they pass a threshold
CORNERS = Model(
    "corners",
    [State("y", default=1.0, log=True), State("s", default=0.0)],
    {"k": 0.1, "w": 1.0, "c": 0.3},
    _fall_and_swing,
    t_end=50.0,
    observables=[Observable(name) for name in CUT],
    observe=_cut,
)


def _sines(f, phase: float) -> float:
    """∫ f(sin x) dx from 0 to ``phase`` for f that has corners or jumps at sin x = 0 and 1/2 only."""
    turns = math.pi * np.arange(int(phase / math.pi) + 1)
    corners = np.concatenate([turns, turns + math.pi / 6, turns + 5 * math.pi / 6])
    ends = [*np.sort(corners[corners < phase]), phase]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    return math.fsum(
        (b - a) / 2 * float(weights @ [f(math.sin(a + (b - a) * (x + 1) / 2)) for x in nodes])
        for a, b in pairwise(ends)
    )


def _cut_areas(k: float, w: float, c: float, t_end: float) -> list[float]:
    passed = min(-math.log(c) / k, t_end)
    swings = [abs, lambda s: 1.0 if s > 0.5 else 0.0, lambda s: max(s - 0.5, 0.0)]
    return [
        passed,
        -math.expm1(-k * passed) / k - c * passed,
        c * passed + (math.exp(-k * passed) - math.exp(-k * t_end)) / k,
        *(_sines(f, w * t_end) / w for f in swings),
    ]


@pytest.mark.parametrize("method", slow_but(("tsit5", "auto"), [*METHODS[:4], "scipy", "auto"]))
def test_areas_of_what_has_corners_and_jumps(method):
    """No step runs over a corner because its estimate of the error happens to vanish there."""
    engine = {"scipy": dict(engine="scipy"), "auto": {}}.get(method, dict(engine="lanes", method=method))
    count = 8 if method == "scipy" else 200
    rng = np.random.default_rng(1)
    k, w, c = rng.uniform(0.05, 0.5, count), rng.uniform(0.2, 2, count), rng.uniform(0.1, 0.9, count)
    right = np.array([_cut_areas(*row, 50.0) for row in zip(k, w, c, strict=True)])
    for rtol in (1e-3, 1e-6, *((1e-9,) if method in ("vern7", "dop853", "scipy") else ())):
        ends = fastcart.solve(CORNERS, {"k": k, "w": w, "c": c}, auc=list(CUT), rtol=rtol, **engine).endpoints
        assert ends["status"].eq("ok").all()
        assert method != "auto" or ends["engine"].str.startswith("lanes-").all()
        found = ends[[f"auc_{name}" for name in CUT]].to_numpy()
        assert (np.abs(found - right) <= 10 * rtol * np.maximum(right, 1e-3)).all()


@njit
def _shrinks(t, y, p):
    return (-y.x,)


@njit
def _singular(t, y, p):
    d = y.x - 0.5
    return 1.0 / d, 1.0 / d**2, abs(d) ** -0.5, 1.0 if d < 0.0 else 0.0, max(0.0, -d)


SINGULAR = Model(
    "singular",
    {"x": 1.0},
    {},
    _shrinks,
    t_end=2.0,
    observables=[Observable(name) for name in ("pole", "double_pole", "root", "jump", "corner")],
    observe=_singular,
)


@EVERY_METHOD
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_a_pole_has_no_area_and_a_jump_has_one(method, rtol):
    """As short a step as there is was taken for one across a corner, also where it led over a pole."""
    watched = SINGULAR.observable_names
    for name in watched[:2]:
        with pytest.warns(fastcart.PatientsFailed):
            ends = fastcart.solve(
                SINGULAR, engine="lanes", method=method, rtol=rtol, auc=[name], peaks=[name]
            ).endpoints.iloc[0]
        assert ends["status"] == "step_too_small"
        assert math.isnan(ends[f"auc_{name}"])
        assert math.isnan(ends[f"peak_{name}"])
    ends = fastcart.solve(
        SINGULAR, engine="lanes", method=method, rtol=rtol, auc=["root", "jump", "corner"]
    ).endpoints.iloc[0]
    assert ends["status"] == "ok"
    end = math.log(2.0)
    # with x = 1/2 (1 + u^2) before the pole, and 1/2 (1 - u^2) behind it
    before = quad(lambda u: 2 * math.sqrt(2) / (1 + u * u), 0, 1)[0]
    behind = quad(lambda u: 2 * math.sqrt(2) / (1 - u * u), 0, math.sqrt(1 - 2 * math.exp(-2.0)))[0]
    assert ends["auc_root"] == pytest.approx(before + behind, rel=30 * rtol)
    assert ends["auc_jump"] == pytest.approx(2.0 - end, rel=30 * rtol)
    exact = 0.5 * (2.0 - end) - (0.5 - math.exp(-2.0))
    assert ends["auc_corner"] == pytest.approx(exact, rel=30 * rtol)


def test_a_pole_has_no_area_in_any_engine():
    for engine in ("auto", "lsoda", "scipy"):
        with pytest.warns(fastcart.PatientsFailed):
            ends = fastcart.solve(SINGULAR, engine=engine, auc=["pole"], max_steps=3000).endpoints.iloc[0]
        assert math.isnan(ends["auc_pole"]), engine


def _plain(t, y, p):
    return (-p.k * y.x,)


def _plainly(t, y, p):
    return (y.x * y.x,)


@pytest.mark.parametrize("engine", ["auto", "lanes", "lsoda", "scipy"])
def test_areas_of_a_model_of_plain_functions(engine):
    """They were refused as what numba cannot compile, though without an area they were solved."""
    model = Model(
        "plain", {"x": 1.0}, {"k": 0.5}, _plain, t_end=4.0, observables=[Observable("square")],
        observe=_plainly,
    )  # fmt: skip
    ends = fastcart.solve(model, engine=engine, rtol=1e-6, auc=["x", "square"]).endpoints.iloc[0]
    assert ends["auc_x"] == pytest.approx(2 * (1 - math.exp(-2.0)), rel=3e-5)
    assert ends["auc_square"] == pytest.approx(1 - math.exp(-4.0), rel=3e-5)
