"""Which parameters a sensitivity study varies, how far, and the samples that each method needs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pandas.api.types import is_list_like

from fastcart import sample
from fastcart.checks import count, is_whole, number, real, shown
from fastcart.errors import InputError, nearest, optional_import
from fastcart.model import Model
from fastcart.patients import allowed_range

CORRELATIONS = ("pearson", "spearman", "prcc")
METHODS = (*CORRELATIONS, "sobol", "morris", "fast")
DEFAULT_SPREAD = 0.1  # of the default value, up and down, as in Li & Lei 2025
MORRIS_LEVELS = 4  # Morris 1991; SALib's default
FAST_HARMONICS = 4  # Saltelli et al. 1999, there M
FAST_CURVES = (
    4  # search curves per parameter, each with its own random phase; their spread gives the interval
)
_MAX_ROWS = 10**9


@dataclass(frozen=True)
class Design:
    """The points at which a model is evaluated.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    names : tuple of str
        What is varied, k names.
    bounds : ndarray, shape (k, 2)
        Lowest and highest value of each; draws are uniform between them.
    n : int
        As asked for: patients for correlations, base points for ``sobol``, trajectories for ``morris``,
        points per search curve for ``fast``.
    x : ndarray, shape (rows, k)
        Correlations: ``rows = n``. Sobol': ``n (k + 2)``, in blocks A, AB_1 to AB_k, B. Morris:
        ``n (k + 1)``, a trajectory after the other. FAST: ``FAST_CURVES k n``, for each curve and parameter
        ``n`` points.
    """

    method: str
    names: tuple[str, ...]
    bounds: np.ndarray
    n: int
    x: np.ndarray

    @property
    def block(self) -> int:
        """How many rows belong together: what fails takes these rows with it."""
        k = len(self.names)
        return {"sobol": k + 2, "morris": k + 1, "fast": self.n}.get(self.method, 1)


def parse_ranges(model: Model, ranges: Any = None, fixed: Mapping[str, Any] | None = None) -> dict:
    """Return name to (low, high) of everything that is varied.

    Parameters
    ----------
    model : Model
    ranges : float or mapping, optional
        A number is a spread: every parameter varies by that share of its default, up and down (default
        `DEFAULT_SPREAD`). A mapping names parameters or initial values, each with ``(low, high)`` or a
        spread; its key ``"*"`` gives a spread to all other parameters.
    fixed : mapping, optional
        Parameters and initial values that replace the defaults. They are not varied, unless ``ranges`` names
        them, and a spread is a share of the value given here.

    Raises
    ------
    InputError
        For an unknown name, an empty range, or one that leaves what the model allows.
    """
    values = model.defaults() | _fixed_values(model, fixed)
    if ranges is None:
        ranges = DEFAULT_SPREAD
    if not isinstance(ranges, Mapping):
        ranges = {"*": ranges}
    result: dict[str, tuple[float, float]] = {}
    if "*" in ranges:
        spread = _spread(ranges["*"], "all parameters")
        for name in model.parameter_names:
            # a share of zero is no range
            if values[name] != 0 and name not in (fixed or {}):
                result[name] = _around(values[name], spread)
    for name, given in ranges.items():
        if name != "*":
            result[name] = _range(model, name, given, values)
    if not result:
        raise InputError("No parameter is varied; give ranges for at least one.")
    for item in model.items:
        if item.name in result:
            _check_allowed(item, *result[item.name])
    return {item.name: result[item.name] for item in model.items if item.name in result}


def _fixed_values(model: Model, fixed: Mapping[str, Any] | None) -> dict[str, float]:
    known = [item.name for item in model.items]
    for name in fixed or {}:
        if name not in known:
            raise InputError(
                f"{shown(name)} is not a parameter or state of model {model.name!r}." + nearest(name, known)
            )
    return {name: number(value, f"The value of {name!r}") for name, value in (fixed or {}).items()}


def _spread(value: Any, what: str) -> float:
    spread = real(value)
    if spread is None or not 0 < spread < 1:
        raise InputError(
            f"The spread of {what} must be a share between 0 and 1, e.g. 0.1 for ±10%, not {shown(value)}."
        )
    return spread


def _around(value: float, spread: float) -> tuple[float, float]:
    ends = (value * (1 - spread), value * (1 + spread))
    return min(ends), max(ends)


def _range(model: Model, name: Any, given: Any, values: Mapping[str, float]) -> tuple[float, float]:
    known = [item.name for item in model.items]
    if name not in known:
        raise InputError(
            f"{shown(name)} is not a parameter or state of model {model.name!r}." + nearest(name, known)
        )
    if not is_list_like(given):
        if values[name] == 0:
            raise InputError(
                f"The default of {name!r} is 0, of which no share can be taken; give (low, high)."
            )
        return _around(values[name], _spread(given, repr(name)))
    ends = [real(end) for end in given]
    if len(ends) != 2 or None in ends or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:  # type: ignore[arg-type,operator]
        raise InputError(f"The range of {name!r} must be two numbers, low below high, not {shown(given)}.")
    return float(ends[0]), float(ends[1])  # type: ignore[arg-type]


def _check_allowed(item: Any, low: float, high: float) -> None:
    least, most = allowed_range(item)
    if low < least or high > most:
        allowed = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise InputError(
            f"The range of {item.name!r}, {low:g} to {high:g}, leaves what the model allows: {allowed}."
        )


def make_design(method: str, ranges: Mapping[str, tuple[float, float]], n: int, *, seed: int) -> Design:
    """Sample the points that a method needs.

    Correlations draw independent uniform values by `fastcart.sample`: the first of a larger sample are the
    same. All other designs are SALib's.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    ranges : mapping
        Name to (low, high).
    n : int
        See `Design`; for ``sobol`` a power of 2; for ``fast`` at least 65.
    seed : int
        Not negative.

    Raises
    ------
    InputError
        For anything else.
    """
    n = check_size(method, n, len(ranges))
    if not is_whole(seed) or seed < 0:
        raise InputError(f"The seed must be a whole number from 0 on, not {shown(seed)}.")
    names = tuple(ranges)
    bounds = np.array([ranges[name] for name in names], dtype=np.float64)
    if method in CORRELATIONS:
        drawn = sample.Design({name: {"uniform": ranges[name]} for name in names}, n, seed=seed)
        x = drawn.table()[list(names)].to_numpy()
    else:
        # in the unit cube: SALib scales in place, and names and bounds are ours
        problem = {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}
        unit = _salib_points(method, problem, n, int(seed))
        x = bounds[:, 0] + unit * (bounds[:, 1] - bounds[:, 0])
    return Design(method, names, bounds, n, np.ascontiguousarray(x))


def check_size(method: Any, n: Any, k: int) -> int:
    """Check a method and its number of points; return the number.

    Raises
    ------
    InputError
        For an unknown method, or a number that it cannot work with.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"There is no method {shown(method)} of sensitivity." + nearest(method, METHODS))
    n = count(n, "The number n")
    if method in CORRELATIONS and n < k + 4:
        raise InputError(f"To vary {k} parameters, n must be at least {k + 4} patients, not {n}.")
    if method == "sobol" and (n & (n - 1) or n < 2):
        below = 1 << (n.bit_length() - 1)
        raise InputError(
            f"For Sobol' indices n must be a power of 2, not {n}; use {max(2, below)} or {max(4, 2 * below)}."
        )
    if method == "morris" and n < 2:
        raise InputError("For Morris' method n must be at least 2 trajectories.")
    if method == "fast" and n <= 4 * FAST_HARMONICS**2:
        raise InputError(f"For FAST n must be above {4 * FAST_HARMONICS**2} points per curve, not {n}.")
    if runs_needed(method, n, k) > _MAX_ROWS:
        raise InputError(f"This would take {runs_needed(method, n, k)} patients; make n smaller.")
    return n


def runs_needed(method: str, n: int, k: int) -> int:
    """Return how many patients a method solves for k parameters."""
    return {"sobol": n * (k + 2), "morris": n * (k + 1), "fast": FAST_CURVES * n * k}.get(method, n)


def _salib_points(method: str, problem: dict[str, Any], n: int, seed: int) -> np.ndarray:
    module = {"sobol": "sobol", "morris": "morris", "fast": "fast_sampler"}[method]
    sampler = optional_import(
        f"SALib.sample.{module}", extra="sensitivity", purpose=f"The method {method!r}"
    ).sample
    if method == "sobol":
        return sampler(problem, n, calc_second_order=False, seed=np.random.default_rng(seed))
    if method == "morris":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return sampler(problem, n, num_levels=MORRIS_LEVELS, seed=np.random.default_rng(seed))
    streams = np.random.SeedSequence(seed).spawn(FAST_CURVES)
    return np.concatenate(
        [sampler(problem, n, M=FAST_HARMONICS, seed=np.random.default_rng(stream)) for stream in streams]
    )
