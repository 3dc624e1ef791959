"""The space that is searched: a box for each problem, in value or in logarithm, and linear constraints in it.

Optimizers work in the unit cube. Points come back inside the box and, where there are linear constraints,
inside these too: a point outside is pulled towards an interior point until it is inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcart.checks import shown
from fastcart.errors import InputError

# of the way to the constraint that a pulled point stays away from it, against rounding; then more, if need be
_MARGINS = (1e-12, 1e-9, 1e-6)
_NO_ROOM = 1e-9  # of the box: what constraints leave at least


class Space:
    """Boxes of decision variables with linear constraints, one for each problem.

    Parameters
    ----------
    lower, upper : array_like, shape (dimensions,) or (problems, dimensions)
        Ends of the box, in natural units.
    problems : int, optional
        Number of problems, where the bounds are the same for all; default 1.
    log : bool or sequence of bool, shape (dimensions,)
        Which variables are searched in logarithm; their bounds must be positive.
    A, b : array_like, shape (constraints, dimensions), (constraints,); or each with problems first
        Linear constraints ``A x <= b`` on the natural values.
    names : sequence of str, optional
        Names of the variables, for errors.

    Raises
    ------
    InputError
        For bounds in the wrong order, a logarithm of what is not positive, constraints that no point meets or
        that leave no room to vary.
    """

    def __init__(
        self,
        lower: Any,
        upper: Any,
        *,
        problems: int | None = None,
        log: Any = False,
        A: Any = None,
        b: Any = None,
        names: Sequence[str] | None = None,
    ):
        low, high = np.atleast_1d(np.asarray(lower, float)), np.atleast_1d(np.asarray(upper, float))
        dimensions = max(low.shape[-1], high.shape[-1])
        rows = problems or max([1, *(len(x) for x in (low, high) if x.ndim == 2)])
        self.names = list(names) if names is not None else [f"x{j}" for j in range(dimensions)]
        self.lower = np.broadcast_to(low, (rows, dimensions)).copy()
        self.upper = np.broadcast_to(high, (rows, dimensions)).copy()
        self.log = np.broadcast_to(np.asarray(log, bool), (dimensions,)).copy()
        self._check_bounds()
        with np.errstate(divide="ignore"):
            self._start = np.where(self.log, np.log(np.where(self.log, self.lower, 1.0)), self.lower)
            self._end = np.where(self.log, np.log(np.where(self.log, self.upper, 1.0)), self.upper)
        if A is None:
            A, b = np.empty((0, dimensions)), np.empty(0)
        count = np.shape(b)[-1]
        self.A = np.broadcast_to(np.asarray(A, float), (rows, count, dimensions)).copy()
        self.b = np.broadcast_to(np.asarray(b, float), (rows, count)).copy()
        self.anchors = self._interior()

    @property
    def problems(self) -> int:
        """Number of problems."""
        return self.lower.shape[0]

    @property
    def dimensions(self) -> int:
        """Number of decision variables."""
        return self.lower.shape[1]

    @property
    def constrained(self) -> bool:
        """Whether there are linear constraints."""
        return self.A.shape[1] > 0

    def to_natural(self, unit: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return natural values of points of the unit cube, shape (problems, points, dimensions)."""
        start, end = self._start[rows][:, None, :], self._end[rows][:, None, :]
        value = start + unit * (end - start)
        value[..., self.log] = np.exp(value[..., self.log])
        return np.clip(value, self.lower[rows][:, None, :], self.upper[rows][:, None, :])

    def to_unit(self, natural: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return points of the unit cube for natural values; the inverse of `to_natural`."""
        start, end = self._start[rows][:, None, :], self._end[rows][:, None, :]
        value = np.array(natural, dtype=float)
        value[..., self.log] = np.log(value[..., self.log])
        return np.clip((value - start) / (end - start), 0.0, 1.0)

    def feasible(self, natural: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return which points lie in the box and meet the linear constraints, shape (problems, points)."""
        low, high = self.lower[rows][:, None, :], self.upper[rows][:, None, :]
        inside = np.all((natural >= low) & (natural <= high), axis=-1)
        return np.asarray(inside & self._linear_ok(natural, rows))

    def repair(
        self, natural: np.ndarray, rows: np.ndarray | slice = slice(None), spread: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the points, those that break a constraint pulled straight towards an interior point.

        Parameters
        ----------
        natural : ndarray, shape (problems, points, dimensions)
        rows : ndarray of int or slice
            Which problems the points belong to.
        spread : ndarray, shape (problems, points), optional
            Pull points to this fraction of the way from the interior point to the constraint, and not only
            to the constraint itself: spreads the first points of a search.
        """
        low, high = self.lower[rows][:, None, :], self.upper[rows][:, None, :]
        points = np.clip(natural, low, high)
        if not self.constrained:
            return points
        outside = ~self._linear_ok(points, rows)
        if not outside.any():
            return points
        anchors = self.anchors[rows][:, None, :]
        way = points - anchors
        room = self.b[rows][:, None, :] - _dot(self.A[rows], anchors)
        reach = _dot(self.A[rows], way)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(reach > 0, np.maximum(room, 0.0) / reach, np.inf).min(axis=-1)
        share = np.clip(share, 0.0, 1.0)
        if spread is not None:
            share = share * spread
        for margin in (*_MARGINS, 1.0):  # at last the interior point itself
            moved = np.clip(anchors + (share * (1 - margin))[..., None] * way, low, high)
            points = np.where(outside[..., None], moved, points)
            outside = ~self._linear_ok(points, rows)
            if not outside.any():
                break
        return points

    def linear_excess(self, natural: np.ndarray) -> np.ndarray:
        """Return by how much points exceed the linear constraints, relative to the size of their terms.

        Shape (problems, points, constraints); not above 0 where a constraint is kept.
        """
        size = _dot(np.abs(self.A), np.abs(natural)) + np.abs(self.b)[:, None, :]
        return (_dot(self.A, natural) - self.b[:, None, :]) / np.where(size > 0, size, 1.0)

    def _linear_ok(self, natural: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        kept = _dot(self.A[rows], natural) <= self.b[rows][:, None, :]
        return np.asarray(kept.all(axis=-1))

    def _check_bounds(self) -> None:
        for j, name in enumerate(self.names):
            low, high = self.lower[:, j], self.upper[:, j]
            bad = ~(np.isfinite(low) & np.isfinite(high) & (low < high))
            if bad.any():
                k = int(np.argmax(bad))
                raise InputError(
                    f"The variable {name!r} must have finite bounds with low < high, not {low[k]:g} and "
                    f"{high[k]:g}{self._in_row(k)}."
                )
            if self.log[j] and (low <= 0).any():
                raise InputError(
                    f"The variable {name!r} is searched in logarithm, so its lower bound must be positive, "
                    f"not {low.min():g}."
                )
            if self.log[j] and (same := np.log(low) == np.log(high)).any():
                k = int(np.argmax(same))
                raise InputError(
                    f"The bounds of the variable {name!r}, {low[k]:.17g} and {high[k]:.17g}, have the same "
                    "logarithm; search it in value, or set it to a number."
                )

    def _in_row(self, k: int) -> str:
        return f" in row {k + 1}" if self.problems > 1 else ""

    def _interior(self) -> np.ndarray:
        """Return a point for each problem from which the constraints are pulled: well inside where it can be.

        The lower corner where it meets all constraints, as it does for limits of totals: pulling towards it
        scales the doses. Else the centre of the largest ball inside (a linear program).
        """
        anchors = self.lower.copy()
        if not self.constrained:
            return anchors
        lost = ~self._linear_ok(anchors[:, None, :], slice(None))[:, 0]
        # a corner on a constraint may be all there is
        touching = (self.linear_excess(anchors[:, None, :])[:, 0] >= -_NO_ROOM).any(axis=-1)
        known: dict[bytes, np.ndarray] = {}
        for k in np.flatnonzero(lost | touching):
            key = b"".join(x[k].tobytes() for x in (self.A, self.b, self.lower, self.upper))
            if key not in known:
                known[key] = self._center(int(k))
            if lost[k]:
                anchors[k] = known[key]
        return anchors

    def _center(self, k: int) -> np.ndarray:
        """Return the Chebyshev centre of one problem, in units of its box."""
        from scipy.optimize import linprog

        width = self.upper[k] - self.lower[k]
        A, b = self.A[k] * width, self.b[k] - self.A[k] @ self.lower[k]
        size = np.maximum(np.linalg.norm(A, axis=1), np.finfo(float).tiny)
        A, b = A / size[:, None], b / size
        n = self.dimensions
        eye = np.eye(n)
        table = np.vstack([
            np.column_stack([A, np.ones(len(A))]),
            np.column_stack([eye, np.ones(n)]),
            np.column_stack([-eye, np.ones(n)]),
        ])  # fmt: skip
        found = linprog(
            np.append(np.zeros(n), -1.0), A_ub=table, b_ub=np.concatenate([b, np.ones(n), np.zeros(n)]),
            bounds=[(0, 1)] * n + [(0, None)],
        )  # fmt: skip
        center = None if found.x is None else self.lower[k] + found.x[:n] * width
        if center is None or not self._linear_ok(center[None, None, :], slice(k, k + 1))[0, 0]:
            raise InputError(
                f"No point between the bounds meets the linear constraints{self._in_row(k)}; "
                f"the variables are {shown(self.names)}."
            )
        if found.x[n] <= _NO_ROOM:
            raise InputError(
                f"The linear constraints leave no room between the bounds{self._in_row(k)}: they hold "
                f"something of {shown(self.names)} at one value, which is then no variable; leave a small "
                "interval, or set it to a number."
            )
        return center


def _dot(A: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return ``A x`` for points of shape (problems, points, dimensions), always summed in the same order."""
    total = np.zeros((*points.shape[:2], A.shape[1]))
    for j in range(points.shape[2]):  # a matrix product may sum in an order that depends on the sizes
        total += points[:, :, j, None] * A[:, None, :, j]
    return total
