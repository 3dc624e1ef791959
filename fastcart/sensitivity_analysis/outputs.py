"""Outputs of a sensitivity study: endpoints, and states or observables at times, read from short texts.

``pfs`` is an endpoint, ``ln_C@80`` the logarithm of state C at day 80, ``I6@0:200:5`` an observable at many
times.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import held_to, names, shown
from fastcart.errors import InputError, nearest, nearest_quantity, quantities_of
from fastcart.events import Event
from fastcart.model import Model
from fastcart.solvers.endpoints import endpoint_names, endpoint_units, survival_endpoints

_SCALES = ("ln", "log10")
_EXTRA = ("peak", "t_peak", "auc")  # of a state or observable, for which `fastcart.solve` must be asked
CENSORED = ("keep", "drop")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_MAX_OUTPUTS = 20_000


@dataclass(frozen=True)
class Output:
    """One column of outputs.

    Parameters
    ----------
    quantity : str
        With its scale, e.g. ``ln_C`` or ``pfs``.
    column : str
        In the endpoints, or in the trajectories where there is a time.
    scale : str
        ``""``, ``"ln"`` or ``"log10"``.
    t : float
        Time; NaN for an endpoint.
    unit : str
    """

    quantity: str
    column: str
    scale: str
    t: float
    unit: str

    @property
    def name(self) -> str:
        """E.g. ``pfs`` or ``ln_C@80``."""
        return self.quantity if math.isnan(self.t) else f"{self.quantity}@{self.t:g}"

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return values on the scale of this output; the logarithm of what is not above 0 is NaN."""
        values = np.asarray(values, dtype=np.float64)
        if not self.scale:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.log(values) if self.scale == "ln" else np.log10(values)
        return np.where(values > 0, result, np.nan)


@dataclass(frozen=True)
class Outputs:
    """All outputs of a study, and which patients count.

    Parameters
    ----------
    columns : tuple of Output
    where : tuple of (str, str, float)
        Conditions on endpoints that patients must meet, e.g. ``("pfs", ">", 2.0)``.
    censored : {'keep', 'drop'}
        Whether patients without progression at the horizon count in the outputs on progression (``pfs``,
        with the horizon), or are left out of these.
    """

    columns: tuple[Output, ...]
    where: tuple[tuple[str, str, float], ...] = ()
    censored: str = "keep"

    @property
    def times(self) -> np.ndarray:
        """Times at which trajectories are needed, sorted."""
        return np.unique([column.t for column in self.columns if not math.isnan(column.t)])

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    @property
    def extras(self) -> dict[str, list[str]]:
        """Peaks and areas that `fastcart.solve` must be asked for."""
        wanted = [c.column for c in self.columns if math.isnan(c.t)] + [name for name, _, _ in self.where]
        asked: dict[str, dict[str, None]] = {"peaks": {}, "auc": {}}
        for name in wanted:
            for kind in _EXTRA:
                if name.startswith(f"{kind}_"):
                    asked["auc" if kind == "auc" else "peaks"][name.removeprefix(f"{kind}_")] = None
        return {option: list(found) for option, found in asked.items()}

    def evaluate(self, endpoints: pd.DataFrame, paths: pd.DataFrame | None) -> dict[str, np.ndarray]:
        """Reduce solved patients to their outputs.

        Returns
        -------
        dict of str to ndarray
            ``y`` (patients, columns), NaN where a patient failed or has no such value; ``failed``,
            ``censored`` and ``left_out`` (by ``where``), bool by patient.
        """
        n = len(endpoints)
        times = self.times
        y = np.empty((n, len(self.columns)))
        for j, column in enumerate(self.columns):
            if math.isnan(column.t):
                values = endpoints[column.column].to_numpy(dtype=np.float64)
            else:
                assert paths is not None
                place = int(np.searchsorted(times, column.t))
                values = paths[column.column].to_numpy().reshape(n, len(times))[:, place]
            y[:, j] = column.transform(values)
        failed = (endpoints["status"] != "ok").to_numpy()
        y[failed] = np.nan
        kept = np.ones(n, dtype=bool)
        for name, sign, limit in self.where:
            kept &= _COMPARE[sign](endpoints[name].to_numpy(dtype=np.float64), limit)
        there = "censored" in endpoints  # only where there is a tumor
        censored = ~failed & (endpoints["censored"].to_numpy(dtype=bool) if there else False)
        return {"y": y, "failed": failed, "censored": censored, "left_out": ~kept & ~failed}

    def apply(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs with NaN for whom the rules leave out, shape (patients, columns)."""
        y = values["y"].copy()
        y[values["left_out"]] = np.nan
        if self.censored == "drop":
            for j, column in enumerate(self.columns):
                if column.column == "pfs":
                    y[values["censored"], j] = np.nan
        return y

    def events(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Return where an output is the time of an event, not of the end of observation; bool, as `apply`."""
        seen = np.ones(values["y"].shape, dtype=bool)
        for j, column in enumerate(self.columns):
            if column.column in survival_endpoints():
                seen[values["censored"], j] = False
        return seen

    def counts(self, values: dict[str, np.ndarray], used: np.ndarray) -> pd.DataFrame:
        """Count patients by output: every patient is in exactly one of the columns after ``patients``.

        ``used``, ``failed``, ``left_out`` (by ``where``), ``censored_dropped``, ``undefined`` (no such value,
        e.g. the logarithm of zero), ``with_others`` (left out because another point of the same base point,
        trajectory or curve is missing). Beside them ``censored``: patients without progression at the horizon
        among those solved and not left out.
        """
        failed, left, censored = (values[name] for name in ("failed", "left_out", "censored"))
        rows = []
        for j, column in enumerate(self.columns):
            dropped = censored & ~left if self.censored == "drop" and column.column == "pfs" else None
            out = failed | left if dropped is None else failed | left | dropped
            undefined = int((~np.isfinite(values["y"][:, j]) & ~out).sum())
            rows.append(
                {
                    "output": column.name, "patients": len(failed), "used": int(used[j]),
                    "failed": int(failed.sum()), "left_out": int(left.sum()),
                    "censored_dropped": 0 if dropped is None else int(dropped.sum()),
                    "undefined": undefined,
                    "with_others": len(failed) - int(used[j]) - int(out.sum()) - undefined,
                    "censored": int((censored & ~left).sum()),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)


def parse_outputs(
    model: Model,
    outputs: str | Sequence[str],
    *,
    t_end: float,
    where: str | Sequence[str] = (),
    censored: str = "keep",
    events: Sequence[Event] = (),
) -> Outputs:
    """Read outputs and conditions.

    Parameters
    ----------
    model : Model
    outputs : str or sequence of str
        ``NAME`` for an endpoint (``pfs``, ``nadir`` and the others of `fastcart.solvers.endpoints`;
        ``final_<state>``; ``peak_``, ``t_peak_``, ``auc_`` of a state or observable; ``event_``,
        ``count_`` of an event);
        ``NAME@TIME`` or ``NAME@FIRST:LAST:STEP`` for a state or observable; with ``ln_`` or ``log10_`` before
        the name, its logarithm.
    t_end : float
    where : str or sequence of str
        Conditions on endpoints such as ``"pfs > 2"``; all must hold.
    censored : {'keep', 'drop'}
    events : sequence of Event
        Those that the solver looks for.

    Raises
    ------
    InputError
        For anything else.
    """
    endpoints = [*_endpoints(model), *(f"{kind}_{e.name}" for e in events for kind in ("event", "count"))]
    columns: list[Output] = []
    for text in names(outputs, "The outputs"):
        columns += _parse(model, text, t_end, endpoints)
    if not columns:
        raise InputError("No output is asked for; give at least one, e.g. pfs or ln_C@80.")
    if len(columns) > _MAX_OUTPUTS:
        raise InputError(f"These are {len(columns)} outputs; at most {_MAX_OUTPUTS} are allowed.")
    columns = list({column.name: column for column in columns}.values())  # e.g. C@80 and C@0:200:1
    if censored not in CENSORED:
        raise InputError(
            f"The rule for censored patients cannot be {shown(censored)}." + nearest(censored, CENSORED)
        )
    conditions = tuple(_condition(text, endpoints) for text in names(where, "The conditions in 'where'"))
    return Outputs(tuple(columns), conditions, censored)


def _endpoints(model: Model) -> list[str]:
    """Return the endpoints that an output or a condition may name."""
    paths = [*model.state_names, *model.observable_names]
    finals = [f"final_{name}" for name in model.state_names]
    burden = endpoint_names() if model.burden is not None else []
    return [*burden, *finals, *(f"{kind}_{name}" for kind in _EXTRA for name in paths)]


def _parse(model: Model, text: str, t_end: float, endpoints: Sequence[str]) -> list[Output]:
    quantity, at, times = text.strip().partition("@")
    paths = [*model.state_names, *model.observable_names]
    known = paths if at else endpoints
    column, scale = quantity, ""
    for name in _SCALES:
        if quantity.startswith(f"{name}_") and quantity not in known:
            column, scale = quantity[len(name) + 1 :], name
    if model.burden is None and column in endpoint_names():
        raise InputError(
            f"Model {model.name!r} has no tumor (no burden), so there is no {column!r}; name outputs, e.g. "
            f"final_{model.state_names[0]}."
        )
    if column not in known:
        if not at and column in paths:
            scaled = [quantity.removesuffix(column) + name for name in quantities_of(column, endpoints)]
            raise InputError(
                f"The output {text!r} needs a time, e.g. {quantity}@{t_end / 2:g} or "
                f"{quantity}@0:{t_end:g}:1, or is meant as one of {', '.join(scaled)}."
            )
        if at and column in endpoints:
            raise InputError(f"The output {text!r} is an endpoint, which has no time; leave @{times} off.")
        kind = "a state or observable" if at else "an endpoint"
        raise InputError(
            f"The output {text!r} is not {kind} of model {model.name!r}." + nearest_quantity(column, known)
        )
    unit = _unit(model, column)
    if scale and unit:
        unit = f"{scale} {unit}"
    if not at:
        return [Output(quantity, column, scale, math.nan, unit)]
    return [Output(quantity, column, scale, t, unit) for t in _times(text, times, t_end)]


def _unit(model: Model, column: str) -> str:
    items = {state.name: state.unit for state in model.states}
    items |= {observable.name: observable.unit for observable in model.observables}
    time = f"{model.time_unit}s"
    if column in endpoint_names():
        return endpoint_units(time, items.get(str(model.burden))).get(column, "")
    if column.startswith(("t_peak_", "event_")):
        return time
    if column.startswith("auc_"):
        return f"{items[column.removeprefix('auc_')]} × {model.time_unit}s".lstrip()
    return items.get(column.removeprefix("final_").removeprefix("peak_"), items.get(column, ""))


def _times(text: str, times: str, t_end: float) -> list[float]:
    try:
        parts = [float(part) for part in times.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 3 and all(map(math.isfinite, parts)) and parts[2] > 0 and parts[0] <= parts[1]:
        number = math.floor((parts[1] - parts[0]) / parts[2] * (1 + 1e-12))
        if number > _MAX_OUTPUTS:
            raise InputError(f"The output {text!r} has more than {_MAX_OUTPUTS} times; make the step larger.")
        parts = [min(parts[0] + k * parts[2], parts[1]) for k in range(number + 1)]
    elif len(parts) != 1 or not math.isfinite(parts[0]):
        raise InputError(
            f"The times of {text!r} must be one number or FIRST:LAST:STEP, e.g. ln_C@80 or ln_C@0:200:1."
        )
    parts = held_to(parts, t_end).tolist()
    if parts[0] < 0 or parts[-1] > t_end:
        raise InputError(f"The times of {text!r} must lie between 0 and the horizon {t_end:g}.")
    return parts


def _condition(text: str, known: Sequence[str]) -> tuple[str, str, float]:
    found = re.fullmatch(r"\s*(\w+)\s*(>=|<=|==|>|<)\s*(\S+)\s*", text)
    try:
        limit = float(found[3]) if found else math.nan
    except ValueError:
        limit = math.nan
    if not found or math.isnan(limit):
        raise InputError(f"A condition must read like 'pfs > 2', with >, <, >=, <= or ==, not {text!r}.")
    if found[1] not in known:
        raise InputError(f"The condition {text!r} names no endpoint." + nearest_quantity(found[1], known))
    return found[1], found[2], limit
