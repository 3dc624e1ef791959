"""Courses of patients of one arm on chosen days, with all that is done to them: what figures show."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from fastcart.protocols.arms import Arm, product_cells, schedule_of
from fastcart.protocols.controlled import Controlled, Session
from fastcart.solvers.status import Status
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.counterfactual import interventions_of, numbers_of, plan, switched_on
from fastcart.trial.course import OPTIONS, Intervention
from fastcart.trial.segments import Patients, Segment, Segments


def arm_paths(
    arm: Arm, patients: pd.DataFrame, days: np.ndarray, *, adapter: TrialAdapter, dose: float, **options: Any
) -> pd.DataFrame:
    """Return states and observables of patients in an arm on days, as if nobody died.

    Parameters
    ----------
    arm : Arm
        An open loop fixed before, see `fastcart.trial.counterfactual.fixed`.
    patients : DataFrame
        With ``patient``, without columns that the model does not know but those of engraftment.
    days : ndarray
        Ascending, from 0 on.
    adapter : TrialAdapter
    dose : float
        Cells of a product.
    **options
        ``noise_seed``, ``assay_sd``, ``threads``, ``options`` of `fastcart.trial.counterfactual.arm_course`.

    Returns
    -------
    DataFrame
        Rows by patient in their order, then day: ``patient, t``, states and observables; NaN from where the
        solver failed.
    """
    cells = product_cells(arm, patients, dose)
    solving, threads = options.get("options") or OPTIONS, options.get("threads")
    end = float(days[-1])
    events: list[Intervention]
    if isinstance(arm, Controlled):
        session = Session(
            arm, patients, cells, adapter=adapter, numbers=numbers_of(patients),
            seed=options.get("noise_seed", 0),
        )  # fmt: skip
        schedule, table, adapter = schedule_of(arm), session.start(), session.adapter
        events = [*interventions_of(arm, patients, adapter, end), *session.interventions()]
    else:
        schedule = plan(arm, patients, dose=dose, model=adapter, **options)
        table, adapter = switched_on(arm, patients, cells, adapter)
        events = list(interventions_of(arm, patients, adapter, end))
    doses = adapter.infusions(patients, [entry for entry in schedule if entry[0] <= end], D=cells)
    model = adapter.model
    names, known = model.state_names, {"patient", *model.parameter_names}
    inputs = table[[name for name in table if name in known]].reset_index(drop=True)
    now = pd.DataFrame(adapter.baseline(table))
    ids = inputs["patient"].to_numpy()
    everyone = Patients(pd.concat([inputs.drop(columns="patient"), now.reset_index(drop=True)], axis=1))
    segments = Segments(model, solving, ids, threads)
    kept = (*names, *model.observable_names)
    found = {name: np.full((len(ids), len(days)), np.nan) for name in kept}
    ok = np.ones(len(ids), dtype=bool)
    bounds = sorted({0.0, end, *(day for day, _ in events if 0 < day < end)})
    for begin, stop in itertools.pairwise(bounds):
        for _, change in sorted((e for e in events if e[0] == begin), key=lambda e: e[0]):
            everyone.put(change(everyone.states(names), table), names)
        last = stop == end
        shown = (days >= begin) & ((days <= stop) if last else (days < stop))
        given = doses[
            (doses["time"] >= begin) & ((doses["time"] <= stop) if last else (doses["time"] < stop))
        ]
        segment = Segment(stop - begin, tuple((days[shown] - begin).tolist()), kept, ())
        solution = segments(
            everyone, segment, given.assign(time=given["time"] - begin) if len(given) else None
        )
        ok &= solution.status == Status.ok
        if shown.any():
            for name in kept:
                values = solution.saved[name].reshape(len(ids), -1)
                found[name][:, shown] = np.where(ok[:, None], values, np.nan)
        for j, name in enumerate(names):  # a failed patient goes on from where the segment began
            everyone.now[name][:] = np.where(
                solution.status == Status.ok, np.maximum(solution.final[:, j], 0.0), everyone.now[name]
            )
    columns = {name: values.ravel() for name, values in found.items()}
    return pd.DataFrame({"patient": np.repeat(ids, len(days)), "t": np.tile(days, len(ids)), **columns})
