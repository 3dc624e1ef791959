"""Analysis of one randomized trial, by lifelines, statsmodels and SciPy; and of counterfactual pairs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.errors import optional_import
from fastcart.trial.observe import CAUSES, HORIZON
from fastcart.trial.survival import restricted_mean

ALPHA = 0.05
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


def _statsmodels(module: str) -> Any:
    return optional_import(f"statsmodels.{module}", extra="trial", purpose="The analysis of a trial")


def _lifelines(module: str = "") -> Any:
    name = f"lifelines.{module}" if module else "lifelines"
    return optional_import(name, extra="trial", purpose="The analysis of a trial")


@dataclass(frozen=True)
class Analysis:
    """Tables of the analysis of one trial.

    Attributes
    ----------
    proportions : DataFrame
        A row per binary endpoint and arm: events, patients, share, Wilson's and Clopper-Pearson's interval.
    contrasts : DataFrame
        A row per endpoint and measure (risk difference, hazard ratio, difference of restricted means):
        estimate, interval, p, method.
    survival : DataFrame
        A row per survival endpoint, arm and landmark: Kaplan-Meier estimate with interval, and medians.
    competing : DataFrame
        A row per arm, cause and landmark: cumulative incidence (Aalen-Johansen) with interval.
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
    trial: pd.DataFrame, names: tuple[str, str], *, alpha: float = ALPHA, horizon: float = HORIZON
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

    Returns
    -------
    Analysis
    """
    treated = trial["treated"].to_numpy(dtype=bool)
    landmarks = [day for day in (180.0, 365.0, 730.0) if day <= horizon]
    shares, contrasts = [], []
    for endpoint in BINARY:
        known = trial["grade_known"].to_numpy() if endpoint in HARMS else np.ones(len(trial), dtype=bool)
        hit = trial[endpoint].to_numpy(dtype=bool)
        counts = [(int(hit[known & g].sum()), int((known & g).sum())) for g in (~treated, treated)]
        for name, (events, n) in zip(names, counts, strict=True):
            shares.append({"endpoint": endpoint, "arm": name, **proportion(events, n, alpha=alpha)})
        contrasts += [{"endpoint": endpoint, **row} for row in risk_difference(*counts, alpha=alpha)]
    curves = []
    for endpoint in SURVIVAL:
        time, event = trial[endpoint].to_numpy(), trial[f"{endpoint}_event"].to_numpy(dtype=bool)
        for name, group in zip(names, (~treated, treated), strict=True):
            rows = landmark_survival(time[group], event[group], landmarks, alpha=alpha)
            curves += [{"endpoint": endpoint, "arm": name, **row} for row in rows]
        rows = survival_contrasts(time, event, treated, horizon, alpha=alpha)
        contrasts += [{"endpoint": endpoint, **row} for row in rows]
    incidence = []
    for name, group in zip(names, (~treated, treated), strict=True):
        rows = cumulative_incidence(
            trial["efs"].to_numpy()[group], trial["cause"].to_numpy()[group], landmarks, alpha=alpha
        )
        incidence += [{"arm": name, **row} for row in rows]
    return Analysis(*(pd.DataFrame(rows) for rows in (shares, contrasts, curves, incidence)))


def proportion(events: int, n: int, *, alpha: float = ALPHA) -> dict[str, float]:
    """Return a share with the intervals of Wilson and of Clopper and Pearson; NaN where nobody was seen."""
    row: dict[str, float] = {"events": events, "patients": n, "share": events / n if n else np.nan}
    interval = _statsmodels("stats.proportion").proportion_confint
    for name, method in (("wilson", "wilson"), ("exact", "beta")):
        low, high = interval(events, n, alpha=alpha, method=method) if n else (np.nan, np.nan)
        row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
    return row


def risk_difference(
    control: tuple[int, int], treatment: tuple[int, int], *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Return the risk difference (treatment minus control) with two intervals, Fisher's p and the NNT.

    Parameters
    ----------
    control, treatment : (int, int)
        Events and patients.

    Returns
    -------
    list of dict
        Measures ``risk difference`` by Newcombe and by score, and ``number needed``: the inverse of the risk
        difference. Its interval is the inverse of Newcombe's; where that holds 0, the number needed runs
        through infinity and the interval is given as NaN.
    """
    (x0, n0), (x1, n1) = control, treatment
    if not n0 or not n1:
        return []
    stacked = _statsmodels("stats.proportion")
    difference = x1 / n1 - x0 / n0
    p = float(stats.fisher_exact([[x1, n1 - x1], [x0, n0 - x0]]).pvalue)
    rows = []
    limits = {}
    for method, name in (("newcomb", "Newcombe"), ("score", "score")):
        try:
            with _quiet():
                low, high = stacked.confint_proportions_2indep(
                    x1, n1, x0, n0, method=method, compare="diff", alpha=alpha
                )
        except ValueError:  # the score interval is not found where an arm has no event, or nothing else
            low, high = np.nan, np.nan
        limits[name] = float(low), float(high)
        rows.append(
            _row("risk difference", difference, *limits[name], p, f"{name} interval, Fisher's exact test")
        )
    low, high = limits["Newcombe"]
    bounded = low > 0 or high < 0
    first, last = sorted((1 / low, 1 / high)) if bounded else (np.nan, np.nan)
    needed = 1 / difference if difference else np.inf
    rows.append(
        _row("number needed", needed, first, last, p, "1 / risk difference; negative: fewer events treated")
    )
    return rows


def survival_contrasts(
    time: np.ndarray, event: np.ndarray, treated: np.ndarray, horizon: float, *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Compare two survival curves: Cox's hazard ratio with a check, log-rank test, restricted means.

    Returns
    -------
    list of dict
        Measures ``hazard ratio`` (p of the log-rank test), ``proportional hazards`` (p of the test on
        Schoenfeld's residuals against the rank of time; a small one says that the hazard ratio is an average
        of unlike hazards), ``restricted mean`` (days, treatment minus control). Without events in both arms
        there is no hazard ratio.
    """
    rows = []
    if event[treated].any() and event[~treated].any():
        frame = pd.DataFrame({"time": time, "event": event, "treated": treated.astype(float)})
        with _quiet():
            cox = _lifelines().CoxPHFitter(alpha=alpha).fit(frame, "time", "event")
            test = _lifelines("statistics")
            p = test.logrank_test(time[treated], time[~treated], event[treated], event[~treated]).p_value
            check = test.proportional_hazard_test(cox, frame, time_transform="rank")
        low, high = np.exp(cox.confidence_intervals_.loc["treated"].to_numpy())
        ratio = float(cox.hazard_ratios_["treated"])
        rows.append(_row("hazard ratio", ratio, low, high, p, "Cox, Efron ties; log-rank test"))
        rows.append(
            _row(
                "proportional hazards",
                float(np.squeeze(check.test_statistic)),
                np.nan,
                np.nan,
                float(np.squeeze(check.p_value)),
                "Schoenfeld residuals against rank of time",
            )
        )
    means, errors = zip(
        *(restricted_mean(time[g], event[g], horizon) for g in (~treated, treated)), strict=True
    )
    difference, error = float((means[1] - means[0])[0]), float(np.hypot(*errors)[0])
    reach = stats.norm.isf(alpha / 2) * error
    p = 2 * stats.norm.sf(abs(difference) / error) if error > 0 else np.nan
    rows.append(
        _row(
            "restricted mean",
            difference,
            difference - reach,
            difference + reach,
            p,
            f"days to {horizon:g}; Greenwood",
        )
    )
    return rows


def landmark_survival(
    time: np.ndarray, event: np.ndarray, landmarks: list[float], *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Return Kaplan-Meier estimates with log-log intervals at landmarks, those at risk, and the median."""
    fit = _lifelines().KaplanMeierFitter(alpha=alpha).fit(time, event)
    limits = fit.confidence_interval_
    rows = []
    for day in landmarks:
        place = int(np.searchsorted(limits.index.to_numpy(), day, side="right")) - 1
        low, high = limits.iloc[place].to_numpy()
        rows.append(
            {
                "day": day,
                "survival": float(fit.survival_function_at_times(day).iloc[0]),
                "low": float(low),
                "high": float(high),
                "at_risk": int((time >= day).sum()),
                "median": float(fit.median_survival_time_),
            }
        )
    return rows


def cumulative_incidence(
    time: np.ndarray, cause: np.ndarray, landmarks: list[float], *, alpha: float = ALPHA
) -> list[dict[str, Any]]:
    """Return the cumulative incidence of each cause at landmarks, with the others as competing risks.

    Aalen and Johansen's estimate. It needs a strict order of events, but all non-responders fail on day 90;
    the ties are broken with a fixed seed.
    """
    fitter = _lifelines().AalenJohansenFitter
    rows = []
    for code, name in enumerate(CAUSES[1:], start=1):
        if not (cause == code).any():
            rows += [
                {"cause": name, "day": day, "incidence": 0.0, "low": 0.0, "high": np.nan} for day in landmarks
            ]
            continue
        with _quiet():
            fit = fitter(alpha=alpha, seed=0).fit(time, cause, event_of_interest=code)
        curve = fit.cumulative_density_.iloc[:, 0]
        limits = fit.confidence_interval_
        for day in landmarks:
            place = max(0, int(np.searchsorted(curve.index.to_numpy(), day, side="right")) - 1)
            low, high = limits.iloc[place].to_numpy()
            rows.append(
                {"cause": name, "day": day, "incidence": float(curve.iloc[place]), "low": low, "high": high}
            )
    return rows


def compare_pairs(control: pd.DataFrame, treatment: pd.DataFrame, *, alpha: float = ALPHA) -> pd.DataFrame:
    """Compare each patient in both arms.

    Parameters
    ----------
    control, treatment : DataFrame
        Outcomes of the same patients in the same order, with 0/1 columns named as in `BINARY`, or ``EFS24``
        and ``OS24``.

    Returns
    -------
    DataFrame
        For each endpoint: patients, both shares, ``avoided`` (only in the control arm) and ``caused`` (only
        in the treatment arm), the paired difference with interval, McNemar's exact p, and by which factor
        pairing lowers the variance. The column ``note`` says that no real trial can observe this.
    """
    mcnemar = _statsmodels("stats.contingency_tables").mcnemar
    rows = []
    for endpoint in control.columns:
        a, b = control[endpoint].to_numpy(dtype=bool), treatment[endpoint].to_numpy(dtype=bool)
        n, avoided, caused = len(a), int((a & ~b).sum()), int((~a & b).sum())
        table = [[int((a & b).sum()), avoided], [caused, int((~a & ~b).sum())]]
        paired = b.astype(float) - a.astype(float)
        error = paired.std(ddof=1) / np.sqrt(n)
        reach = stats.norm.isf(alpha / 2) * error
        independent = (a.var(ddof=1) + b.var(ddof=1)) / n
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
                "low": paired.mean() - reach,
                "high": paired.mean() + reach,
                "p": float(mcnemar(table, exact=True).pvalue),
                "variance_ratio": independent / error**2 if error > 0 else np.inf,
                "note": UNOBSERVABLE,
            }
        )
    return pd.DataFrame(rows)


def _row(measure: str, estimate: float, low: float, high: float, p: float, method: str) -> dict[str, Any]:
    return {
        "measure": measure,
        "estimate": float(estimate),
        "low": float(low),
        "high": float(high),
        "p": float(p),
        "method": method,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the context, libraries do not warn of ties and of arms with few events; results show them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
