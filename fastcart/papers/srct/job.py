"""The job ``srct``: all experiments, their tables and figures, and one report, in a folder.

A run that was killed goes on when the job is started again with the same folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from fastcart import plotting
from fastcart.batch import check_threads
from fastcart.checks import count
from fastcart.errors import require
from fastcart.papers.frame import Step, Tables
from fastcart.papers.frame import compute as compute_steps
from fastcart.papers.srct import controlled_report as controlled
from fastcart.papers.srct import experiments as e
from fastcart.papers.srct import figures as f
from fastcart.papers.srct import search as s
from fastcart.papers.srct.comparison import CORRELATION, FACTOR, SHARE, compare
from fastcart.papers.srct.controlled_job import FILES, common, prepare_kernels, size_of
from fastcart.papers.srct.controlled_job import controlled as controlled_tables
from fastcart.papers.srct.controlled_job import from_the_end as from_its_end
from fastcart.papers.srct.findings import HYPOTHESIS, LIMITS, all_findings
from fastcart.papers.srct.job_words import TITLES, WORDS
from fastcart.papers.srct.prototype import ARMS, GAINS, HETEROGENEITY, RANGES
from fastcart.runs.forms import ARRAYS, CSV, Form
from fastcart.runs.manifest import Manifest
from fastcart.runs.sharing import helped, in_two
from fastcart.runs.store import Run, open_run
from fastcart.trial.figures import Picture, make_figures
from fastcart.trial.frontier import DOSES
from fastcart.trial.html import figure_html, page, points, titled_table
from fastcart.trial.report import trial_parts
from fastcart.trial.run import NEEDS, OWNS, TrialResult, compute, manifest, write_tables
from fastcart.trial.spec import TrialSpec, make_spec

PATIENTS = 3000
_QUICK_WARNING = (
    "<p class='warn'>A quick look: few patients, coarse scans, a short search; not to be cited.</p>"
)
_QUICK_GROWTH: dict[str, Any] = {"rho_E": (0.6, 1.4, 2.95)}
_QUICK_MAP: dict[str, Any] = {**_QUICK_GROWTH, "hets": (0.25, 1.5)}
_QUICK_STRUCTURES: dict[str, Any] = {
    "variants": ("default (nu 0.85)", "antigen-driven (nu 0.30)", "wide niche (Kq 1e11)")
}
QUICK_PATIENTS, QUICK_REPLICATES = 150, 20  # at most, of a quick look
SEED = 1


def reproduce(
    out: str | Path,
    *,
    force: bool = False,
    threads: int | None = None,
    progress: bool | None = None,
    sample: int = PATIENTS,
    replicates: int = 1000,
    quick: bool = False,
) -> Path:
    """Run the experiments of the specification of the simulated trial, and compare with its prototype.

    Parameters
    ----------
    out : path
        Folder; a run of the same size that is there goes on.
    force : bool
        Begin anew.
    threads : int, optional
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.
    sample : int
        Virtual patients; experiments over many populations use a third of them.
    replicates : int
        Trials for power.
    quick : bool
        A look in about a minute: few patients, coarse scans, a short search; no number of it is to be cited.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    InputError
        For a folder that cannot be used.
    """
    require("The simulated trial", NEEDS)
    threads = check_threads(threads)
    size = count(sample, "The number of patients")
    if quick:
        size, replicates = min(size, QUICK_PATIENTS), min(replicates, QUICK_REPLICATES)
    spec = _spec(size, replicates)
    base = manifest(spec)
    content = Manifest("reproduction of srct", {**base.content, "patients": size, "quick": quick})
    owns = (*OWNS, "experiments/*", "experiments/controlled/*", "experiments/search/*")
    with open_run(out, content, resume=not force, force=force, owns=owns) as run:
        result, tables = _computed(spec, run, Amount(size, quick), threads, progress)
        # what is not to be cited is not printed either
        drawing = (
            _Drawing(_QUICK_WARNING, (), threads) if quick else _Drawing("", plotting.BESIDE_SVG, threads)
        )
        pictures = make_figures(result, run, threads=threads, also=drawing.also)
        return _report(result, run, pictures, tables, drawing)


def _spec(patients: int, replicates: int) -> TrialSpec:
    spec = make_spec(
        {
            "title": "Low-high-memory dosing of CAR-T cells in B-cell leukemia: a simulated randomized trial",
            "trial": {"treatments": ["A5", "A6", "A3", "A1"]},
            "population": {"patients": patients, "sample": 2 * patients, "seed": SEED},
            "power": {"replicates": replicates},
        }
    )
    return replace(spec, frontier=DOSES)


class Amount(NamedTuple):
    """How much is computed."""

    patients: int
    quick: bool


def _computed(
    spec: TrialSpec, run: Run, amount: Amount, threads: int | None, progress: bool | None
) -> tuple[TrialResult, dict[str, pd.DataFrame]]:
    """Run the trial and each experiment that is not there yet, with a copy of this process; read all back."""
    size = amount.patients
    controls = size_of(size, quick=amount.quick)
    searched = partial(
        s.protocol_search, size, seed=SEED, keep=partial(_kept_part, run), **(s.QUICK if amount.quick else {})
    )
    shared = common(controls, threads=threads)
    prepare_kernels(shared)
    from_the_end = (
        lambda given: from_its_end(controls, run, shared.with_threads(given)),
        lambda given: searched(threads=given, backwards=True),
    )
    with helped(run, from_the_end, threads=threads or 1) as own:
        result = compute(spec, run, threads=own, progress=progress)
        write_tables(result, run)
        control = partial(controlled_tables, controls, run, shared.with_threads(own))
        return result, _made_in_order(result, amount, searched, control, own, run, progress)


def _kept_part(run: Run, name: str, make: Callable[[], Any], form: Form[Any]) -> Any:
    """Return a part of the search as it is kept."""
    ending = "npz" if form is ARRAYS else "csv"
    return run.kept(f"experiments/search/{name.replace(' ', '_')}.{ending}", make, form)


def _made_in_order(
    result: TrialResult, amount: Amount, searched: Callable[..., pd.DataFrame],
    control: Callable[[], Tables], threads: int, run: Run, progress: bool | None,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Run the experiments from the first to the last."""
    patients, size = result.patients, amount.patients
    third = max(size // 3, 50)
    some = patients.head(third)
    jobs: dict[str, Callable[[], pd.DataFrame]] = {
        "agreement": partial(agreement, result.arms),
        "amplification": partial(
            e.amplification, some, threads=threads, **(_QUICK_GROWTH if amount.quick else {})
        ),
        "regime_map": partial(
            e.regime_map,
            max(size // 6, 50),
            seed=SEED,
            threads=threads,
            **(_QUICK_MAP if amount.quick else {}),
        ),
        "heterogeneity": partial(e.heterogeneity, size, seed=SEED, threads=threads),
        "lethality": partial(e.lethality, patients, threads=threads),
        "structures": partial(
            e.structures, some, threads=threads, **(_QUICK_STRUCTURES if amount.quick else {})
        ),
        "niche": partial(e.niche, patients, result.frontier, threads=threads),
        "frey": partial(e.frey, patients, threads=threads),
        "protocol_search": partial(searched, threads=threads),
        "prcc": partial(e.why_patients_differ, max(4 * size // 3, 200), seed=SEED, threads=threads),
    }
    steps = [Step(TITLES[name], (_file(name),), partial(_made, name, make)) for name, make in jobs.items()]
    steps.append(Step(controlled.TITLE, tuple(FILES.values()), lambda _: control()))
    keep = partial(run.kept, form=CSV)
    made = compute_steps(steps, keep=keep, unit="experiments", progress=progress)
    return {name: made[_file(name)] for name in jobs} | {
        f"controlled_{name}": made[file] for name, file in FILES.items()
    }


def _file(experiment: str) -> str:
    return f"experiments/{experiment}.csv"


def _made(name: str, make: Callable[[], pd.DataFrame], _: Tables) -> Tables:
    return {_file(name): make()}


def agreement(arms: pd.DataFrame) -> pd.DataFrame:
    """Compare expected values with the prototype, in standard deviations between populations."""
    rows = []
    computed = arms.to_dict("index")
    for arm, values in ARMS.to_dict("index").items():
        for name, there in values.items():
            here = float(computed[arm][name])
            center, spread = RANGES.get((str(arm), str(name)), (math.nan, math.nan))
            rows.append(
                {
                    "arm": arm,
                    "endpoint": name,
                    "specification": there,
                    "here": here,
                    "deviations": (here - center) / spread,
                    "passes": ""
                    if math.isnan(spread)
                    else "yes"
                    if abs(here - center) <= 3 * spread
                    else "no",
                }
            )
    return pd.DataFrame(rows)


class _Drawing(NamedTuple):
    """What a report warns of, and the forms of its figures beside SVG."""

    warning: str
    also: tuple[str, ...]
    threads: int


def _report(
    result: TrialResult,
    run: Run,
    pictures: list[Picture],
    tables: dict[str, pd.DataFrame],
    drawing: _Drawing,
) -> Path:
    folder = run.path("figures")
    drawn: dict[str, f.Drawn] = {}
    with plotting.style():
        for name in ("amplification", "regime_map", "heterogeneity", "prcc"):
            drawn[name] = getattr(f, name)(tables[name])
        drawn["niche"] = f.niche(tables["niche"], result.frontier)
        drawn["protocol_search"] = s.figure(tables["protocol_search"])
        drawn |= controlled.drawn(tables)
        in_two(
            [
                partial(plotting.save_figure, figure, folder / f"{name}.svg", dpi=200, also=drawing.also)
                for name, (figure, _) in drawn.items()
            ],
            threads=drawing.threads,
        )
    parts = ["<h2 id='experiments'>Experiments</h2>"]
    for name, title in TITLES.items():
        if name in drawn:
            path = folder / f"{name}.svg"
            parts.append(figure_html(Picture(name, title, WORDS[name], path, drawn[name][1])))
        else:
            shown = tables[name][list(_SHOWN.get(name, tables[name].columns))].copy()
            shown[[c for c in _IN_PERCENT if c in shown]] *= 100
            shown = shown.rename(columns=_HEADS)
            parts.append(f"<h3>{title}</h3><p>{WORDS[name]}</p>{titled_table(title, shown)}")
        if name == "protocol_search":
            parts.append(f"<p>{escape(s.findings(tables[name]))}</p>")
        if name == "amplification":
            parts.append(_beside(tables[name], GAINS))
        if name == "heterogeneity":
            parts.append(_beside_heterogeneity(tables[name]))
    parts += controlled.parts(tables, {name: table for name, (_, table) in drawn.items()}, folder)
    parts.append(_compared(tables, result.power, run))
    sentences = [*all_findings(result.arms, result.isotoxic, tables), *controlled.findings(tables)]
    told = "".join(f"<li>{escape(text)}</li>" for text in sentences)
    words = f"<h2>What this says about the hypothesis</h2><p>{escape(HYPOTHESIS)}</p><ul>{told}</ul>"
    verdict = drawing.warning + words
    body = trial_parts(
        result, pictures, run, found=[verdict], experiments=parts, limits=(*LIMITS, *controlled.LIMITS)
    )
    return run.write("report.html", page(result.spec.title, body))


def _compared(tables: dict[str, pd.DataFrame], power: pd.DataFrame, run: Run) -> str:
    """Return how many numbers of the specification are met, and list those that are not."""
    table = compare(tables, power)
    run.write(
        "experiments/comparison.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    )
    off = table[~table["agrees"]].drop(columns="agrees")
    off["experiment"] = off["experiment"].map(TITLES | {"power": "Power"})
    away = tables["agreement"]["passes"].eq("no").sum()
    judged = tables["agreement"]["passes"].isin(["yes", "no"]).sum()
    text = (
        f"<h3>Where the specification disagrees</h3><p>Of {judged} expected values of the arms with a known "
        f"spread, {away} differ by more than 3 standard deviations. Of {len(table)} numbers of its "
        f"experiments, {len(table) - len(off)} agree (shares within {100 * SHARE:g} points, power within "
        f"{200 * SHARE:g}, correlations within {CORRELATION:g}, doses and amplifications within a factor of "
        f"{FACTOR:g}). "
    )
    if not len(off):
        return f"{text}</p>"
    heads = _HEADS | {"specification": "Specification", "here": "Here"}  # doses among them
    listed = titled_table("Where the specification disagrees", off.rename(columns=heads))
    return f"{text}These do not:</p>{listed}"


_HEADS = {
    "specification": "Specification (%)",
    "here": "Here (%)",
    "deviations": "Deviations (sd)",
    "passes": "Within 3 sd",
    "wanted": "Toxic deaths under A0 (%)",
    "hT_factor": "Factor of the toxic hazard",
    "variant": "Structure",
    "cohort": "Cohort",
    "cells": "Cells",
    "patients": "Patients",
    "observed": "Observed CR (%)",
    "low": "Low (%)",
    "high": "High (%)",
    "deaths": "Observed deaths (%)",
    "p_CR": "P (CR)",
    "p_deaths": "P (deaths)",
    "experiment": "Experiment",
    "what": "Number",
    "tolerance": "Tolerance",
}
_IN_PERCENT = ("specification", "here", "wanted", "observed", "low", "high", "deaths")
_SHOWN = {
    "lethality": ["wanted", "hT_factor", "arm", "toxic_death", "CR90", "EFS730", "OS730"],
    "structures": ["variant", "arm", "dose", "CR90", "crs3", "EFS730", "gain_CR90", "gain_EFS730"],
}


def _beside(table: pd.DataFrame, prototype: pd.DataFrame) -> str:
    """Return gains here and in the specification, side by side."""
    rows = []
    for rho, there in prototype.iterrows():
        part = table[table["rhoE"] == rho].set_index("arm")
        if len(part):
            row: dict[str, Any] = {"rhoE": rho, "Amplification": part["amplification"].iloc[0]}
            for arm in ("A3", "A4", "A5"):
                row[f"{arm}, here"] = points(float(part["gain_EFS730"][arm]))
                row[f"{arm}, specification"] = points(float(there[arm]))
            rows.append(row)
    words = "<p>Gain in event-free survival at 24 months over the iso-toxic single dose, in points:</p>"
    return f"{words}{titled_table('Gains here and in the specification', pd.DataFrame(rows))}"


def _beside_heterogeneity(table: pd.DataFrame) -> str:
    heads = {"CR90": "CR90", "crs3": "CRS ≥ 3", "EFS730": "EFS 24 mo"}
    rows = []
    for het, part in table.groupby("het"):
        row: dict[str, Any] = {"Heterogeneity": het}
        there = HETEROGENEITY.loc[het].to_dict()
        for arm, values in part.set_index("arm")[list(heads)].iterrows():
            for name, value in values.items():
                both = f"{100 * value:.1f} / {100 * there[f'{name}_{arm}']:.1f}"
                row[f"{heads[str(name)]}, {arm}"] = both
        rows.append(row)
    words = "<p>Percent here / in the specification:</p>"
    return f"{words}{titled_table('Shares here and in the specification', pd.DataFrame(rows))}"
