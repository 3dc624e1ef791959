"""Maximum entropy: the weights nearest to equal ones with which a sample has given moments.

References
----------
E. T. Jaynes, Information theory and statistical mechanics, Physical Review 106:620 (1957): weights
``w_i`` in proportion to ``exp(lambda . phi_i)`` have the largest entropy among all that give the moments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import linprog, minimize
from scipy.special import logsumexp

from fastcart.errors import InputError
from fastcart.population.targets import QUANTITIES

_REACHABLE = 1e-7  # a miss below this, in standard deviations, is rounding
MET = 1e-3  # a relative miss of a target that is taken for met
_LEAST = 1e-3  # of the share in the sample that those who count for a target must keep


def maximum_entropy(
    moments: pd.DataFrame, targets: Mapping[str, float], *, allow_unmet: bool = False
) -> tuple[np.ndarray, dict[str, float], tuple[str, ...]]:
    """Return the weights of largest entropy that meet targets.

    Parameters
    ----------
    moments : DataFrame
        One row per patient, from `fastcart.trial.outcomes.moments`; those that are not ``ok`` get weight 0.
    targets : mapping of str to float
        Names of `fastcart.population.QUANTITIES`.
    allow_unmet : bool
        Move targets that cannot be met to the nearest values that can be reached, instead of an error.

    Returns
    -------
    weights : ndarray, shape (patients,)
    multipliers : dict of str to float
    unmet : tuple of str

    Raises
    ------
    InputError
        Naming the targets that cannot be met.
    """
    ok = moments["ok"].to_numpy(dtype=bool)
    if not ok.any():
        raise InputError("No patient of the sample could be solved, so nothing can be calibrated.")
    names = list(targets)
    weights = np.zeros(len(moments))
    if not names:
        weights[ok] = 1.0 / ok.sum()
        return weights, {}, ()
    nobody = tuple(k for k in names if not QUANTITIES[k].inside(moments).any())
    if nobody and not allow_unmet:
        raise InputError(_sentence(nobody, targets, moments))
    phi = np.column_stack([QUANTITIES[k].residuals(moments, targets[k])[ok] for k in names])
    scale = phi.std(axis=0)
    scale[scale == 0] = 1.0
    phi = phi / scale
    inside = np.column_stack([QUANTITIES[k].inside(moments)[ok] for k in names]).astype(np.float64)
    slack = _slack(phi, inside)
    missed = {k for k, s in zip(names, slack, strict=True) if abs(s) > _REACHABLE} | set(nobody)
    if missed:
        _tell(missed, targets, moments, allow_unmet)
        # stop a little short of what can be reached: the multipliers stay finite
        shares = _shares(names, missed, inside)
        missable = np.array([k in missed for k in names] + [False] * shares.shape[1])
        found = _dual(np.hstack([phi, shares]), ridge=np.where(missable, 1e-4, 1e-8))
    else:
        found = _dual(phi, ridge=np.zeros(len(names)))
    weights[ok] = found[0]
    for name in names:  # also what can be met in principle, but was not found
        value = QUANTITIES[name].reached(moments, weights)
        if not abs(value - targets[name]) <= MET * targets[name]:
            missed.add(name)
    _tell(missed, targets, moments, allow_unmet)
    multipliers = dict(zip(names, found[1][: len(names)].tolist(), strict=True))
    return weights, multipliers, tuple(k for k in names if k in missed)


def _tell(missed: set[str], targets: Mapping[str, float], moments: pd.DataFrame, allow_unmet: bool) -> None:
    if missed and not allow_unmet:
        raise InputError(_sentence(tuple(k for k in targets if k in missed), targets, moments))


def _shares(names: list[str], missed: set[str], inside: np.ndarray) -> np.ndarray:
    """Return what keeps, for each missed target, the share of those who count for it as in the sample.

    Else the miss would be made small by giving them no weight. Where that share is a target itself, it holds.
    """
    wholes = {QUANTITIES[k].whole: inside[:, names.index(k)] for k in names if k in missed}
    columns = [c - c.mean() for whole, c in wholes.items() if whole and whole not in names and c.any()]
    return np.column_stack(columns) if columns else np.empty((len(inside), 0))


def _dual(phi: np.ndarray, *, ridge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimize ``ln mean exp(lambda . phi)``, convex in lambda; return weights and lambda."""

    def objective(multipliers: np.ndarray) -> tuple[float, np.ndarray]:
        exponent = phi @ multipliers
        total = logsumexp(exponent)
        w = np.exp(exponent - total)
        value = total - math.log(len(phi)) + 0.5 * float(ridge @ multipliers**2)
        return float(value), w @ phi + ridge * multipliers

    result = minimize(
        objective, np.zeros(phi.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 500}
    )
    exponent = phi @ result.x
    return np.exp(exponent - logsumexp(exponent)), result.x


def _slack(phi: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the least misses, in standard deviations, that any weights leave; a linear program.

    A target among some patients is not met by giving none of them weight, so they keep a little.
    """
    n, k = phi.shape
    cost = np.concatenate([np.zeros(n), np.ones(2 * k)])
    moments = np.hstack([phi.T, np.eye(k), -np.eye(k)])
    total = np.concatenate([np.ones(n), np.zeros(2 * k)])[None, :]
    result = linprog(
        cost,
        A_ub=np.hstack([-inside.T, np.zeros((k, 2 * k))]),
        b_ub=-_LEAST * inside.mean(axis=0),
        A_eq=np.vstack([moments, total]),
        b_eq=np.append(np.zeros(k), 1.0),
    )
    return result.x[n + k :] - result.x[n : n + k] if result.success else np.ones(k)


def _sentence(unmet: tuple[str, ...], targets: Mapping[str, float], moments: pd.DataFrame) -> str:
    parts = []
    for name in unmet:
        low, high = QUANTITIES[name].limits(moments)
        text = f"{name!r} = {targets[name]:g}"
        if math.isnan(low):
            text += " (no patient of the sample counts for it)"
        elif not low <= targets[name] <= high:
            text += f" (the patients of the sample lie between {low:.3g} and {high:.3g})"
        parts.append(text)
    which = "This target cannot" if len(unmet) == 1 else "These targets cannot"
    others = " together with the others" if len(targets) > 1 else ""
    return (
        f"{which} be met{others} by any weights of the sample: {', '.join(parts)}; change "
        "them, widen the marginals, or allow unmet targets."
    )
