"""A patient is solved whoever else is in the batch, and nobody is lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from families import CLEARANCE, FORCED, Forced, clearances, forced, numbers, powers
from hypothesis import strategies as st
from law import LANES, RUNS, law, solve

SIZES = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 97, 100, 257])
SHORT = st.one_of(st.just(10.0), powers(1e-6, 100.0))


def table(rows: list) -> pd.DataFrame:
    return pd.DataFrame([row.row() for row in rows])


def same(found: pd.DataFrame, expected: pd.DataFrame, *, but: tuple[str, ...] = ("patient",)) -> None:
    """Compare tables bit for bit, whatever the order of rows was."""
    left, right = (frame.reset_index(drop=True).drop(columns=list(but)) for frame in (found, expected))
    pd.testing.assert_frame_equal(left, right, check_exact=True)


@law(25, run=RUNS, row=forced(), size=SIZES, t_end=SHORT, budget=st.sampled_from([100_000, 50, 3]),
     threads=st.sampled_from([1, 2]))  # fmt: skip
def test_equal_patients_are_all_solved_alike(run, row, size, t_end, budget, threads):
    if run[0] == "scipy":
        size, row = min(size, 3), row if row.rate < 100 else Forced()
    ends = solve(FORCED, table([row] * size), run, t_end=t_end, max_steps=budget, threads=threads).endpoints
    assert "not_run" not in set(ends["status"])
    same(ends, ends.iloc[[0] * size])


@law(20, run=LANES, rows=st.lists(forced(failing=True), min_size=1, max_size=6), size=SIZES, t_end=SHORT,
     budget=st.sampled_from([100_000, 50, 7]), mix=st.integers(0, 10**6),
     threads=st.sampled_from([1, 2]))  # fmt: skip
def test_a_patient_does_not_notice_the_others(run, rows, size, t_end, budget, mix, threads):
    draw = np.random.default_rng(mix)
    places = draw.integers(len(rows), size=size)
    options = dict(t_end=t_end, max_steps=budget, save_at=[0.0, t_end / 3, t_end])
    alone = [solve(FORCED, table([row]), run, **options) for row in rows]
    together = solve(FORCED, table(rows).iloc[places], run, threads=threads, **options)
    assert "not_run" not in set(together.endpoints["status"])
    same(together.endpoints, pd.concat([alone[k].endpoints for k in places]))
    same(together.trajectories, pd.concat([alone[k].trajectories for k in places]))


@law(20, run=RUNS, rows=st.lists(forced(failing=True), min_size=1, max_size=4), size=SIZES, t_end=SHORT,
     mix=st.integers(0, 10**6))  # fmt: skip
def test_only_those_fail_whose_solution_ends(run, rows, size, t_end, mix):
    if run[0] == "scipy":
        size, rows = min(size, 3), [row for row in rows if row.rate < 100] or [Forced()]
    if run[1] in ("tsit5", "vern7", "dop853", "stab5"):  # explicit methods are not for stiff patients
        rows = [row for row in rows if row.rate * t_end < 1e4] or [Forced()]
    places = np.random.default_rng(mix).integers(len(rows), size=size)
    result = solve(FORCED, table(rows).iloc[places], run, t_end=t_end)
    ends = result.endpoints
    assert len(ends) == size == sum(result.summary().values())
    for k, status in zip(places, ends["status"], strict=True):
        if abs(rows[k].b * rows[k].v * t_end - 1) > 1e-3:
            assert (status != "ok") == rows[k].fails(t_end), status
            assert status != "not_run"
    failed = ends["status"] != "ok"
    columns = ["final_q", "final_v"]
    assert ends.loc[failed, columns].isna().all(axis=None)
    exact = np.array([rows[k].values(t_end) for k in places])
    size_of = np.array([1 + abs(row.a) + abs(row.c) + abs(row.q) for row in rows])[places]
    wrong = (ends[columns] - exact).abs().to_numpy()[~failed]
    assert (wrong[:, 0] <= 1e-3 * size_of[~failed]).all()


@law(25, scipy=10, run=RUNS, rows=st.lists(clearances(), min_size=1, max_size=5), t_end=numbers(0.1, 30.0),
     order=st.randoms(use_true_random=False), copies=st.sampled_from([1, 7, 33]),
     cut=st.integers(0, 150))  # fmt: skip
def test_order_copies_and_cuts_change_nothing(run, rows, t_end, order, copies, cut):
    many = table(rows * copies)
    many["patient"] = np.arange(len(many))
    options = dict(t_end=t_end, save_at=[0.0, 0.7 * t_end])
    whole = solve(CLEARANCE, many, run, **options)
    assert set(whole.endpoints["status"]) == {"ok"}
    turned = list(range(len(many)))
    order.shuffle(turned)
    mixed = solve(CLEARANCE, many.iloc[turned], run, **options)
    same(mixed.endpoints.sort_values("patient"), whole.endpoints)
    same(mixed.trajectories.sort_values(["patient", "t"]), whole.trajectories)
    cut %= len(many)
    pieces = [solve(CLEARANCE, piece, run, **options) for piece in (many[:cut], many[cut:]) if len(piece)]
    same(pd.concat([piece.endpoints for piece in pieces]), whole.endpoints)
    same(pd.concat([piece.trajectories for piece in pieces]), whole.trajectories)


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 64, 65, 100, 1000])
def test_a_number_of_default_patients(size):
    result = solve("li_lei", size)
    assert result.summary() == {"ok": size}
    assert result.endpoints["pfs"].nunique() == 1


def test_a_grid_over_a_parameter_without_effect():
    result = solve("li_lei", {"K_TP": np.linspace(4e7, 6e7, 1000), "TP": 0.0, "T4": 0.0})
    assert result.summary() == {"ok": 1000}


@pytest.mark.parametrize("t_end", [1e-3, 0.1, 1.0])
def test_different_patients_and_a_short_horizon(t_end):
    rates = np.linspace(0.1, 2.0, 2000)
    result = solve(FORCED, {"rate": rates}, t_end=t_end)
    assert result.summary() == {"ok": 2000}
    np.testing.assert_allclose(result.endpoints["final_q"], -np.expm1(-rates * t_end), rtol=1e-5)
