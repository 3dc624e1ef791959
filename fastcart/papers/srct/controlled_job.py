"""The experiment on controlled concentrations as a part of the job: what it computes, and what is kept of it.

Each family is kept as soon as it is solved, so that a job that was killed goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby
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
    solved,
    study,
)
from fastcart.papers.srct.controlled_lethality import factors, lethality
from fastcart.papers.srct.controlled_zoo import zoo
from fastcart.population import calibrate
from fastcart.runs.forms import ARRAYS
from fastcart.runs.store import Run
from fastcart.trial.counterfactual import DOSE
from fastcart.trial.families import Comparing, Family
from fastcart.trial.together import arms_together
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
        scope = r.Scope(max(2 * share // 5, 60), _SHARES, TARGET_CELLS)
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


class Common(NamedTuple):
    """What all of the experiment shares: patients with weights, how often toxicity kills, the acute response.

    Parameters
    ----------
    at : Setting
    hT, hL : float
        Calibrated hazards.
    deadlier : tuple of float
        See `fastcart.papers.srct.controlled_lethality.factors`.
    response : tuple
        See `fastcart.papers.srct.controlled_likeness.acute`.
    """

    at: t.Setting
    hT: float
    hL: float
    deadlier: tuple[float, ...]
    response: tuple[Any, ...]

    def with_threads(self, threads: int | None) -> Common:
        """Return the same, solved in so many threads."""
        return self._replace(at=self.at._replace(options={**self.at.options, "threads": threads}))


def common(size: Size, *, threads: int | None = None) -> Common:
    """Draw and weight the patients of the experiment."""
    options: dict[str, Any] = {"noise_seed": NOISE, "threads": threads}
    cal = calibrate(size.patients, seed=SEED, allow_unmet=True, threads=threads)
    patients = cal.sample.assign(hT=cal.hT, hL=cal.hL)
    at = t.Setting(patients, cal.weights, SEED, size.resamples, options)
    deadlier = factors(patients, cal.weights, threads=threads)
    return Common(at, cal.hT, cal.hL, deadlier, like.acute(threads))


def prepare_kernels(shared: Common) -> None:
    """Solve two patients in one arm of each kind: what is loaded then, a copy of this process has, too."""
    known = families()
    for name in ("RISE_T", "promote x10", "RISE_T graded"):
        list(arms_together([known[name].make(3e9)], shared.at.patients.head(2), **shared.at.options))


def controlled(size: Size, run: Run, shared: Common | None = None) -> dict[str, pd.DataFrame]:
    """Scan the families in weighted draws of the prior, and return the tables of the experiment.

    Parameters
    ----------
    size : Size
    run : Run
        Keeps each family.
    shared : Common, optional
        Default what `common` returns.

    Returns
    -------
    dict of str to DataFrame
        By name of file, see `FILES`.
    """
    keep, shared = _keeping(run), shared or common(size)
    at, patients, weights = shared.at, shared.at.patients, shared.at.weights
    options, threads = at.options, at.options["threads"]
    found = study(
        patients, seed=SEED, chosen=size.chosen(), weights=weights, factors=shared.deadlier,
        refined=size.refined,
        how=Comparing(resamples=_OF_VERDICTS * size.resamples), keep=keep("scan"), **options,
    )  # fmt: skip
    reached = {}
    for name in found.scans:
        arrays = keep("equal")(name, partial(t.reached, name, found, at))
        reached[name] = t.Reached(float(arrays["intensity"]), arrays["parts"])
    few = at._replace(patients=patients.head(size.of_courses), weights=weights[: size.of_courses])
    tables = {
        "scans": t.scans_table(found.scans, weights),
        "contrasts": t.contrasts(found.gains),
        "toxicity": t.equal_toxicity(found, reached, weights),
        "frontier": t.frontier(found.scans, at),
        "courses": t.courses(found, reached, few),
        "gainers": t.who_gains(reached, at),
        "memory": t.memory_response(reached, at),
        "variance": mechanism.variance(reached, at),
        "individual": mechanism.individual(reached, at),
        "lethality": lethality(found, weights, shared.deadlier),
    }
    tables |= _regimes(
        r.Place(size.scope, shared.hT, shared.hL, keep("regime"), options) if size.scope else None
    )
    known = len(tables["regimes"]) > 0
    regimes = r.robustness(tables["regimes"], tables["heterogeneity"]) if known else None
    tables["verdicts"] = t.estimands(verdicts(found.gains, regimes=regimes))
    response = shared.response
    tables["courses"] = pd.concat([tables["courses"], like.acute_course(*response)], ignore_index=True)
    tables |= _likeness(size, found, at, like.endogenous(*response), keep("likeness"))
    tables["zoo"] = (
        zoo(size.models, size.of_models, keep("model"), threads=threads)
        if size.models
        else pd.DataFrame(columns=["model", "contrast", "endpoint", "gain", "toxicity", "agrees", "reason"])
    )
    return {file: tables[name] for name, file in FILES.items()}


def from_the_end(size: Size, run: Run, shared: Common) -> None:
    """Make parts of the experiment that are kept, the last first, until another process has made them all."""
    keep, at = _keeping(run), shared.at
    if size.models:
        zoo(size.models, size.of_models, keep("model"), threads=at.options["threads"], backwards=True)
    if size.protocols:
        _measured(size, at, like.endogenous(*shared.response), keep("likeness"))
    if size.scope:
        place = r.Place(size.scope, shared.hT, shared.hL, keep("regime"), at.options, backwards=True)
        for make in reversed(_REGIMES.values()):
            make(place)
    solved(
        dict(reversed(size.chosen().items())), at.patients, weights=at.weights, factors=shared.deadlier,
        refined=size.refined, keep=keep("scan"), **at.options,
    )  # fmt: skip


def _keeping(run: Run) -> Callable[[str], KeepArrays]:
    """Return what gives each kind of part its keeper."""

    def keep(kind: str) -> KeepArrays:
        def kept(name: str, make: Callable[[], Arrays]) -> Arrays:
            return run.kept(f"experiments/controlled/{kind}_{_plain(name)}.npz", make, ARRAYS)

        return kept

    return keep


def _plain(name: str) -> str:
    """Return a name as a file can have it."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)


_REGIMES: dict[str, Callable[[r.Place], pd.DataFrame]] = {
    "regimes": r.regimes,
    "heterogeneity": r.heterogeneity,
    "frozen": r.frozen,
    "clinics": r.clinics,
}


def _regimes(place: r.Place | None) -> dict[str, pd.DataFrame]:
    if place is None:
        first = ("regime", "het", "group", "family")
        names = ("kind", "part", "level", "endpoint", "gain", "dose", "uniform", "chosen")
        empty = pd.DataFrame(columns=[*first, *names])
        return dict.fromkeys(_REGIMES, empty)
    return {name: make(place) for name, make in _REGIMES.items()}


def _likeness(
    size: Size, found: Study, at: t.Setting, wanted: np.ndarray, keep: KeepArrays
) -> dict[str, pd.DataFrame]:
    """Return the likeness of protocols to an endogenous response, and what goes with it."""
    if not size.protocols:
        empty = pd.DataFrame(columns=["of", "with", "given", "rank", "low", "high", "protocols"])
        return {"protocols": pd.DataFrame(columns=["protocol", "likeness"]), "likeness": empty}
    table, half = _measured(size, at, wanted, keep)
    single = found.scans["single"]
    part = single.parts[:, : len(half.patients)]
    table = like.over_the_frontier(table, type(single)("single", single.intensities, part), half.weights)
    drawn = table.iloc[len(_NAMED) :].reset_index(drop=True)
    return {"protocols": table, "likeness": like.correlations(drawn, wanted, resamples=at.resamples)}


def _measured(
    size: Size, at: t.Setting, wanted: np.ndarray, keep: KeepArrays
) -> tuple[pd.DataFrame, t.Setting]:
    """Return what named and random protocols do, in some of the patients, and the setting of these."""
    scope = at.patients.head(_OF_PROTOCOLS)
    half = at._replace(patients=scope, weights=at.weights[: len(scope)])
    known = families()
    named = like.named({name: known[family].make(x) for name, (family, x) in _NAMED.items()})
    parts = [
        like.kept(keep, f"{k}", [one for _, one in group], half, wanted)
        for k, (_, group) in enumerate(groupby(enumerate([*named, *like.protocols(size.protocols)]), _of))
    ]
    return pd.concat(parts, ignore_index=True), half


_OF = 20  # protocols in one part that is kept


def _of(place: tuple[int, Any]) -> int:
    return place[0] // _OF
