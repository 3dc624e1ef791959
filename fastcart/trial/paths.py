"""Courses of patients of one arm on chosen days, with all that is done to them: what figures show."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import solve
from fastcart.protocols.arms import Arm, product_cells, schedule_of
from fastcart.protocols.controlled import Controlled, Session
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.counterfactual import interventions_of, numbers_of, plan, switched_on
from fastcart.trial.course import OPTIONS, Intervention


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
        Rows by patient, then day: ``patient, t``, states and observables; NaN from where the solver failed.
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
    known = {"patient", *model.parameter_names}
    inputs = table[[name for name in table if name in known]].reset_index(drop=True)
    now = pd.DataFrame(adapter.baseline(table))
    bounds = sorted({0.0, end, *(day for day, _ in events if 0 < day < end)})
    parts = []
    for begin, stop in itertools.pairwise(bounds):
        for _, change in sorted((e for e in events if e[0] == begin), key=lambda e: e[0]):
            now = change(now, table)[now.columns]
        last = stop == end
        shown = days[(days >= begin) & ((days <= stop) if last else (days < stop))]
        times = sorted({*(shown - begin), stop - begin})
        given = doses[
            (doses["time"] >= begin) & ((doses["time"] <= stop) if last else (doses["time"] < stop))
        ]
        path = solve(
            model, pd.concat([inputs, now.reset_index(drop=True)], axis=1),
            doses=given.assign(time=given["time"] - begin) if len(given) else None, save_at=times,
            threads=threads, progress=False, warn=False, options=replace(solving, t_end=stop - begin),
        ).trajectories  # fmt: skip
        assert path is not None
        ends = path.iloc[len(times) - 1 :: len(times)][model.state_names].reset_index(drop=True)
        now = ends.clip(lower=0.0)
        kept = path[path["t"].isin(shown - begin)]
        parts.append(kept.assign(t=kept["t"] + begin))
    return pd.concat(parts, ignore_index=True).sort_values(["patient", "t"], kind="stable", ignore_index=True)
