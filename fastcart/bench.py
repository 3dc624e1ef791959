"""Measure engines against each other: error against time, threads, and where the time of the lanes goes.

Timings are ratios within one run on one machine; absolute numbers belong to that machine and moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import as_model, check_threads, make_problem, progress_bar, solve
from fastcart.errors import InputError
from fastcart.explain import call_cost
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.patients import check_patients
from fastcart.typing_names import Method

SPREAD = 0.1
REFERENCE_RTOL = 1e-12
LANES_RTOL = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
PEER_RTOL = (1e-4, 1e-6, 1e-8)
METHODS = ("tsit5", "vern7", "dop853", "stab5", "rodas5p")
SCIPY_METHODS = ("DOP853", "LSODA")
ROUNDS = 3
_MANY_ROUNDS = 12  # where differences of times are reported
COMPARED = 100
ENGINES = ("lsoda", "scipy", "lanes")
QUANTILES = {"median": 0.5, "99": 0.99, "max": 1.0}  # over patients, of errors that are reported
ERRORS = tuple(f"{what}_error_{name}" for what in ("pfs", "ln_burden") for name in QUANTILES)


@dataclass(frozen=True)
class Course:
    """What is compared between solvers.

    Parameters
    ----------
    pfs : ndarray, shape (patients,)
    ln_burden : ndarray, shape (patients, days)
        Natural logarithm of the burden on every day from 1 to the horizon.
    """

    pfs: np.ndarray
    ln_burden: np.ndarray


@dataclass(frozen=True)
class Contender:
    """One engine, method and tolerance.

    Parameters
    ----------
    engine, method : str
    rtol : float
    patients : int
        How many are solved when the time is taken.
    run : callable
        ``run(population)`` solves; its endpoints table gives counters, None where there are none.
    course : callable
        ``course(population)`` solves and returns a `Course`.
    threads : int
    """

    engine: str
    method: str
    rtol: float
    patients: int
    run: Callable[[pd.DataFrame], pd.DataFrame | None]
    course: Callable[[pd.DataFrame], Course]
    threads: int = 1


def varied_patients(model: str | Model, size: int, *, seed: int) -> pd.DataFrame:
    """Draw patients with every parameter uniform within 10% of its default, and within its range.

    Parameters that must add up to a total are scaled to do so.

    Parameters
    ----------
    model : str or Model
    size, seed : int

    Returns
    -------
    DataFrame, shape (size, parameters)
    """
    model = as_model(model)
    defaults = model.default_parameters()
    factors = 1 + SPREAD * (2 * np.random.default_rng(seed).random((size, len(defaults))) - 1)
    table = pd.DataFrame(factors * np.array(list(defaults.values())), columns=list(defaults))
    for item in model.parameters:
        table[item.name] = table[item.name].clip(*item.range)
    for constraint in model.constraints:
        names = list(constraint.parameters)
        table[names] = table[names].mul(constraint.total / table[names].sum(axis=1), axis=0)
    return table


def days(model: Model) -> np.ndarray:
    """Return the days on which courses are compared."""
    return np.arange(1.0, model.t_end + 0.5)


def engine_course(model: Model, population: pd.DataFrame, **options: Any) -> Course:
    """Solve with an engine of fastcart and return the course."""
    result = solve(model, population, save_at=days(model), progress=False, **options)
    assert result.trajectories is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        burden = np.log(result.trajectories[model.burden].to_numpy(dtype=float))
    return Course(result.endpoints["pfs"].to_numpy(dtype=float), burden.reshape(len(population), -1))


def contenders(model: str | Model, *, patients: int, threads: int = 1) -> list[Contender]:
    """Return the engines of fastcart with their methods: LSODA, SciPy and lanes.

    Parameters
    ----------
    model : str or Model
        With a burden.
    patients : int
        For lanes with explicit methods; the slower the engine, the fewer it gets.
    threads : int
    """
    model = as_model(model)

    def of(engine: str, method: str, rtol: float, share: float, threads: int) -> Contender:
        options: dict[str, Any] = dict(engine=engine, method=method, rtol=rtol, threads=threads)
        return Contender(
            engine, method, rtol, min(patients, max(4, int(patients * share))),
            lambda population: solve(model, population, progress=False, **options).endpoints,
            lambda population: engine_course(model, population, **options), threads,
        )  # fmt: skip

    found = [of("lsoda", "lsoda", rtol, 0.1, threads) for rtol in PEER_RTOL]
    found += [of("scipy", method, rtol, 0.001, 1) for method in SCIPY_METHODS for rtol in PEER_RTOL]
    for method in METHODS:
        share = 0.05 if method == "rodas5p" else 1.0
        found += [of("lanes", method, rtol, share, threads) for rtol in LANES_RTOL]
    return found


def work_precision(
    model: str | Model = "li_lei",
    *,
    patients: int = 20_000,
    compared: int = COMPARED,
    seed: int = 5,
    threads: int = 1,
    engines: Sequence[str] = ENGINES,
    others: Sequence[Contender] = (),
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure time and error of the lane methods, LSODA and SciPy on one population.

    Parameters
    ----------
    model : str or Model
        With a burden, whose course is compared.
    patients : int
        Patients timed with lanes; the other engines get a part of them.
    compared : int
        Patients whose errors are measured against SciPy's DOP853 at rtol 1e-12.
    seed, threads : int
    engines : sequence of str
        Of fastcart's: ``"lsoda"``, ``"scipy"``, ``"lanes"``.
    others : sequence of Contender
        Further solvers, measured among the rest.
    progress : bool, optional

    Returns
    -------
    DataFrame
        One row per engine, method and rtol: microseconds per patient and core (best of three rounds, each
        of which goes through all solvers), median, 99th percentile and maximum over patients of the PFS
        error (model's unit of time) and of ``max over days |difference of ln burden|``, steps, calls,
        patients that were not solved.

    Raises
    ------
    InputError
        For a model without a burden.
    """
    model = as_model(model)
    if model.burden is None:
        raise InputError(f"Model {model.name!r} has no burden, whose course could be compared; name one.")
    population = varied_patients(model, patients, seed=seed)
    shown = population[:compared]
    runs = [run for run in contenders(model, patients=patients, threads=threads) if run.engine in engines]
    runs += others
    reference = engine_course(model, shown, engine="scipy", rtol=REFERENCE_RTOL)
    rows: list[dict[str, Any]] = []
    with progress_bar(len(runs) * (ROUNDS + 1), progress, "runs") as bar:
        for run in runs:
            run.run(population[: min(64, run.patients)])  # compile
            who = {"engine": run.engine, "method": run.method, "rtol": run.rtol, "us_per_patient": np.inf}
            rows.append({**who, **errors(run.course(shown), reference)})
            bar.update(1)
        for _ in range(ROUNDS):
            for run, row in zip(runs, rows, strict=True):
                start = time.perf_counter()
                ends = run.run(population[: run.patients])
                us = (time.perf_counter() - start) / run.patients * 1e6 * run.threads
                row["us_per_patient"] = min(row["us_per_patient"], us)
                row.update(_counters(ends))
                bar.update(1)
    return pd.DataFrame(rows)


def _counters(ends: pd.DataFrame | None) -> dict[str, float]:
    if ends is None:
        return {"steps": np.nan, "rhs_calls": np.nan}
    return {"steps": (ends["steps"] + ends["rejected"]).mean(), "rhs_calls": ends["rhs_calls"].mean()}


def errors(found: Course, reference: Course) -> dict[str, float]:
    """Return quantiles over patients of the errors of PFS and course; ``failed`` counts the unsolved."""
    pfs = np.abs(found.pfs - reference.pfs)
    with np.errstate(invalid="ignore"):
        course = np.abs(found.ln_burden - reference.ln_burden).max(axis=1)
    solved = np.isfinite(pfs) & np.isfinite(course)
    values = [np.nan] * len(ERRORS)
    if solved.any():
        pfs, course = pfs[solved], course[solved]
        values = [np.quantile(error, part) for error in (pfs, course) for part in QUANTILES.values()]
    return {
        **dict(zip(ERRORS, map(float, values), strict=True)),
        "failed": int((~solved & np.isfinite(reference.pfs)).sum()),
    }


def speedup(table: pd.DataFrame) -> pd.DataFrame:
    """Compare lanes with every other solver at that solver's own error.

    For each row of another engine, the time that the fastest lane method needs for no larger an error, both
    of PFS and of the course of the burden, by interpolating its logarithm between measured tolerances. The
    errors are matched on their medians, their 99th percentiles, and their maxima.

    Parameters
    ----------
    table : DataFrame
        From `work_precision`.

    Returns
    -------
    DataFrame
        ``engine, method, rtol, us_per_patient``; at the median ``lanes_method, lanes_us, ratio``, and the
        same with ``_99`` and ``_max`` behind the name; infinite times and ratios of 0 where no run of lanes
        reaches an error.
    """
    lanes = table[table["engine"] == "lanes"]
    rows = []
    for other in table[table["engine"] != "lanes"].to_dict("records"):
        row = {name: other[name] for name in ("engine", "method", "rtol", "us_per_patient")}
        for quantile in QUANTILES:
            matched = [f"{what}_error_{quantile}" for what in ("pfs", "ln_burden")]
            best: tuple[float, str] = (np.inf, "")
            for method, part in lanes.groupby("method"):
                times = [time_at_error(part[name], part["us_per_patient"], other[name]) for name in matched]
                best = min(best, (max(times), str(method)))
            behind = "" if quantile == "median" else f"_{quantile}"
            found = {"lanes_method": best[1], "lanes_us": best[0], "ratio": other["us_per_patient"] / best[0]}
            row |= {f"{name}{behind}": value for name, value in found.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def time_at_error(errors: Sequence[float] | Any, times: Sequence[float] | Any, target: float) -> float:
    """Return the time at which a method reaches an error; infinite where no measured run does.

    Only runs that no cheaper one beats count; between them the logarithm of the time is interpolated. A run
    with a larger tolerance than any measured is not assumed: an error above all measured ones costs the time
    of the cheapest run.
    """
    tiny = np.finfo(float).tiny  # an error of exactly zero has no logarithm
    best: list[tuple[float, float]] = []
    for taken, error in sorted(zip(map(float, times), map(float, errors), strict=True)):
        error = max(error, tiny)
        if error < (best[-1][1] if best else np.inf):
            best.append((taken, error))
    if not best or not best[-1][1] <= max(target, tiny):
        return float("inf")
    t, e = np.log(np.array(best)).T
    return float(np.exp(np.interp(-np.log(max(target, tiny)), -e, t)))


def thread_scaling(
    model: str | Model = "li_lei", *, patients: int = 50_000, rtol: float = 1e-6, seed: int = 5
) -> pd.DataFrame:
    """Measure patients per second of lanes with one thread, two, four ... up to all.

    Returns
    -------
    DataFrame
        ``threads, patients_per_second, ratio`` (to one thread); best of three rounds.
    """
    model = as_model(model)
    population = varied_patients(model, patients, seed=seed)
    most = check_threads(None)
    counts = sorted({*(2**k for k in range(most.bit_length()) if 2**k <= most), most})
    best = dict.fromkeys(counts, np.inf)
    solve(model, population[:64], rtol=rtol, progress=False)  # compile
    for _ in range(ROUNDS):
        for n in counts:
            start = time.perf_counter()
            solve(model, population, rtol=rtol, threads=n, progress=False)
            best[n] = min(best[n], time.perf_counter() - start)
    rates = {n: patients / seconds for n, seconds in best.items()}
    return pd.DataFrame(
        {"threads": counts, "patients_per_second": list(rates.values()),
         "ratio": [rate / rates[1] for rate in rates.values()]}
    )  # fmt: skip


def time_shares(
    model: str | Model = "li_lei",
    *,
    method: Method = "vern7",
    rtol: float = 1e-6,
    patients: int = 20_000,
    seed: int = 5,
) -> pd.DataFrame:
    """Measure where the time of the lane engine goes, on one thread.

    Parameters
    ----------
    model : str or Model
        With a burden.
    method : str
        An explicit one.
    rtol : float
    patients, seed : int

    Returns
    -------
    DataFrame
        ``part, us_per_patient, share``. The right-hand side is its own time (`fastcart.explain.call_cost`)
        times its calls, the floor of the method. The other parts are differences of runs: with and without a
        burden to watch (events), with the tables around it and without. What a run costs per patient rather
        than per step (start, refill) is the intercept of a line through runs at three tolerances.
    """
    from fastcart.solvers.lanes.engine import solve_chunk

    model = as_model(model)
    population = varied_patients(model, patients, seed=seed)
    y0, p = check_patients(model, population).arrays(0, patients)
    blind = replace(model, burden=None)

    def chunk(model: Model, rtol: float) -> Callable[[], Any]:
        problem = make_problem(model, SolveOptions(rtol=rtol, method=method))
        return lambda: solve_chunk(problem, y0, p, 1)

    tolerances = (rtol * 10, rtol, rtol / 10)
    runs: dict[Any, Callable[[], Any]] = {x: chunk(blind, x) for x in tolerances}
    runs["watched"] = chunk(model, rtol)
    runs["whole"] = lambda: solve(
        model, population, engine="lanes", method=method, rtol=rtol, threads=1, progress=False
    )
    seconds, results = _best_of_rounds(runs)
    us = {name: value / patients * 1e6 for name, value in seconds.items()}
    steps = [float((results[x].steps + results[x].rejected).mean()) for x in tolerances]
    _, start = np.polyfit(steps, [us[x] for x in tolerances], 1)
    start = float(np.clip(start, 0.0, us[rtol]))
    rhs = call_cost(model) * float(results[rtol].rhs_calls.mean()) / 1000
    parts = {
        "right-hand side": rhs,
        "rest of the steps": us[rtol] - start - rhs,
        "start and refill": start,
        "events": us["watched"] - us[rtol],
        "checks and tables": us["whole"] - us["watched"],
    }
    return pd.DataFrame(
        {"part": list(parts), "us_per_patient": list(parts.values()),
         "share": [part / us["whole"] for part in parts.values()]}
    )  # fmt: skip


def _best_of_rounds(runs: dict[Any, Callable[[], Any]]) -> tuple[dict[Any, float], dict[Any, Any]]:
    """Return the shortest time and the result of each run; one round compiles."""
    best = dict.fromkeys(runs, np.inf)
    results = {name: run() for name, run in runs.items()}
    for _ in range(_MANY_ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best, results
