"""Patients whose courses are the same for the same parameters: solved once, at the times of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from fastcart.fit.data import NOT_CENSORED, FitData, Measurements
from fastcart.fit.observations import Observation
from fastcart.model import Model
from fastcart.tables.ids import id_places


def grouped(
    data: FitData, observations: Sequence[Observation], model: Model, columns: Sequence[str]
) -> tuple[FitData, np.ndarray]:
    """Return data of one patient for each group that is given the same.

    Parameters
    ----------
    data : FitData
    observations : sequence of Observation
        What is to be predicted.
    model : Model
    columns : sequence of str
        Parameters whose values are drawn, so that those of the data do not count.

    Returns
    -------
    data : FitData
        Of the first patient of each group, measured (value 1) whenever one of the group is.
    group : ndarray of int, shape (patients,)
    """
    keys = _keys(data, model, columns)
    group = pd.factorize(pd.Series(keys, dtype=object))[0].astype(np.int64)
    first = np.unique(group, return_index=True)[1]
    wanted = np.array([name in {one.dvid for one in observations} for name in data.kinds], dtype=bool)
    of = data.measurements.take(np.flatnonzero(wanted[data.measurements.kind]))
    table = pd.DataFrame(
        {"patient": group[of.patient], "time": of.time, "after": ~of.before, "kind": of.kind, "row": of.row}
    )
    table = table.drop_duplicates(["patient", "time", "after", "kind"]).sort_values(
        ["patient", "time", "after", "kind"]
    )
    size = len(table)
    measurements = Measurements(
        table["patient"].to_numpy(), table["time"].to_numpy(), table["kind"].to_numpy(), np.ones(size),
        np.full(size, NOT_CENSORED), np.full(size, np.nan), np.ones(size), ~table["after"].to_numpy(),
        table["row"].to_numpy(),
    )  # fmt: skip
    ids, doses = data.ids[first], data.doses
    if doses is not None and "patient" in doses:
        doses = doses[id_places(doses["patient"], ids) >= 0]
    covariates = data.covariates.iloc[first].reset_index(drop=True)
    return replace(data, ids=ids, measurements=measurements, doses=doses, covariates=covariates), group


def slots(data: FitData, one: FitData, group: np.ndarray, observed: np.ndarray) -> list[np.ndarray]:
    """Return for each patient where, among the measurements of its group, its own are.

    Parameters
    ----------
    data, one : FitData
        Of the patients, and of the groups.
    group : ndarray of int
    observed : ndarray of int
        The rows of the measurements of ``data`` that count, those of one patient after the other.
    """
    names = ["patient", "time", "before", "kind"]
    whole = vars(one.measurements)
    known = pd.MultiIndex.from_arrays([whole[name] for name in names])
    begin = np.searchsorted(one.measurements.patient, np.arange(len(one.ids)))
    of = data.measurements.take(observed)
    asked = pd.MultiIndex.from_arrays([group[of.patient], of.time, of.before, of.kind])
    place = known.get_indexer(asked) - begin[group[of.patient]]
    ends = np.searchsorted(of.patient, np.arange(data.patients + 1))
    return [place[low:high] for low, high in pairwise(ends)]


def _keys(data: FitData, model: Model, columns: Sequence[str]) -> list[tuple]:
    """Return what each patient is given, and the values that it has of the model."""
    known = [item.name for item in model.items]
    own = [x for x in data.covariates if x in known and x not in columns]
    values = list(data.covariates[own].itertuples(index=False, name=None)) if own else [()] * data.patients
    given: list[tuple] = [() for _ in data.ids]
    if data.doses is not None and "patient" in data.doses:
        others = data.doses.drop(columns="patient").astype(object)
        others = others.where(others.notna(), "missing")
        places = id_places(data.doses["patient"], data.ids)
        for place, row in zip(places, others.itertuples(index=False, name=None), strict=True):
            given[place] = (*given[place], row)
    return [(mine, *(repr(x) for x in row)) for mine, row in zip(given, values, strict=True)]
