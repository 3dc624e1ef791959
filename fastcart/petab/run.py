"""A problem from its file to a folder of tables, figures and a manifest; after a kill it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.checks import count, seed_of
from fastcart.errors import require
from fastcart.petab import load
from fastcart.petab.figures import simulated_and_measured, waterfall
from fastcart.petab.fitting import PetabFit
from fastcart.petab.problem import PetabProblem
from fastcart.plotting import beside, write_forms
from fastcart.runs.forms import encode_csv
from fastcart.runs.identity import environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import Run, open_run

OWNS = ("tables/*.csv", *beside(["figures/*.png"]))


class Outcome(NamedTuple):
    """What a run came to.

    Parameters
    ----------
    problem : PetabProblem
    nominal : DataFrame
        One row: the objective at the nominal point, with priors, chi2, and how many courses failed.
    fit : PetabFit or None
        None for a run without starts.
    statuses : dict of str to int
        How many courses ended with each status, at the nominal point and at the best.
    """

    problem: PetabProblem
    nominal: pd.DataFrame
    fit: PetabFit | None
    statuses: dict[str, int]


def run_problem(
    path: str | Path, out: str | Path, *, starts: int = 100, seed: int = 0, resume: bool = False,
    force: bool = False, threads: int | None = None,
) -> Outcome:  # fmt: skip
    """Evaluate a problem at its nominal point, fit it, and write tables and figures.

    Parameters
    ----------
    path : path
        Of the YAML file.
    out : path
        Folder of the run.
    starts : int
        0 for no fit.
    seed : int
        Of the starts.
    resume : bool
        Go on with the run in this folder.
    force : bool
        Replace a run that is there.
    threads : int, optional
        Results do not depend on it.

    Raises
    ------
    InputError
        For a problem that fastcart does not take, and a folder that cannot be used.
    """
    if starts:
        count(starts, "The number of starts (0 for no fit)")
        require("The figures of a problem", ("matplotlib",))
    seed_of(seed)
    problem = load(path, threads=threads)
    with open_run(out, _manifest(problem, starts, seed), resume=resume, force=force, owns=OWNS) as run:
        at = problem.evaluate() if np.isfinite(problem.nominal).all() else None
        nominal = _nominal(problem, at)
        run.write("tables/nominal.csv", encode_csv(nominal))
        statuses = {} if at is None else at.summary()
        fit = None
        if starts:
            fit = problem.fit(starts=starts, seed=seed)
            for name, number in problem.evaluate(fit.theta).summary().items():
                statuses[name] = statuses.get(name, 0) + number
            _write(run, problem, fit)
        return Outcome(problem, nominal, fit, statuses)


def _nominal(problem: PetabProblem, at: Any) -> pd.DataFrame:
    if at is None:
        return pd.DataFrame({"objective": [np.nan], "with_priors": np.nan, "chi2": np.nan, "failed": 0})
    prior = problem.parameters.prior(problem.natural(problem.nominal))[0]
    return pd.DataFrame(
        {"objective": at.objective, "with_priors": at.objective + prior, "chi2": at.chi2, "failed": at.failed}
    )


def _write(run: Run, problem: PetabProblem, fit: PetabFit) -> None:
    found, simulated = fit.waterfall(), problem.simulate(fit.theta)
    for name, table in (("waterfall", found), ("estimates", fit.table()), ("simulations", simulated)):
        run.write(f"tables/{name}.csv", encode_csv(table))
    write_forms(waterfall(found, problem), "figures/waterfall", run.write)
    write_forms(simulated_and_measured(problem, simulated), "figures/simulations", run.write)


def _manifest(problem: PetabProblem, starts: int, seed: int) -> Manifest:
    """Return what the results of a run depend on."""
    files = problem.files
    content = {
        "problem": files.name, "model": files.model,
        "tables": {
            name: plain(getattr(files, name).reset_index().astype(str))
            for name in ("parameters", "conditions", "observables", "measurements")
        },
        "starts": starts, "seed": seed, **environment(),
    }  # fmt: skip
    return Manifest("petab", content)
