"""A simulated trial from specification to report, in a folder; a run that was killed can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd

from fastcart.batch import check_threads, progress_bar
from fastcart.errors import InputError, OutputError, require, warn_failed
from fastcart.options import SolveKeywords, SolveOptions
from fastcart.population import Population, reached_by
from fastcart.population.population import FILES as POPULATION_FILES
from fastcart.protocols import get as get_arm
from fastcart.runs.files import remove_matching
from fastcart.runs.forms import TABLE
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import Run, open_run
from fastcart.trial.analysis import BINARY, Analysis, analyse, compare_pairs
from fastcart.trial.counterfactual import DOSE, arm_course, solved_in_all
from fastcart.trial.course import OPTIONS, begins_with, trial_options
from fastcart.trial.frontier import JUDGED, draws_of, gain_limits, isotoxic
from fastcart.trial.observe import run_trial
from fastcart.trial.outcomes import contributions, expected, outcomes
from fastcart.trial.power import power_table, required_size
from fastcart.trial.primary import endpoint_tests
from fastcart.trial.recruit import recruited
from fastcart.trial.result import TrialResult
from fastcart.trial.spec import TrialSpec, check_lacking, read_spec
from fastcart.trial.stratified import STRATIFIED

OWNS = ("population/*", "courses/*", "frontier/*", "tables/*", "figures/*", "power/*", "report.html")
NEEDS = ("statsmodels", "matplotlib", "pyarrow")  # packages
_BOOTSTRAP_STREAM = 7
# what of an adapter changes results
_ADAPTED = (
    "burden", "cells", "marker", "grades", "entry", "engraft", "escaped", "toxic", "disease_death",
    "lymphocytes",
)  # fmt: skip


def run_spec(
    spec: TrialSpec | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    progress: bool | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> Path:
    """Run a simulated trial and write tables, figures and the report.

    Parameters
    ----------
    spec : TrialSpec or path of a TOML file
    out : path
        Folder of the run.
    resume : bool
        Go on with the run in this folder; its tables become those of an uninterrupted one.
    force : bool
        Replace a run that is there.
    threads : int, optional
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.
    options : SolveOptions, optional
        How to solve, instead of what the specification says; see `fastcart.trial.course.trial_options`.
    **keywords
        Single options, which count over those; ``t_end`` is the horizon.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    InputError
        For a bad specification, a folder that cannot be used, targets that cannot be met.
    """
    chosen = spec if isinstance(spec, TrialSpec) else read_spec(spec)
    check_lacking(chosen)
    solving = trial_options(chosen.options if options is None else options, keywords, run_spec)
    chosen = replace(chosen, options=solving)
    require("A simulated trial with its figures", NEEDS)
    threads = check_threads(threads)
    with open_run(out, manifest(chosen), resume=resume, force=force, owns=OWNS) as run:
        try:
            result = compute(chosen, run, threads=threads, progress=progress)
        except OutputError:
            raise  # what was finished is kept
        except InputError:
            _withdraw(run)
            raise
        write_tables(result, run)
        from fastcart.trial.figures import make_figures
        from fastcart.trial.report import write_report

        figures = make_figures(result, run, threads=threads)
        return write_report(result, figures, run)


def _withdraw(run: Run) -> None:
    """Leave nothing of a new run whose input was bad: with other input none of it could be gone on with."""
    if run.resumed:
        return
    remove_matching(run.folder, OWNS)
    for folder in sorted({pattern.partition("/")[0] for pattern in OWNS if "/" in pattern}):
        if (made := run.path(folder)).is_dir() and not any(made.iterdir()):
            made.rmdir()
    run.withdraw()


def manifest(spec: TrialSpec) -> Manifest:
    """Return what the results of a trial depend on."""
    content = {
        "model": describe_model(spec.adapter.model),
        "adapter": {name: plain(getattr(spec.adapter, name)) for name in _ADAPTED},
        "spec": {
            name: plain(value)
            for name, value in vars(spec).items()
            if name not in ("arms", "population", "title", "adapter", "options")
        }
        | {"horizon": spec.horizon},
        "arms": {arm.name: {"kind": type(arm).__name__, **plain(vars(arm))} for arm in spec.arms},
        "population": _population_content(spec),
        "begins_with": begins_with(spec.adapter, spec.options),
        **environment(),
    }
    usual = OPTIONS.keywords()
    solving = {name: value for name, value in spec.options.keywords().items() if value != usual[name]}
    solving.pop("t_end", None)  # the horizon
    if solving:  # what is as usual stands for itself, as in runs of before
        content["solve"] = plain(solving)
    return Manifest("trial", content)


def _population_content(spec: TrialSpec) -> dict[str, Any]:
    given = spec.population
    if given.folder is not None:
        return {"hash": Population.load(given.folder).hash}
    content = plain({name: value for name, value in asdict(given).items() if name != "prior"})
    return {**content, "prior": plain(given.prior.as_dict())}


def compute(
    spec: TrialSpec, run: Run, *, threads: int | None = None, progress: bool | None = None
) -> TrialResult:
    """Compute all tables; what is in the folder already is read instead."""
    options: dict[str, Any] = {
        "options": spec.options,
        "noise_seed": spec.noise_seed,
        "assay_sd": spec.assay_sd,
        "model": spec.adapter,
        "threads": threads,
    }
    steps = 1 + len(spec.arms) + len(spec.frontier) + len(spec.treatments) + 1
    with progress_bar(steps, progress, unit="steps") as bar:
        population = _population(spec, run, threads)
        bar.update()
        patients = population.patients
        courses = {}
        for arm in spec.arms:
            bar.set_description(f"Arm {arm.name}")
            make = partial(arm_course, arm, patients, dose=spec.dose, **options)
            courses[arm.name] = run.kept(f"courses/{arm.name}.parquet", make, TABLE)
            bar.update()
        scan = {}
        for k, dose in enumerate(spec.frontier):
            bar.set_description(f"Dose {dose:.3g}")
            make = partial(arm_course, get_arm("A0"), patients, dose=dose, **options)
            scan[dose] = run.kept(f"frontier/{k}.parquet", make, TABLE)
            bar.update()
        single = _calibrated_course(spec, population, patients, courses, scan, run, options)
        usable = solved_in_all([*courses.values(), *scan.values()])
        _check_anyone(usable, courses)
        courses = {name: table[usable].reset_index(drop=True) for name, table in courses.items()}
        scan = {dose: table[usable].reset_index(drop=True) for dose, table in scan.items()}
        patients = patients[usable].reset_index(drop=True)
        results = {name: outcomes(table) for name, table in courses.items()}
        arms = _arm_table(spec, courses)
        frontier = pd.DataFrame([{"dose": dose, **expected(table)} for dose, table in scan.items()])
        bar.set_description("Power")
        burden = _total_at_start(spec, patients)
        power = _power(spec, results, burden, run, bar.update)
        trials = {
            name: run_trial(
                results[spec.control.name],
                results[name],
                burden,
                spec.design,
                seed=spec.seed,
                horizon=spec.horizon,
            )
            for name in spec.treatments
        }
    lost = int((~usable).sum())
    warn_failed({"ok": len(usable) - lost, "not solved in every arm": lost})
    compared = partial(
        analyse, alpha=spec.alpha, horizon=spec.horizon, stratified=spec.design.randomization == STRATIFIED
    )
    analyses = {name: compared(trial, (spec.control.name, name)) for name, trial in trials.items()}
    return TrialResult(
        spec=spec,
        patients=patients,
        failed=int((~usable).sum()),
        outcomes=results,
        arms=arms,
        frontier=frontier,
        isotoxic=_isotoxic(spec, courses, scan, arms, frontier, draws_of(patients)),
        pairs=_pairs(spec, results, draws_of(patients)),
        trials=trials,
        analyses=analyses,
        tests=_tests(spec, analyses, arms),
        power=power,
        sizes=pd.concat(
            [
                required_size(part).assign(treatment=name)
                for name, part in power.groupby("treatment", sort=False)
                if name != spec.control.name
            ],
            ignore_index=True,
        ),
        population=population,
        reached=_reached(population, single[usable].reset_index(drop=True)),
    )


def _check_anyone(usable: np.ndarray, courses: dict[str, pd.DataFrame]) -> None:
    """Check that there is a patient who was solved in every arm."""
    if not usable.any():
        failed = {name: int((table["status"] != "ok").sum()) for name, table in courses.items()}
        worst = max(failed, key=lambda name: failed[name])
        raise InputError(
            f"No patient was solved in every arm, so that nothing can be compared: in the arm {worst!r} "
            f"{failed[worst]} of {len(usable)} were not. Look at what it does, or leave it out."
        )


def _tests(spec: TrialSpec, analyses: dict[str, Analysis], arms: pd.DataFrame) -> pd.DataFrame:
    """Return one test for each endpoint and treatment, beside the truth in the model."""
    truth = {str(name): {str(k): v for k, v in row.items()} for name, row in arms.to_dict("index").items()}
    parts = []
    for name, one in analyses.items():
        table = endpoint_tests(one.contrasts, spec.primary, truth[spec.control.name], truth[name])
        parts.append(table.assign(treatment=name))
    return pd.concat(parts, ignore_index=True)


def _total_at_start(spec: TrialSpec, patients: pd.DataFrame) -> np.ndarray:
    """Return the burden at the start that the product recognizes, which the strata follow."""
    states = spec.adapter.baseline(patients)
    return np.sum([states[name] for name in spec.adapter.target], axis=0)


def _calibrated_course(
    spec: TrialSpec,
    population: Population,
    patients: pd.DataFrame,
    courses: dict[str, pd.DataFrame],
    scan: dict[float, pd.DataFrame],
    run: Run,
    options: dict[str, Any],
) -> pd.DataFrame:
    """Return the course under the single infusion that the population was calibrated for."""
    single = get_arm("A0")
    if spec.dose == DOSE and single in spec.arms:
        return courses[single.name]
    if DOSE in scan or "targets" not in population.made:
        return scan.get(DOSE, next(iter(scan.values())))
    make = partial(arm_course, single, patients, dose=DOSE, **options)
    return run.kept("frontier/calibrated.parquet", make, TABLE)


def _reached(population: Population, single: pd.DataFrame) -> pd.DataFrame:
    """Return each target beside what the weighted sample and the treated patients reach."""
    wanted = population.made.get("targets", {})
    sample, treated = population.made.get("reached", {}), reached_by(single, list(wanted))
    rows = [
        {
            "target": name,
            "wanted": float(value),
            "sample": float(sample.get(name, np.nan)),
            "treated": treated[name],
        }
        for name, value in wanted.items()
    ]
    return pd.DataFrame(rows, columns=["target", "wanted", "sample", "treated"])


def _population(spec: TrialSpec, run: Run, threads: int | None) -> Population:
    given = spec.population
    if given.folder is not None:
        return Population.load(given.folder)
    files = [f"population/{name}" for name in POPULATION_FILES]
    if not all(map(run.has, files)):
        made = recruited(spec, threads=threads)
        made.save(run.path("population"))
        for name in files:
            run.adopt(name)
    return Population.load(run.path("population"))


def _arm_table(spec: TrialSpec, courses: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = [
        {
            "arm": arm.name,
            "title": arm.title,
            **expected(courses[arm.name]),
            "effectors_infused": courses[arm.name]["effectors_infused"].mean(),
            "memory_infused": courses[arm.name]["memory_infused"].mean(),
        }
        for arm in spec.arms
    ]
    return pd.DataFrame(rows).set_index("arm")


def _isotoxic(
    spec: TrialSpec,
    courses: dict[str, pd.DataFrame],
    scan: dict[float, pd.DataFrame],
    arms: pd.DataFrame,
    frontier: pd.DataFrame,
    clusters: np.ndarray,
) -> pd.DataFrame:
    """Return the iso-toxic comparison, with intervals by resampling the draws of the prior.

    The same draws in every arm; patients that are copies of one draw go together.
    """
    table = isotoxic(arms, frontier)
    doses = sorted(scan)
    endpoints = ["crs3", *JUDGED]

    def parts(given: Iterable[pd.DataFrame]) -> np.ndarray:
        return np.stack([contributions(course)[endpoints].to_numpy() for course in given])

    low, high, unknown = gain_limits(
        parts(courses.values()),
        parts(scan[dose] for dose in doses),
        np.array(doses),
        clusters,
        seed=np.random.SeedSequence(spec.seed, spawn_key=(_BOOTSTRAP_STREAM,)),
        alpha=spec.alpha,
    )
    for k, name in enumerate(JUDGED):
        known = table[f"gain_{name}"].notna()
        table[f"gain_{name}_low"] = np.where(known, low[:, k], np.nan)
        table[f"gain_{name}_high"] = np.where(known, high[:, k], np.nan)
    table["unjudged"] = unknown
    return table


def binary_outcomes(table: pd.DataFrame, horizon: float) -> pd.DataFrame:
    """Return the yes-or-no outcomes of each patient in one arm, with survival at the landmarks."""
    columns = {name: table[name].to_numpy(dtype=bool) for name in BINARY}
    for day, months in ((365.0, 12), (730.0, 24)):
        if day <= horizon:
            for name in ("efs", "os"):
                failed = table[f"{name}_event"].to_numpy(dtype=bool) & (table[name].to_numpy() <= day)
                columns[f"{name.upper()}{months}"] = ~failed
    return pd.DataFrame(columns)


def _pairs(spec: TrialSpec, results: dict[str, pd.DataFrame], clusters: np.ndarray) -> pd.DataFrame:
    control = binary_outcomes(results[spec.control.name], spec.horizon)
    parts = [
        compare_pairs(
            control,
            binary_outcomes(results[arm.name], spec.horizon),
            alpha=spec.alpha,
            clusters=clusters,
        ).assign(treatment=arm.name)
        for arm in spec.arms[1:]
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["treatment", *(name for name in table.columns if name != "treatment")]]


def _power(
    spec: TrialSpec,
    results: dict[str, pd.DataFrame],
    burden: np.ndarray,
    run: Run,
    done: Callable[[], Any],
) -> pd.DataFrame:
    parts = []
    control = results[spec.control.name]
    for name in (*spec.treatments, spec.control.name):  # the last one: type I error
        make = partial(
            power_table,
            control,
            results[name],
            burden,
            spec.design,
            sizes=spec.power.sizes,
            seed=spec.seed,
            replicates=spec.power.replicates,
            alpha=spec.alpha,
            horizon=spec.horizon,
        )
        parts.append(run.kept(f"power/{name}.parquet", make, TABLE).assign(treatment=name))
        done()
    return pd.concat(parts, ignore_index=True)


def write_tables(result: TrialResult, run: Run) -> None:
    """Write every table as CSV, and those with a row per patient as Parquet."""
    tables = {
        "arms": result.arms.reset_index(),
        "frontier": result.frontier,
        "isotoxic": result.isotoxic.reset_index(),
        "pairs": result.pairs,
        "power": result.power,
        "sample_size": result.sizes,
        "tests": result.tests,
    }
    for kind in ("proportions", "contrasts", "survival", "competing"):
        tables[kind] = pd.concat(
            [a.tables()[kind].assign(treatment=name) for name, a in result.analyses.items()],
            ignore_index=True,
        )
    for name, table in tables.items():
        run.write(f"tables/{name}.csv", table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    run.write("tables/outcomes.parquet", TABLE.encode(_long(result.outcomes.items(), "arm")))
    run.write("tables/trials.parquet", TABLE.encode(_long(result.trials.items(), "treatment")))


def _long(tables: Iterable[tuple[str, pd.DataFrame]], column: str) -> pd.DataFrame:
    return pd.concat([table.assign(**{column: name}) for name, table in tables], ignore_index=True)
