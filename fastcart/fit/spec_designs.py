"""What a specification of a fit says of visits to come: the table ``[designs]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import pandas as pd

from fastcart.checks import count, real, shown
from fastcart.errors import InputError, nearest
from fastcart.fit.observations import Observation, lognormal, observing
from fastcart.fit.schedules import check_limit, check_schedules
from fastcart.model import Model
from fastcart.specification import Table

_MOST = 20_000  # schedules
_ENTRIES = (
    "schedules", "always", "candidates", "further", "quantity", "at", "limit", "patients", "seed", "dose",
)  # fmt: skip


@dataclass(frozen=True)
class DesignsSpec:
    """Schedules to compare with what was fitted; the keywords of `fastcart.fit.designs`.

    Parameters
    ----------
    schedules : mapping of str to tuple of float
    quantity : str
    at : float or None
    limit : float or None
    patients : int
    seed : int
    doses : DataFrame or None
    """

    schedules: Mapping[str, tuple[float, ...]]
    quantity: str
    at: float | None
    limit: float | None
    patients: int
    seed: int
    doses: pd.DataFrame | None

    def keywords(self) -> dict[str, Any]:
        """Return what `fastcart.fit.designs` takes beside the fit and the schedules."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "schedules"}


def designs_of(table: Table, model: Model) -> DesignsSpec:
    """Check what is asked for; nothing is computed.

    Raises
    ------
    InputError
    """
    table.expect(_ENTRIES)
    schedules = _schedules(table)
    quantity = table.text("quantity", "")
    observing(model, [Observation("the quantity of [designs]", quantity, lognormal(1.0))])
    at, limit = table.take("at", None), table.take("limit", None)
    when = None if at is None else real(at)
    if at is not None and (when is None or when < 0):
        raise InputError(f"The entry 'at' of [designs] must be a time from 0 on, not {shown(at)}.")
    found = DesignsSpec(
        schedules, quantity, when, check_limit(limit), table.count("patients", 500), table.seed("seed", 1),
        _doses(table, model),
    )  # fmt: skip
    table.done()
    return found


def _schedules(table: Table) -> dict[str, tuple[float, ...]]:
    """Return the schedules that are named, or visits that are always made with all choices of others."""
    named = table.take("schedules", None)
    if named is not None:
        return check_schedules(named)
    always, candidates = table.take("always", []), table.take("candidates", [])
    further = count(table.take("further", 1), "The entry 'further' of [designs]")
    if not isinstance(always, list) or not isinstance(candidates, list) or not candidates:
        raise InputError(
            "The table [designs] needs schedules, such as [designs.schedules] late = [60, 180], or "
            "'candidates', a list of times, of which 'further' are added to those of 'always'."
        )
    every = check_schedules({"candidates": candidates, **({"always": always} if always else {})})
    first = every.get("always", ())
    found = {
        " + ".join(f"{t:g}" for t in chosen): tuple(sorted({*first, *chosen}))
        for size in range(1, further + 1)
        for chosen in combinations(dict.fromkeys(every["candidates"]), size)
    }
    if len(found) > _MOST:
        raise InputError(
            f"{len(candidates)} candidates make {len(found)} schedules of up to {further} further visits; at "
            f"most {_MOST} are compared."
        )
    return {"none of them": first, **found} if first else found


def _doses(table: Table, model: Model) -> pd.DataFrame | None:
    given = table.take("dose", [])
    rows = [_dose(entry, model) for entry in (given if isinstance(given, list) else [given])]
    return pd.DataFrame(rows) if rows else None


def _dose(entry: Any, model: Model) -> dict[str, Any]:
    """Return a row of a table of doses."""
    what = "a [[designs.dose]]"
    one = Table(entry, what)
    one.expect(("time", "amount", "duration", "state"))
    time, amount, duration = (one.number(name, 0.0) for name in ("time", "amount", "duration"))
    state = one.text("state", "")
    one.done()
    if state not in model.state_names:
        raise InputError(
            f"The entry 'state' of {what} must be a state of model {model.name!r}, not {shown(state)}."
            + nearest(state, model.state_names)
        )
    if not amount > 0 or time < 0 or duration < 0:
        raise InputError(
            f"The entry 'amount' of {what} must be above 0, 'time' and 'duration' not below 0, not "
            f"{amount:g}, {time:g} and {duration:g}."
        )
    row = {"TIME": time, "AMT": amount, "CMT": state}
    return {**row, "DUR": duration} if duration else row
