"""What measurements consist of with slopes: by sensitivities, or by differences where there are none."""

from __future__ import annotations

import numpy as np

from fastcart.petab.likelihood import CENTRAL, SENSITIVITIES, Likelihood, Parts
from fastcart.solvers.status import Status


def with_slopes(likelihood: Likelihood, natural: np.ndarray, *, exact: bool = False) -> Parts:
    """Return what measurements consist of at rows of natural parameters, with slopes.

    A row that cannot be solved together with its sensitivities is differentiated by central differences.
    ``exact`` asks for sensitivities at the tolerance of these differences, and those at its own where they
    fail; beside a blow-up differences are far off.
    """
    if not likelihood.differentiable:
        return likelihood.tight.parts(natural, by=CENTRAL)[0]
    found, status = (likelihood.tight if exact else likelihood).parts(natural, by=SENSITIVITIES)
    rows = np.flatnonzero((status != Status.ok).any(axis=1))
    if len(rows) and exact:
        put(found, rows, with_slopes(likelihood, natural[rows]))
        return found
    if len(rows):
        _, alone = likelihood.parts(natural[rows])
        rows = rows[(alone == Status.ok).all(axis=1)]
    if len(rows):
        put(found, rows, likelihood.tight.parts(natural[rows], by=CENTRAL)[0])
    return found


def put(found: Parts, rows: np.ndarray, other: Parts) -> None:
    """Take over rows."""
    for mine, theirs in zip(found, other, strict=True):
        assert mine is not None
        mine[rows] = theirs


def gradient_of(found: Parts, likelihood: Likelihood) -> np.ndarray:
    """Return the gradient of minus ln of the likelihood by natural parameters, rows x parameters."""
    return sum((part for part in _weighted(found, likelihood)), np.zeros(_shape(found)))


def _shape(found: Parts) -> tuple[int, int]:
    assert found.center_slopes is not None
    return found.center_slopes.shape[0], found.center_slopes.shape[2]


def _weighted(found: Parts, likelihood: Likelihood) -> list[np.ndarray]:
    assert found.center_slopes is not None
    assert found.spread_slopes is not None
    summed = []
    with np.errstate(invalid="ignore"):
        for one in likelihood.observed:
            z = found.residual[:, one.rows]
            normal = one.noise == "normal"
            of_center, of_spread = (-z, 1.0 - z**2) if normal else (-np.sign(z), 1.0 - np.abs(z))
            summed.append(np.einsum("rm,rmk->rk", of_center, found.center_slopes[:, one.rows]))
            summed.append(np.einsum("rm,rmk->rk", of_spread, found.spread_slopes[:, one.rows]))
    return summed


def roots(found: Parts, likelihood: Likelihood) -> np.ndarray:
    """Return roots of the information by natural parameters, rows x 2 measurements x parameters."""
    assert found.center_slopes is not None
    assert found.spread_slopes is not None
    weight = np.empty(found.cost.shape[1])
    for one in likelihood.observed:
        weight[one.rows] = np.sqrt(2.0) if one.noise == "normal" else 1.0
    return np.concatenate([found.center_slopes, found.spread_slopes * weight[:, np.newaxis]], axis=1)
