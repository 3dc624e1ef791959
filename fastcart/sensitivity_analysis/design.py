"""Which parameters a sensitivity study varies, how far, and the samples that each method needs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pandas.api.types import is_list_like

from fastcart import sample
from fastcart.checks import count, is_whole, number, real, shown
from fastcart.errors import InputError, nearest, optional_import
from fastcart.model import Model
from fastcart.patients import allowed_range
from fastcart.sampling.columns import Marginal, column

CORRELATIONS = ("pearson", "spearman", "prcc", "concordance")
GROUPED = ("sobol", "morris")  # methods that know groups of parameters
METHODS = (*CORRELATIONS, "sobol", "morris", "fast")
DEFAULT_SPREAD = 0.1  # of the default value, up and down, as in Li & Lei 2025
MORRIS_LEVELS = 4  # Morris 1991; SALib's default
FAST_HARMONICS = 4  # Saltelli et al. 1999, there M
FAST_CURVES = 4  # search curves per parameter, each with its own random phase; indices are their means
FAST_LEAST = 257  # points per curve; with fewer the frequencies of a curve interfere grossly
SOBOL_LEAST = 64  # base points; with fewer the indices are noise, and no interval says so
# independent ones, among which the base points are shared; their spread gives intervals. More of them cost
# accuracy, and fewer leave too few degrees of freedom
SOBOL_SCRAMBLES = 16
_TAIL = 0.005  # levels of Morris in an unbounded distribution stay away from its ends by this probability
_MAX_ROWS = 10**9


Range = tuple[float, float] | Marginal


@dataclass(frozen=True)
class Closure:
    """Parameters of a sum that are drawn as weights, and scaled so that the sum is right for every patient.

    Parameters
    ----------
    places : tuple of int
        Which columns of a design.
    total : float
        What they add up to.
    """

    places: tuple[int, ...]
    total: float


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
        Lowest and highest value of each; of an unbounded distribution nearly so.
    n : int
        As asked for: patients for correlations, base points for ``sobol``, trajectories for ``morris``,
        points per search curve for ``fast``.
    x : ndarray, shape (rows, k)
        Correlations: ``rows = n``. Sobol': ``n (k + 2)``, in blocks A, AB_1 to AB_k, B; base points of
        several scrambles take turns. Morris: ``n (k + 1)``, a trajectory after the other. FAST:
        ``FAST_CURVES k n``, for each curve and parameter ``n`` points. With groups k is their number.
    groups : tuple of str, optional
        The group of each name; a name that is in none is one of its own.
    closures : tuple of Closure
        Columns of ``x`` that are weights; see `values`.
    """

    method: str
    names: tuple[str, ...]
    bounds: np.ndarray
    n: int
    x: np.ndarray
    groups: tuple[str, ...] = ()
    closures: tuple[Closure, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What has an index: the groups in order of their first parameters, else the names."""
        return tuple(dict.fromkeys(self.groups or self.names))

    @property
    def block(self) -> int:
        """How many rows belong together: what fails takes these rows with it."""
        k = len(self.labels)
        return {"sobol": k + 2, "morris": k + 1, "fast": self.n}.get(self.method, 1)

    @property
    def scrambles(self) -> int:
        """How many independent scrambles the base points of a Sobol' design come from."""
        return SOBOL_SCRAMBLES if self.method == "sobol" else 1

    def values(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return what patients ``start`` to ``stop`` are solved with: ``x``, with weights scaled to sums."""
        values = self.x[start:stop].copy()
        for closure in self.closures:
            places = list(closure.places)
            weights = values[:, places]
            values[:, places] = weights * (closure.total / weights.sum(axis=1, keepdims=True))
        return values


def parse_ranges(model: Model, ranges: Any = None, fixed: Mapping[str, Any] | None = None) -> dict:
    """Return name to (low, high), or to another distribution, of everything that is varied.

    Parameters
    ----------
    model : Model
    ranges : float or mapping, optional
        A number is a spread: every parameter varies by that share of its default, up and down (default
        `DEFAULT_SPREAD`). A mapping names parameters or initial values, each with ``(low, high)``, a
        spread, or a distribution as in `fastcart.sample.latin_hypercube`, such as ``{"log_uniform": (low,
        high)}``; its key ``"*"`` gives a spread to all other parameters. Of parameters that must add up to a
        total, these are the ranges of weights; one that ``"*"`` would vary alone in its sum is left out.
    fixed : mapping, optional
        Parameters and initial values that replace the defaults. They are not varied, unless ``ranges`` gives
        them a spread, which is then a share of the value given here.

    Raises
    ------
    InputError
        For an unknown name, an empty range, one that leaves what the model allows, or a range or distribution
        of what is fixed.
    """
    values = model.defaults() | _fixed_values(model, fixed)
    if ranges is None:
        ranges = DEFAULT_SPREAD
    if not isinstance(ranges, Mapping):
        ranges = {"*": ranges}
    result: dict[str, Range] = {}
    if "*" in ranges:
        spread = _spread(ranges["*"], "all parameters")
        for name in model.parameter_names:
            # a share of zero is no range
            if values[name] != 0 and name not in (fixed or {}):
                result[name] = _around(values[name], spread)
    for name, given in ranges.items():
        if name != "*":
            result[name] = _range(model, name, given, values)
            if name in (fixed or {}) and is_list_like(given):
                raise InputError(
                    f"{name!r} is fixed and has a range of its own, which would replace the fixed value; "
                    "give one of these, or a share such as 0.1 of the fixed value."
                )
    _leave_out_given_by_sums(model, ranges, result)
    if not result:
        raise InputError("No parameter is varied; give ranges for at least one.")
    for item in model.items:
        if item.name in result:
            _check_allowed(item, result[item.name])
    return {item.name: result[item.name] for item in model.items if item.name in result}


def _leave_out_given_by_sums(model: Model, named: Mapping[str, Any], result: dict[str, Range]) -> None:
    """Leave out what ``"*"`` would vary alone in its sum: all others are 0 or given, and so is this one."""
    for constraint in model.constraints:
        varied = [name for name in constraint.parameters if name in result]
        if len(varied) == 1 and varied[0] not in named:
            del result[varied[0]]


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


def _range(model: Model, name: Any, given: Any, values: Mapping[str, float]) -> Range:
    known = [item.name for item in model.items]
    if name not in known:
        raise InputError(
            f"{shown(name)} is not a parameter or state of model {model.name!r}." + nearest(name, known)
        )
    if isinstance(given, Mapping):
        found = column(name, given, grid=False)
        assert isinstance(found, Marginal)
        return found
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


def _check_allowed(item: Any, given: Range) -> None:
    low, high = given.support if isinstance(given, Marginal) else given
    least, most = allowed_range(item)
    if low < least or high > most:
        allowed = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        hint = given.hint if isinstance(given, Marginal) else ""
        raise InputError(
            f"The range of {item.name!r}, {low:g} to {high:g}, leaves what the model allows: {allowed}.{hint}"
        )


def find_closures(
    model: Model, ranges: Mapping[str, Range], fixed: Mapping[str, Any] | None = None
) -> tuple[Closure, ...]:
    """Return how parameters that must add up to a total do so.

    Each of them is drawn as a weight from its own range, independently; the weights of a sum are then scaled
    so that it is right to rounding. An index of such a parameter says what happens when it gains weight
    against the others of its sum.

    Raises
    ------
    InputError
        Where one parameter of a sum is varied alone, or nothing is left for those that are varied.
    """
    values = model.defaults() | _fixed_values(model, fixed)
    order = list(ranges)
    seen: set[str] = set()
    closures = []
    for constraint in model.constraints:
        varied = [name for name in constraint.parameters if name in ranges]
        if not varied:
            continue
        total = " + ".join(constraint.parameters)
        if len(varied) == 1:
            raise InputError(
                f"{total} must be {constraint.total:g}, so {varied[0]!r} cannot vary alone; give a range to "
                "another of these, too."
            )
        rest = constraint.total - sum(values[n] for n in constraint.parameters if n not in ranges)
        if rest <= 0 or seen & {*varied}:
            raise InputError(
                f"{total} must be {constraint.total:g}, which leaves {rest:g} for {', '.join(varied)}; vary "
                "others, or fix these."
            )
        seen |= {*varied}
        closures.append(Closure(tuple(order.index(name) for name in varied), rest))
    return tuple(closures)


def find_groups(groups: Mapping[str, Any] | None, names: Sequence[str], method: str) -> tuple[str, ...]:
    """Return the group of each name, or nothing where no groups are asked for.

    Raises
    ------
    InputError
        For a method without groups, a name that is not varied, one that is in two groups, or one group of
        all for ``sobol``.
    """
    if not groups:
        return ()
    if not isinstance(groups, Mapping):
        raise InputError(f"The groups must be a mapping of names to parameters, not {shown(groups)}.")
    if method not in GROUPED:
        raise InputError(f"Groups are for {' and '.join(GROUPED)}; the method {method!r} has none.")
    place = {name: name for name in names}
    taken: set[str] = set()
    for group, members in groups.items():
        listed = [members] if isinstance(members, str) else list(members) if is_list_like(members) else []
        if not isinstance(group, str) or not listed or (group in place and group not in listed):
            raise InputError(
                f"The group {shown(group)} must have a name of its own and name parameters, not "
                f"{shown(members)}."
            )
        for name in listed:
            if name not in place:
                raise InputError(f"The group {group!r}: {shown(name)} is not varied." + nearest(name, names))
            if name in taken:
                raise InputError(f"{name!r} is in two groups, or twice in one; name it once.")
            taken.add(name)
            place[name] = group
    placed = tuple(place[name] for name in names)
    if method == "sobol" and len(placed) > 1 and len(set(placed)) == 1:
        raise InputError(
            f"The group {placed[0]!r} holds all that is varied, so its Sobol' indices are 1 by definition; "
            "leave a parameter out of it, or make two groups."
        )
    return placed


def make_design(
    method: str,
    ranges: Mapping[str, Range],
    n: int,
    *,
    seed: int,
    groups: Mapping[str, Any] | None = None,
    closures: tuple[Closure, ...] = (),
) -> Design:
    """Sample the points that a method needs.

    Correlations draw independent values by `fastcart.sample`: the first of a larger sample are the same. All
    other designs are SALib's, in probabilities; those of ``sobol`` are several independent scrambles.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    ranges : mapping
        Name to (low, high), or to a distribution.
    n : int
        See `Design`; for ``sobol`` a power of 2 of at least `SOBOL_LEAST`; for ``fast`` at least
        `FAST_LEAST`.
    seed : int
        Not negative.
    groups : mapping, optional
        Name of a group to its parameters, which move together; for ``sobol`` and ``morris``.
    closures : tuple of Closure
        As from `find_closures`.

    Raises
    ------
    InputError
        For anything else.
    """
    names = tuple(ranges)
    placed = find_groups(groups, names, method)
    n = check_size(method, n, len(dict.fromkeys(placed or names)))
    if not is_whole(seed) or seed < 0:
        raise InputError(f"The seed must be a whole number from 0 on, not {shown(seed)}.")
    drawn = {
        name: given if isinstance(given, Marginal) else Marginal("uniform", *map(float, given))
        for name, given in ranges.items()
    }
    bounds = np.array([_bounds(item) for item in drawn.values()], dtype=np.float64)
    if method in CORRELATIONS:
        columns = {name: {item.describe()[0]: item.describe()[1:]} for name, item in drawn.items()}
        x = sample.Design(columns, n, seed=seed).table()[list(names)].to_numpy()
    else:
        # in the unit cube: SALib scales in place, and names and bounds are ours
        problem = {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}
        if placed:
            problem["groups"] = list(placed)
        unit = np.clip(_salib_points(method, problem, n, int(seed)), 0.0, 1.0)
        x = np.stack([_at(item, unit[:, j], method) for j, item in enumerate(drawn.values())], axis=1)
    return Design(method, names, bounds, n, np.ascontiguousarray(x), placed, closures)


def _unbounded(item: Marginal) -> bool:
    return item.kind in ("normal", "log_normal") and not item.limited


def _bounds(item: Marginal) -> tuple[float, float]:
    if not _unbounded(item):
        return item.support if item.kind != "uniform" else (item.center, item.spread)
    low, high = item.quantile(np.array([_TAIL, 1 - _TAIL])).tolist()
    return low, high


def _at(item: Marginal, unit: np.ndarray, method: str) -> np.ndarray:
    """Return the values of a distribution at probabilities; Morris' outermost levels are not its ends."""
    if method == "morris" and _unbounded(item):
        unit = _TAIL + (1 - 2 * _TAIL) * unit
    return item.quantile(np.minimum(unit, 1 - 2.0**-53) if item.kind != "uniform" else unit)


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
    if method == "sobol" and n < SOBOL_LEAST:
        raise InputError(
            f"For Sobol' indices n must be a power of 2 of at least {SOBOL_LEAST} base points, not {n}: with "
            "fewer they are noise."
        )
    if method == "sobol" and n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        raise InputError(f"For Sobol' indices n must be a power of 2, not {n}; use {below} or {2 * below}.")
    if method == "morris" and n < 2:
        raise InputError("For Morris' method n must be at least 2 trajectories.")
    if method == "fast" and k == 1:
        raise InputError(
            "FAST compares parameters, and only one is varied, so its indices are 1 by definition; vary two "
            "or more."
        )
    if method == "fast" and n < FAST_LEAST:
        raise InputError(
            f"For FAST n must be at least {FAST_LEAST} points per curve, not {n}: with fewer its indices are "
            "wrong by interference."
        )
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
        each = n // SOBOL_SCRAMBLES
        parts = [
            sampler(problem, each, calc_second_order=False, seed=np.random.default_rng(one))
            for one in np.random.SeedSequence(seed).spawn(SOBOL_SCRAMBLES)
        ]
        # base points of all scrambles in turn, so that the first of a larger design are the same
        block = len(parts[0]) // each
        turns = np.stack([part.reshape(-1, block, part.shape[1]) for part in parts], axis=1)
        return turns.reshape(-1, turns.shape[-1])
    if method == "morris":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return sampler(problem, n, num_levels=MORRIS_LEVELS, seed=np.random.default_rng(seed))
    streams = np.random.SeedSequence(seed).spawn(FAST_CURVES)
    return np.concatenate(
        [sampler(problem, n, M=FAST_HARMONICS, seed=np.random.default_rng(stream)) for stream in streams]
    )
