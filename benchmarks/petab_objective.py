"""Time for objectives of a PEtab problem at random parameters: one batch, against one course after the other.

``python benchmarks/petab_objective.py PROBLEM.yaml [--points 1000]``. SciPy (``solve_ivp``, LSODA, the same
compiled right-hand side and tolerance) and, where it is installed, libRoadRunner solve one point after the
other; both are timed with some of the points and extrapolated. Problems with one condition without
pre-equilibration only, such as Crauste 2017.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

import fastcart.petab

RTOL = 1e-8
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--others", type=int, default=100, help="points of the others, extrapolated")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    problem = fastcart.petab.load(options.problem, threads=options.threads)
    if len(problem.conditions) != 1 or problem.conditions[0][0] is not None:
        parser.error("the problem must have one condition without pre-equilibration")
    random = np.random.default_rng(0)
    size = (options.points, len(problem.names))
    theta = problem.lower + (problem.upper - problem.lower) * random.random(size)
    found = problem.evaluate(theta)  # compiles every method that some point needs
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        problem.evaluate(theta)
        taken.append(time.perf_counter() - begin)
    batch = min(taken)
    print(f"{problem.name}: {options.points} points, {options.threads} threads")
    print(f"fastcart, one batch: {batch:.3f} s; {found.summary()}")
    few = theta[: options.others]
    for name, solve in (("SciPy LSODA", scipy_courses), ("libRoadRunner", roadrunner_courses)):
        begin = time.perf_counter()
        solved = solve(problem, few)
        if solved is None:
            print(f"{name}: not installed")
            continue
        whole = (time.perf_counter() - begin) * len(theta) / len(few)
        print(
            f"{name}, one after the other: {whole:.3f} s ({solved} of {len(few)} solved), "
            f"{whole / batch:.1f} times"
        )


def scipy_courses(problem: fastcart.petab.problem.PetabProblem, theta: np.ndarray) -> int:
    """Solve courses by SciPy and return how many were solved."""
    likelihood = problem.likelihood
    rhs, model = likelihood.model.system, likelihood.model
    from fastcart.solvers.arrays import internal_rhs

    count = len(model.states)
    derivative = internal_rhs(rhs, (False,) * count, False)
    times = likelihood.courses.problem.save_at
    scale = np.array([state.scale for state in model.states])
    solved = 0
    for row in problem.natural(theta):
        y0, p, _ = likelihood.design.then[0].arrays(row[np.newaxis])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = solve_ivp(
                lambda t, y, p=p[0]: derivative(t, y, p, scale, np.zeros(count)), (0.0, times[-1]), y0[0],
                method="LSODA", t_eval=times, rtol=RTOL, atol=RTOL * scale,
            )  # fmt: skip
        solved += bool(found.success)
    return solved


def roadrunner_courses(problem: fastcart.petab.problem.PetabProblem, theta: np.ndarray) -> int | None:
    """Solve courses by libRoadRunner and return how many were solved; None where it is not installed."""
    try:
        import roadrunner
    except ImportError:
        return None
    roadrunner.Logger.disableLogging()
    runner = roadrunner.RoadRunner(problem.files.model)
    runner.integrator.relative_tolerance = RTOL
    times = [0.0, *problem.likelihood.courses.problem.save_at]
    solved = 0
    for row in problem.natural(theta):
        runner.resetAll()
        for name, value in zip(problem.names, row, strict=True):
            runner[name] = value
        try:
            runner.simulate(times=times)
        except RuntimeError:
            continue
        solved += 1
    return solved


if __name__ == "__main__":
    main()
