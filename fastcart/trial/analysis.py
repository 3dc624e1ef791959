"""Analysis of one randomized trial, and of counterfactual pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.errors import InputError, optional_import
from fastcart.trial.curves import cumulative_incidence, landmark_survival
from fastcart.trial.observe import HORIZON
from fastcart.trial.proportions import (
    ALPHA,
    nobody,
    paired_interval,
    proportion,
    risk_difference,
    row,
)
from fastcart.trial.stratified import landmark_difference, mantel_haenszel, stratified_logrank
from fastcart.trial.survival import (
    cox_with_limits,
    logrank,
    mean_difference,
    proportional_hazards,
)

__all__ = [
    "ALPHA",
    "BINARY",
    "HARMS",
    "SURVIVAL",
    "UNOBSERVABLE",
    "Analysis",
    "analyse",
    "compare_pairs",
    "cumulative_incidence",
    "landmark_survival",
    "proportion",
    "risk_difference",
    "survival_contrasts",
]

BINARY = {
    "CR28": "Complete remission on day 28",
    "CR90": "Complete remission within 90 days",
    "crs3": "CRS of grade 3 or more",
    "crs4": "CRS of grade 4 or more",
    "toxic_death": "Death from CRS",
}
SURVIVAL = {"efs": "Event-free survival", "os": "Overall survival"}
HARMS = ("crs3", "crs4", "toxic_death")
UNOBSERVABLE = "Not observable in a real trial: each patient is seen in both arms."


@dataclass(frozen=True)
class Analysis:
    """Tables of the analysis of one trial.

    Attributes
    ----------
    proportions : DataFrame
        A row per binary endpoint and arm: events, patients, share, Wilson's and Clopper-Pearson's interval.
    contrasts : DataFrame
        A row per endpoint and measure (risk difference, number needed, hazard ratio, difference of restricted
        means, difference of survival at 12 and 24 months): estimate, interval, p, method, and ``note``,
        which says why a number is NaN or infinite.
    survival : DataFrame
        A row per survival endpoint, arm and landmark: Kaplan-Meier estimate with interval, medians, ``note``.
    competing : DataFrame
        A row per arm, cause and landmark: cumulative incidence (Aalen-Johansen) with interval, ``note``.
    """

    proportions: pd.DataFrame
    contrasts: pd.DataFrame
    survival: pd.DataFrame
    competing: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        return {
            "proportions": self.proportions,
            "contrasts": self.contrasts,
            "survival": self.survival,
            "competing": self.competing,
        }


def analyse(
    trial: pd.DataFrame,
    names: tuple[str, str],
    *,
    alpha: float = ALPHA,
    horizon: float = HORIZON,
    stratified: bool = False,
) -> Analysis:
    """Analyse one trial.

    Parameters
    ----------
    trial : DataFrame
        From `fastcart.trial.observe.run_trial`.
    names : (str, str)
        Names of the control and of the treatment arm.
    alpha : float
        Intervals cover ``1 - alpha``.
    horizon : float
        Days; of the restricted mean, and the last landmark.
    stratified : bool
        Whether tests of shares and log-rank tests are within the strata of the trial, as they are to be where
        it was randomized within them. Estimates and intervals are of all patients.

    Returns
    -------
    Analysis
        Nothing in it lies beyond the last follow-up of an arm; what an arm without patients or without events
        leaves unknown is NaN, with the reason in ``note``.

    Raises
    ------
    InputError
        For arms of the same name.
    """
    if names[0] == names[1]:
        raise InputError(f"Both arms are named {names[0]!r}; each arm needs its own name.")
    treated = trial["treated"].to_numpy(dtype=bool)
    landmarks = [day for day in (180.0, 365.0, 730.0) if day <= horizon]
    shares, contrasts = [], []
    for endpoint in BINARY:
        known = trial["grade_known"].to_numpy() if endpoint in HARMS else np.ones(len(trial), dtype=bool)
        hit = trial[endpoint].to_numpy(dtype=bool)
        counts = [(int(hit[known & g].sum()), int((known & g).sum())) for g in (~treated, treated)]
        for name, (events, n) in zip(names, counts, strict=True):
            shares.append({"endpoint": endpoint, "arm": name, **proportion(events, n, alpha=alpha)})
        found = risk_difference(*counts, alpha=alpha, harm=endpoint in HARMS)
        if stratified:
            p = float(mantel_haenszel(hit, known, treated, trial["stratum"].to_numpy())[0])
            found = [_tested(one, p, "Fisher's exact test", "Cochran-Mantel-Haenszel test") for one in found]
        contrasts += [{"endpoint": endpoint, **row} for row in found]
    curves = []
    for endpoint in SURVIVAL:
        time, event = trial[endpoint].to_numpy(), trial[f"{endpoint}_event"].to_numpy(dtype=bool)
        for name, group in zip(names, (~treated, treated), strict=True):
            rows = landmark_survival(time[group], event[group], landmarks, alpha=alpha)
            curves += [{"endpoint": endpoint, "arm": name, **row} for row in rows]
        rows = survival_contrasts(time, event, treated, horizon, alpha=alpha)
        if stratified:
            p = float(stratified_logrank(time, event, treated, trial["stratum"].to_numpy())[1][0])
            rows = [_tested(one, p, "log-rank test", "log-rank test within strata") for one in rows]
        differences = [
            landmark_difference(time, event, treated, day, alpha=alpha) for day in landmarks if day >= 365.0
        ]
        contrasts += [{"endpoint": endpoint, **row} for row in (*differences, *rows)]
    incidence = []
    for name, group in zip(names, (~treated, treated), strict=True):
        rows = cumulative_incidence(
            trial["efs"].to_numpy()[group], trial["cause"].to_numpy()[group], landmarks, alpha=alpha
        )
        incidence += [{"arm": name, **row} for row in rows]
    return Analysis(*(pd.DataFrame(rows) for rows in (shares, contrasts, curves, incidence)))


def _tested(found: dict[str, Any], p: float, test: str, within: str) -> dict[str, Any]:
    """Return a contrast with the p of a test within strata, where it has the p of that test."""
    if test not in found["method"]:
        return found
    return {**found, "p": p, "method": found["method"].replace(test, within)}


def survival_contrasts(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, horizon: float, *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Compare two survival curves: Cox's hazard ratio with a check, log-rank test, restricted means.

    Parameters
    ----------
    time : ndarray, shape (patients,)
        Days to event or censoring.
    event, treated : ndarray of bool, shape (patients,)
    horizon : float
        Days; of the restricted means, where both arms are followed so far.
    alpha : float

    Returns
    -------
    list of dict
        Measures ``hazard ratio`` (p of the log-rank test), ``proportional hazards`` (p of the score test for
        a trend in the rank of time; a small one says that the hazard ratio is an average of unlike hazards),
        ``restricted mean`` (days, treatment minus control). Where all events are in one arm the hazard ratio
        is 0 or infinite, with the other limit by profile likelihood. ``note`` says why a number is missing.
    """
    event, treated = np.asarray(event, dtype=bool), np.asarray(treated, dtype=bool)
    one = np.atleast_2d(time), event[None], treated[None]
    empty = nobody(int((~treated).sum()), int(treated.sum()))
    log_ratio, _, _, low, high = (float(values[0]) for values in cox_with_limits(*one, alpha=alpha))
    p = float(logrank(*one)[1][0])
    method = "Cox, Efron ties; log-rank test"
    note = empty
    if np.isinf(log_ratio):
        both = event[treated].any() and event[~treated].any()
        events = "all events with both arms at risk" if both else "all events"
        note = f"the log hazard ratio is infinite: {events} are in the {_side(log_ratio > 0)} arm"
        method = "Cox, Efron ties, profile likelihood; log-rank test"
    elif np.isnan(log_ratio) and not empty:
        note = "no event while both arms have patients at risk" if event.any() else "no event in either arm"
    elif np.isnan(p) and not empty:
        note = "all at risk have the event at the same time: no log-rank test"
    rows = [row("hazard ratio", np.exp(log_ratio), low, high, p, method, note)]
    chi_square, p = (float(values[0]) for values in proportional_hazards(*one))
    if np.isnan(p) and not note:
        note = "no two events at different times that compare the arms"
    rows.append(
        row(
            "proportional hazards", chi_square, np.nan, np.nan, p,
            "score test, log hazard ratio linear in the rank of time", note if np.isnan(p) else "",
        )
    )  # fmt: skip
    difference, error, until = (float(values[0]) for values in mean_difference(*one, horizon))
    reach = stats.norm.isf(alpha / 2) * error
    p = 2 * stats.norm.sf(abs(difference) / error)
    note = empty
    if not empty and until < horizon:
        note = f"to the last follow-up of the arm that ends first, day {until:.4g}, not to day {horizon:g}"
    if not empty:
        note = "; ".join(part for part in (note, _spread(*one, until, error)) if part)
    method = "Greenwood" if empty else f"days to {until:.4g}; Greenwood"
    rows.append(row("restricted mean", difference, difference - reach, difference + reach, p, method, note))
    return rows


def _side(treated: bool) -> str:
    return "treatment" if treated else "control"


def _spread(time: np.ndarray, event: np.ndarray, treated: np.ndarray, until: float, error: float) -> str:
    """Return what the times do not tell about the error of a difference of means, in words."""
    groups = {_side(side): (time[treated == side], event[treated == side]) for side in (False, True)}
    for name, (days, _) in groups.items():
        if len(days) < 2:
            return f"one patient in the {name} arm: no interval"
    if np.isnan(error):
        return f"times up to day {until:.4g} do not vary in either arm: no interval"
    still = [name for name, (days, hit) in groups.items() if not (hit & (days < until)).any()]
    return f"no event in the {still[0]} arm: its variance counts as 0" if still else ""


def compare_pairs(
    control: pd.DataFrame,
    treatment: pd.DataFrame,
    *,
    alpha: float = ALPHA,
    clusters: np.ndarray | None = None,
) -> pd.DataFrame:
    """Compare each patient in both arms.

    Parameters
    ----------
    control, treatment : DataFrame
        Outcomes of the same patients in the same order, with 0/1 columns named as in `BINARY`, or ``EFS24``
        and ``OS24``.
    alpha : float
        Intervals cover ``1 - alpha``.
    clusters : ndarray, shape (patients,), optional
        Patients of one value are copies of one draw of the prior, so that they are not independent: the
        interval is that of so many fewer pairs, and p is Obuchowski's.

    Returns
    -------
    DataFrame
        For each endpoint: patients, both shares, ``avoided`` (only in the control arm) and ``caused`` (only
        in the treatment arm), the paired difference with Tango's score interval, McNemar's exact p (with
        clusters Obuchowski's, which is McNemar's chi-square where each patient is a cluster), and by
        which factor pairing lowers the variance (NaN where nobody differs in either way). The column ``note``
        says that no real trial can observe this.
    """
    mcnemar = optional_import(
        "statsmodels.stats.contingency_tables", extra="trial", purpose="The analysis of a trial"
    ).mcnemar
    rows = []
    for endpoint in control.columns:
        a, b = control[endpoint].to_numpy(dtype=bool), treatment[endpoint].to_numpy(dtype=bool)
        n, avoided, caused = len(a), int((a & ~b).sum()), int((~a & b).sum())
        table = [[int((a & b).sum()), avoided], [caused, int((~a & ~b).sum())]]
        paired = b.astype(float) - a.astype(float)
        p, effect = float(mcnemar(table, exact=True).pvalue), 1.0
        if clusters is not None and len(np.unique(clusters)) < n:
            p, effect = _of_clusters(paired, clusters)
        low, high = paired_interval(avoided / effect, caused / effect, n / effect, alpha=alpha)
        independent = a.var() + b.var()
        rows.append(
            {
                "endpoint": endpoint,
                "patients": n,
                "control": a.mean(),
                "treatment": b.mean(),
                "avoided": avoided / n,
                "caused": caused / n,
                "unchanged": 1 - (avoided + caused) / n,
                "difference": paired.mean(),
                "low": low,
                "high": high,
                "p": p,
                "variance_ratio": _ratio(float(independent), float(paired.var())),
                "note": UNOBSERVABLE,
            }
        )
    return pd.DataFrame(rows)


def _of_clusters(paired: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Return Obuchowski's p (Stat Med 17:1495, 1998) and by how much copies raise the variance."""
    _, place = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(place, paired), np.bincount(place)
    square = float(sums @ sums)
    p = float(stats.chi2.sf(sums.sum() ** 2 / square, 1)) if square else 1.0
    rest = sums - sizes * paired.mean()
    alone = float(((paired - paired.mean()) ** 2).sum())
    # where nobody differs nothing tells how much alike copies are: as if they were one patient
    effect = float(rest @ rest) / alone if alone else float(sizes @ sizes) / len(paired)
    return p, max(effect, 1.0)


def _ratio(part: float, whole: float) -> float:
    """Return a ratio; infinite for a whole of 0, NaN where both are."""
    if whole:
        return part / whole
    return np.inf if part else np.nan
