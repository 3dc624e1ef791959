"""Operating characteristics of a trial: thousands of replicates, power, type I error, sample size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from fastcart.checks import count, number
from fastcart.errors import InputError, optional_import
from fastcart.trial.observe import HORIZON, NEEDED, observe
from fastcart.trial.proportions import nobody
from fastcart.trial.randomize import Design, draw
from fastcart.trial.stratified import STRATIFIED, mantel_haenszel, stratified_logrank
from fastcart.trial.survival import cox_with_limits, logrank, mean_difference

_TOGETHER = 500  # replicates whose survival statistics are computed at once
TESTS = {
    "CR90": ("CR90_p", "Fisher's exact test"),
    "crs3": ("crs3_p", "Fisher's exact test"),
    "efs": ("efs_logrank_p", "log-rank test"),
    "efs_rmst": ("efs_rmst_p", "difference of restricted means"),
    "os": ("os_logrank_p", "log-rank test"),
}
_WITHIN = {
    "Fisher's exact test": "Cochran-Mantel-Haenszel test",
    "log-rank test": "log-rank test within strata",
}  # of a design with strata


def replicate_trials(
    control: pd.DataFrame,
    treatment: pd.DataFrame,
    burden: np.ndarray,
    design: Design,
    *,
    seed: int,
    replicates: int = 1000,
    first: int = 0,
    horizon: float = HORIZON,
) -> pd.DataFrame:
    """Run many randomized trials on the counterfactual outcomes of a population.

    Parameters
    ----------
    control, treatment : DataFrame
        Outcomes of all patients of the population in either arm, in the same order.
    burden : ndarray, shape (population,)
        Baseline burden (cells), for the strata.
    design : Design
    seed : int
        A replicate follows from it and from its number alone.
    replicates, first : int
        Replicates ``first`` to ``first + replicates - 1``.
    horizon : float
        Days.

    Returns
    -------
    DataFrame
        A row per replicate: treated patients, shares of the binary endpoints in both arms with Fisher's p
        (where randomization is within strata that of Cochran, Mantel and Haenszel; the log-rank test is
        within them, too), for EFS and OS the logarithm of Cox's hazard ratio with standard error and p, the
        limits of the hazard ratio (95 %), and the p of the log-rank test, and for EFS the difference of
        restricted means with
        standard error, p, and the day up to which they go. ``note`` names an arm without patients; what
        cannot be compared then, or without events, is NaN.
    """
    total = count(replicates, "The number of replicates")
    # row 0 of each array is the control, row 1 the treatment
    both = {name: np.stack([control[name].to_numpy(), treatment[name].to_numpy()]) for name in NEEDED}
    parts = []
    for start in range(first, first + total, _TOGETHER):
        numbers = list(range(start, min(start + _TOGETHER, first + total)))
        drawn = [draw(burden, design, seed=seed, replicate=k, horizon=horizon) for k in numbers]
        rows, strata, treated, followed = (np.stack(values) for values in zip(*drawn, strict=True))
        arm = treated.astype(np.int64)
        within = strata if design.randomization == STRATIFIED else None
        seen = observe({name: values[arm, rows] for name, values in both.items()}, followed)
        parts.append(pd.DataFrame({"replicate": numbers, **_statistics(seen, treated, horizon, within)}))
    return pd.concat(parts, ignore_index=True)


def _statistics(
    seen: dict[str, np.ndarray], treated: np.ndarray, horizon: float, strata: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Return what is reported of trials; with strata tests are within them, but that of means."""
    columns = {"treated": treated.sum(axis=1)}
    sizes = zip((~treated).sum(axis=1), treated.sum(axis=1), strict=True)
    columns["note"] = np.array([nobody(int(control), int(given)) for control, given in sizes], dtype=object)
    for name in ("CR90", "crs3"):
        known = seen["grade_known"] if name == "crs3" else np.ones_like(treated)
        events = [(seen[name] & known & group).sum(axis=1) for group in (~treated, treated)]
        patients = [(known & group).sum(axis=1) for group in (~treated, treated)]
        for arm, x, n in zip(("control", "treatment"), events, patients, strict=True):
            columns[f"{name}_{arm}"] = np.divide(x, n, out=np.full(len(n), np.nan), where=n > 0)
        columns[f"{name}_p"] = (
            fisher(events[1], patients[1], events[0], patients[0])
            if strata is None
            else mantel_haenszel(seen[name].astype(bool), known, treated, strata)
        )
    for name in ("efs", "os"):
        time, event = seen[name], seen[f"{name}_event"]
        columns[f"{name}_logrank_p"] = (
            logrank(time, event, treated)[1]
            if strata is None
            else stratified_logrank(time, event, treated, strata)[1]
        )
        ratio, error, p, low, high = cox_with_limits(time, event, treated)
        columns |= {
            f"{name}_log_hr": ratio,
            f"{name}_log_hr_se": error,
            f"{name}_cox_p": p,
            f"{name}_hr_low": low,
            f"{name}_hr_high": high,
        }
    difference, error, until = mean_difference(seen["efs"], seen["efs_event"], treated, horizon)
    columns |= {"efs_rmst": difference, "efs_rmst_se": error, "efs_rmst_to": until}
    columns["efs_rmst_p"] = 2 * stats.norm.sf(np.abs(difference / error))
    return columns


def fisher(x1: np.ndarray, n1: np.ndarray, x0: np.ndarray, n0: np.ndarray) -> np.ndarray:
    """Return the two-sided p of Fisher's exact test for many tables of events and patients.

    The sum over all tables with the same margins that are at most as probable; as in R, probabilities that
    agree to 1e-7 are equal. NaN where an arm has no patient.
    """
    empty = (np.asarray(n1) == 0) | (np.asarray(n0) == 0)
    x1, n1, x0, n0 = (np.asarray(values)[:, None] for values in (x1, n1, x0, n0))
    possible = np.arange(n1.max() + 1)
    probability = stats.hypergeom.pmf(possible, n1 + n0, x1 + x0, n1)
    observed = np.take_along_axis(probability, x1, axis=1)
    likely = probability > observed * (1 + 1e-7)
    return np.where(empty, np.nan, np.minimum(np.where(likely, 0.0, probability).sum(axis=1), 1.0))


def power_table(
    control: pd.DataFrame,
    treatment: pd.DataFrame,
    burden: np.ndarray,
    design: Design,
    *,
    sizes: Sequence[int],
    seed: int,
    replicates: int = 1000,
    alpha: float = 0.05,
    horizon: float = HORIZON,
) -> pd.DataFrame:
    """Return the power of each test for several sizes of the trial.

    With the same outcomes as control and as treatment this is the type I error.

    Parameters
    ----------
    control, treatment, burden, design, seed, replicates, horizon
        As for `replicate_trials`; ``design.n_per_arm`` is replaced by each of the sizes.
    sizes : sequence of int
        Patients per arm.
    alpha : float
        Level of the tests, in (0, 1).

    Returns
    -------
    DataFrame
        ``n_per_arm``, ``endpoint``, ``test``, ``rejected`` and ``replicates`` (counts), ``power``, Wilson's
        95 % interval of it (Monte Carlo error), ``untested`` (how many trials have no p, for want of events
        or of patients; they are not rejected) and ``empty_arm`` (how many of these have an arm without
        patients).
    """
    if not 0 < number(alpha, "The level alpha") < 1:
        raise InputError(f"The level alpha must lie between 0 and 1, not {alpha:g}.")
    interval = optional_import(
        "statsmodels.stats.proportion", extra="trial", purpose="The analysis of a trial"
    ).proportion_confint
    rows = []
    for size in sizes:
        trials = replicate_trials(
            control, treatment, burden, replace(design, n_per_arm=size), seed=seed, replicates=replicates,
            horizon=horizon,
        )  # fmt: skip
        for endpoint, (column, test) in TESTS.items():
            rejected = int((trials[column] < alpha).sum())
            low, high = interval(rejected, replicates, method="wilson")
            rows.append(
                {
                    "n_per_arm": size,
                    "endpoint": endpoint,
                    "test": _WITHIN.get(test, test) if design.randomization == STRATIFIED else test,
                    "rejected": rejected,
                    "replicates": replicates,
                    "power": rejected / replicates,
                    "low": float(low),
                    "high": float(high),
                    "untested": int(trials[column].isna().sum()),
                    "empty_arm": int((trials["note"] != "").sum()),
                }
            )
    return pd.DataFrame(rows)


def required_size(power: pd.DataFrame, *, target: float = 0.8) -> pd.DataFrame:
    """Return the patients per arm at which each test reaches a power, between the simulated sizes.

    Parameters
    ----------
    power : DataFrame
        From `power_table`.
    target : float

    Returns
    -------
    DataFrame
        ``endpoint``, ``n_per_arm`` (interpolated linearly in the square root of the size; NaN where the
        largest size does not reach the target, and the smallest size where that one already does) and
        ``note``.
    """
    rows = []
    for endpoint, part in power.groupby("endpoint", sort=False):
        part = part.sort_values("n_per_arm")
        sizes = part["n_per_arm"].to_numpy(dtype=np.float64)
        reached = np.maximum.accumulate(part["power"].to_numpy())
        if reached[-1] < target:
            size, note = np.nan, f"more than {sizes[-1]:g}"
        elif reached[0] >= target:
            size, note = sizes[0], f"at most {sizes[0]:g}"
        else:
            size = float(np.ceil(np.interp(target, reached, np.sqrt(sizes)) ** 2))
            note = f"about {size:g}"
        rows.append({"endpoint": endpoint, "target": target, "n_per_arm": size, "note": note})
    return pd.DataFrame(rows)
