"""What a coefficient table holds: one frozen dataclass for each family of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


def lower_triangular(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """
    Fill a strictly lower triangular square matrix from its rows.

    Parameters
    ----------
    rows
        Row ``i`` holds the first ``i`` entries; the empty first row is given too.

    Returns
    -------
    np.ndarray
        The matrix, zeros on and above the diagonal.
    """
    size = len(rows)
    matrix = np.zeros((size, size))
    for i, row in enumerate(rows):
        if len(row) != i:
            raise ValueError(f"row {i} of a strictly lower triangular matrix has {len(row)} entries")
        matrix[i, :i] = row
    return matrix


def sparse_rows(rows: Sequence[Mapping[int, float]], columns: int) -> np.ndarray:
    """
    Fill a matrix from its nonzero entries.

    Parameters
    ----------
    rows
        One mapping from column, counted from 0, to entry for each row.
    columns
        Number of columns.

    Returns
    -------
    np.ndarray
        Shape (len(rows), columns), zero where no entry is given.
    """
    matrix = np.zeros((len(rows), columns))
    for i, row in enumerate(rows):
        matrix[i, list(row)] = list(row.values())
    return matrix


def _freeze(tableau: Any) -> None:
    """Replace every array field by a contiguous, read-only float64 copy."""
    for field in fields(tableau):
        value = getattr(tableau, field.name)
        if isinstance(value, np.ndarray):
            array = np.array(value, dtype=np.float64, order="C")
            array.flags.writeable = False
            object.__setattr__(tableau, field.name, array)


def _require_shape(tableau: Any, name: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the named field has the given shape."""
    found = getattr(tableau, name).shape
    if found != shape:
        raise ValueError(f"{tableau.name}: {name} has the shape {found}, not {shape}")


def _require_strictly_lower(tableau: Any, name: str) -> None:
    """Raise ValueError unless the named matrix is zero on and above its diagonal."""
    if np.triu(getattr(tableau, name)).any():
        raise ValueError(f"{tableau.name}: {name} is not strictly lower triangular")


def _dense_weights(dense: np.ndarray, theta: float) -> np.ndarray:
    """Evaluate each row's polynomial (no constant term) at ``theta``."""
    value = np.zeros(dense.shape[0])
    for m in range(dense.shape[1] - 1, -1, -1):
        value = (value + dense[:, m]) * theta
    return value


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplicitTableau:
    """
    Coefficients of an explicit Runge-Kutta method whose last stage is the first of the next step.

    With ``s`` stages, stage ``i`` is ``k_i = f(t + c_i h, u + h sum_j A_ij k_j)``. The first stage is
    ``f(t, u)``; the last row of ``A`` holds the weights of the solution, so the last stage is the right
    side at the new point. A method that does not have this property by itself gets that evaluation as an
    added last stage.

    Parameters
    ----------
    name
        Short name, the key in the registry.
    order
        Order of the solution.
    error_order
        The error estimate shrinks like ``h ** (error_order + 1)``: the order of the embedded solution
        for a plain pair. A step size controller uses the exponent ``1 / (error_order + 1)``.
    dense_order
        Order of the interpolant: its local error shrinks like ``h ** (dense_order + 1)``.
    source
        Publication the coefficients belong to.
    c, A
        Nodes, shape (s,), and the strictly lower triangular matrix, shape (s, s).
    error
        Weights of the error estimate ``h sum_j error_j k_j``, shape (s,).
    error_low
        Weights of a second, cruder estimate, shape (s,), or None. With it the two are combined to
        ``h e^2 / sqrt(e^2 + 0.01 e_low^2)``, the norms of the weighted sums being ``e`` and ``e_low``.
    dense
        Polynomial coefficients of the interpolant, shape (s + x, d):
        ``u(theta) = u_old + h sum_j k_j sum_m dense[j, m] theta ** (m + 1)`` for theta in [0, 1].
    extra_c, extra_A
        Nodes, shape (x,), and rows, shape (x, s + x), of the stages only the interpolant needs; None
        where it needs none.
    gains
        How strongly the step size follows the error of this step and, the other way, that of the step
        before: exponents times ``error_order + 1``; None for those that suit most methods.
    held
        Whether the interpolant is so much worse than the method that each step is to hold it against the
        right-hand side.
    watched
        How what is computed of the states is followed within a step where the interpolant needs further
        stages: degree of the polynomial, and the trust in each stage, shape (s,); None: see
        `fastcart.solvers.lanes.bernstein.slope_weights`.
    """

    name: str
    order: int
    error_order: int
    dense_order: int
    source: str
    c: np.ndarray
    A: np.ndarray
    error: np.ndarray
    error_low: np.ndarray | None = None
    dense: np.ndarray
    extra_c: np.ndarray | None = None
    extra_A: np.ndarray | None = None
    gains: tuple[float, float] | None = None
    held: bool = False
    watched: tuple[int, tuple[float, ...]] | None = None

    def __post_init__(self) -> None:
        _freeze(self)
        if (self.extra_c is None) != (self.extra_A is None):
            raise ValueError(f"{self.name}: extra_c and extra_A come together")
        s, x = self.stages, self.extra_stages
        _require_shape(self, "A", (s, s))
        _require_shape(self, "error", (s,))
        _require_shape(self, "dense", (s + x, self.dense.shape[1]))
        _require_strictly_lower(self, "A")
        if self.error_low is not None:
            _require_shape(self, "error_low", (s,))
        if self.extra_A is not None:
            _require_shape(self, "extra_A", (x, s + x))
            if np.triu(self.extra_A, s).any():
                raise ValueError(f"{self.name}: an extra stage uses itself or a later one")

    @property
    def stages(self) -> int:
        """Number of stages, the one at the new point included."""
        return int(self.c.shape[0])

    @property
    def extra_stages(self) -> int:
        """Number of further stages the interpolant needs."""
        return 0 if self.extra_c is None else int(self.extra_c.shape[0])

    @property
    def b(self) -> np.ndarray:
        """Weights of the solution: ``u_new = u + h sum_j b_j k_j``, shape (s,)."""
        return self.A[-1]

    def dense_weights(self, theta: float) -> np.ndarray:
        """
        Return the weights of all stages in the interpolant at one place.

        Parameters
        ----------
        theta
            Fraction of the step, in [0, 1].

        Returns
        -------
        np.ndarray
            Shape (s + x,); ``u(theta) = u_old + h sum_j weights_j k_j``.
        """
        return _dense_weights(self.dense, theta)


@dataclass(frozen=True, kw_only=True, eq=False)
class RosenbrockTableau:
    """
    Coefficients of a Rosenbrock method in the form that needs no product with the Jacobian.

    With the Jacobian ``J``, the time derivative ``f_t`` (both at the start of the step) and
    ``W = I / (h gamma) - J``, the stages solve
    ``W k_i = f(t + c_i h, u + sum_{j<i} A_ij k_j) + sum_{j<i} (C_ij / h) k_j + d_i h f_t`` and the
    solution is ``u_new = u + sum_j b_j k_j``. The stages carry the unit of ``u``: no further ``h``.

    Parameters
    ----------
    name
        Short name, the key in the registry.
    order
        Order of the solution.
    error_order
        The error estimate shrinks like ``h ** (error_order + 1)``.
    dense_order
        Order of the interpolant: its local error shrinks like ``h ** (dense_order + 1)``.
    source
        Publication the coefficients belong to.
    gamma
        Diagonal coefficient, the same in all stages.
    c, A, C, d
        Nodes (s,), strictly lower triangular matrices (s, s) and weights of the time derivative (s,).
    b
        Weights of the solution, shape (s,).
    error
        Weights of the error estimate ``sum_j error_j k_j``, shape (s,).
    dense
        Polynomial coefficients of the interpolant, shape (s, d):
        ``u(theta) = u_old + sum_j k_j sum_m dense[j, m] theta ** (m + 1)`` for theta in [0, 1].
    """

    name: str
    order: int
    error_order: int
    dense_order: int
    source: str
    gamma: float
    c: np.ndarray
    A: np.ndarray
    C: np.ndarray
    d: np.ndarray
    b: np.ndarray
    error: np.ndarray
    dense: np.ndarray

    def __post_init__(self) -> None:
        _freeze(self)
        s = self.stages
        for name in ("A", "C"):
            _require_shape(self, name, (s, s))
            _require_strictly_lower(self, name)
        for name in ("d", "b", "error"):
            _require_shape(self, name, (s,))
        _require_shape(self, "dense", (s, self.dense.shape[1]))

    @property
    def stages(self) -> int:
        """Number of stages, each one linear solve with the same matrix."""
        return int(self.c.shape[0])

    def dense_weights(self, theta: float) -> np.ndarray:
        """
        Return the weights of all stages in the interpolant at one place.

        Parameters
        ----------
        theta
            Fraction of the step, in [0, 1].

        Returns
        -------
        np.ndarray
            Shape (s,); ``u(theta) = u_old + sum_j weights_j k_j``.
        """
        return _dense_weights(self.dense, theta)
