"""The job ``t-cell-theories``: the table of facts, how firm it is, scans of CAR-T products, and a report."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fastcart.checks import count

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


@dataclass
class Outcome:
    """What was computed: tables by name of file, and the sizes and times to report."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


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
        Replace outputs that exist.
    threads : int, optional
    progress : bool, optional

    Returns
    -------
    Path
        Of ``report.md``.

    Raises
    ------
    InputError
        For a folder that cannot be used, or outputs that exist, before anything is computed.
    MissingDependencyError
        When matplotlib or SALib is not installed.
    """
    from fastcart import plotting
    from fastcart.batch import check_threads, progress_bar
    from fastcart.errors import require
    from fastcart.papers.li_lei_2025.job import _check_folder
    from fastcart.papers.li_lei_2025.report import write_table
    from fastcart.papers.t_cell_theories.figures import make
    from fastcart.papers.t_cell_theories.report import write_report

    started = time.perf_counter()
    threads = check_threads(threads)
    require("The work t-cell-theories", ["matplotlib", "SALib"])
    folder = _check_folder(Path(out), [*TABLES, *FIGURES, REPORT], force=force)
    outcome = Outcome(
        sizes={
            "draws": count(draws, "The number of draws"), "trials": count(trials, "The number of trials"),
            "families": count(families, "The number of families"), "parts": count(parts, "The parts"),
            "samples": count(samples, "The number of samples"), "seed": seed,
        }
    )  # fmt: skip
    steps = _steps(outcome, threads)
    with progress_bar(len(steps), progress, unit="tables") as bar:
        for name, step in steps:
            bar.set_description(name)
            before = time.perf_counter()
            outcome.tables |= step()
            outcome.seconds[name] = time.perf_counter() - before
            bar.update()
    for name, table in outcome.tables.items():
        write_table(table, folder / name)
    with plotting.style():
        for name, picture in make(outcome, threads):
            plotting.save_figure(picture, folder / name, dpi=200)
    report = folder / REPORT
    write_report(outcome, report, threads=threads, wall_time=time.perf_counter() - started)
    return report


def _steps(outcome: Outcome, threads: int) -> list[tuple[str, Any]]:
    """Return what to compute: name, and a function that returns tables by name of file."""
    from fastcart.papers.t_cell_theories import cart as cart
    from fastcart.papers.t_cell_theories import scans as scans
    from fastcart.papers.t_cell_theories.cuts import leads
    from fastcart.papers.t_cell_theories.facts import t_cell_facts
    from fastcart.papers.t_cell_theories.variants import compare_searches, compare_variants

    sizes = outcome.sizes
    seed = sizes["seed"]
    common: dict[str, Any] = {"threads": threads}
    some = min(sizes["families"], 1000)
    fewer = max(2, sizes["draws"] // 5)

    def robustness() -> dict[str, pd.DataFrame]:
        frame = scans.robustness(draws=sizes["draws"], seed=seed, **common)
        return {"robustness.csv": scans.summarise(frame)}

    def variance() -> dict[str, pd.DataFrame]:
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
        ("facts", lambda: {"facts.csv": t_cell_facts(families=sizes["families"], seed=seed, **common)}),
        ("cuts", lambda: {
            "cuts.csv": leads(outcome.tables["facts.csv"], draws=sizes["draws"], seed=seed)
        }),
        ("mixtures", lambda: {"mixtures.csv": scans.scan_mixtures(families=some, seed=seed, **common)}),
        ("reverse arrows", lambda: {"reverse.csv": scans.scan_reverse(families=some, seed=seed, **common)}),
        ("robustness", robustness),
        ("reverse arrows, random rates", lambda: {
            "reverse_robust.csv": scans.reverse_robustness(draws=fewer, seed=seed, **common)
        }),
        ("reverse arrows in other theories", lambda: {
            "union_map.csv": scans.union_map(draws=max(2, sizes["draws"] // 20), seed=seed, **common)
        }),
        ("equal budget", lambda: {
            "equal_budget.csv": scans.equal_budget(trials=sizes["trials"], seed=seed, **common)
        }),
        ("variants", lambda: {
            "variants.csv": compare_variants(**common),
            "variant_searches.csv": compare_searches(trials=10 * sizes["trials"], seed=seed, **common),
        }),
        ("X1", lambda: {"x1_products.csv": cart.scan_products(parts=sizes["parts"], **common)}),
        ("X2", lambda: {"x2_theories.csv": cart.compare_theories(**common)}),
        ("X3", lambda: {
            "x3_doses.csv": cart.scan_doses(**common), "x3_splits.csv": cart.scan_splits(**common)
        }),
        ("X4", lambda: {
            f"x4_{kind}.csv": cart.scan_boosts(kind, **common) for kind in ("live", "vaccine")
        }),
        ("X5", variance),
    ]  # fmt: skip
