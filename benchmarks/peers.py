"""Solvers of other packages on the same patients, each in the form of `bench.Contender`.

All peers integrate the variables that fastcart integrates (states marked ``log`` in logarithm, the others
over their scale) with the same relative and absolute tolerance. Timed are final states only, which is less
than lanes do: those look for progression and nadir as well. For the errors, PFS is read off a fine output.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

import fastcart
from fastcart import bench
from fastcart.batch import make_problem
from fastcart.bench import Contender, Course
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.patients import check_patients
from fastcart.solvers.problem import Problem
from fastcart.solvers.transform import to_internal

PER_DAY = 50  # fine outputs a day: a cubic spline through them is exact to about 1e-9 days
MAX_STEPS = 100_000

Solve = Callable[[pd.DataFrame, np.ndarray], np.ndarray]  # population, times -> (patients, times, states)


def contenders(model: Model, *, patients: int) -> tuple[list[Contender], dict[str, str]]:
    """Return the peers that are installed, and why the others are missing.

    Parameters
    ----------
    model : Model
        With a burden in logarithm.
    patients : int
        As many as lanes get; slow peers get fewer.
    """
    if not model.states[model.burden_index].log:
        return [], dict.fromkeys(PEERS, f"the burden of {model.name} is not integrated in logarithm")
    found: list[Contender] = []
    missing: dict[str, str] = {}
    for engine, make in PEERS.items():
        try:
            found += make(model, patients)
        except MissingPeerError as error:
            missing[engine] = str(error)
    return found, missing


class MissingPeerError(Exception):
    """A peer that cannot be measured here, and why."""


def _need(module: str, package: str) -> None:
    if find_spec(module) is None:
        raise MissingPeerError(f"{package} is not installed; pip install 'fastcart[bench]'")


def _contender(model: Model, engine: str, method: str, rtol: float, patients: int, solve: Solve) -> Contender:
    ends = np.array([0.0, model.t_end])
    fine = np.linspace(0.0, model.t_end, int(PER_DAY * model.t_end) + 1)

    def run(population: pd.DataFrame) -> None:
        with one_core():
            solve(population, ends)

    def course(population: pd.DataFrame) -> Course:
        with one_core():
            return course_of(fine, solve(population, fine)[:, :, model.burden_index], model)

    return Contender(engine, method, rtol, patients, run, course)


@contextmanager
def one_core() -> Iterator[None]:
    """Within the context, threads that a library starts share one core, as lanes have in this comparison."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def course_of(times: np.ndarray, ln_burden: np.ndarray, model: Model) -> Course:
    """Return PFS and the daily course from a fine output.

    Parameters
    ----------
    times : ndarray, shape (times,)
    ln_burden : ndarray, shape (patients, times)
    """
    daily = np.searchsorted(times, bench.days(model) - 1e-9)
    pfs = np.array([last_crossing(times, row - row[0]) for row in ln_burden])
    return Course(pfs, ln_burden[:, daily])


def last_crossing(times: np.ndarray, height: np.ndarray) -> float:
    """Return the last time at which a course is at or below 0: the end where it still is, else a crossing.

    Between outputs the course is a cubic spline. NaN for a course that is not finite.
    """
    if not np.isfinite(height).all():
        return float("nan")
    if height[-1] <= 0.0:
        return float(times[-1])
    k = int(np.flatnonzero(height <= 0.0)[-1])
    near = slice(max(0, k - 8), k + 10)  # the spline is local: what lies farther away does not matter
    spline = CubicSpline(times[near], height[near])
    roots = spline.roots(extrapolate=False)
    inside = roots[(roots >= times[k]) & (roots <= times[k + 1]) & (spline(roots, 1) > 0)]
    return float(inside[-1]) if inside.size else float(times[k])


def _internal(model: Model, population: pd.DataFrame) -> tuple[Problem, np.ndarray, np.ndarray]:
    problem = make_problem(model, SolveOptions())
    y0, p = check_patients(model, population).arrays(0, len(population))
    return problem, to_internal(y0, problem.log, problem.scale), p


# --- diffrax ---------------------------------------------------------------------------------------------

# states as one array, as in its documentation, and each state as an array of its own over the patients
LAYOUTS = ("array", "tuple")


def diffrax_contenders(model: Model, patients: int) -> list[Contender]:
    """Tsit5 and Dopri8 of diffrax, all patients by vmap, compiled by jit."""
    _need("diffrax", "diffrax")
    if model.name != "li_lei" or model.options.get("killing") != "total":
        raise MissingPeerError("only model li_lei has its right-hand side written in jax")
    return [
        _contender(
            model, "diffrax", f"{method}, {layout}", rtol, max(4, patients // 10),
            diffrax_solver(model, method, layout, rtol),
        )
        for method in ("Tsit5", "Dopri8")
        for layout in LAYOUTS
        for rtol in bench.PEER_RTOL
    ]  # fmt: skip


_compiled: dict[tuple[str, str], Any] = {}


def diffrax_solver(model: Model, method: str, layout: str, rtol: float) -> Solve:
    """Return a function that solves a population with diffrax."""

    def solve(population: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        import jax
        import jax.numpy as jnp

        _, u0, p = _internal(model, population)
        with jax.enable_x64(True):
            key = (method, layout)
            if key not in _compiled:
                _compiled[key] = _diffrax_kernel(method, layout)
            if layout == "tuple":
                u, q = tuple(map(jnp.asarray, u0.T)), tuple(map(jnp.asarray, p.T))
            else:
                u, q = jnp.asarray(u0), jnp.asarray(p)
            found = jax.block_until_ready(_compiled[key](u, q, rtol, jnp.asarray(times)))
            if layout == "tuple":
                return np.stack(found, axis=-1)
            return np.asarray(found)

    return solve


def _diffrax_kernel(method: str, layout: str) -> Any:
    import diffrax
    import jax
    import jax.numpy as jnp
    from li_lei_jax import right_hand_side

    def rhs(t, u, p):
        if layout == "tuple":
            return right_hand_side(t, u, p)
        return jnp.stack(right_hand_side(t, tuple(u), tuple(p)))

    solver = getattr(diffrax, method)()

    def one(u, p, rtol, times):
        ends_only = times.shape[0] == 2
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rhs), solver, times[0], times[-1], None, u, p,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol),
            saveat=diffrax.SaveAt(t1=True) if ends_only else diffrax.SaveAt(ts=times),
            adjoint=diffrax.ForwardMode(), max_steps=MAX_STEPS, throw=False,
        )  # fmt: skip
        return solution.ys

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)))


# --- CVODE ------------------------------------------------------------------------------------------------

CVODE_PATIENTS = 20


def cvode_contenders(model: Model, patients: int) -> list[Contender]:
    """CVODE of SUNDIALS through scikit-sundae, one patient at a time, with a compiled right-hand side."""
    _need("sksundae", "scikit-sundae")
    return [
        _contender(
            model, "cvode", method, rtol, min(patients, CVODE_PATIENTS), cvode_solver(model, method, rtol)
        )
        for method in ("BDF", "Adams")
        for rtol in bench.PEER_RTOL
    ]


def cvode_solver(model: Model, method: str, rtol: float) -> Solve:
    """Return a function that solves a population with CVODE."""

    def solve(population: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        from sksundae.cvode import CVODE

        from fastcart.solvers.arrays import internal_rhs

        problem, u0, p = _internal(model, population)
        f = internal_rhs(model, tuple(bool(x) for x in problem.log), False)
        rates = np.zeros(u0.shape[1])

        def rhs(t, u, du, patient):
            du[:] = f(t, u, patient["p"], problem.scale, rates)

        out = np.full((len(u0), len(times), u0.shape[1]), np.nan)
        for i in range(len(u0)):
            solver = CVODE(
                rhs, userdata={"p": p[i]}, method=method, rtol=rtol, atol=rtol, max_num_steps=MAX_STEPS
            )
            solution = solver.solve(times, u0[i])
            if solution.success:
                # two times stand for every step
                out[i] = solution.y[[0, -1]] if len(times) == 2 else solution.y
        return out

    return solve


# --- fastcart itself --------------------------------------------------------------------------------------


def equation_contenders(model: Model, patients: int) -> list[Contender]:
    """Lanes, with the binding equilibrium as an algebraic variable; one of the methods of lanes, no peer."""
    if "binding" not in model.options:
        return []
    by_equation = fastcart.models.get(model.name, **{**model.options, "binding": "equation"})

    return [
        replace(one, method="vern7, binding by its equation")
        for one in bench.contenders(by_equation, patients=patients)
        if (one.engine, one.method) == ("lanes", "vern7")
    ]


# --- heyoka -----------------------------------------------------------------------------------------------


def heyoka_contenders(model: Model, patients: int) -> list[Contender]:
    """Taylor series of heyoka, batches of patients in vector instructions, with and without two events."""
    _need("heyoka", "heyoka")
    if model.name != "li_lei" or model.options.get("killing") != "total":
        raise MissingPeerError("only model li_lei is written as its expressions")
    from peers_heyoka import solver

    return [
        _contender(model, "heyoka", method, rtol, max(8, patients // 4), solver(model, rtol, events=events))
        for method, events in (("Taylor", False), ("Taylor, events", True))
        for rtol in (*bench.PEER_RTOL, 1e-10)  # at 1e-8 its largest errors are those of lanes at 1e-5
    ]


# --- numbalsoda -------------------------------------------------------------------------------------------

_PLAIN_ATOL = 1e-8  # numbalsoda's own default, in cells


def numbalsoda_contenders(model: Model, patients: int) -> list[Contender]:
    """LSODA and DOP853 of numbalsoda, in a compiled loop over patients.

    As its users write it: a right-hand side with ``cfunc``, ``lsoda`` in a loop. In the variables that
    fastcart integrates, and (``plain``) in cells with the absolute tolerance that is the default.
    """
    _need("numbalsoda", "numbalsoda")
    return [
        _contender(
            model, "numbalsoda", method, rtol, max(4, patients // 10), numbalsoda_solver(model, method, rtol)
        )
        for method in ("lsoda", "lsoda, plain", "dop853")
        for rtol in bench.PEER_RTOL
    ]


def numbalsoda_solver(model: Model, method: str, rtol: float) -> Solve:
    """Return a function that solves a population with numbalsoda."""
    made: list[Any] = []
    name, _, plain = method.partition(", ")

    def solve(population: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        problem, u0, p = _internal(model, population)
        scale, log, atol = problem.scale, tuple(bool(x) for x in problem.log), rtol
        if plain:
            u0, _ = check_patients(model, population).arrays(0, len(population))
            scale, log, atol = np.ones(u0.shape[1]), (False,) * u0.shape[1], _PLAIN_ATOL
        if not made:
            made.append(_callback(model, log))
        data = np.concatenate([p, np.tile(scale, (len(p), 1))], axis=1)
        out = np.full((len(u0), len(times), u0.shape[1]), np.nan)
        _loop(name)(made[0].address, u0, data, times, rtol, atol, out)
        if plain:
            b = model.burden_index
            out[:, :, b] = np.log(np.maximum(out[:, :, b], np.finfo(float).tiny))
        return out

    return solve


def _callback(model: Model, log: tuple[bool, ...]) -> Any:
    import math

    from numba import carray

    from fastcart.solvers.codegen import derivative_lines, labels, written
    from fastcart.solvers.compile import FAST, cached, rebuild
    from fastcart.solvers.lsoda_library import rhs_signature
    from fastcart.solvers.named import naming

    n, m = len(model.states), len(model.parameters)
    derivatives, constants = derivative_lines(model.system, log, False)
    lines = [
        "def numbalsoda_rhs(t, u_, du_, data_):",
        f"    u = carray(u_, ({n},)); du = carray(du_, ({n},)); p = carray(data_, ({m + n},))",
        f"    scale = p[{m}:]",
        *derivatives,
        *[f"    du[U_{x}] = du_{x}" for x in labels(model.state_names)],
    ]
    names = {"rhs": rebuild(model.rhs, FAST), "exp": math.exp, "nan": math.nan, "carray": carray}
    names |= naming(model)
    function = written(lines, constants, names)
    return cached(function, f"{model.name} for numbalsoda", signature=rhs_signature, **FAST)


_loops: dict[str, Any] = {}


def _loop(method: str) -> Any:
    """Compile the loop, once in a process: numba cannot keep on disk what calls a library's address."""
    if method not in _loops:
        import numbalsoda
        from numba import njit

        integrate = getattr(numbalsoda, method)

        @njit(nogil=True)
        def loop(address, u0, data, times, rtol, atol, out):
            for i in range(u0.shape[0]):
                found, success = integrate(
                    address, u0[i], times, data=data[i], rtol=rtol, atol=atol, mxstep=MAX_STEPS
                )
                if success:
                    out[i] = found

        _loops[method] = loop
    return _loops[method]


PEERS: dict[str, Callable[[Model, int], list[Contender]]] = {
    "heyoka": heyoka_contenders,
    "numbalsoda": numbalsoda_contenders,
    "cvode": cvode_contenders,
    "diffrax": diffrax_contenders,
}
