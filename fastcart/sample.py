"""Virtual patients: grids, random samples and space-filling designs, as tables for `fastcart.solve`.

Each function returns a table with a ``patient`` column and one column for each name given: parameters,
initial values, or amounts of doses. A `Design` describes the same table without holding it, for samples that
do not fit into memory.

The same seed gives the same table. Beyond that each column has a stream of random numbers of its own, which
follows from the seed and the name of the column alone:

- random samples (`uniform`, `log_uniform`, `normal`, `log_normal`): neither more patients nor more columns
  nor another order of columns change the values that were there before. Only a column that is correlated
  with others depends on them (on those before it in the order of names).
- `latin_hypercube`: columns do not depend on each other, but on the number of patients, which sets the
  strata.
- `sobol`: points fill the space of all columns together. More patients change nothing, but one column more,
  or another order, gives other points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_list_like

from fastcart.checks import seeded
from fastcart.model import Model
from fastcart.sampling.design import Columns as Columns
from fastcart.sampling.design import Correlation as Correlation
from fastcart.sampling.design import Design as Design


def grid(
    columns: Columns, *, model: str | Model | None = None, dose_columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Return every combination of the values of the columns, the last column changing fastest.

    Parameters
    ----------
    columns : mapping
        Name to values: a list or array, one number (a constant), ``{"linspace": (low, high, count)}`` or
        ``{"geomspace": (low, high, count)}``, which are evenly spaced in the value or its logarithm.
    model : str or Model, optional
        Check names and ranges against it.
    dose_columns : sequence of str
        Columns that are amounts, times or durations of doses and no names of the model; see `fastcart.scan`.

    Returns
    -------
    DataFrame
        ``patient`` and the columns.

    Raises
    ------
    InputError
        For unknown names, values outside their range, and the like.

    Examples
    --------
    >>> from fastcart import sample
    >>> sample.grid({"k_TE": [3.0, 4.0], "TE": {"geomspace": (1e6, 1e8, 3)}})
       patient  k_TE           TE
    0        0   3.0    1000000.0
    1        1   3.0   10000000.0
    2        2   3.0  100000000.0
    3        3   4.0    1000000.0
    4        4   4.0   10000000.0
    5        5   4.0  100000000.0
    """
    return Design(columns, method="grid").checked(model, dose_columns).table()


@seeded
def uniform(
    columns: Columns, n: int, *, seed: int, model: str | Model | None = None, dose_columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Return independent uniform draws.

    Parameters
    ----------
    columns : mapping
        Name to ``(low, high)``.
    n : int
        Number of patients.
    seed : int
        Not negative.
    model, dose_columns
        As for `grid`.

    Returns
    -------
    DataFrame
        ``patient`` and the columns.

    Raises
    ------
    InputError
        For unknown names, values outside their range, and the like.
    """
    return _random("uniform", columns, n, seed, model, dose_columns)


@seeded
def log_uniform(
    columns: Columns, n: int, *, seed: int, model: str | Model | None = None, dose_columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Return draws whose logarithms are uniform, from ``(low, high)`` above 0; the rest as for `uniform`."""
    return _random("log_uniform", columns, n, seed, model, dose_columns)


@seeded
def normal(
    columns: Columns,
    n: int,
    *,
    seed: int,
    correlation: Correlation | None = None,
    model: str | Model | None = None,
    dose_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Return normal draws, correlated where asked.

    Parameters
    ----------
    columns : mapping
        Name to ``(mean, sd)``, or ``(mean, sd, low, high)`` for the normal distribution between two limits.
    n, seed, model, dose_columns
        As for `uniform`.
    correlation : mapping, sequence or DataFrame, optional
        ``{("a", "b"): 0.5}``, ``[("a", "b", 0.5)]``, or a matrix with names as index and columns; what is
        not named has none. Between columns with limits it is that of the normal scores before the limits.

    Returns
    -------
    DataFrame
        ``patient`` and the columns.

    Raises
    ------
    InputError
        As for `uniform`, and for correlations that no distribution has.
    """
    return _random("normal", columns, n, seed, model, dose_columns, correlation)


@seeded
def log_normal(
    columns: Columns,
    n: int,
    *,
    seed: int,
    correlation: Correlation | None = None,
    model: str | Model | None = None,
    dose_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Return draws whose natural logarithms are normal; the rest as for `normal`.

    A column is ``(median, sigma)`` or ``(median, sigma, low, high)``: sigma is the standard deviation of the
    logarithm, for small values about the coefficient of variation. Correlations are those of the logarithms.
    """
    return _random("log_normal", columns, n, seed, model, dose_columns, correlation)


@seeded
def latin_hypercube(
    columns: Columns, n: int, *, seed: int, model: str | Model | None = None, dose_columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a Latin hypercube: each of ``n`` equally probable strata of each column holds one patient.

    Parameters
    ----------
    columns : mapping
        Name to ``(low, high)`` for a uniform column, else to one of ``{"uniform": (low, high)}``,
        ``{"log_uniform": (low, high)}``, ``{"normal": (mean, sd)}``, ``{"log_normal": (median, sigma)}`` (the
        latter two also with limits, see `normal`), ``{"triangular": (low, mode, high)}``, or to one number, a
        constant.
    n, seed, model, dose_columns
        As for `uniform`.

    Returns
    -------
    DataFrame
        ``patient`` and the columns.

    Raises
    ------
    InputError
        For unknown names, values outside their range, and the like.
    """
    design = Design(_as_kind("uniform", columns), n, seed=seed, method="latin_hypercube")
    return design.checked(model, dose_columns).table()


@seeded
def sobol(
    columns: Columns, n: int, *, seed: int, model: str | Model | None = None, dose_columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Return scrambled Sobol' points; columns as for `latin_hypercube`.

    Their balance is best where ``n`` is a power of 2.
    """
    design = Design(_as_kind("uniform", columns), n, seed=seed, method="sobol")
    return design.checked(model, dose_columns).table()


def _random(kind, columns, n, seed, model, dose_columns, correlation=None) -> pd.DataFrame:
    design = Design(_as_kind(kind, columns), n, seed=seed, correlation=correlation)
    return design.checked(model, dose_columns).table()


def _as_kind(kind: str, columns: Any) -> Any:
    """Return columns in which what names no distribution is of this kind."""
    if not isinstance(columns, Mapping):
        return columns
    return {
        name: {kind: value} if is_list_like(value) and not isinstance(value, Mapping) else value
        for name, value in columns.items()
    }
