"""Solvers of other packages agree with lanes; the tables of the comparison."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart import bench
from fastcart.solvers.named import arguments

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
MODULES = ("compare", "peers", "peers_heyoka", "work", "li_lei_jax")
MODEL = fastcart.models.get("li_lei")


@pytest.fixture(scope="module")
def scripts():
    """The scripts of the folder benchmarks, as modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import compare
        import peers

        yield {"compare": compare, "peers": peers}
        for name in MODULES:
            sys.modules.pop(name, None)


def needs(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed (extra bench)")


@pytest.fixture(scope="module")
def population():
    return bench.varied_patients(MODEL, 6, seed=3)


@pytest.fixture(scope="module")
def lanes(population):
    return bench.engine_course(MODEL, population, engine="lanes", rtol=1e-10)


def agrees(contender, population, lanes, tolerance) -> None:
    found = bench.errors(contender.course(population), lanes)
    assert found["failed"] == 0
    assert found["pfs_error_99"] < tolerance
    assert found["ln_burden_error_max"] < 10 * tolerance


@pytest.mark.parametrize("method", ["BDF", "Adams"])
def test_cvode_agrees_with_lanes(scripts, population, lanes, method):
    needs("sksundae")
    contender = next(
        c for c in scripts["peers"].cvode_contenders(MODEL, 6) if c.method == method and c.rtol == 1e-8
    )
    agrees(contender, population, lanes, 2e-4)


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [
        pytest.param("dop853", 1e-4, marks=pytest.mark.slow),  # compiled for itself
        pytest.param("lsoda", 1e-3, marks=pytest.mark.slow),
        ("lsoda, plain", 1e-1),
    ],
)
def test_numbalsoda_agrees_with_lanes(scripts, population, lanes, method, tolerance):
    contender = next(
        c for c in scripts["peers"].numbalsoda_contenders(MODEL, 6) if c.method == method and c.rtol == 1e-8
    )
    assert contender.run(population) is None
    found = bench.errors(contender.course(population), lanes)
    assert found["failed"] == 0
    assert found["pfs_error_max"] < tolerance


@pytest.mark.parametrize("method", ["Taylor", "Taylor, events"])
def test_heyoka_agrees_with_lanes(scripts, population, lanes, method):
    needs("heyoka")
    contender = next(
        c for c in scripts["peers"].heyoka_contenders(MODEL, 6) if c.method == method and c.rtol == 1e-8
    )
    agrees(contender, population, lanes, 2e-3)  # one patient comes down to C of 1e-8
    assert bench.errors(contender.course(population), lanes)["pfs_error_median"] < 1e-6


@pytest.mark.parametrize("method", ["Tsit5, array", "Dopri8, tuple"])
def test_diffrax_agrees_with_lanes(scripts, population, lanes, method):
    needs("diffrax")
    contender = next(
        c for c in scripts["peers"].diffrax_contenders(MODEL, 6) if c.method == method and c.rtol == 1e-8
    )
    agrees(contender, population, lanes, 1e-4)


def test_the_right_hand_side_in_jax_is_that_of_the_model(scripts):
    needs("diffrax")
    import jax
    from li_lei_jax import right_hand_side

    rng = np.random.default_rng(7)
    n = 50
    p = bench.varied_patients(MODEL, n, seed=8).to_numpy()
    y = 10 ** rng.uniform(-3, 9, (n, len(MODEL.states)))
    log = np.array([state.log for state in MODEL.states])
    natural = np.array([MODEL.rhs(0.0, *arguments(MODEL, y[i], p[i])) for i in range(n)])
    expected = np.where(log, natural / y, natural)
    with jax.enable_x64(True):
        u = np.where(log, np.log(y), y)
        found = np.stack(right_hand_side(0.0, tuple(u.T), tuple(p.T)), axis=-1)
    # a derivative is a difference of large terms: compare with the largest of each state as well
    assert (np.abs(found - expected) <= 1e-9 * np.abs(expected) + 1e-11 * np.abs(expected).max(axis=0)).all()


def test_what_is_not_written_in_jax_is_said_to_be_missing(scripts):
    needs("diffrax")
    found, missing = scripts["peers"].contenders(fastcart.models.get("li_lei_coarse"), patients=10)
    assert "only model li_lei" in missing["diffrax"]
    assert {"numbalsoda"} <= {contender.engine for contender in found}


def test_a_package_that_is_not_installed_is_said_to_be_missing(scripts, monkeypatch):
    monkeypatch.setattr(scripts["peers"], "find_spec", lambda name: None)
    found, missing = scripts["peers"].contenders(MODEL, patients=10)
    assert found == []
    assert set(missing) == {"heyoka", "numbalsoda", "cvode", "diffrax"}
    assert all("fastcart[bench]" in why for why in missing.values())


def test_the_last_crossing_of_a_course(scripts):
    times = np.linspace(0.0, 10.0, 501)
    last = scripts["peers"].last_crossing
    assert last(times, -np.sin(times)) == pytest.approx(3 * np.pi, abs=1e-7)
    assert last(times, np.sin(times) - 0.1 * times) == 10.0
    assert last(times, (times - 1.234) * (times - 0.1)) == pytest.approx(1.234, abs=1e-9)
    assert last(times, times) == 0.0
    assert np.isnan(last(times, np.where(times > 5, np.nan, -1.0)))


def test_the_process_gets_its_cores_back(scripts):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no affinities on this system")
    before = os.sched_getaffinity(0)
    with scripts["peers"].one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


# --- the tables of the comparison ---------------------------------------------------------------------


def errors(engine: str, method: str, rtol: float, us: float, error: float) -> dict:
    return {
        "engine": engine, "method": method, "rtol": rtol, "us_per_patient": us,
        **dict.fromkeys(bench.ERRORS, error), "steps": 1.0, "rhs_calls": np.nan, "failed": 0,
    }  # fmt: skip


@pytest.fixture
def measured(scripts):
    rows = [
        errors("lsoda", "lsoda", 1e-6, 120.0, 1e-4),
        errors("lsoda", "lsoda", 1e-8, 300.0, 1e-6),
        errors("diffrax", "Tsit5, array", 1e-6, 280.0, 1e-4),
        errors("lanes", "tsit5", 1e-6, 10.0, 1e-4),
        errors("lanes", "tsit5", 1e-8, 20.0, 1e-6),
    ]
    tables = {"li_lei": pd.DataFrame(rows), "li_lei_cytokines": pd.DataFrame(rows[:2] + rows[3:])}
    threads = pd.DataFrame({"threads": [1, 2], "patients_per_second": [1e4, 1.9e4], "ratio": [1.0, 1.9]})
    shares = pd.DataFrame(
        {"part": ["right-hand side", "events"], "us_per_patient": [6.0, 4.0], "share": [0.6, 0.4]}
    )
    missing = {"cvode, li_lei": "not installed"}
    serial = pd.DataFrame(
        [{"us_per_patient": 10.0, "serial_us": 0.02, "share": 0.002, "speedup_8": 7.9, "speedup_16": 15.5,
          "speedup_64": 56.8}]
    )  # fmt: skip
    return scripts["compare"].Measured(tables, threads, shares, serial, missing, 1000)


def test_least_ratios_are_compared_with_what_is_asked(scripts, measured):
    found = scripts["compare"].least_ratios(measured)
    np.testing.assert_allclose(found["asked"], [10, 20, 5, 1.8])
    np.testing.assert_allclose(found["measured"], [12.0, 28.0, 12.0, 1.9])
    assert found["slowest"][0] == "lsoda at rtol 1e-6"


def test_a_solver_that_is_not_there_has_no_ratio(scripts, measured):
    part = measured.errors["li_lei"]
    measured.errors["li_lei"] = part[part["engine"] != "diffrax"]
    found = scripts["compare"].least_ratios(measured)
    assert np.isnan(found["measured"][1])
    assert found["slowest"][1] == "not measured"


def test_reports_and_numbers_are_written(scripts, measured, tmp_path):
    csv, report = scripts["compare"].write(measured, tmp_path / "bench")
    numbers = pd.read_csv(csv)
    assert numbers["model"].tolist() == ["li_lei"] * 5 + ["li_lei_cytokines"] * 4
    assert len(numbers.columns) == 1 + 4 + len(bench.ERRORS) + 3
    text = report.read_text("utf-8")
    for part in (
        "Least ratios", "`diffrax`", "patients/s", "right-hand side alone", "Not measured: cvode",
        "0.20% of the time of one thread", "56.8 times on 64",
    ):  # fmt: skip
        assert part in text
    brief = scripts["compare"].brief(measured)
    assert "| 1e-8 | 300.0 | 20.0 |" in brief
    assert "| 1e-8 | 300.0 | 1.0e-06" not in brief
