"""The counterfactual table: every patient in every arm.

The course of a patient in an arm depends on the patient and on the arm alone: no other arm and no other
patient changes a number of it. Trials then draw from this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from fastcart.batch import as_model, progress_bar, solve
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.models.b_all import engrafted, infusions, lymphodeplete
from fastcart.protocols.adaptive import ASSAY_SD, follow_rule
from fastcart.protocols.arms import (
    Adaptive,
    Arm,
    Calendar,
    Schedule,
    administered,
    arm_names,
    check_equal_budget,
    product_cells,
    schedule_of,
)
from fastcart.trial.course import EXTINCTION, HORIZON, course

DOSE = 1e8  # cells, ELIANA


def plan(
    arm: Arm,
    patients: pd.DataFrame,
    *,
    dose: float = DOSE,
    noise_seed: int | None = 0,
    assay_sd: float = ASSAY_SD,
    model: str | Model = "b_all",
    rtol: float = 1e-5,
    threads: int | None = None,
) -> Schedule:
    """Return what is infused when: a calendar as it is, a rule followed from visit to visit.

    Parameters
    ----------
    arm : Arm
    patients : DataFrame
        With ``patient`` and columns of the model.
    dose : float
        Total cells of a product.
    noise_seed : int or None
        Of the noise of the assay, which is a function of the seed, the patient and the visit; None measures
        exactly.
    assay_sd : float
        Standard deviation of the logarithm of the measured burden.
    model, rtol, threads
        As for `fastcart.solve`.

    Returns
    -------
    list of (day, effectors, memory)
        Fractions of each patient's budgets.
    """
    if isinstance(arm, Calendar):
        schedule = schedule_of(arm)
    elif isinstance(arm, Adaptive):
        chosen = as_model(model)
        noise = None
        if noise_seed is not None:
            noise = partial(_noise, _numbers(patients), noise_seed)
        size = len(patients)
        defaults = chosen.default_states()
        states = {
            name: patients[name].to_numpy(dtype=np.float64) if name in patients else np.full(size, value)
            for name, value in defaults.items()
        }
        schedule = follow_rule(
            arm,
            patients.assign(_cells=product_cells(arm, patients, dose)),
            states=states,
            advance=partial(_advance, chosen, rtol, threads),
            engraft=_engraft,
            noise=noise,
            assay_sd=assay_sd,
        )
    else:
        raise InputError(f"The arm {arm.name!r} must be a Calendar or an Adaptive, not {type(arm).__name__}.")
    check_equal_budget(arm, schedule, patients)
    return schedule


def _numbers(patients: pd.DataFrame) -> np.ndarray:
    """Return the number of each patient in the population, which the noise of the assay follows."""
    ids = patients["patient"]
    if pd.api.types.is_integer_dtype(ids) and (ids >= 0).all():
        return ids.to_numpy()
    return np.arange(len(ids))


def _noise(numbers: np.ndarray, seed: int, visit: int) -> np.ndarray:
    from fastcart.population import assay_noise

    return assay_noise(int(numbers.max()) + 1, visit, seed=seed)[numbers]


def _engraft(patients: pd.DataFrame, E: np.ndarray, M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return engrafted(patients, E, M, D=patients["_cells"].to_numpy())


def _advance(
    model: Model, rtol: float, threads: int | None, patients: pd.DataFrame, states: Any, days: float
) -> dict[str, np.ndarray]:
    """Return the states so many days later, NaN where the solver fails."""
    known = [name for name in patients.columns if name in {"patient", *model.parameter_names}]
    result = solve(
        model, patients[known].assign(**states), t_end=days, extinction=EXTINCTION, rtol=rtol,
        threads=threads, progress=False,
    )  # fmt: skip
    ends = result.endpoints
    ok = (ends["status"] == "ok").to_numpy()
    return {name: np.where(ok, ends[f"final_{name}"].to_numpy(), np.nan) for name in model.state_names}


def arm_course(
    arm: Arm,
    patients: pd.DataFrame,
    *,
    dose: float = DOSE,
    t_end: float = HORIZON,
    noise_seed: int | None = 0,
    assay_sd: float = ASSAY_SD,
    model: str | Model = "b_all",
    rtol: float = 1e-5,
    threads: int | None = None,
) -> pd.DataFrame:
    """Return the death-free course of every patient in one arm.

    Parameters are those of `plan`, and the horizon ``t_end`` in days.

    Returns
    -------
    DataFrame
        What `fastcart.trial.course.course` returns, and ``effectors_infused``, ``memory_infused``: the cells
        of the schedule up to the horizon, before engraftment.
    """
    schedule = plan(
        arm, patients, dose=dose, noise_seed=noise_seed, assay_sd=assay_sd, model=model, rtol=rtol,
        threads=threads,
    )  # fmt: skip
    # infusions after the horizon change nothing that is looked at
    schedule = [entry for entry in schedule if entry[0] <= t_end]
    cells = product_cells(arm, patients, dose)
    interventions = []
    if isinstance(arm, Calendar):
        start = patients["N"].to_numpy() if "N" in patients else as_model(model).default_states()["N"]
        interventions = [
            (event.day, partial(_lymphodeplete, start, event.phi, patients["patient"].to_numpy()))
            for event in arm.lymphodepletions
            if event.day < t_end
        ]
    path = course(
        patients, infusions(patients, schedule, D=cells), t_end=t_end, interventions=interventions,
        model=model, rtol=rtol, threads=threads,
    )  # fmt: skip
    given = administered(arm, schedule, patients, dose)
    return path.assign(
        effectors_infused=given["effectors"].to_numpy(), memory_infused=given["memory"].to_numpy()
    )


def _lymphodeplete(
    start: Any, phi: float, ids: np.ndarray, states: pd.DataFrame, patients: pd.DataFrame
) -> pd.DataFrame:
    """Lymphodeplete the patients of a chunk, whose lymphocytes go back to their value of day 0."""
    N0 = start
    if np.ndim(start):
        N0 = start[pd.Index(ids).get_indexer(patients["patient"])]
    return lymphodeplete(states, N0, phi=phi)


def counterfactuals(
    patients: pd.DataFrame, arms: Sequence[Arm], *, progress: bool | None = None, **options: Any
) -> dict[str, pd.DataFrame]:
    """Return the course of every patient in every arm.

    Parameters
    ----------
    patients : DataFrame
        With ``patient``, columns of the model, and ``U1``, ``U2`` for deaths.
    arms : sequence of Arm
    progress : bool, optional
        Show progress on stderr; default: only on a terminal.
    **options
        As for `arm_course`.

    Returns
    -------
    dict of str to DataFrame
        By name of the arm; rows in the order of the patients.
    """
    names = arm_names(arms)
    courses = {}
    with progress_bar(len(arms), progress, unit="arms") as bar:
        for name, arm in zip(names, arms, strict=True):
            courses[name] = arm_course(arm, patients, **options)
            bar.update()
    return courses


def solved_in_all(courses: Iterable[pd.DataFrame]) -> np.ndarray:
    """Return which patients were solved in every arm; only these may enter a trial."""
    return np.logical_and.reduce([(table["status"] == "ok").to_numpy() for table in courses])
