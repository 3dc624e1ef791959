"""Tables for fits: one row per event, with the columns of NONMEM, read and checked.

Doses are read by `fastcart.nonmem`; here are the measurements, what they are of, their censoring, and the
covariates.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import names, shown
from fastcart.engines import as_model
from fastcart.errors import InputError, nearest
from fastcart.fit.cells import DEVIATION, DOSE_COLUMNS, KNOWN, Cells, named_columns, text_of, typed
from fastcart.fit.data import ABOVE, BELOW, NOT_CENSORED, FitData, Measurements
from fastcart.fit.reading_notes import notes_on_cells, notes_on_measurements
from fastcart.model import Model
from fastcart.nonmem import OBSERVATION, RESET, event_kinds, nonmem_doses, note_on_compartments
from fastcart.tables.ids import id_shown, id_text
from fastcart.typing_names import ModelName


def read(
    table: Any,
    model: ModelName | str | Model,
    *,
    observables: Mapping[Any, str] | None = None,
    map: Mapping[str, str | None] | None = None,  # the name that users look for
    ignore: Sequence[str] = (),
    lag: Mapping[str, str] | None = None,
    bioavailability: Mapping[str, str] | None = None,
) -> FitData:
    """Read a table of doses and measurements.

    Columns are those of NONMEM, in capitals or not: ``ID``, ``TIME``, ``DV`` (the measurement), ``DVID``
    (what is measured: a number or a name; without it ``CMT`` of the rows of measurements), ``AMT``, ``RATE``,
    ``DUR``, ``EVID``, ``CMT``, ``ADDL``, ``II``, ``SS``, ``MDV`` (see `fastcart.nonmem.nonmem_doses`),
    ``CENS`` (1: the true value is below ``DV``, which is the limit of quantification then, -1: above) and
    ``LIMIT`` (the other end of the interval, ``.`` for none). All other columns are covariates. One that is
    a parameter of the model is each patient's value of it, and may change in time; all others must be
    constant. ``.``, empty cells and NA are missing.
    Rows of a patient may come in any order; of those at one time, a measurement that stands above a dose was
    taken before it.

    Parameters
    ----------
    table : DataFrame, mapping of columns, list of mappings (rows), or path
    model : str or Model
        Whose states are dosed.
    observables : mapping, optional
        Name of what is measured for each ``DVID``, e.g. ``{1: "cells", 2: "tumor"}``. Default: the text of
        ``DVID``.
    map : mapping, optional
        The column of the table for a name above, e.g. ``{"TIME": "day", "DV": "copies"}``; None for none,
        e.g. ``{"SS": None}``. ``DVSD``, the known standard deviation of each measurement, is only read where
        it is named here.
    ignore : sequence of str
        Columns that are not looked at.
    lag, bioavailability : mapping, optional
        For a state that is dosed the parameter of the model that is the lag of its doses, or the part of them
        that counts.

    Returns
    -------
    FitData

    Raises
    ------
    InputError
        Naming column and row of the first cell that cannot be.

    Warns
    -----
    UserWarning
        For doses that name no compartment where they so go into the burden, for measurements before the first
        dose, for two of one kind at one time, for doses with a ``DV`` that
        is not 0, and for rows with a ``C`` in a column ``C`` (comments of NONMEM), which are read like all
        others.

    Examples
    --------
    >>> rows = {"ID": [1, 1, 1], "TIME": [0, 7, 14], "DV": [".", 3e6, 2e5], "AMT": [1e7, 0, 0], "CMT": "TE"}
    >>> data = read(rows, "li_lei", observables={"TE": "effectors"})
    >>> data.patients, data.measurements.value.tolist(), data.kinds
    (1, [3000000.0, 200000.0], ('effectors',))
    """
    model = as_model(model)
    for what, given, example in (
        ("map", map, {"TIME": "day"}), ("observables", observables, {1: "cells"}),
        ("lag", lag, {"depot": "tlag"}), ("bioavailability", bioavailability, {"depot": "F"}),
    ):  # fmt: skip
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"{what!r} must be a mapping such as {example}, not {shown(given)}.")
    frame = named_columns(table, dict(map or {}), names(ignore, "The columns to ignore"))
    cells = Cells(frame)
    ids, patient = _patients(frame)
    time = _times(cells)
    amount = cells.numbers("AMT")
    event = _events(frame, cells, amount)
    _check_steady(cells)
    order = np.lexsort((np.arange(len(time)), time, patient))
    measured = (event == OBSERVATION) & (cells.numbers("MDV") == 0)
    lacking = measured & np.isnan(cells.numbers("DV", np.nan))
    if "MDV" in frame and lacking.any():
        row = int(np.argmax(lacking)) + 1
        raise InputError(f"The measurement in row {row} has no DV; give one, or MDV 1.")
    cut = lacking & (cells.numbers("CENS") != NOT_CENSORED)
    if cut.any():
        row = int(np.argmax(cut))
        raise InputError(
            f"The measurement in row {row + 1} is censored (CENS {cells.numbers('CENS')[row]:g}) and has no "
            "DV; give the limit of quantification there."
        )
    dosed = np.isin(event, (1, 4)) & (amount > 0) & ~np.isnan(cells.numbers("DV", np.nan))
    dosed &= cells.numbers("MDV") == 0
    before = _before_doses(order, patient, time, event)
    rows = order[(measured & ~lacking)[order]]
    kinds, kind = _kinds(frame, rows, observables)
    value = cells.numbers("DV", np.nan)
    censored, limit = _censoring(cells, rows, value)
    of = Measurements(
        patient[rows], time[rows], kind, value[rows], censored, limit, cells.numbers(DEVIATION, np.nan)[rows],
        before[rows], rows + 1,
    )  # fmt: skip
    doses, changing, nameless = _doses(frame, model, event, lag or {}, bioavailability or {})
    covariates = _covariates(frame.iloc[order], model, patient[order], ids, changing)
    notes = (
        *nameless,
        *notes_on_measurements(of, ids, time, event, patient),
        *notes_on_cells(frame, dosed & (cells.numbers("DV") != 0)),
    )
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return FitData(ids, kinds, of, doses, covariates, changing, int(lacking.sum()), notes, int(dosed.sum()))


def _patients(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, in the order of the table, and the place of each row's patient."""
    for row, cell in enumerate(frame["ID"]):
        if cell is None:
            raise InputError(f"The column 'ID' is empty in row {row + 1}; name the patient.")
    texts = [id_text(cell) for cell in frame["ID"]]
    place, _ = pd.factorize(np.array(texts, dtype=object))
    first = np.unique(place, return_index=True)[1]
    ids = pd.Series([frame["ID"].iloc[row] for row in first]).to_numpy()
    if ids.dtype.kind == "f" and (ids == np.round(ids)).all():
        ids = ids.astype(np.int64)
    return ids, place.astype(np.int64)


def _times(cells: Cells) -> np.ndarray:
    time = cells.numbers("TIME", np.nan)
    if np.isnan(time).any():
        raise InputError(f"The column 'TIME' is empty in row {int(np.argmax(np.isnan(time))) + 1}.")
    if (time < 0).any():
        row = int(np.argmax(time < 0))
        raise InputError(
            f"The column 'TIME' holds {time[row]:g} in row {row + 1}; every patient starts at time 0: shift "
            "the times of this patient, or give what was measured before as a covariate."
        )
    return time


def _events(frame: pd.DataFrame, cells: Cells, amount: np.ndarray) -> np.ndarray:
    """Return what each row is, a number of `fastcart.nonmem`."""
    if "AMT" in frame or "EVID" in frame:
        return event_kinds(frame.assign(AMT=amount), amount, cells.numbers("RATE"))
    return np.full(len(frame), OBSERVATION)


def _check_steady(cells: Cells) -> None:
    steady = cells.numbers("SS")
    wrong = ~np.isin(steady, (0, 1, 2))
    if wrong.any():
        row = int(np.argmax(wrong))
        hint = "give 0, 1 (steady state) or 2 (added to what is there)"
        if steady[row] == 99:
            hint = (
                "tables of nlmixr2data carry 99 where nothing is meant: leave the column off by "
                "map={'SS': None}"
            )
        raise InputError(f"The column 'SS' holds {steady[row]:g} in row {row + 1}; {hint}.")


def _before_doses(order: np.ndarray, patient: np.ndarray, time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return of each row whether a dose or reset follows at its time, and none stands before it there."""
    acts = ((event == 1) | (event >= RESET))[order]
    new = np.append(True, (np.diff(patient[order]) != 0) | (np.diff(time[order]) != 0))
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    so_far = np.cumsum(acts)
    total = np.add.reduceat(acts.astype(np.int64), starts)[group]
    earlier = so_far - acts - (so_far[starts] - acts[starts])[group]
    before = np.empty(len(order), dtype=bool)
    before[order] = (total > 0) & (earlier == 0) & ~acts
    return before


def _kinds(
    frame: pd.DataFrame, rows: np.ndarray, observables: Mapping[Any, str] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return what is measured, and the place of it for each of the rows."""
    column = "DVID" if "DVID" in frame else "CMT" if "CMT" in frame else None
    cells = [1] * len(frame) if column is None else frame[column].tolist()
    for row in rows:
        if cells[row] is None:
            raise InputError(f"The column {column!r} is empty in row {row + 1}; say what was measured there.")
    texts = [text_of(cells[row]) for row in rows]
    if observables is None:
        kinds = tuple(dict.fromkeys(texts))
        return kinds, np.array([kinds.index(text) for text in texts], dtype=np.int64)
    known = {text_of(key): name for key, name in observables.items()}
    kinds = tuple(dict.fromkeys(names(list(dict.fromkeys(known.values())), "The observables")))
    for row, text in zip(rows, texts, strict=True):
        if text not in known:
            raise InputError(
                f"What is measured in row {row + 1}, {column or 'DVID'} {text}, is not among the observables."
                + nearest(text, known)
            )
    return kinds, np.array([kinds.index(known[text]) for text in texts], dtype=np.int64)


def _censoring(cells: Cells, rows: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether measurements are cut off, and the other end of what they may be."""
    censored, limit = cells.numbers("CENS"), cells.numbers("LIMIT", np.nan)
    wrong = ~np.isin(censored, (NOT_CENSORED, BELOW, ABOVE))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The column 'CENS' holds {censored[row]:g} in row {row + 1}; allowed is 0, 1 (the true value is "
            "below DV) and -1 (above)."
        )
    limit = np.where(censored == NOT_CENSORED, np.nan, limit)
    empty = ((censored == BELOW) & (limit >= value)) | ((censored == ABOVE) & (limit <= value))
    empty &= np.isin(np.arange(len(value)), rows)
    if empty.any():
        row = int(np.argmax(empty))
        side = "below" if censored[row] == BELOW else "above"
        raise InputError(
            f"The column 'LIMIT' holds {limit[row]:g} in row {row + 1}; with CENS {censored[row]:g} it must "
            f"lie {side} DV, {value[row]:g}."
        )
    return censored[rows].astype(np.int64), limit[rows]


def _doses(
    frame: pd.DataFrame, model: Model, event: np.ndarray, lag: Mapping[str, str],
    bioavailability: Mapping[str, str],
) -> tuple[pd.DataFrame | None, tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """Return doses as `fastcart.solve` takes them, parameters that change in time, and warnings."""
    changing = tuple(
        name
        for name in frame
        if name in model.parameter_names and name not in KNOWN and _changes(frame, name)
    )
    wanted = [x for x in frame if x in ("ID", "TIME", *DOSE_COLUMNS) or x in changing]
    if not (event > OBSERVATION).any() and not changing:
        return None, (), ()
    columns = frame[wanted].assign(AMT=frame.get("AMT", 0.0))
    doses = nonmem_doses(columns, model, in_order=False)
    for given, column in ((lag, "lag"), (bioavailability, "bioavailability")):
        _name_parameters(doses, given, column, model)
    note = note_on_compartments(columns, model)
    return (doses if len(doses) else None), changing, () if note is None else (note,)


def _name_parameters(doses: pd.DataFrame, given: Mapping[str, str], column: str, model: Model) -> None:
    for state, parameter in given.items():
        for name, known, what in (
            (state, model.state_names, "state"),
            (parameter, model.parameter_names, "parameter"),
        ):
            if name not in known:
                raise InputError(
                    f"The {column} names {shown(name)}, which is no {what}." + nearest(name, known)
                )
        cells = doses[column].astype(object)
        cells[doses["state"] == state] = parameter
        doses[column] = cells


def _changes(frame: pd.DataFrame, name: str) -> bool:
    return bool((frame.dropna(subset=[name]).groupby("ID", sort=False)[name].nunique() > 1).any())


def _covariates(
    frame: pd.DataFrame, model: Model, patient: np.ndarray, ids: np.ndarray, changing: tuple[str, ...]
) -> pd.DataFrame:
    """Return the covariates of each patient that are constant, and the first values of those that are not.

    Rows come in the order of their times, and have their numbers in the table.
    """
    columns: dict[str, np.ndarray] = {}
    for name in changing:  # what holds before the first row in time
        first = frame.dropna(subset=[name]).groupby("ID", sort=False)[name].first()
        columns[name] = typed([first.get(x) for x in ids])
    for name in map(str, frame.columns):
        if name in KNOWN or name in changing:
            continue
        values: list[Any] = [None] * len(ids)
        for place, (row, cell) in enumerate(zip(frame.index.to_numpy(), frame[name], strict=True)):
            before = values[patient[place]]
            if cell is None or before == cell:
                continue
            if before is not None:
                raise InputError(
                    f"The covariate {shown(name)} changes from {shown(before)} to {shown(cell)} in row "
                    f"{row + 1}; one that changes in time must be a parameter of the model: make it one, or "
                    "leave the column off by ignore=."
                )
            values[patient[place]] = cell
        columns[name] = typed(values)
        if name in model.parameter_names and (columns[name].dtype == object or np.isnan(columns[name]).any()):
            lacking = next(k for k, x in enumerate(values) if x is None or isinstance(x, str))
            raise InputError(
                f"The column {name!r}, a parameter of the model, has no number for patient "
                f"{id_shown(ids[lacking])}; give one, or leave the column off by ignore=."
            )
    return pd.DataFrame(columns, index=range(len(ids)))
