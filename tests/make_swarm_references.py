"""Run pymoo's particle swarm on the functions of `test_swarm`: ``python tests/make_swarm_references.py``.

Writes ``references/pymoo_pso.csv``: median over 20 seeds of the best value, for a number of evaluations.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SEEDS = 20
DIMENSIONS = (5, 10, 30)
EVALUATIONS = (2000, 10000)
PARTICLES = 25  # pymoo's default, and that of fastcart
FILE = Path(__file__).parent / "references" / "pymoo_pso.csv"


def sphere(x):
    return (x**2).sum(axis=-1)


def rosenbrock(x):
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(axis=-1)


def rastrigin(x):
    return 10 * x.shape[-1] + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(axis=-1)


def ackley(x):
    slope = -20 * np.exp(-0.2 * np.sqrt((x**2).mean(axis=-1)))
    return slope - np.exp(np.cos(2 * np.pi * x).mean(axis=-1)) + 20 + np.e


# function and half the width of its box
FUNCTIONS = {
    "sphere": (sphere, 5.12),
    "rosenbrock": (rosenbrock, 2.048),
    "rastrigin": (rastrigin, 5.12),
    "ackley": (ackley, 32.768),
}


def pymoo_best(function, width, dimensions, evaluations, seed):
    from pymoo.algorithms.soo.nonconvex.pso import PSO
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize

    class Function(Problem):
        def __init__(self):
            super().__init__(n_var=dimensions, n_obj=1, xl=-width, xu=width)

        def _evaluate(self, x, out, *args, **kwargs):
            out["F"] = function(x)

    found = minimize(Function(), PSO(pop_size=PARTICLES), ("n_eval", evaluations), seed=seed, verbose=False)
    assert found.algorithm.evaluator.n_eval == evaluations
    return float(found.F[0])


def main():
    rows = []
    for name, (function, width) in FUNCTIONS.items():
        for dimensions in DIMENSIONS:
            for evaluations in EVALUATIONS:
                best = [pymoo_best(function, width, dimensions, evaluations, seed) for seed in range(SEEDS)]
                rows.append([name, dimensions, evaluations, f"{np.median(best):.6e}"])
                print(*rows[-1], flush=True)
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["function", "dimensions", "evaluations", "median"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
