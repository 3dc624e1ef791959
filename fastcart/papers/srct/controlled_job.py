"""The experiment on controlled concentrations as a part of the job: what it computes, and what is kept of it.

Each family is kept as soon as it is solved, so that a job that was killed goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.papers.srct import controlled_tables as t
from fastcart.papers.srct.controlled import DOSES, IL6, IN_PARTS, TARGET_CELLS, families, study
from fastcart.population import calibrate
from fastcart.runs.forms import ARRAYS
from fastcart.runs.store import Run
from fastcart.trial.families import Comparing, Family

SEED = 11  # of the population
# beyond the usual targets, so that 20 and 40 % severe CRS lie within the scans of resamples, too
_CELLS = (1e8, *TARGET_CELLS, 3e11)
_IL6 = (*IL6, 2000.0)
NOISE = 5  # seed of the assays
FILES = {
    name: f"experiments/controlled_{name}.csv"
    for name in ("scans", "contrasts", "verdicts", "toxicity", "frontier", "courses", "gainers", "memory")
}


class Size(NamedTuple):
    """How much of the experiment is computed."""

    patients: int
    resamples: int
    doses: tuple[float, ...] = DOSES
    cells: tuple[float, ...] = _CELLS
    il6: tuple[float, ...] = _IL6
    named: tuple[str, ...] = IN_PARTS
    of_courses: int = 150  # patients whose course is drawn

    def chosen(self) -> dict[str, Family]:
        """Return the families, but for the open loop, which follows from RISE_T."""
        known = families(doses=self.doses, cells=self.cells, il6=self.il6)
        return {name: known[name] for name in self.named if name in known}


def size_of(patients: int, *, quick: bool) -> Size:
    """Return how much is computed for a job of so many patients: a sixth of them are controlled."""
    share = max(patients // 6, 60)
    if not quick:
        return Size(share, 300)
    return Size(
        share, 60, doses=(1e3, 1e5, 1e6, 1e7, 1e8, 1e9), cells=(3e8, 1.5e9, 6e9, 3e10),
        il6=(80.0, 250.0, 900.0), of_courses=40,
        named=("single", "LHM", "FLAT", "RISE_B", "RISE_T", "REV", "mem last", "promote x10"),
    )  # fmt: skip


def controlled(size: Size, run: Run, *, threads: int | None = None) -> dict[str, pd.DataFrame]:
    """Scan the families in weighted draws of the prior, and return the tables of the experiment.

    Parameters
    ----------
    size : Size
    run : Run
        Keeps each family.
    threads : int, optional

    Returns
    -------
    dict of str to DataFrame
        By name of file, see `FILES`.
    """

    def keep(kind: str) -> Callable[[str, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]]:
        def kept(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
            return run.kept(f"experiments/controlled/{kind}_{name.replace(' ', '_')}.npz", make, ARRAYS)

        return kept

    options: dict[str, Any] = {"noise_seed": NOISE, "threads": threads}
    cal = calibrate(size.patients, seed=SEED, allow_unmet=True, threads=threads)
    patients = cal.sample.assign(hT=cal.hT, hL=cal.hL)
    at = t.Setting(patients, cal.weights, SEED, size.resamples, options)
    found = study(
        patients, seed=SEED, chosen=size.chosen(), weights=cal.weights,
        how=Comparing(resamples=size.resamples), keep=keep("scan"), progress=False, **options,
    )  # fmt: skip
    reached = {}
    for name in found.scans:
        arrays = keep("equal")(name, partial(t.reached, name, found, at))
        reached[name] = t.Reached(float(arrays["intensity"]), arrays["parts"])
    few = at._replace(patients=patients.head(size.of_courses), weights=cal.weights[: size.of_courses])
    tables = {
        "scans": t.scans_table(found.scans, cal.weights),
        "contrasts": t.contrasts(found.gains),
        "verdicts": t.estimands(found.verdicts),
        "toxicity": t.equal_toxicity(found, reached, cal.weights),
        "frontier": t.frontier(found.scans, at),
        "courses": t.courses(found, reached, few),
        "gainers": t.who_gains(reached, at),
        "memory": t.memory_response(reached, at),
    }
    return {FILES[name]: table for name, table in tables.items()}
