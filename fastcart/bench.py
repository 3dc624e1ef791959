"""Measure engines against each other: error against time, and how far the lanes are from their floor.

Timings are ratios within one run on one machine; absolute numbers belong to that machine and moment.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import as_model, make_problem, progress_bar, solve
from fastcart.model import Model
from fastcart.patients import check_patients

SPREAD = 0.1
REFERENCE_RTOL = 1e-12
LANES_RTOL = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
LSODA_RTOL = (1e-4, 1e-6, 1e-8)
METHODS = ("tsit5", "vern7", "dop853", "rodas5p")
ROUNDS = 3
_ERRORS = ("pfs_error_median", "pfs_error_99", "ln_burden_error_median", "ln_burden_error_max")


def varied_patients(model: str | Model, size: int, *, seed: int) -> pd.DataFrame:
    """Draw patients with every parameter uniform within 10% of its default.

    Parameters
    ----------
    model : str or Model
    size, seed : int

    Returns
    -------
    DataFrame, shape (size, parameters)
    """
    defaults = as_model(model).default_parameters()
    factors = 1 + SPREAD * (2 * np.random.default_rng(seed).random((size, len(defaults))) - 1)
    return pd.DataFrame(factors * np.array(list(defaults.values())), columns=list(defaults))


def work_precision(
    model: str | Model = "li_lei",
    *,
    patients: int = 20_000,
    compared: int = 100,
    lsoda_patients: int = 2_000,
    seed: int = 5,
    threads: int = 1,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure time and error of the lane methods and of LSODA on one population.

    Parameters
    ----------
    model : str or Model
        With a burden, whose course is compared.
    patients, lsoda_patients : int
        Patients timed with lanes and with LSODA.
    compared : int
        Patients whose errors are measured against SciPy's DOP853 at rtol 1e-12.
    seed, threads : int
    progress : bool, optional

    Returns
    -------
    DataFrame
        One row per engine, method and rtol: microseconds per patient (best of three rounds), median and
        99th percentile of the PFS error (model's unit of time), median and largest over patients of
        ``max over days |difference of ln burden|``, steps, calls, failures.
    """
    model = as_model(model)
    population = varied_patients(model, patients, seed=seed)
    runs = [("lsoda", "lsoda", rtol) for rtol in LSODA_RTOL]
    runs += [("lanes", method, rtol) for method in METHODS for rtol in LANES_RTOL]
    days = np.arange(1.0, model.t_end + 0.5)
    reference = solve(
        model, population[:compared], engine="scipy", rtol=REFERENCE_RTOL, save_at=days, progress=False
    )
    rows = []
    with progress_bar(len(runs), progress, "runs") as bar:
        for engine, method, rtol in runs:
            size = lsoda_patients if engine == "lsoda" else patients
            options: dict[str, Any] = dict(engine=engine, method=method, rtol=rtol, progress=False)
            seconds, result = _timed(model, population[:size], threads, options)
            shown = solve(model, population[:compared], save_at=days, **options)
            rows.append(
                {
                    "engine": engine,
                    "method": method,
                    "rtol": rtol,
                    "us_per_patient": seconds / size * 1e6 * threads,
                    **_errors(model, shown, reference),
                    "steps": (result.endpoints["steps"] + result.endpoints["rejected"]).mean(),
                    "rhs_calls": result.endpoints["rhs_calls"].mean(),
                    "failed": len(result.failed),
                }
            )
            bar.update(1)
    return pd.DataFrame(rows)


def _timed(model: Model, population: pd.DataFrame, threads: int, options: dict[str, Any]):
    solve(model, population[:64], threads=threads, **options)  # compile
    best = np.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = solve(model, population, threads=threads, **options)
        best = min(best, time.perf_counter() - start)
    return best, result


def _errors(model: Model, shown: Any, reference: Any) -> dict[str, float]:
    pfs = np.abs(shown.endpoints["pfs"] - reference.endpoints["pfs"])
    size = len(pfs)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(shown.trajectories[model.burden].to_numpy().reshape(size, -1))
        exact = np.log(reference.trajectories[model.burden].to_numpy().reshape(size, -1))
    course = np.abs(found - exact).max(axis=1)
    return {
        "pfs_error_median": float(pfs.median()),
        "pfs_error_99": float(pfs.quantile(0.99)),
        "ln_burden_error_median": float(np.median(course)),
        "ln_burden_error_max": float(course.max()),
    }


def speedup(table: pd.DataFrame) -> pd.DataFrame:
    """Compare lanes with LSODA at LSODA's own error.

    For each rtol of LSODA, the time that the fastest lane method needs for the same median error, both of
    PFS and of the course of the burden, by interpolating its logarithm between measured tolerances.

    Parameters
    ----------
    table : DataFrame
        From `work_precision`.

    Returns
    -------
    DataFrame
        ``rtol, lsoda_us, method, lanes_us, ratio``.
    """
    rows = []
    for _, lsoda in table[table["engine"] == "lsoda"].iterrows():
        best: tuple[float, str] = (np.inf, "")
        for method, part in table[table["engine"] == "lanes"].groupby("method"):
            times = [
                time_at_error(part[column], part["us_per_patient"], float(lsoda[column]))
                for column in ("pfs_error_median", "ln_burden_error_median")
            ]
            best = min(best, (max(times), str(method)))
        rows.append(
            {
                "rtol": lsoda["rtol"],
                "lsoda_us": lsoda["us_per_patient"],
                "method": best[1],
                "lanes_us": best[0],
                "ratio": lsoda["us_per_patient"] / best[0],
            }
        )
    return pd.DataFrame(rows)


def time_at_error(errors: Sequence[float] | Any, times: Sequence[float] | Any, target: float) -> float:
    """Return the time at which a method reaches an error; infinite where no measured run does.

    A run with a larger tolerance than any measured is not assumed: an error above all measured ones costs
    the time of the coarsest run.
    """
    e, t = np.asarray(errors, dtype=float), np.asarray(times, dtype=float)
    order = np.argsort(-e)
    e, t = e[order], t[order]
    if e[-1] > target:
        return float("inf")
    return float(np.exp(np.interp(-np.log(target), -np.log(e), np.log(t))))


def report(model: str | Model = "li_lei", *, patients: int = 20_000, threads: int = 1) -> str:
    """Measure and return two Markdown tables: error against time, and lanes against LSODA at its own error.

    Parameters
    ----------
    model : str or Model
    patients, threads : int

    Returns
    -------
    str
    """
    model = as_model(model)
    compared = min(100, patients)
    table = work_precision(
        model, patients=patients, compared=compared, lsoda_patients=max(64, patients // 10), threads=threads
    )
    per_call = floor(model)
    unit = f"{model.time_unit}s"
    lines = [
        f"| Engine | Method | rtol | µs per patient and core | PFS error, median ({unit}) | 99% | "
        f"ln {model.burden} error, median | largest | calls |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table.to_dict("records"):
        errors = " | ".join(f"{row[name]:.1e}" for name in _ERRORS)
        lines.append(
            f"| `{row['engine']}` | {row['method']} | {row['rtol']:.0e} | {row['us_per_patient']:.1f} | "
            f"{errors} | {row['rhs_calls']:.0f} |"
        )
    lines += [
        "",
        "| LSODA's rtol | LSODA, µs | Lanes at no larger median error, µs | Method | Ratio |",
        "| ---: | ---: | ---: | --- | ---: |",
    ]
    for row in speedup(table).to_dict("records"):
        lines.append(
            f"| {row['rtol']:.0e} | {row['lsoda_us']:.1f} | {row['lanes_us']:.1f} | {row['method']} | "
            f"{row['ratio']:.1f} |"
        )
    lanes = table[(table["engine"] == "lanes") & (table["method"] == "dop853") & (table["rtol"] == 1e-6)]
    chosen = lanes.to_dict("records")[0]
    least = per_call * chosen["rhs_calls"] / 1000
    lines += [
        "",
        f"Model `{model.name}`, {patients} patients with every parameter within 10% of its default (LSODA: "
        f"a tenth of them), {model.t_end:g} {unit}, {threads} thread(s), best of {ROUNDS} rounds; errors of "
        f"{compared} patients against SciPy's DOP853 at rtol {REFERENCE_RTOL:g}. One vectorised right-hand "
        f"side takes {per_call:.1f} ns per patient; with dop853 at rtol 1e-6 its calls alone would take "
        f"{least:.1f} µs of the {chosen['us_per_patient']:.1f}.",
    ]
    return "\n".join(lines)


def floor(model: str | Model = "li_lei", *, rounds: int = 4_000) -> float:
    """Return the time of one vectorised right-hand side, in nanoseconds per patient and call.

    No explicit method in lanes can be faster than this times its number of calls.
    """
    from numba import njit

    from fastcart.solvers.compile import FAST
    from fastcart.solvers.lanes.evaluate import evaluation
    from fastcart.solvers.lanes.layout import LANES, evaluation_rows
    from fastcart.solvers.lanes.pointer import evaluate
    from fastcart.solvers.transform import to_internal

    model = as_model(model)
    problem = make_problem(model, t_end=None, save_at=None, rtol=1e-6, atol=None)
    y0, p = check_patients(model, 1).arrays(0, 1)
    n, m = y0.shape[1], p.shape[1]
    u = to_internal(y0, problem.log, np.ones(n))
    buffer = np.zeros((evaluation_rows(n, m), LANES))
    buffer[:n] = u.T
    buffer[n + 1 : n + 1 + m] = p.T
    flat = buffer.ravel()
    address = evaluation(model, tuple(bool(x) for x in problem.log), False).address

    @njit(**FAST)
    def repeat(address, flat, count):
        for _ in range(count):
            evaluate(address, flat)

    repeat(address, flat, 2)
    best = np.inf
    for _ in range(7):
        start = time.perf_counter()
        repeat(address, flat, rounds)
        best = min(best, time.perf_counter() - start)
    return best / rounds / LANES * 1e9
