"""Rank correlations, plain and partial, ties at their mean rank; arrays in, arrays out.

References
----------
Marino et al., J. Theor. Biol. 254 (2008) 178 (partial rank correlation).
"""

from __future__ import annotations

import numpy as np

from fastcart.sensitivity_analysis.methods.correlation import starts

_EXPLAINED = 1e-12  # share of the variance of ranks that is left by rounding alone


def ranked(x: np.ndarray, y: np.ndarray, *, partial: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return correlations (k, m), and those without each group of patients (groups, k, m)."""
    n, k = x.shape
    codes, offset = codes_of(np.hstack([x, y]))
    value = rank_correlation(codes, offset, None, k, partial)
    first = starts(n)
    parts = []
    for start, stop in zip(first, [*first[1:], n], strict=True):
        kept = np.ones(n)
        kept[start:stop] = 0
        parts.append(rank_correlation(codes, offset, kept, k, partial))
    return value, np.stack(parts)


def partial_rank_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the partial rank correlation of each input with each output, the other inputs removed.

    Parameters
    ----------
    x : ndarray, shape (rows, k)
    y : ndarray, shape (rows, m)

    Returns
    -------
    ndarray, shape (k, m)
        NaN for an output that does not vary.
    """
    return rank_correlation(*codes_of(np.hstack([x, y])), None, x.shape[1], True)


def codes_of(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each value among the distinct ones of its column, shape (columns, rows)."""
    codes = np.stack([np.unique(column, return_inverse=True)[1].ravel() for column in z.T])
    return codes, np.arange(len(codes))[:, None] * z.shape[0]


def rank_correlation(
    codes: np.ndarray, offset: np.ndarray, weights: np.ndarray | None, k: int, partial: bool
) -> np.ndarray:
    """Return (partial) rank correlations of the first k columns with the others, ties at their mean rank.

    ``weights`` says how often each row counts.
    """
    columns, n = codes.shape
    w = np.ones(n) if weights is None else weights
    counts = np.bincount((codes + offset).ravel(), np.tile(w, columns), columns * n).reshape(columns, n)
    ranks = np.cumsum(counts, axis=1) - counts / 2
    z = np.take_along_axis(ranks, codes, axis=1)
    z -= w.sum() / 2  # the mean rank of the rows that count
    weighted = z[:k] * w
    xx, xy = weighted @ z[:k].T, weighted @ z[k:].T
    sd_x, sd_y = np.sqrt(np.diag(xx)), np.sqrt((z[k:] ** 2) @ w)
    xy = xy / np.where(sd_x == 0, np.nan, sd_x)[:, None] / np.where(sd_y == 0, np.nan, sd_y)
    return _partial(xx, sd_x, xy) if partial else np.clip(xy, -1.0, 1.0)


def _partial(xx: np.ndarray, sd_x: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return the correlations of each x with y with the other x removed, from the plain correlations.

    They are -Q_jy / sqrt(Q_jj Q_yy), where Q is the inverse of the matrix of all correlations. NaN where the
    other x explain y, or x itself, to rounding, and for an x that does not vary.
    """
    result = np.full(xy.shape, np.nan)
    kept = sd_x > 0
    xx = xx[np.ix_(kept, kept)] / np.outer(sd_x[kept], sd_x[kept])
    xy = np.asarray(xy[kept], dtype=float)
    # what other inputs repeat or add up to has nothing of its own left
    alone = _own_share(xx)
    core = np.arange(len(xx)) if alone.all() else _independent(xx)
    inverse = np.zeros(xx.shape)
    inverse[np.ix_(core, core)] = np.linalg.inv(xx[np.ix_(core, core)])
    slope = inverse @ xy
    left = np.maximum(0.0, 1 - (xy * slope).sum(axis=0))
    scale = np.where(alone, np.diag(inverse), np.nan)[:, None]
    # the share of y that the other x leave; where they leave nothing, rounding is all there is to correlate
    rest = left + slope**2 / scale
    found = slope / np.sqrt(scale * np.where(rest < _EXPLAINED, np.nan, rest))
    result[kept] = np.clip(found, -1.0, 1.0)
    return result


def _own_share(xx: np.ndarray) -> np.ndarray:
    """Return which columns of a matrix of correlations are not made up by the others."""
    values, vectors = np.linalg.eigh(xx)
    null = values < 1e-10 * len(xx)
    return np.asarray((vectors[:, null] ** 2).sum(axis=1) < 1e-8)


def _independent(xx: np.ndarray) -> np.ndarray:
    """Return places of columns that make up all others, by pivoted Gram-Schmidt."""
    from scipy.linalg import qr

    _, r, order = qr(xx, pivoting=True)
    rank = int((np.abs(np.diag(r)) > 1e-10 * len(xx)).sum())
    return np.sort(order[:rank])
