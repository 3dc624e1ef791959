"""A sample of virtual patients as a description, from which any rows can be made when they are needed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from fastcart.checks import count, is_whole, names, real, shown
from fastcart.errors import InputError, nearest
from fastcart.model import RESERVED, Model
from fastcart.patients import allowed_range
from fastcart.sampling.columns import SMALLEST, Marginal, Values, column, strata, stream
from fastcart.typing_names import Sampler

METHODS = ("random", "latin_hypercube", "sobol", "grid")
_MAX_ROWS = 10**10
_SOBOL_BITS = 30

Columns = Mapping[str, Any]
Correlation = Mapping[tuple[str, str], float] | Sequence[tuple[str, str, float]] | pd.DataFrame


class Design:
    """A table of virtual patients that is made row by row when needed; also the ``[sample]`` of a scan.

    Parameters
    ----------
    columns : mapping
        For random samples and space-filling designs: name to a distribution as in `latin_hypercube`; for a
        grid: name to values as in `grid`. One number is a constant.
    n : int, optional
        Number of patients; a grid has as many as it has combinations.
    seed : int, optional
        Needed for all but a grid.
    method : {'random', 'latin_hypercube', 'sobol', 'grid'}
    correlation : optional
        As for `normal`, between normal and log-normal columns of a random sample.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> from fastcart.sample import Design
    >>> design = Design({"k_TE": {"uniform": (3, 4)}, "TE": {"log_normal": (1e7, 0.3)}}, 10**7, seed=1)
    >>> design.rows(9_999_998, 10_000_000)["patient"].tolist()
    [9999998, 9999999]
    """

    def __init__(
        self,
        columns: Columns,
        n: int | None = None,
        *,
        seed: int | None = None,
        method: Sampler = "random",
        correlation: Correlation | None = None,
    ):
        if not isinstance(method, str) or method not in METHODS:
            raise InputError(f"There is no method {shown(method)} of sampling." + nearest(method, METHODS))
        if not isinstance(columns, Mapping) or not columns:
            raise InputError(
                "The columns of a sample must be a mapping of names to distributions or values, not "
                f"{shown(columns)}."
            )
        self.method = method
        self.columns: dict[str, Values | Marginal] = {}
        for name, value in columns.items():
            if not isinstance(name, str) or not name or name == "patient" or name in RESERVED:
                raise InputError(f"A column of a sample cannot have the name {shown(name)}; choose another.")
            self.columns[name] = column(name, value, grid=method == "grid")
        self.seed = self._seed(seed)
        self.size = self._size(n)
        self._pairs = _pairs(correlation)
        self._factor = self._cholesky()
        self._points: Any = None  # a Latin hypercube as a whole, or where the Sobol' sequence stands

    @property
    def names(self) -> list[str]:
        """Names of the columns, without ``patient``."""
        return list(self.columns)

    @property
    def correlated(self) -> tuple[list[str], np.ndarray]:
        """The columns that correlate, and Cholesky's factor of the correlations of their normal scores."""
        return self._factor

    def _seed(self, seed: Any) -> int | None:
        if self.method == "grid":
            if seed is not None:
                raise InputError("A grid draws no random numbers; leave the seed off.")
            return None
        if not is_whole(seed) or seed < 0:
            more = "; give one, e.g. seed = 1: the same seed gives the same patients" if seed is None else ""
            raise InputError(
                f"The seed of a sample must be a whole number from 0 on, not {shown(seed)}{more}."
            )
        return int(seed)

    def _size(self, n: Any) -> int:
        if self.method == "grid":
            if n is not None:
                raise InputError("A grid has as many patients as combinations; leave n off.")
            n = math.prod(len(item.values) for item in self._grid().values())
        size = count(n, "The number of patients n")
        limit = 2**_SOBOL_BITS if self.method == "sobol" else _MAX_ROWS
        if size > limit:
            raise InputError(f"The number of patients must be at most {limit}, not {size}.")
        return size

    def _grid(self) -> dict[str, Values]:
        return {name: item for name, item in self.columns.items() if isinstance(item, Values)}

    def _drawn(self) -> dict[str, Marginal]:
        return {name: item for name, item in self.columns.items() if isinstance(item, Marginal)}

    def _cholesky(self) -> tuple[list[str], np.ndarray]:
        """Return the columns that correlate, in order of name, and the factor of their correlations."""
        if self._pairs and self.method != "random":
            raise InputError(f"Correlations are for random samples; the method {self.method!r} has none.")
        drawn = self._drawn()
        for name in (name for pair in self._pairs for name in pair):
            if name not in drawn or drawn[name].kind not in ("normal", "log_normal"):
                raise InputError(
                    f"The correlation names {shown(name)}, which is no normal or log-normal column."
                    + nearest(name, [k for k, c in drawn.items() if c.kind in ("normal", "log_normal")])
                )
        order = sorted({name for pair in self._pairs for name in pair})
        matrix = np.eye(len(order))
        for (a, b), value in self._pairs.items():
            i, j = order.index(a), order.index(b)
            matrix[i, j] = matrix[j, i] = value
        try:
            return order, np.linalg.cholesky(matrix) if order else matrix
        except np.linalg.LinAlgError:
            raise InputError(
                "No random numbers have these correlations together (their matrix is not positive "
                "definite); make them weaker."
            ) from None

    def checked(
        self, model: str | Model | None, dose_columns: Sequence[str] | Mapping[str, tuple[float, float]] = ()
    ) -> Design:
        """Check names and ranges against a model, where one is given, and return the design.

        Further columns that doses use may hold what is not negative, or what a mapping says.

        Raises
        ------
        InputError
            For an unknown name, with the nearest known; for a column that can leave its range.
        """
        allowed_there = dose_columns if isinstance(dose_columns, Mapping) else {}
        dose_columns = names(dose_columns, "The columns of doses")
        if model is None:
            return self
        from fastcart.batch import as_model

        model = as_model(model)
        items = {item.name: item for item in model.items}
        for name, item in self.columns.items():
            if name in items:
                low, high = allowed_range(items[name])
                unit = items[name].unit
            elif name in dose_columns:
                low, high = allowed_there.get(name, (0.0, math.inf))
                unit = ""
            else:
                raise InputError(
                    f"The column {name!r} is not a parameter or state of model {model.name!r}."
                    + nearest(name, [*items, *dose_columns])
                )
            least, most = item.support
            if least < low or most > high:
                allowed = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
                raise InputError(
                    f"The column {name!r} reaches from {least:g} to {most:g}; allowed is {allowed}"
                    f"{' ' + unit if unit else ''}." + item.hint
                )
        return self

    def table(self) -> pd.DataFrame:
        """Return all rows."""
        return self.rows(0, self.size)

    def rows(self, start: int, stop: int) -> pd.DataFrame:
        """Return rows ``start`` to ``stop``, the same whatever else is asked for.

        All but a Latin hypercube need memory for these rows only.
        """
        values: dict[str, Any] = {"patient": np.arange(start, stop)}
        if self.method == "grid":
            axes = {name: item.values for name, item in self._grid().items()}
            places = np.unravel_index(values["patient"], [len(axis) for axis in axes.values()])
            for name, place in zip(axes, places, strict=True):
                values[name] = axes[name][place]
            return pd.DataFrame(values)
        drawn = self._drawn()
        draws = self._uniforms(list(drawn), start, stop)
        scores = self._scores(draws)
        for name, item in self.columns.items():
            if isinstance(item, Values):
                values[name] = np.full(stop - start, item.values[0])
            else:
                values[name] = item.quantile(draws[name], scores.get(name))
        return pd.DataFrame(values)

    def _uniforms(self, drawn: list[str], start: int, stop: int) -> dict[str, np.ndarray]:
        """Return numbers in (0, 1) for the columns that are drawn."""
        if not drawn:
            return {}
        if self.method == "random":
            return {name: stream(self.seed, name, start, stop) for name in drawn}
        if self.method == "sobol":
            points = self._sobol(len(drawn), start, stop)
            return {name: np.ascontiguousarray(points[:, j]) for j, name in enumerate(drawn)}
        if self._points is None:
            self._points = {name: strata(self.seed, name, self.size) for name in drawn}
        return {name: self._points[name][start:stop] for name in drawn}

    def _sobol(self, dimension: int, start: int, stop: int) -> np.ndarray:
        from scipy.stats import qmc

        if self._points is None or self._points.num_generated > start:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=tuple(b"sobol")))
            with warnings.catch_warnings():
                # the balance for powers of 2 is described with `sobol`
                warnings.filterwarnings("ignore", "The balance properties", UserWarning)
                self._points = qmc.Sobol(dimension, scramble=True, bits=_SOBOL_BITS, rng=rng)
        if start > self._points.num_generated:
            self._points.fast_forward(start - self._points.num_generated)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The balance properties", UserWarning)
            points = self._points.random(stop - start)
        return points + 2.0 ** -(_SOBOL_BITS + 1)  # the middle of its cell, so that none is zero

    def _scores(self, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return correlated normal scores, for the columns that correlate."""
        order, factor = self._factor
        scores = {name: ndtri(np.maximum(draws[name], SMALLEST)) for name in order}
        result = {}
        for i, name in enumerate(order):
            # term by term: a product of matrices may round otherwise for another number of rows
            total = factor[i, 0] * scores[order[0]]
            for j in range(1, i + 1):
                total = total + factor[i, j] * scores[order[j]]
            result[name] = total
        return result

    def describe(self) -> dict[str, Any]:
        """Return all that the table depends on, in the types of JSON."""
        content: dict[str, Any] = {"method": self.method, "n": self.size, "seed": self.seed}
        content["columns"] = [[name, *item.describe()] for name, item in self.columns.items()]
        if self._pairs:
            content["correlation"] = [[*pair, value] for pair, value in sorted(self._pairs.items())]
        return content


def _pairs(correlation: Any) -> dict[tuple[str, str], float]:
    """Return correlations by pairs of names in order, each pair once."""
    if correlation is None:
        return {}
    if isinstance(correlation, pd.DataFrame):
        listed = _matrix_pairs(correlation)
    elif isinstance(correlation, Mapping):
        listed = [(key, value) for key, value in correlation.items()]
    else:
        listed = [(tuple(row[:-1]), row[-1]) for row in _rows(correlation)]
    result: dict[tuple[str, str], float] = {}
    for pair, value in listed:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(k, str) for k in pair):
            raise InputError(f"A correlation must name two columns, not {shown(pair)}.")
        a, b = sorted(pair)
        if a == b:
            raise InputError(f"A correlation must name two different columns, not {a!r} twice.")
        if (a, b) in result:
            raise InputError(f"The correlation of {a!r} and {b!r} is given twice.")
        size = real(value)
        if size is None or not -1 < size < 1:
            raise InputError(
                f"The correlation of {a!r} and {b!r} must lie between -1 and 1, not {shown(value)}."
            )
        if size != 0:
            result[a, b] = size
    return result


def _rows(correlation: Any) -> Sequence[Sequence]:
    rows = correlation if isinstance(correlation, list | tuple) else [""]
    if not all(isinstance(row, Sequence) and not isinstance(row, str) and len(row) == 3 for row in rows):
        raise InputError(
            f"Correlations must be given as rows of two names and a number, not {shown(correlation)}."
        )
    return rows


def _matrix_pairs(matrix: pd.DataFrame) -> list[tuple[tuple[str, str], float]]:
    given = [str(name) for name in matrix.columns]
    values = matrix.to_numpy()
    square = list(matrix.index) == list(matrix.columns) and matrix.shape[0] == matrix.shape[1]
    if not square or not (values == values.T).all() or not (np.diag(values) == 1).all():
        raise InputError(
            "A matrix of correlations must be symmetric, with ones on its diagonal and the same names as "
            "index and columns."
        )
    pairs = [(i, j) for i in range(len(given)) for j in range(i + 1, len(given))]
    return [((given[i], given[j]), values[i, j]) for i, j in pairs]
