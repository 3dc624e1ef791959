"""What an optimization varies, for which problems, and within which bounds and linear constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from fastcart.checks import names, number, number_in, real, shown
from fastcart.errors import InputError, nearest
from fastcart.expressions import Expression, Relation, relations
from fastcart.model import Model
from fastcart.optimization.space import Space
from fastcart.patients import allowed_range, finite_numbers
from fastcart.tables.listed import rows_listed
from fastcart.tables.storage import is_path, read_table
from fastcart.typing_names import AggregateName

SCALES = ("linear", "log")
Aggregate = AggregateName | float
AGGREGATES = ("mean", "median", "min", "max")


@dataclass(frozen=True)
class Limit:
    """A constraint on a function of the endpoints, or on a formula that is aggregated in its own way.

    Parameters
    ----------
    quantity : str or callable
        A formula over variables, columns of the tables and endpoints; or a function of the table of
        endpoints (with the variables as columns) that returns one number a row.
    at_most, at_least : float, optional
    aggregate : str or float
        Over the virtual population: ``"max"`` (default) of the excess, so that every patient keeps the limit,
        ``"mean"``, ``"median"``, ``"min"``, or a quantile from 0 to 1.
    """

    quantity: str | Callable[[pd.DataFrame], Any]
    at_most: float | None = None
    at_least: float | None = None
    aggregate: Aggregate = "max"

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise InputError("A limit needs either at_most or at_least.")
        number(self.at_most if self.at_least is None else self.at_least, "The value of a limit")
        check_aggregate(self.aggregate)


Constraint = str | Limit


@dataclass(frozen=True)
class Excess:
    """A nonlinear constraint as the evaluator takes it: ``smaller <= larger``, for each patient."""

    smaller: Any  # Expression or function of the endpoints, or a number
    larger: Any
    aggregate: Aggregate
    text: str


def check_aggregate(value: Any) -> Aggregate:
    """Return how numbers of a population become one.

    Raises
    ------
    InputError
        For anything but a name of `AGGREGATES` or a quantile from 0 to 1.
    """
    if isinstance(value, str) and value in AGGREGATES:
        return cast("AggregateName", value)
    quantile = real(value)
    if quantile is not None and 0 <= quantile <= 1:
        return quantile
    hint = nearest(value, AGGREGATES) if isinstance(value, str) else ""
    raise InputError(
        f"The aggregate over the population must be {', '.join(AGGREGATES)} or a quantile from 0 to 1, not "
        f"{shown(value)}.{hint}"
    )


def check_rows(for_each: Any, numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Return the table of problems: one row each; one row without columns where none is given.

    ``numbers`` are the columns of a file that hold numbers; all others come back as they are written.
    """
    if for_each is None:
        return pd.DataFrame(index=range(1))
    if is_path(for_each):
        for_each = read_table(for_each, "The table", numbers)
    for_each = rows_listed(for_each, "the table")
    if isinstance(for_each, Mapping):
        scalars = not any(np.ndim(value) for value in for_each.values())
        for_each = pd.DataFrame(dict(for_each), index=[0] if scalars else None)
    if not isinstance(for_each, pd.DataFrame):
        raise InputError(f"for_each must be a table with one row for each problem, not {shown(for_each)}.")
    if not len(for_each):
        raise InputError("The table for_each is empty; give at least one row.")
    names(list(for_each.columns), "The columns of the table for_each")
    return for_each.reset_index(drop=True)


def numeric_columns(table: pd.DataFrame, model: Model, what: str) -> dict[str, np.ndarray]:
    """Return the columns of a table as numbers; columns that are not of the model may hold other things."""
    known = {*model.parameter_names, *model.state_names}
    found = {}
    for name in table.columns:
        column = table[name]
        if name in known or _holds_numbers(column):
            found[name] = finite_numbers(column, f"The column {name!r} of {what} holds", 0)
    return found


def _holds_numbers(column: pd.Series) -> bool:
    """Return whether a column is one of numbers, or of texts that all are finite numbers."""
    if is_numeric_dtype(column.dtype):
        return not is_bool_dtype(column.dtype)
    texts = column.tolist() if isinstance(column.dtype, pd.StringDtype) else [None]
    numbers = (number_in(text) if isinstance(text, str) else None for text in texts)
    return all(number is not None and np.isfinite(number) for number in numbers)


def make_space(
    model: Model,
    variables: Mapping[str, Any],
    rows: Mapping[str, np.ndarray],
    problems: int,
    linear: Sequence[Relation],
) -> Space:
    """Return the space that is searched.

    Parameters
    ----------
    model : Model
    variables : mapping
        Name to ``(low, high)`` or ``(low, high, "log")``; bounds are numbers, one number for each problem, or
        formulas over the columns of the problems.
    rows : mapping
        Columns of the table of problems.
    problems : int
    linear : sequence of Relation
        Linear in the variables.

    Raises
    ------
    InputError
    """
    listed = list(variables)
    low, high, log = np.empty((2, problems, 0)), None, []
    columns = []
    for name, given in variables.items():
        ends, scale = _variable(name, given)
        values = [_bound(end, name, rows, problems) for end in ends]
        _check_allowed(model, name, values)
        columns.append(values)
        log.append(scale == "log")
    low, high = (np.stack([pair[side] for pair in columns], axis=1) for side in (0, 1))
    A = np.zeros((problems, len(linear), len(listed)))
    b = np.zeros((problems, len(linear)))
    for i, relation in enumerate(linear):
        left = relation.smaller.linear(listed, rows)
        right = relation.larger.linear(listed, rows)
        assert left is not None
        assert right is not None
        b[:, i] = np.asarray(right.constant) - np.asarray(left.constant)
        for j, name in enumerate(listed):
            A[:, i, j] = np.asarray(left.coefficients.get(name, 0.0)) - right.coefficients.get(name, 0.0)
        if not (np.isfinite(A[:, i]).all() and np.isfinite(b[:, i]).all()):
            raise InputError(f"The constraint {shown(relation.text)} has no finite value in some row.")
    return Space(low, high, log=log, A=A, b=b, names=listed)


def _variable(name: Any, given: Any) -> tuple[list[Any], str]:
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) == 2:
            return list(given), "linear"
        if len(given) == 3 and isinstance(given[2], str) and given[2] in SCALES:
            return list(given[:2]), given[2]
    raise InputError(
        f"The variable {shown(name)} needs (low, high) or (low, high, 'log'), not {shown(given)}."
    )


def _bound(end: Any, name: str, rows: Mapping[str, np.ndarray], problems: int) -> np.ndarray:
    if isinstance(end, str):
        formula = Expression(end)
        formula.check_names(
            rows, f"The bound {shown(end)} of the variable {name!r}",
            "column of the table for_each; a bound is a number or a formula over these",
        )  # fmt: skip
        end = formula(rows)
    value = np.asarray(end, dtype=float) if np.ndim(end) else number(end, f"The bound of {name!r}")
    if np.shape(value) not in ((), (problems,)):
        raise InputError(
            f"The bound of the variable {name!r} must be one number or one for each of {problems} problems."
        )
    return np.broadcast_to(value, (problems,))


def _check_allowed(model: Model, name: str, values: Sequence[np.ndarray]) -> None:
    """Check bounds against the range of the model's item, where it is one."""
    item = next((item for item in model.items if item.name == name), None)
    low, high = (0.0, np.inf) if item is None else allowed_range(item)
    for value in values:
        if (value < low).any() or (value > high).any():
            bad = value[(value < low) | (value > high)][0]
            raise InputError(
                f"The variable {name!r} may lie between {low:g} and {high:g}, but a bound is {bad:g}."
            )


def split_constraints(
    constraints: Any, variables: Sequence[str], rows: Mapping[str, np.ndarray], known: Sequence[str]
) -> tuple[list[Relation], list[Excess]]:
    """Return the constraints that are linear in the variables, and all others.

    Parameters
    ----------
    constraints : str, Limit, sequence of these, or None
    variables : sequence of str
    rows : mapping
        Columns of the table of problems.
    known : sequence of str
        All names that a formula may use.
    """
    constraints = () if constraints is None else constraints
    if not isinstance(constraints, str | Limit | Iterable):
        raise InputError(f"The constraints must be texts or fastcart.Limit, not {shown(constraints)}.")
    listed = [constraints] if isinstance(constraints, str | Limit) else list(constraints)
    linear: list[Relation] = []
    others: list[Excess] = []
    for item in listed:
        if isinstance(item, Limit):
            others.append(_excess(item, known))
            continue
        for relation in relations(item):
            for side in (relation.smaller, relation.larger):
                side.check_names(list(known), f"The constraint {shown(item)}")
            forms = [side.linear(list(variables), rows) for side in (relation.smaller, relation.larger)]
            if all(form is not None for form in forms):
                if not any(form.coefficients for form in forms if form is not None):
                    raise InputError(f"The constraint {shown(item)} holds no variable and no endpoint.")
                linear.append(relation)
            else:
                others.append(Excess(relation.smaller, relation.larger, "max", relation.text))
    return linear, others


def _excess(limit: Limit, known: Sequence[str]) -> Excess:
    quantity: Any = limit.quantity
    text = "a function" if callable(quantity) else str(quantity)
    if not callable(quantity):
        quantity = Expression(quantity)
        quantity.check_names(list(known), f"The limit {shown(text)}")
    if limit.at_most is not None:
        return Excess(quantity, limit.at_most, limit.aggregate, f"{text} <= {limit.at_most:g}")
    return Excess(limit.at_least, quantity, limit.aggregate, f"{text} >= {limit.at_least:g}")
