"""From the tables of a problem to what solves it and compares it with its measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastcart.engines import compiling_errors
from fastcart.errors import InputError
from fastcart.fit.data import Measurements
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.petab.conditions import Rows, Setting, Values, settings
from fastcart.petab.courses import Steady, courses_of
from fastcart.petab.likelihood import Design, Likelihood
from fastcart.petab.model import Simulated, simulated
from fastcart.petab.observed import Maker
from fastcart.petab.parameters import Parameters
from fastcart.petab.reading import Files
from fastcart.solvers.doses import canonical


def likelihood_of(files: Files, parameters: Parameters, options: SolveOptions, threads: int) -> Likelihood:
    """Return what evaluates a problem.

    Raises
    ------
    InputError
        For tables that do not fit the model, and for what fastcart does not take.
    """
    nominal = parameters.natural(parameters.nominal)
    known = {**dict(zip(parameters.names, nominal.tolist(), strict=True)), **parameters.fixed}
    overridden = [str(x) for x in files.conditions.columns if x != "conditionName"]
    model = simulated(files.model, known, overridden)
    if model.model.algebraic:
        raise InputError("PEtab: the model has algebraic rules, which fastcart does not take in a problem.")
    values = Values(parameters, model)
    found = settings(files.conditions, parameters, model, values)
    maker = Maker(model, found, values)
    observed = maker.all_of(files.observables, files.measurements)
    design, times = _design(files.measurements, observed_kinds(files), found, model, options)
    if not maker.saved:  # a problem whose formulas read no state is solved all the same
        maker.saved.append(model.model.state_names[0])
    save = tuple(maker.saved)
    rows = [*design.first, *design.then]
    dynamic = tuple(sorted(set().union(*(one.places for one in rows))))
    derived = options.derive(model.model)
    moved = _moved(derived, rows, dynamic)
    steady = Steady(model.model, options, save, moved, len(dynamic), threads)
    courses = None
    with compiling_errors(derived):
        if len(times):
            courses = courses_of(model.model, options, times, save, moved, len(dynamic), threads)
    return Likelihood(derived, parameters, design, observed, dynamic, courses, steady)


def observed_kinds(files: Files) -> list[str]:
    """Return the observables in the order in which measurements name them."""
    return [str(name) for name in files.observables.index]


def _moved(model: Model, rows: Sequence[Rows], dynamic: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return which parameters of the model change with which of those that are estimated."""
    names = model.parameter_names
    found = set()
    for d, place in enumerate(dynamic):
        for one in rows:
            own, followers = one.moved(place)
            found |= {(names.index(name), d) for name in (*own, *followers) if name in names}
    return tuple(sorted(found, key=lambda pair: (pair[1], pair[0])))


def _design(
    table: pd.DataFrame, kinds: list[str], found: dict[str, Setting], model: Simulated, options: SolveOptions
) -> tuple[Design, list[np.ndarray]]:
    """Return conditions and measurements, and the times of the conditions that have finite ones."""
    before = table["preequilibrationConditionId"]
    first = [None if pd.isna(x) or str(x).strip() == "" else str(x) for x in before]
    pair_of = list(zip(first, table["simulationConditionId"].astype(str), strict=True))
    pairs = list(dict.fromkeys(pair_of))
    condition = np.array([pairs.index(pair) for pair in pair_of], dtype=np.int64)
    time = table["time"].to_numpy(dtype=float)
    finite = np.isfinite(time)
    horizon = float(time[finite].max(initial=0.0)) or 1.0
    held = np.where(finite, canonical(np.where(finite, time, 0.0), horizon), np.inf)
    times, counts, begin = [], [], 0
    place = np.zeros(len(table), dtype=np.int64)
    for c in range(len(pairs)):
        mine = (condition == c) & finite
        own = np.unique(held[mine])
        place[mine] = begin + np.searchsorted(own, held[mine])
        begin += len(own)
        times.append(own)
        counts.append(len(own))
    steady = np.unique(condition[~finite])
    place[~finite] = begin + np.searchsorted(steady, condition[~finite])
    equilibrations = list(dict.fromkeys(x for x, _ in pairs if x is not None))
    derived = options.derive(model.model)
    nothing, count = np.full(len(table), np.nan), len(table)
    of = Measurements(
        condition, time, np.array([kinds.index(x) for x in table["observableId"].astype(str)]),
        table["measurement"].to_numpy(dtype=float), np.zeros(count, dtype=np.int64), nothing, nothing,
        np.zeros(count, dtype=bool), np.arange(1, count + 1),
    )  # fmt: skip
    where = np.array([-1 if x is None else equilibrations.index(x) for x, _ in pairs], dtype=np.int64)
    design = Design(
        tuple(pairs), where, [_rows(derived, found[x]) for x in equilibrations],
        [_rows(derived, found[x]) for _, x in pairs], np.array(counts, dtype=np.int64), of, place, steady,
    )  # fmt: skip
    return design, (times if finite.any() else [])


def _rows(model: Any, setting: Setting) -> Rows:
    return Rows(model, setting)
