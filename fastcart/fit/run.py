"""A fit from specification to report, in a folder; one that was killed goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from fastcart.batch import check_threads
from fastcart.errors import InputError, require
from fastcart.fit.data import FitData
from fastcart.fit.population_figures import (
    DPI,
    courses,
    distribution_errors,
    observed_and_predicted,
    predictive_check,
    starts,
    traces,
)
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.populations import population
from fastcart.fit.reader import read
from fastcart.fit.report import report_text
from fastcart.fit.schedules import designs
from fastcart.fit.spec import FitSpec, read_spec
from fastcart.fit.spec_designs import DesignsSpec
from fastcart.plotting import beside, write_forms
from fastcart.runs.forms import encode_csv
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import Run, open_run

OWNS = ("states/*.npz", "tables/*.csv", *beside(["figures/*.png"]), "report.md")


def run_spec(
    spec: FitSpec | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
) -> tuple[Path, PopulationFit]:
    """Fit a population and write tables, figures and the report.

    Parameters
    ----------
    spec : FitSpec or path of a TOML file
    out : path
        Folder of the run.
    resume : bool
        Go on with the run in this folder; its tables become those of an uninterrupted one.
    force : bool
        Replace a run that is there.
    threads : int, optional
        Results do not depend on it.

    Returns
    -------
    report : Path
        Of ``report.md``.
    fit : PopulationFit

    Raises
    ------
    InputError
        For a bad specification or table, and a folder that cannot be used.
    """
    chosen = spec if isinstance(spec, FitSpec) else read_spec(spec)
    require("The report of a fit with its figures", ("matplotlib",))
    threads = check_threads(threads)
    data = read(chosen.data, chosen.model, **chosen.reading)
    if chosen.designs is not None and data.doses is not None and chosen.designs.doses is None:
        raise InputError(
            "The patients are given doses; say in [[designs.dose]] which those of visits to come get."
        )
    with open_run(out, manifest(chosen, data), resume=resume, force=force, owns=OWNS) as run:
        try:
            found = population(
                chosen.model, data, observations=chosen.observations, options=chosen.options,
                threads=threads, keep=run, **chosen.population,
            )  # fmt: skip
        except InputError:
            run.withdraw()
            raise
        tables = write_tables(chosen, found, run)
        write_figures(chosen, found, run)
        if chosen.designs is not None:
            tables["designs"] = write_designs(chosen.designs, found, threads, run)
        return run.write("report.md", report_text(chosen, found, tables)), found


def manifest(spec: FitSpec, data: FitData) -> Manifest:
    """Return what the results of a fit depend on."""
    content = {
        "model": describe_model(spec.model),
        "data": {
            "ids": plain(data.ids), "measurements": plain(vars(data.measurements)),
            "doses": plain(data.doses), "covariates": plain(data.covariates),
        },
        "observations": plain(spec.observations), "population": plain(spec.population),
        "options": plain(spec.options), "replicates": spec.replicates, "bins": spec.bins,
        "patients": spec.patients, "designs": plain(spec.designs), **environment(),
    }  # fmt: skip
    return Manifest("fit", content)


def write_tables(spec: FitSpec, fit: PopulationFit, run: Run) -> dict[str, Any]:
    """Write every table as CSV."""
    check = fit.vpc(bins=spec.bins, replicates=spec.replicates)
    tables = {
        "estimates": fit.table(), "individuals": fit.individuals(), "shrinkage": fit.shrinkage(),
        "starts": fit.starts(), "diagnostics": fit.diagnostics(), "predictive_check": check.bins,
        "below_the_limit": check.censored,
    }  # fmt: skip
    if spec.patients:
        tables["virtual_patients"] = fit.to_population(spec.patients, uncertainty=True)
    for name, table in tables.items():
        run.write(f"tables/{name}.csv", encode_csv(table))
    return tables


def write_figures(spec: FitSpec, fit: PopulationFit, run: Run) -> None:
    """Draw every figure."""
    plain_check = fit.vpc(bins=spec.bins, replicates=spec.replicates)
    corrected = fit.vpc(bins=spec.bins, replicates=spec.replicates, corrected=True)
    drawn = {
        "observed_and_predicted": observed_and_predicted(fit),
        "predictive_check": predictive_check(plain_check),
        "predictive_check_corrected": predictive_check(corrected),
        "distribution_errors": distribution_errors(fit),
        "courses": courses(fit),
        "traces": traces(fit),
        "starts": starts(fit),
    }
    for name, figure in drawn.items():
        write_forms(figure, f"figures/{name}", run.write, dpi=DPI)


def write_designs(spec: DesignsSpec, fit: PopulationFit, threads: int, run: Run) -> pd.DataFrame:
    """Compare schedules of visits, and write their table and figure."""
    found = designs(fit, spec.schedules, threads=threads, **spec.keywords())
    table = found.table()
    run.write("tables/designs.csv", encode_csv(table))
    write_forms(found.drawn(), "figures/designs", run.write, dpi=DPI)
    return table
