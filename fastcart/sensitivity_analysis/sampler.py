"""The samples that each method of sensitivity needs, with its groups of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pandas.api.types import is_list_like

from fastcart.checks import count, seed_of, shown
from fastcart.errors import InputError, nearest
from fastcart.sampling.columns import Marginal
from fastcart.sensitivity_analysis.design import Closure, Design
from fastcart.sensitivity_analysis.methods import METHODS, find
from fastcart.sensitivity_analysis.methods.base import Method
from fastcart.sensitivity_analysis.methods.probabilities import bounds
from fastcart.sensitivity_analysis.ranges import Range

_MAX_ROWS = 10**9


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
        One of `fastcart.sensitivity_analysis.methods.METHODS`.
    ranges : mapping
        Name to (low, high), or to a distribution.
    n : int
        See `Design`; each method has its own least number.
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
    chosen = find(method)
    names = tuple(ranges)
    placed = find_groups(groups, names, chosen)
    n = check_size(chosen, n, len(dict.fromkeys(placed or names)))
    seed = seed_of(seed)
    drawn = {
        name: given if isinstance(given, Marginal) else Marginal("uniform", *map(float, given))
        for name, given in ranges.items()
    }
    ends = np.array([bounds(item) for item in drawn.values()], dtype=np.float64)
    x = chosen.points(drawn, n, seed=seed, groups=placed)
    return Design(method, names, ends, n, np.ascontiguousarray(x), placed, closures)


def find_groups(groups: Mapping[str, Any] | None, names: Sequence[str], method: Method) -> tuple[str, ...]:
    """Return the group of each name, or nothing where no groups are asked for.

    Raises
    ------
    InputError
        For a method without groups, a name that is not varied, one that is in two groups, or groups that
        the method has no use for.
    """
    if not groups:
        return ()
    if not isinstance(groups, Mapping):
        raise InputError(f"The groups must be a mapping of names to parameters, not {shown(groups)}.")
    if not method.grouped:
        grouped = " and ".join(name for name in METHODS if find(name).grouped)
        raise InputError(f"Groups are for {grouped}; the method {method.name!r} has none.")
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
    method.check_groups(placed)
    return placed


def check_size(method: Method, n: Any, k: int) -> int:
    """Check the number of points of a method for k parameters or groups; return the number.

    Raises
    ------
    InputError
        For a number that it cannot work with.
    """
    n = count(n, "The number n")
    method.check_size(n, k)
    rows = method.runs_needed(n, k)
    if rows > _MAX_ROWS:
        raise InputError(f"This would take {rows} patients; make n smaller.")
    return n
