"""The experiment on controlled concentrations as a part of the job: what it computes, and what is kept of it.

Each family is kept as soon as it is solved, so that a job that was killed goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.models import names as model_names
from fastcart.papers.srct import controlled_likeness as like
from fastcart.papers.srct import controlled_mechanism as mechanism
from fastcart.papers.srct import controlled_regimes as r
from fastcart.papers.srct import controlled_tables as t
from fastcart.papers.srct.controlled import (
    DOSES,
    IL6,
    IN_PARTS,
    TARGET_CELLS,
    Arrays,
    KeepArrays,
    Study,
    families,
    study,
)
from fastcart.papers.srct.controlled_lethality import factors, lethality
from fastcart.papers.srct.controlled_zoo import zoo
from fastcart.population import calibrate
from fastcart.runs.forms import ARRAYS
from fastcart.runs.store import Run
from fastcart.trial.counterfactual import DOSE
from fastcart.trial.families import Comparing, Family
from fastcart.trial.verdict import verdicts

SEED = 11  # of the population
# beyond the usual targets, so that 20 and 40 % severe CRS lie within the scans of resamples, too
_CELLS = (1e8, *TARGET_CELLS, 3e11)
_IL6 = (*IL6, 2000.0)
_SHARES = (1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
NOISE = 5  # seed of the assays
# times as many resamples for verdicts: of 1000 a limit has an error of a twentieth of its margin, by which a
# verdict beside the margin follows the seed
_OF_VERDICTS = 10
_OF_PROTOCOLS = 200  # patients, at most, in whom the likeness of protocols is measured
FILES = {
    name: f"experiments/controlled_{name}.csv"
    for name in (
        "scans", "contrasts", "verdicts", "toxicity", "frontier", "courses", "gainers", "memory", "variance",
        "individual", "frozen", "heterogeneity", "regimes", "clinics", "lethality", "protocols", "likeness",
        "zoo",
    )
}  # fmt: skip
_NAMED = {"single 1e8": ("single", DOSE), "LHM 1e8": ("LHM", DOSE)} | {
    f"{name} 3e9": (name, 3e9) for name in ("FLAT", "RISE_T", "REV", "promote x10")
}


class Size(NamedTuple):
    """How much of the experiment is computed."""

    patients: int
    resamples: int
    doses: tuple[float, ...] = DOSES
    cells: tuple[float, ...] = _CELLS
    il6: tuple[float, ...] = _IL6
    named: tuple[str, ...] = IN_PARTS
    refined: tuple[str, ...] = ()  # whose scans are refined
    of_courses: int = 150  # patients whose course is drawn
    scope: r.Scope | None = None  # of the regimes; None: none
    protocols: int = 0  # random ones, whose likeness is measured
    models: tuple[str, ...] = ()  # that are asked the question, too
    of_models: int = 60  # patients of each

    def chosen(self) -> dict[str, Family]:
        """Return the families, but for the open loop, which follows from RISE_T."""
        known = families(doses=self.doses, cells=self.cells, il6=self.il6)
        return {name: known[name] for name in self.named if name in known}


def size_of(patients: int, *, quick: bool) -> Size:
    """Return how much is computed for a job of so many patients: a third of them are controlled."""
    share = max(patients // (6 if quick else 3), 60)
    if not quick:
        scope = r.Scope(max(share // 6, 60), _SHARES, TARGET_CELLS)
        return Size(
            share, 1000, refined=("single", "LHM"), scope=scope, protocols=110, models=tuple(model_names())
        )
    few = (1e8, 1.5e9, 6e9, 6e10)
    scope = r.Scope(
        40, (1e-4, 1e-2, 0.1, 1.0, 10.0), few, growth=(1.0, 0.61),
        structures=("IL-6 from killed cells, too (aD 2e-12)",), het=(0.5, 1.0, 2.0),
        groups=("antigen load", "IL-6 scale"), noises=(0.35, 1.0), intervals=(1.0, 7.0), clinics=False,
    )  # fmt: skip
    return Size(
        share, 60, doses=(1e3, 1e5, 1e6, 1e7, 1e8, 1e9), cells=few, il6=(80.0, 250.0, 900.0), of_courses=30,
        named=("single", "LHM", "FLAT", "RISE_B", "RISE_T", "REV", "mem last", "promote x10"), scope=scope,
        protocols=8, models=("kimmel",), of_models=24,
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

    def keep(kind: str) -> KeepArrays:
        def kept(name: str, make: Callable[[], Arrays]) -> Arrays:
            return run.kept(f"experiments/controlled/{kind}_{_plain(name)}.npz", make, ARRAYS)

        return kept

    options: dict[str, Any] = {"noise_seed": NOISE, "threads": threads}
    cal = calibrate(size.patients, seed=SEED, allow_unmet=True, threads=threads)
    patients = cal.sample.assign(hT=cal.hT, hL=cal.hL)
    at = t.Setting(patients, cal.weights, SEED, size.resamples, options)
    deadlier = factors(patients, cal.weights, threads=threads)
    found = study(
        patients, seed=SEED, chosen=size.chosen(), weights=cal.weights, factors=deadlier,
        refined=size.refined,
        how=Comparing(resamples=_OF_VERDICTS * size.resamples), keep=keep("scan"), **options,
    )  # fmt: skip
    reached = {}
    for name in found.scans:
        arrays = keep("equal")(name, partial(t.reached, name, found, at))
        reached[name] = t.Reached(float(arrays["intensity"]), arrays["parts"])
    few = at._replace(patients=patients.head(size.of_courses), weights=cal.weights[: size.of_courses])
    tables = {
        "scans": t.scans_table(found.scans, cal.weights),
        "contrasts": t.contrasts(found.gains),
        "toxicity": t.equal_toxicity(found, reached, cal.weights),
        "frontier": t.frontier(found.scans, at),
        "courses": t.courses(found, reached, few),
        "gainers": t.who_gains(reached, at),
        "memory": t.memory_response(reached, at),
        "variance": mechanism.variance(reached, at),
        "individual": mechanism.individual(reached, at),
        "lethality": lethality(found, cal.weights, deadlier),
    }
    tables |= _regimes(
        size, r.Place(size.scope, cal.hT, cal.hL, keep("regime"), options) if size.scope else None
    )
    known = len(tables["regimes"]) > 0
    regimes = r.robustness(tables["regimes"], tables["heterogeneity"]) if known else None
    tables["verdicts"] = t.estimands(verdicts(found.gains, regimes=regimes))
    response = like.acute(threads)
    tables["courses"] = pd.concat([tables["courses"], like.acute_course(*response)], ignore_index=True)
    tables |= _likeness(size, found, at, like.endogenous(*response))
    tables["zoo"] = (
        zoo(size.models, size.of_models, keep("model"), threads=threads)
        if size.models
        else pd.DataFrame(columns=["model", "contrast", "endpoint", "gain", "toxicity", "agrees", "reason"])
    )
    return {file: tables[name] for name, file in FILES.items()}


def _plain(name: str) -> str:
    """Return a name as a file can have it."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)


def _regimes(size: Size, place: r.Place | None) -> dict[str, pd.DataFrame]:
    makers = {
        "regimes": r.regimes,
        "heterogeneity": r.heterogeneity,
        "frozen": r.frozen,
        "clinics": r.clinics,
    }
    if place is None:
        first = ("regime", "het", "group", "family")
        names = ("kind", "part", "level", "endpoint", "gain", "dose", "uniform", "chosen")
        empty = pd.DataFrame(columns=[*first, *names])
        return dict.fromkeys(makers, empty)
    return {name: make(place) for name, make in makers.items()}


def _likeness(size: Size, found: Study, at: t.Setting, wanted: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return the likeness of protocols to an endogenous response, and what goes with it."""
    scope = at.patients.head(_OF_PROTOCOLS)
    half = at._replace(patients=scope, weights=at.weights[: len(scope)])
    if not size.protocols:
        empty = pd.DataFrame(columns=["of", "with", "given", "rank", "low", "high", "protocols"])
        return {"protocols": pd.DataFrame(columns=["protocol", "likeness"]), "likeness": empty}
    known = families()
    listed = like.named({name: known[family].make(x) for name, (family, x) in _NAMED.items()})
    random = like.protocols(size.protocols)
    table = like.measured([*listed, *random], half, wanted)
    single = found.scans["single"]
    part = single.parts[:, : len(scope)]
    table = like.over_the_frontier(table, type(single)("single", single.intensities, part), half.weights)
    drawn = table.iloc[len(listed) :].reset_index(drop=True)
    return {"protocols": table, "likeness": like.correlations(drawn, wanted, resamples=at.resamples)}
