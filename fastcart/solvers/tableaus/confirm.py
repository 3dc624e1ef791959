"""A second estimate of the error, so that a corner in what is integrated hides from none.

The estimate of a step that runs over a corner or a jump takes any value, and now and then nothing: then the
step is accepted, whatever its error. Another combination of the same stages does not vanish at the same
place.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastcart.solvers.tableaus.base import ExplicitTableau

_DIGITS = 12  # beyond them the weights would depend on the library of linear algebra
_LEAST = 2  # estimates of an order, the method's own among them
_SAME_ORDER = 0.3  # how much another estimate counts beside the method's own
_CRUDER = 0.02


def confirming_weights(tableau: ExplicitTableau) -> np.ndarray:
    """
    Return weights of another error estimate, at right angles to the method's own.

    It is of the highest order for which the stages leave a choice: that of the method's own estimate, or a
    lower one. The cruder it is, the less it counts: on a smooth course it is to decide nothing.

    Parameters
    ----------
    tableau : ExplicitTableau

    Returns
    -------
    ndarray
        Shape (stages,): ``h sum_j weights_j k_j`` vanishes for a constant, and like a power of ``h``.
    """
    conditions: list[np.ndarray] = []
    weights, counts = np.zeros(tableau.stages), _SAME_ORDER
    for vectors in _elementary_weights(tableau.A, tableau.error_order):
        conditions += vectors
        _, sizes, directions = np.linalg.svd(np.array(conditions), full_matrices=True)
        rank = int(np.sum(sizes > 1e-9 * sizes[0]))
        if tableau.stages - rank < _LEAST:
            finer = np.abs(vectors @ tableau.error).max() < 1e-9
            counts = _CRUDER if finer else _SAME_ORDER
            break
        free = directions[rank:]
        other = free.T @ (free @ (-1.0) ** np.arange(tableau.stages))
        own = free.T @ (free @ tableau.error)
        other -= own * (own @ other) / (own @ own)
        weights = other * np.linalg.norm(tableau.error) / np.linalg.norm(other)
    return np.round(counts * weights, _DIGITS)


def _elementary_weights(A: np.ndarray, order: int) -> Iterator[list[np.ndarray]]:
    """Yield the elementary weights of the stages for the rooted trees of 1, 2, ... ``order`` nodes."""
    by_size: list[list[np.ndarray]] = [[]]

    def products(nodes: int, largest: int, so_far: np.ndarray) -> Iterator[np.ndarray]:
        if nodes == 0:
            yield so_far
        for size in range(1, min(nodes, largest) + 1):
            for weights in by_size[size]:
                yield from products(nodes - size, size, so_far * (A @ weights))

    for size in range(1, order + 1):
        by_size.append(list(products(size - 1, size - 1, np.ones(len(A)))))
        yield by_size[size]
