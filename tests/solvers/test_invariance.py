"""Results depend on nothing but the patient: not on neighbours, order, chunks, threads or units of time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastcart
from fastcart import batch
from fastcart.batch import check_threads

ENGINES = ["lsoda", "published"]
COUNTERS = ["steps", "rejected", "rhs_calls"]


def solve(patients, engine="lsoda", **options):
    return fastcart.solve("li_lei", patients, engine=engine, **options).endpoints


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        a.reset_index(drop=True), b.reset_index(drop=True), check_exact=True, check_dtype=False
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_alone_equals_in_a_batch_bit_for_bit(varied_patients, engine):
    patients = varied_patients.assign(patient=np.arange(len(varied_patients)))
    together = solve(patients, engine)
    for k in (0, 17, 59):
        same(solve(patients.iloc[[k]], engine), together.iloc[[k]])


@pytest.mark.parametrize("engine", ENGINES)
def test_order_of_rows_is_irrelevant(varied_patients, engine):
    patients = varied_patients.assign(patient=np.arange(len(varied_patients)))
    shuffled = patients.sample(frac=1.0, random_state=4)
    same(solve(patients, engine), solve(shuffled, engine).sort_values("patient"))


@pytest.mark.parametrize("threads", [1, 2])
def test_number_of_threads_is_irrelevant(varied_patients, threads):
    same(solve(varied_patients, threads=threads), solve(varied_patients))


@pytest.mark.parametrize("engine", ENGINES)
def test_size_of_chunks_is_irrelevant(varied_patients, engine, monkeypatch):
    whole = solve(varied_patients, engine)
    monkeypatch.setitem(batch._CHUNK, engine, 7)
    same(solve(varied_patients, engine), whole)


def test_save_times_do_not_move_endpoints_much(varied_patients):
    plain = solve(varied_patients, rtol=1e-9)
    saved = solve(varied_patients, rtol=1e-9, save_at=np.linspace(0.0, 200.0, 77))
    np.testing.assert_allclose(plain["pfs"], saved["pfs"], atol=1e-6)


def test_ids_and_kept_columns_come_back():
    patients = pd.DataFrame({"patient": ["b", "a"], "TE": [1e7, 2e7], "site": ["x", None]})
    ends = solve(patients, keep=["site", "TE"])
    assert ends["patient"].tolist() == ["b", "a"]
    assert ends["TE"].tolist() == [1e7, 2e7]
    assert ends["site"][0] == "x"


def test_more_threads_than_processors_are_not_used():
    assert check_threads(10_000) == check_threads(None)


def test_unit_of_time_is_consistent():
    """All rates per hour and a horizon in hours give the same course, in hours."""
    model = fastcart.models.get("li_lei")
    rates = [p.name for p in model.parameters if "1/day" in p.unit or "day" in p.unit]
    hourly = {name: model.default_parameters()[name] / 24.0 for name in rates}
    daily = solve(1, rtol=1e-9).iloc[0]
    hours = solve(hourly, rtol=1e-9, t_end=4800.0).iloc[0]
    for name in ("pfs", "progression", "t_nadir"):
        assert hours[name] / 24.0 == pytest.approx(daily[name], rel=1e-6)
    assert hours["nadir"] == pytest.approx(daily["nadir"], rel=1e-6)


doses = st.one_of(st.just(0.0), st.floats(1.0, 1e8))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    start=st.fixed_dictionaries(
        {"T4": st.one_of(st.just(0.0), st.floats(1.0, 1e6)), "TP": doses, "TE": doses,
         "TM": st.floats(0.0, 1e5), "Tr": st.floats(0.0, 1e5), "C": st.floats(1.0, 1e9)}
    ),
    spread=st.floats(0.5, 2.0),
)  # fmt: skip
def test_cells_are_never_negative(start, spread):
    defaults = fastcart.models.get("li_lei").default_parameters()
    row = {**start, "lambda_C": defaults["lambda_C"] * spread, "k_TE": defaults["k_TE"] * spread}
    result = fastcart.solve("li_lei", row, engine="lsoda", save_at=np.linspace(0, 200, 41))
    assert result.endpoints["status"].tolist() == ["ok"]
    states = result.trajectories[result.model.state_names].to_numpy()
    # states that are not in logarithm are positive to the absolute tolerance
    assert (states >= -1e-4).all()
    logs = [s.name for s in result.model.states if s.log]
    assert (result.trajectories[logs] >= 0).all(axis=None)
    row = result.endpoints.iloc[0]
    assert 0.0 <= row.pfs <= 200.0
    assert row.nadir <= start["C"]
