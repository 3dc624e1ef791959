"""Whole steps as code of one model: the same patients as with steps that know no model, only faster."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numba import njit

import fastcart
from fastcart import DosingSchedule, Event, Model, Observable, State, models
from fastcart.solvers import tableaus
from fastcart.solvers.lanes import engine, step_traced
from fastcart.solvers.trace.graph import TraceError


@pytest.fixture
def untraced(monkeypatch):
    """Return what makes lanes take the steps that know no model."""

    def switch() -> None:
        def refuse(*_):
            raise TraceError("is not to be traced here")

        monkeypatch.setattr(step_traced, "step_core", refuse)

    return switch


def population(model: Model, size: int, spread: float = 0.1) -> pd.DataFrame:
    """Vary what is neither computed nor a choice; what must add up to something stays."""
    random = np.random.default_rng(5)
    varied = {
        item.name: item.default * random.uniform(1 - spread, 1 + spread, size)
        for item in model.parameters
        if not callable(item.default)
        and item.default not in (0, 1)
        and not item.name.startswith(("flo_", "fhi_"))
    }
    return pd.DataFrame(varied)


def stiffly(model, patients, **options):
    return fastcart.solve(model, patients, engine="lanes", method="rodas5p", threads=1, **options)


def agree(one: fastcart.Result, other: fastcart.Result, rtol: float) -> None:
    a, b = one.endpoints, other.endpoints
    assert (a["status"] == b["status"]).all()
    for name in a.columns:
        if a[name].dtype.kind == "f" and name not in ("steps", "rejected", "rhs_calls"):
            values = b[name].to_numpy()
            largest = np.abs(values).max(initial=0.0, where=np.isfinite(values))
            np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=1e-9 * largest, err_msg=name)


SLOW = ("li_lei", "b_all")  # to compile by numba


@pytest.mark.parametrize(
    "name", ["li_lei_coarse", "t_cell", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_shipped_models(name, untraced):
    model = models.get(name)
    burden = [] if model.burden is None else [model.burden]
    quantity = burden or [model.states[0].name]
    patients = population(model, 40)
    options = dict(rtol=1e-6, t_end=60.0, auc=quantity, peaks=quantity, warn=False)
    options["save_at"] = [0.0, 1.0, 30.0, 60.0]
    traced = stiffly(model, patients, **options)
    untraced()
    agree(traced, stiffly(model, patients, **options), 2e-3)


@njit
def _rhs(t, y, p):
    hill = 1 - 1 / (1 + (y.C / p.half) ** p.n)
    grow = p.growth * y.C * (1 - y.C / p.K) - p.kill * y.E * y.C
    pulse = 1.0 if p.on <= t < p.on + 1.0 else 0.0
    return grow, p.expand * hill * y.E - p.death * y.E + pulse, p.k_on * (p.total - y.A) - p.k_off * y.A


@njit
def _observe(t, y, p):
    return y.C + y.E, y.A * y.C


SYSTEM = Model(
    "traced",
    [State("C", default=1e3, log=True, extinction=True), State("E", default=1.0), State("A")],
    dict(growth=0.3, K=1e6, kill=0.02, expand=2.0, half=500.0, n=1.7, death=0.2, k_on=1e4, k_off=1e3,
         total=1.0, on=1e3),
    _rhs,
    observables=[Observable("sum"), Observable("product")],
    observe=_observe,
    burden="C",
    t_end=50.0,
)  # fmt: skip


def test_doses_events_and_extinction(untraced):
    patients = population(SYSTEM, 70)
    schedule = DosingSchedule().bolus(5.0, "E", 30.0).infusion(10.0, "E", 20.0, duration=3.0)
    schedule = schedule.bolus(0, "C", 5.0)
    events = [Event("low", "C", 10.0), Event("many", "sum", 2000.0)]
    options = dict(
        doses=schedule, events=events, extinction=1e-3, peaks=["E", "product"], auc=["sum"], breaks=["on"],
        save_at=np.linspace(0, 50, 11), warn=False,
    )  # fmt: skip
    patients["on"] = np.linspace(1.0, 45.0, len(patients))
    traced = stiffly(SYSTEM, patients, rtol=1e-8, **options)
    exact = fastcart.solve(SYSTEM, patients, method="dop853", rtol=1e-11, max_steps=10**6, **options)
    assert traced.summary() == exact.summary()
    a, b = traced.endpoints, exact.endpoints
    for name in ("final_E", "peak_E", "peak_product", "auc_sum", "nadir", "event_low", "event_many"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-8, err_msg=name)
    untraced()
    agree(traced, stiffly(SYSTEM, patients, rtol=1e-8, **options), 1e-4)


def test_exact_zeros_stay_and_an_inflow_into_one_is_named():
    patients = pd.DataFrame({"C": [0.0, 1.0, 0.0]})
    result = stiffly(SYSTEM, patients, warn=False)
    assert (result.endpoints["final_C"].to_numpy()[[0, 2]] == 0.0).all()

    @njit
    def rhs(t, y, p):
        return -y.C + p.inflow, -y.E

    states = [State("C", default=0.0, log=True), State("E", default=1.0)]
    model = Model("inflow", states, {"inflow": 0.0}, rhs, t_end=5.0)
    found = stiffly(model, pd.DataFrame({"inflow": [0.0, 1.0]}), warn=False).endpoints
    assert found["status"].tolist() == ["ok", "log_inflow"]


def test_neighbours_threads_and_order_change_no_bit():
    patients = population(SYSTEM, 100, 0.4)
    whole = stiffly(SYSTEM, patients, auc=["sum"]).endpoints.drop(columns="patient")
    order = np.random.default_rng(0).permutation(100)
    mixed = stiffly(SYSTEM, patients.iloc[order], auc=["sum"]).endpoints.drop(columns="patient")
    pd.testing.assert_frame_equal(mixed.reset_index(drop=True), whole.iloc[order].reset_index(drop=True))
    for j in (0, 57, 99):
        alone = stiffly(SYSTEM, patients.iloc[[j]], auc=["sum"]).endpoints.drop(columns="patient")
        pd.testing.assert_frame_equal(alone.reset_index(drop=True), whole.iloc[[j]].reset_index(drop=True))
    two = fastcart.solve(SYSTEM, patients, engine="lanes", method="rodas5p", threads=2, auc=["sum"]).endpoints
    pd.testing.assert_frame_equal(two.drop(columns="patient"), whole)


def test_a_function_that_cannot_be_traced_is_solved_all_the_same():
    table = np.array([1.0, 2.0])

    @njit
    def rhs(t, y, p):
        return (-table[int(p.kind)] * y.C,)

    model = Model("indexed", {"C": 1.0}, {"kind": 0.0}, rhs, t_end=1.0)
    problem = fastcart.batch.make_problem(model, fastcart.SolveOptions())
    with pytest.raises(TraceError, match="whole number"):
        engine.get_method("rodas5p").whole.core(problem.model, (False,), False, 0)
    found = stiffly(model, pd.DataFrame({"kind": [0.0, 1.0]}), rtol=1e-8).endpoints["final_C"]
    np.testing.assert_allclose(found, np.exp([-1.0, -2.0]), rtol=1e-6)


@njit
def _leaves_a_jump(t, y, p):
    n = 0
    while n < y.A:  # such a loop cannot be traced: differences stand for the Jacobian
        n += 1
    return (-0.5 if n <= 1 else -p.fast), -1e6 * (y.z - y.A)


@njit
def _leaves_it_upwards(t, y, p):
    n = 0
    while n <= y.A:
        n += 1
    return (p.fast if n <= 1 else 0.5), -1e6 * (y.z - y.A)


@pytest.mark.parametrize(("rhs", "exact"), [(_leaves_a_jump, 0.5), (_leaves_it_upwards, 1.5)])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_who_starts_at_a_jump_leaves_it(rhs, exact, rtol):
    """A difference quotient across the jump, -1e12, held the state where it was, with status ok."""
    model = Model("jump", {"A": 1.0, "z": 1.0}, {"fast": 1e4}, rhs, t_end=1.0)
    for options in ({"engine": "lanes", "method": "rodas5p"}, {"engine": "auto"}, {"engine": "lsoda"}):
        ends = fastcart.solve(model, rtol=rtol, **options).endpoints.iloc[0]
        assert ends["status"] == "ok"
        assert ends["final_A"] == pytest.approx(exact, rel=10 * rtol)


def test_a_step_is_known_from_the_disk_until_the_model_or_the_tracer_is_edited(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / "kernels"))
    traced = []
    core = step_traced._core
    monkeypatch.setattr(step_traced, "_core", lambda *what: traced.append(1) or core(*what))
    tableau = tableaus.get("rodas5p")

    def made(rate: float, process: int) -> step_traced.Core:
        """Make the step as a new process would, which knows of nothing in memory."""
        monkeypatch.setattr("fastcart.solvers.compile._made", {})
        monkeypatch.setattr("fastcart.solvers.trace.machine._loaded", kept.setdefault(process, {}))

        @njit
        def rhs(t, y, p):
            return (-rate * y.C * p.k,)

        model = Model("edited", [State("C", default=1.0)], [fastcart.Parameter("k", default=1.0)], rhs)
        return step_traced.step_core(tableau, model.system, (False,), False, 0)

    kept: dict = {}  # engines, whose code must stay
    first = made(1.5, 0)
    again = made(1.5, 1)
    assert len(traced) == 1
    assert again[1:] == first[1:]
    made(1.6, 2)
    assert len(traced) == 2
    monkeypatch.setattr(step_traced, "own_sources", lambda: "edited")
    made(1.5, 3)
    assert len(traced) == 3
    for file in (tmp_path / "kernels" / "__pycache__").glob("traced-*.json"):
        file.write_bytes(file.read_bytes()[:-3] + b"xyz")  # damaged: counts for nothing
    made(1.5, 4)
    assert len(traced) == 4
