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
from fastcart.models import get
from fastcart.models.b_all import engrafted, entry, infusions, lymphodeplete
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
from fastcart.protocols.switch import Switched, first_level, switching
from fastcart.trial.course import EXTINCTION, HORIZON, Intervention, course

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
            noise = partial(assay, numbers_of(patients), noise_seed)
        schedule = follow_rule(
            arm,
            patients.assign(_cells=product_cells(arm, patients, dose)),
            states=states_of(patients, chosen),
            advance=partial(advance, chosen, rtol, threads),
            engraft=engraft,
            noise=noise,
            assay_sd=assay_sd,
            into=entry(chosen),
        )
    else:
        raise InputError(f"The arm {arm.name!r} must be a Calendar or an Adaptive, not {type(arm).__name__}.")
    check_equal_budget(arm, schedule, patients)
    return schedule


def states_of(patients: pd.DataFrame, model: Model) -> dict[str, np.ndarray]:
    """Return the states of patients on day 0, before any infusion."""
    return {
        name: patients[name].to_numpy(dtype=np.float64) if name in patients else np.full(len(patients), value)
        for name, value in model.default_states().items()
    }


def numbers_of(patients: pd.DataFrame) -> np.ndarray:
    """Return the number of each patient in the population, which the noise of the assay follows."""
    ids = patients["patient"]
    if pd.api.types.is_integer_dtype(ids) and (ids >= 0).all():
        return ids.to_numpy()
    return np.arange(len(ids))


def assay(numbers: np.ndarray, seed: int, visit: int) -> np.ndarray:
    """Return the noise of the assay of these patients at a visit."""
    from fastcart.population import assay_noise

    return assay_noise(int(numbers.max()) + 1, visit, seed=seed)[numbers]


def engraft(patients: pd.DataFrame, E: np.ndarray, M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells that engraft of fractions of products of ``_cells`` cells."""
    return engrafted(patients, E, M, D=patients["_cells"].to_numpy())


def advance(
    model: Model, rtol: float, threads: int | None, patients: pd.DataFrame, states: Any, days: float
) -> dict[str, np.ndarray]:
    """Return the states so many days later, NaN where the solver fails."""
    given = {name: patients[name].to_numpy() for name in patients if name in model.parameter_names}
    result = solve(
        model, {**given, **states}, t_end=days, extinction=EXTINCTION, rtol=rtol, threads=threads,
        progress=False, warn=False,
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
    solved, chosen = switched_on(arm, patients, cells, as_model(model))
    path = course(
        solved, infusions(patients, schedule, D=cells, into=entry(chosen)), t_end=t_end,
        interventions=interventions_of(arm, patients, chosen, t_end), model=chosen, rtol=rtol,
        threads=threads,
    )  # fmt: skip
    given = administered(arm, schedule, patients, dose)
    return path.assign(
        effectors_infused=given["effectors"].to_numpy(), memory_infused=given["memory"].to_numpy()
    )


def interventions_of(arm: Arm, patients: pd.DataFrame, model: Model, t_end: float) -> list[Intervention]:
    """Return what is done to states between infusions before ``t_end``: lymphodepletions, switching."""
    events: list[Intervention] = []
    if isinstance(arm, Calendar):
        start = patients["N"].to_numpy() if "N" in patients else model.default_states()["N"]
        ids = patients["patient"].to_numpy()
        events += [(e.day, partial(_lymphodeplete, start, e.phi, ids)) for e in arm.lymphodepletions]
    if isinstance(arm, Switched):
        events += switching(arm)
    return [event for event in events if event[0] < t_end]


def switched_on(
    arm: Arm, patients: pd.DataFrame, cells: np.ndarray, model: Model
) -> tuple[pd.DataFrame, Model]:
    """Return the patients and the model of an arm with a switch, with the activity of day 0.

    Other arms come back as they are.

    Raises
    ------
    InputError
        When the model has no variant with a switch.
    """
    if not isinstance(arm, Switched):
        return patients, model
    if "u" not in model.state_names:
        if model.name != "b_all":
            raise InputError(f"The arm {arm.name!r} needs a model with a switch, the state 'u'.")
        model = get("b_all", **{**model.options, "switch": True})
    schedule = [entry for entry in schedule_of(arm) if entry[0] == 0.0]
    given = [engrafted(patients, E, M, D=cells) for _, E, M in schedule]
    total = sum((E + M for E, M in given), np.zeros(len(patients)))
    return patients.assign(u=first_level(arm, states_of(patients, model)["C"], total)), model


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
