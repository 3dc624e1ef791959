"""Shares and their differences: intervals, exact tests, numbers needed to treat and to harm.

statsmodels and SciPy where they are right. The score intervals are here: those of statsmodels 0.15 are wrong
for some tables and missing for others.

References
----------
O. Miettinen, M. Nurminen, Comparative analysis of two rates, Statistics in Medicine 4:213 (1985).
T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
design, Statistics in Medicine 17:891 (1998).
D. G. Altman, Confidence intervals for the number needed to treat, BMJ 317:1309 (1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from fastcart.checks import is_whole, number, shown
from fastcart.errors import InputError, optional_import

ALPHA = 0.05
MANY = 1000  # virtual patients: from these on shares are known to 3 points
_HALVINGS = 52  # of an interval of length 1 or 2: to the last bit or two


def _statsmodels(module: str) -> Any:
    return optional_import(f"statsmodels.{module}", extra="trial", purpose="The analysis of a trial")


def row(
    measure: str, estimate: float, low: float, high: float, p: float, method: str, note: str = ""
) -> dict[str, Any]:
    """Return a row of the table of contrasts; ``note`` says why a number is missing, or a number in words."""
    return {
        "measure": measure,
        "estimate": float(estimate),
        "low": float(low),
        "high": float(high),
        "p": float(p),
        "method": method,
        "note": note,
    }


def few_patients(patients: int, *, where: str = "'patients' in the table [population]") -> str:
    """Return a warning, as text, where virtual patients are too few for small differences; else nothing.

    ``where`` says how more are had.
    """
    if patients >= MANY:
        return ""
    reach = 98 / math.sqrt(max(patients, 1))  # half of the widest 95 % interval of a share, in points
    return (
        f"{patients} virtual patients are few: with {patients} others of the same kind, a share of an arm "
        f"may come out up to {reach:.0f} percentage points higher or lower (95 %), and power, gains and "
        "verdicts with it. That is enough to see how all works; before differences are read, take "
        f"{MANY} or more ({where})."
    )


def nobody(control: int, treatment: int) -> str:
    """Return which arm has no patient, in words; empty where both have some."""
    if control and treatment:
        return ""
    if control or treatment:
        return f"no patient in the {'treatment' if control else 'control'} arm"
    return "no patient in either arm"


def check_table(events: int, patients: int) -> tuple[int, int]:
    """Return events and patients, having checked them.

    Raises
    ------
    InputError
        For what is no number of patients, or more events than patients.
    """
    for value, what in ((events, "events"), (patients, "patients")):
        if not is_whole(value) or value < 0:
            raise InputError(f"The number of {what} must be a whole number from 0 on, not {shown(value)}.")
    if events > patients:
        raise InputError(f"There cannot be more events ({events}) than patients ({patients}).")
    return int(events), int(patients)


def _quantile(alpha: float) -> float:
    if not 0 < number(alpha, "The level alpha") < 1:
        raise InputError(f"The level alpha must lie between 0 and 1, not {alpha:g}.")
    return float(stats.norm.isf(alpha / 2))


def proportion(events: int, n: int, *, alpha: float = ALPHA) -> dict[str, float]:
    """Return a share with the intervals of Wilson and of Clopper and Pearson; NaN where nobody was seen."""
    events, n = check_table(events, n)
    _quantile(alpha)
    shares: dict[str, float] = {"events": events, "patients": n, "share": events / n if n else np.nan}
    interval = _statsmodels("stats.proportion").proportion_confint
    for name, method in (("wilson", "wilson"), ("exact", "beta")):
        low, high = interval(events, n, alpha=alpha, method=method) if n else (np.nan, np.nan)
        shares[f"{name}_low"], shares[f"{name}_high"] = float(low), float(high)
    return shares


def risk_difference(
    control: tuple[int, int], treatment: tuple[int, int], *, alpha: float = ALPHA, harm: bool = False
) -> list[dict[str, Any]]:
    """Return the risk difference (treatment minus control) with two intervals, Fisher's p, and NNT or NNH.

    Parameters
    ----------
    control, treatment : (int, int)
        Events and patients.
    alpha : float
        Intervals cover ``1 - alpha``.
    harm : bool
        Whether the event is harmful, so that fewer of it are a benefit.

    Returns
    -------
    list of dict
        Measures ``risk difference`` with Newcombe's and with Miettinen and Nurminen's score interval, and
        what `number_needed` makes of Newcombe's. Where an arm has no patient all numbers are NaN, and
        ``note`` says so.

    Raises
    ------
    InputError
        For more events than patients, negative numbers, and a level outside (0, 1).
    """
    x0, n0 = check_table(*control)
    x1, n1 = check_table(*treatment)
    _quantile(alpha)
    empty = nobody(n0, n1)
    if empty:
        difference = p = np.nan
        newcombe = score = (np.nan, np.nan)
    else:
        difference = (x1 * n0 - x0 * n1) / (n1 * n0)
        p = float(stats.fisher_exact([[x1, n1 - x1], [x0, n0 - x0]]).pvalue)
        newcombe = _statsmodels("stats.proportion").confint_proportions_2indep(
            x1, n1, x0, n0, method="newcomb", compare="diff", alpha=alpha
        )
        score = score_interval(control, treatment, alpha=alpha)
    rows = [
        row("risk difference", difference, *limits, p, f"{name} interval, Fisher's exact test", empty)
        for name, limits in (("Newcombe", newcombe), ("score", score))
    ]
    return [*rows, number_needed(difference, *newcombe, p, harm=harm, level=1 - alpha, note=empty)]


def score_interval(
    control: tuple[int, int], treatment: tuple[int, int], *, alpha: float = ALPHA
) -> tuple[float, float]:
    """Return Miettinen and Nurminen's score interval of the risk difference, treatment minus control.

    The differences that the score test does not reject, with the variance at the largest likelihood under
    each difference, times ``N / (N - 1)`` for N patients.

    Parameters
    ----------
    control, treatment : (int, int)
        Events and patients; both arms have some.
    alpha : float

    Returns
    -------
    low, high : float

    Raises
    ------
    InputError
        For an arm without patients, more events than patients, or a level outside (0, 1).
    """
    x0, n0 = check_table(*control)
    x1, n1 = check_table(*treatment)
    if not n0 or not n1:
        raise InputError(f"There is no interval of a risk difference with {nobody(n0, n1)}.")
    factor = (n1 + n0) / (n1 + n0 - 1)

    def variance(difference: float) -> float:
        def slope(q: float) -> float:
            # of the logarithm of the likelihood, times q (1 - q) p (1 - p): no poles, the same sign
            p = q + difference
            return (x1 - n1 * p) * q * (1 - q) + (x0 - n0 * q) * p * (1 - p)

        q = _downward_root(slope, max(0.0, -difference), min(1.0, 1.0 - difference))
        p = min(max(q + difference, 0.0), 1.0)
        return factor * (p * (1 - p) / n1 + q * (1 - q) / n0)

    return _not_rejected((x1 * n0 - x0 * n1) / (n1 * n0), variance, _quantile(alpha))


def paired_interval(
    only_control: float, only_treatment: float, n: float, *, alpha: float = ALPHA
) -> tuple[float, float]:
    """Return Tango's score interval of a paired difference of shares, treatment minus control.

    Parameters
    ----------
    only_control, only_treatment : float
        Pairs with the event under one of the two alone; not whole, where pairs count for less than one.
    n : float
        All pairs, at least one.
    alpha : float

    Returns
    -------
    low, high : float
    """
    b, c, rest = only_control, only_treatment, n - only_control - only_treatment

    def variance(difference: float) -> float:
        def slope(q: float) -> float:
            p, r = q + difference, 1 - 2 * q - difference
            return b * p * r + c * q * r - 2 * rest * q * p

        q = _downward_root(slope, max(0.0, -difference), (1.0 - difference) / 2)
        return max(2 * q + difference - difference**2, 0.0) / n

    return _not_rejected((c - b) / n, variance, _quantile(alpha))


def _downward_root(slope: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function goes from positive to negative; an end, where it does not change its sign."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _not_rejected(estimate: float, variance: Callable[[float], float], z: float) -> tuple[float, float]:
    """Return the ends of the differences within z standard errors of the estimate, in [-1, 1]."""
    limits = []
    for end in (-1.0, 1.0):
        inside, outside = estimate, end
        for _ in range(_HALVINGS if estimate != end else 0):
            middle = 0.5 * (inside + outside)
            if (estimate - middle) ** 2 > z * z * variance(middle):
                outside = middle
            else:
                inside = middle
        limits.append(0.5 * (inside + outside))
    return limits[0], limits[1]


def number_needed(
    difference: float,
    low: float,
    high: float,
    p: float,
    *,
    harm: bool,
    level: float = 0.95,
    note: str = "",
) -> dict[str, Any]:
    """Return how many must be treated for one more to benefit (NNT) or to be harmed (NNH).

    Parameters
    ----------
    difference, low, high : float
        Risk difference (treatment minus control) with its interval.
    p : float
    harm : bool
        Whether the event is harmful.
    level : float
        Of the interval, for the words.
    note : str
        Why there is no difference, where it is NaN.

    Returns
    -------
    dict
        ``measure`` is ``number needed to treat`` or ``number needed to harm``, by the sign of the benefit;
        ``estimate``, ``low`` and ``high`` are positive. Where the interval of the difference holds 0, that of
        the number needed runs through infinity to the other kind: ``high`` is infinite, and ``note`` gives
        all of it as "NNT a to infinity to NNH b" (Altman 1998).
    """
    method = "1 / risk difference, Newcombe interval"
    if math.isnan(difference):
        return row("number needed to treat", np.nan, np.nan, np.nan, np.nan, method, note)
    benefit, worst, best = (-difference, -high, -low) if harm else (difference, low, high)
    helps = benefit >= 0
    gain, least, most = (benefit, worst, best) if helps else (-benefit, -best, -worst)
    kind, other = ("NNT", "NNH") if helps else ("NNH", "NNT")
    # most: the largest effect in the direction of the estimate; least < 0: the other direction is possible
    first = 1 / most if most > 0 else np.inf
    last = 1 / least if least > 0 else np.inf
    words = f"{kind} {_in_words(first)} to "
    if least > 0:
        words += _in_words(last)
    else:
        words += "infinity" + (f" to {other} {_in_words(-1 / least)}" if least < 0 else "")
    estimate = 1 / gain if gain > 0 else np.inf
    words = f"{kind} {_in_words(estimate)} ({100 * level:g} % interval: {words})"
    name = "number needed to treat" if helps else "number needed to harm"
    return row(name, estimate, first, last, p, method, words)


def _in_words(value: float) -> str:
    return "infinity" if math.isinf(value) else f"{value:.1f}" if value < 10 else f"{value:.0f}"
