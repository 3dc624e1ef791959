"""The job ``t-cell-theories``: the table of facts, how firm it is, scans of CAR-T products, and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fastcart.batch import check_threads
from fastcart.checks import count
from fastcart.errors import require
from fastcart.papers.frame import Step, Tables, compute, job, write_outputs
from fastcart.papers.t_cell_theories import cart, scans
from fastcart.papers.t_cell_theories.cuts import leads
from fastcart.papers.t_cell_theories.facts import t_cell_facts
from fastcart.papers.t_cell_theories.figures import pictures
from fastcart.papers.t_cell_theories.report import write_report
from fastcart.papers.t_cell_theories.variants import compare_searches, compare_variants
from fastcart.runs.forms import CELLS

REPORT = "report.md"
TABLES = (
    "facts.csv", "cuts.csv",
    "mixtures.csv", "reverse.csv", "robustness.csv", "equal_budget.csv", "reverse_robust.csv",
    "union_map.csv", "variants.csv", "variant_searches.csv", "x1_products.csv", "x2_theories.csv",
    "x3_doses.csv", "x3_splits.csv", "x4_live.csv", "x4_vaccine.csv", "x5_indices.csv", "x5_variances.csv",
)  # fmt: skip
FIGURES = (
    "facts.png", "courses.png", "phase.png", "firmness.png", "union_map.png", "x1_products.png",
    "x2_theories.png", "x3_doses.png", "x4_boosts.png", "x5_variance.png",
)  # fmt: skip


def reproduce(
    out: str | Path,
    *,
    draws: int = 10_000,
    trials: int = 400,
    families: int = 3000,
    parts: int = 10,
    samples: int = 4096,
    seed: int = 0,
    force: bool = False,
    threads: int | None = None,
    progress: bool | None = None,
) -> Path:
    """Compute the table of facts and all scans; write tables, figures and ``report.md`` into one folder.

    A job that was killed goes on when it is started again with the same folder and sizes.

    Parameters
    ----------
    out : path
    draws : int
        Random draws of the common rates.
    trials : int
        Trials per search of the control with equal tuning effort; two searches for each theory.
    families : int
        Single-cell families of the table of facts.
    parts : int
        Steps of the composition of products; 10 gives 286 products.
    samples : int
        Of the variance decomposition, a power of 2; ten times as many courses are computed.
    seed : int
    force : bool
        Replace outputs that exist, and begin anew.
    threads : int, optional
    progress : bool, optional

    Returns
    -------
    Path
        Of ``report.md``.

    Raises
    ------
    InputError
        For a folder that cannot be used, outputs that exist, or an unfinished job of other sizes, before
        anything is computed.
    MissingDependencyError
        When matplotlib or SALib is not installed.
    """
    threads = check_threads(threads)
    require("The work t-cell-theories", ["matplotlib", "SALib"])
    sizes = {
        "draws": count(draws, "The number of draws"), "trials": count(trials, "The number of trials"),
        "families": count(families, "The number of families"), "parts": count(parts, "The parts"),
        "samples": count(samples, "The number of samples"), "seed": seed,
    }  # fmt: skip
    names = [*TABLES, *FIGURES, REPORT]
    with job(out, names, "t-cell-theories", {"sizes": sizes}, force=force) as opened:

        def keep(name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
            return opened.run.kept(f"{name}.json", make, CELLS)

        tables = compute(_steps(sizes, threads), keep=keep, progress=progress)
        write_outputs(opened.folder, tables, lambda: pictures(tables, threads), dpi=200)
        report = opened.folder / REPORT
        write_report(tables, sizes, report, opened.taken(threads))
    return report


def _steps(sizes: Mapping[str, int], threads: int) -> list[Step]:
    """Return what to compute."""
    seed = sizes["seed"]
    common: dict[str, Any] = {"threads": threads}
    some = min(sizes["families"], 1000)
    fewer = max(2, sizes["draws"] // 5)

    def one(name: str, file: str, make: Callable[[], pd.DataFrame]) -> Step:
        return Step(name, (file,), lambda _: {file: make()})

    def robustness() -> pd.DataFrame:
        return scans.summarise(scans.robustness(draws=sizes["draws"], seed=seed, **common))

    def variants(_: Tables) -> Tables:
        searches = compare_searches(trials=10 * sizes["trials"], seed=seed, **common)
        return {"variants.csv": compare_variants(**common), "variant_searches.csv": searches}

    def doses(_: Tables) -> Tables:
        return {"x3_doses.csv": cart.scan_doses(**common), "x3_splits.csv": cart.scan_splits(**common)}

    def boosts(_: Tables) -> Tables:
        return {f"x4_{kind}.csv": cart.scan_boosts(kind, **common) for kind in ("live", "vaccine")}

    def variance(_: Tables) -> Tables:
        indices, spreads = [], []
        for name, contraction in cart.COHORTS.items():
            found, numbers = cart.decompose(sizes["samples"], contraction=contraction, seed=seed, **common)
            indices.append(found.assign(cohort=name))
            spreads.append(cart.variances(numbers).rename(name))
        spread = pd.concat(spreads, axis=1)
        spread["Stein 2019"] = pd.Series(cart.CLINIC_VARIANCE)
        return {
            "x5_indices.csv": pd.concat(indices, ignore_index=True),
            "x5_variances.csv": spread.rename_axis("quantity").reset_index(),
        }

    return [
        one("facts", "facts.csv", partial(t_cell_facts, families=sizes["families"], seed=seed, **common)),
        Step("cuts", ("cuts.csv",), lambda tables: {
            "cuts.csv": leads(tables["facts.csv"], draws=sizes["draws"], seed=seed)
        }),
        one("mixtures", "mixtures.csv", partial(scans.scan_mixtures, families=some, seed=seed, **common)),
        one("reverse arrows", "reverse.csv", partial(scans.scan_reverse, families=some, seed=seed, **common)),
        one("robustness", "robustness.csv", robustness),
        one("reverse arrows, random rates", "reverse_robust.csv",
            partial(scans.reverse_robustness, draws=fewer, seed=seed, **common)),
        one("reverse arrows in other theories", "union_map.csv",
            partial(scans.union_map, draws=max(2, sizes["draws"] // 20), seed=seed, **common)),
        one("equal budget", "equal_budget.csv",
            partial(scans.equal_budget, trials=sizes["trials"], seed=seed, **common)),
        Step("variants", ("variants.csv", "variant_searches.csv"), variants),
        one("X1", "x1_products.csv", partial(cart.scan_products, parts=sizes["parts"], **common)),
        one("X2", "x2_theories.csv", partial(cart.compare_theories, **common)),
        Step("X3", ("x3_doses.csv", "x3_splits.csv"), doses),
        Step("X4", ("x4_live.csv", "x4_vaccine.csv"), boosts),
        Step("X5", ("x5_indices.csv", "x5_variances.csv"), variance),
    ]  # fmt: skip
