"""Where parts of the claim hold: other growth of CAR-T cells, structures of the model, populations, clinics.

Each regime is a population of its own in which the families of a few parts are scanned anew. Its gains are
point estimates at equal severe CRS: what varies here are parameters and structures, not patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.papers.srct.controlled import PARTS, Arrays, KeepArrays, families, solved
from fastcart.papers.srct.controlled_findings import LEVEL
from fastcart.papers.srct.experiments import changed
from fastcart.papers.srct.tuning import tuned_dose
from fastcart.population import PRIOR, Marginal, sample
from fastcart.protocols import Assays, Design
from fastcart.protocols.controlled import VISITS
from fastcart.runs.sharing import in_order
from fastcart.trial.counterfactual import DOSE
from fastcart.trial.families import ENDPOINTS, LEVELS, Comparing, Scan, at_level, gains, of_targets
from fastcart.trial.oracle import oracle

SEED = 31
GAINS = ("CR90", "EFS730", "OS730")  # endpoints of the tables
_LEVELS = LEVELS["crs3"]
_FAMILIES = ("single", "LHM", "FLAT", "RISE_T", "REV", "promote x10")

# growth of effectors, times that of each patient: from 2000 CAR-T cells for each engrafted one to 2
GROWTH = (1.0, 0.88, 0.746, 0.61, 0.475, 0.34)
STRUCTURES: dict[str, dict[str, tuple[str, float]]] = {
    "slow niche closure (rN / 2)": {"rN": ("times", 0.5)},
    "strong exhaustion (KX 5e10)": {"KX": ("times", 5e10 / 7e11)},
    "all memory cells engraft (F_M 1)": {"F_M": ("is", 1.0)},
    "effectors do not engraft (F_E 0.005)": {"F_E": ("is", 0.005)},
    "little antigen suffices (KA / 10)": {"KA": ("times", 0.1)},
    "much antigen is needed (KA x 10)": {"KA": ("times", 10.0)},
    "killing saturates late (s x 3)": {"s": ("times", 3.0)},
    "targets do not limit killing (h 0.01)": {"h": ("is", 0.01)},
    "targets limit killing (h 1)": {"h": ("is", 1.0)},
    "IL-6 from killed cells, too (aD 2e-12)": {"aD": ("is", 2e-12)},
    "antigen-driven growth (nu 0.3)": {"nu": ("is", 0.3)},
    "antigen-driven growth (nu 0.6)": {"nu": ("is", 0.6)},
    "wide niche (Kq 1e11)": {"Kq": ("times", 1e11 / 3.2e10)},
}
HET = (0.25, 0.5, 1.0, 1.5, 2.0)
# what patients differ in, by mechanism: inputs of the prior
GROUPS: dict[str, tuple[str, ...]] = {
    "growth": ("rhoE", "dE"),
    "killing": ("kap", "s"),
    "antigen load": ("L0", "B0", "sB", "KA"),
    "exhaustion": ("xi", "KX"),
    "niche": ("Kq", "N0", "rN"),
    "IL-6 scale": ("pC",),
    "product": ("F_E", "F_M", "fM"),
    "memory": ("muEM", "dM"),
    "escape and growth of leukemia": ("fR", "rL"),
}
NONE = "none"  # nothing is frozen
_USUAL = "het 1.0"  # label of the scans of the usual patients, whom three tables share


class Scope(NamedTuple):
    """How much of the regimes is computed.

    Parameters
    ----------
    patients : int
        In each regime.
    shares : tuple of float
        Single doses, in the dose that is usual there.
    cells : tuple of float
        Targets.
    growth, structures, het, groups : tuple
        Which of `GROWTH`, `STRUCTURES`, `HET` and `GROUPS`.
    noises, intervals : tuple of float
        Standard deviations of the assays, and days between visits.
    clinics : bool
        Whether delays, lags and leaks are varied, too.
    """

    patients: int
    shares: tuple[float, ...]
    cells: tuple[float, ...]
    growth: tuple[float, ...] = GROWTH
    structures: tuple[str, ...] = tuple(STRUCTURES)
    het: tuple[float, ...] = HET
    groups: tuple[str, ...] = tuple(GROUPS)
    noises: tuple[float, ...] = (0.0, 0.35, 0.7, 1.0, 1.5)
    intervals: tuple[float, ...] = (1.0, 2.0, 3.5, 7.0)
    clinics: bool = True


class Place(NamedTuple):
    """Whom regimes treat, how they are solved, and what keeps each."""

    scope: Scope
    hT: float
    hL: float
    keep: KeepArrays
    options: Mapping[str, Any]  # of `fastcart.trial.counterfactual.arm_course`
    backwards: bool = False  # the last first, as who shares the work with another process

    def ordered(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return regimes in the order in which they are solved."""
        return in_order(items, backwards=self.backwards)

    def drawn(self, **how: Any) -> pd.DataFrame:
        """Return patients of the prior, with the hazards that are calibrated."""
        return sample(self.scope.patients, seed=SEED, **how).assign(hT=self.hT, hL=self.hL)


def _scans(
    patients: pd.DataFrame, names: Sequence[str], at: Place, label: str, *, product: float = DOSE
) -> dict[str, Scan]:
    """Solve some families in a population, each kept under the label of the regime; OPEN follows RISE_T."""
    doses = tuple(share * product for share in at.scope.shares)
    known = families(doses=doses, cells=at.scope.cells, product=product)
    chosen = {name: known[name] for name in names if name in known}

    def keep(name: str, make: Callable[[], Arrays]) -> Arrays:
        return at.keep(f"{label} {name}", make)

    with_open = "OPEN" in names
    return solved(
        chosen, patients, product=product, with_open=with_open, keep=keep, **at.options
    ).scans  # fmt: skip


def _gains(scans: Mapping[str, Scan], patients: pd.DataFrame) -> pd.DataFrame:
    """Return the gains of all parts whose families were solved, at equal severe CRS, without intervals."""
    how = Comparing(levels={"crs3": _LEVELS}, resamples=0)
    columns = ["level", "endpoint", "gain"]
    tables = []
    for part in PARTS:
        if part.family in scans and part.versus in scans:
            table = gains(scans[part.family], scans[part.versus], patients, seed=0, how=how)
            table = table[table["endpoint"].isin(GAINS)][columns]
            tables.append(table.assign(part=part.name, family=part.family, versus=part.versus))
    return pd.concat(tables, ignore_index=True)


def _usual(scans: Mapping[str, Scan], dose: float) -> dict[str, float]:
    """Return what the usual single dose does."""
    table = scans["single"].table()
    row = table.iloc[int((table["intensity"] / dose - 1).abs().argmin())]
    return {f"single_{name}": float(row[name]) for name in ("CR90", "crs3", "EFS730")}


def _best_clean(scans: Mapping[str, Scan], name: str) -> float:
    return float(scans[name].table()["clean730"].max())


def regimes(at: Place) -> pd.DataFrame:
    """Return gains where effectors grow more slowly, and in other structures of the model.

    In each the dose is set so that the single infusion brings as many into remission as usual, and IL-6 so
    that as many have severe CRS. Rows: ``regime, kind``, part, level, endpoint and ``gain``.
    """
    cases = [(f"growth x {factor:g}", "growth", {"rhoE": ("times", factor)}) for factor in at.scope.growth]
    cases += [(name, "structure", STRUCTURES[name]) for name in at.scope.structures]
    tables = []
    for k, (label, kind, changes) in at.ordered(list(enumerate(cases))):
        drawn = changed(at.drawn(), changes)
        threads = at.options.get("threads")
        set_to = at.keep(f"{k} {kind} tuned", lambda: tuned_dose(drawn, threads=threads).scales(drawn))  # noqa: B023
        patients = drawn.assign(pC=drawn["pC"] * float(set_to["pC"]))
        dose = float(set_to["dose"])
        scans = _scans(patients, _FAMILIES, at, f"{k} {kind}", product=dose)
        told = {"dose": dose, "amplification": float(set_to["amplification"]), **_usual(scans, dose)}
        told |= {f"clean_{name}": _best_clean(scans, name) for name in ("single", "RISE_T")}
        tables.append(_gains(scans, patients).assign(regime=label, kind=kind, **told))
    return _first(pd.concat(tables, ignore_index=True), "regime", "kind")


def heterogeneity(at: Place) -> pd.DataFrame:
    """Return gains from like to unlike patients, and what perfect information about each would achieve.

    Columns beside those of `regimes`: ``het``; ``uniform`` and ``chosen``, event-free survival of the single
    dose at the rate `LEVEL` of severe CRS, alike for all and chosen for each.
    """
    tables = []
    for het in at.ordered(at.scope.het):
        patients = at.drawn(het=het)
        scans = _scans(patients, ("single", "LHM", "FLAT", "RISE_T", "OPEN", "promote x10"), at, f"het {het}")
        told = _usual(scans, DOSE)
        told |= {f"clean_{name}": _best_clean(scans, name) for name in ("single", "RISE_T")}
        single = scans["single"]
        means = single.means(np.where(single.ok, 1.0, 0.0))
        place = ENDPOINTS.index("EFS730")
        told["uniform"] = float(at_level(means, single.intensities, LEVEL)[place])
        told["chosen"] = float(oracle(single, LEVEL)["EFS730"])
        tables.append(_gains(scans, patients).assign(het=het, **told))
    return _first(pd.concat(tables, ignore_index=True), "het")


def frozen(at: Place) -> pd.DataFrame:
    """Return gains of the rising target where one mechanism is alike in all patients, and how outcomes vary.

    Rows: ``group`` (`NONE` or one of `GROUPS`), level, endpoint, ``gain``; ``variance_single`` and
    ``variance_RISE_T`` are those of the probability of the endpoint over patients, read off where severe CRS
    has the level.
    """
    tables = []
    for group in at.ordered((NONE, *at.scope.groups)):
        patients = at.drawn(prior=alike(GROUPS.get(group, ())))
        label = _USUAL if group == NONE else f"frozen {group}"
        scans = _scans(patients, ("single", "RISE_T"), at, label)
        table = _gains(scans, patients)
        table = table[table["part"] == "low then rising"].reset_index(drop=True)
        for name, scan in scans.items():
            table[f"variance_{name}"] = [
                variance_at(scan, float(level), str(endpoint))
                for level, endpoint in zip(table["level"], table["endpoint"], strict=True)
            ]
        tables.append(table.assign(group=group))
    return _first(pd.concat(tables, ignore_index=True), "group")


def alike(names: Sequence[str]) -> Any:
    """Return the prior in which some inputs have no spread; the others are drawn as they were."""
    marginals = {m.name: m for m in PRIOR.marginals}
    still = [Marginal(name, marginals[name].median, 0.0, marginals[name].scale) for name in names]
    return PRIOR.replaced(*still)


def variance_at(scan: Scan, level: float, endpoint: str) -> float:
    """Return the variance over patients of the probability of an endpoint, where severe CRS has a rate.

    Between two intensities it is interpolated, as expected values are.
    """
    kept = scan.ok
    means = scan.means(np.where(kept, 1.0, 0.0))
    place = at_level(means, scan.intensities, level)[-1]
    values = scan.parts[:, kept, ENDPOINTS.index(endpoint)].var(axis=1)
    return float(np.interp(place, np.log10(scan.intensities), values)) if np.isfinite(place) else np.nan


def clinics(at: Place) -> pd.DataFrame:
    """Return gains of the rising target by how well a clinic measures: noise, visits, delay, lag, leak.

    Rows: ``family`` (RISE_T or FLAT), ``noise`` (standard deviation of burden and cells), ``interval`` (days
    between visits up to day 28), ``delay``, ``lag``, ``leak``, level, endpoint, ``gain``.
    """
    patients = at.drawn()
    usual: dict[str, Any] = {
        "family": "RISE_T",
        "noise": 0.35,
        "interval": 1.0,
        "delay": 1.0,
        "lag": 0.25,
        "leak": 0.02,
    }
    grid = [{"noise": sd, "interval": days} for sd in at.scope.noises for days in at.scope.intervals]
    cases = [usual, *({**usual, **case} for case in grid)]
    if at.scope.clinics:
        cases += [{**usual, "delay": days} for days in (0.0, 2.0, 3.0)]
        cases += [{**usual, "lag": days} for days in (1.0, 2.0)]
        cases += [{**usual, "leak": share} for share in (0.1, 0.25)]
        cases += [{**usual, "family": "FLAT"}, {**usual, "family": "FLAT", "noise": 0.7}]
    told = dict.fromkeys(tuple(case.items()) for case in cases)
    cases = [dict(items) for items in told]
    single = _scans(patients, ("single",), at, _USUAL)
    tables = []
    for case in at.ordered(cases):
        name = str(case["family"])
        label = "clinic " + " ".join(f"{value}" for value in case.values())
        label = f"{_USUAL} RISE_T" if case == usual else label
        family = of_targets(partial(_in_clinic, case), at.scope.cells, name=name)

        def keep(_: str, make: Callable[[], Arrays], label: str = label) -> Arrays:
            return at.keep(label, make)

        scans = solved({name: family}, patients, with_open=False, keep=keep, **at.options).scans
        how = Comparing(levels={"crs3": _LEVELS}, resamples=0)
        table = gains(scans[name], single["single"], patients, seed=0, how=how)
        table = table[table["endpoint"].isin(GAINS)][["level", "endpoint", "gain"]]
        tables.append(table.assign(**case))
    return _first(pd.concat(tables, ignore_index=True), *usual)


def _in_clinic(case: Mapping[str, Any], cells: float) -> Any:
    interval = float(case["interval"])
    visits = VISITS
    if interval != 1.0:
        early = np.arange(interval, 28.0 + 1e-9, interval)
        visits = (*(float(day) for day in early), *(day for day in VISITS if day > 28.0))
    assays = Assays(burden_sd=float(case["noise"]), cells_sd=float(case["noise"]), delay=float(case["delay"]))
    return Design(target=str(case["family"]), cells=cells).arm(
        str(case["family"]), visits=visits, assays=assays, lag=float(case["lag"]), leak=float(case["leak"])
    )


def _first(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    return table[[*names, *(name for name in table if name not in names)]]


def robustness(regimes: pd.DataFrame, heterogeneity: pd.DataFrame) -> pd.DataFrame:
    """Return the gains of all regimes at the rate `LEVEL`, as `verdicts` takes them.

    Populations of another spread are regimes, too.
    """
    others = heterogeneity[heterogeneity["het"] != 1.0]
    spread = others.assign(regime=[f"spread x {het:g}" for het in others["het"]])
    table = pd.concat([regimes, spread], ignore_index=True)
    return table.loc[table["level"] == LEVEL, ["part", "regime", "endpoint", "gain"]].reset_index(drop=True)
