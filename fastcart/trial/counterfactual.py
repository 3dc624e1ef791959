"""The counterfactual table: every patient in every arm.

The course of a patient in an arm depends on the patient and on the arm alone: no other arm and no other
patient changes a number of it. Trials then draw from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np
import pandas as pd

from fastcart.batch import check_threads, progress_bar
from fastcart.checks import user_code
from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.models import for_trial
from fastcart.options import SolveKeywords, SolveOptions
from fastcart.protocols.adaptive import ASSAY_SD, States, follow_rule
from fastcart.protocols.arms import (
    Adaptive,
    Arm,
    Calendar,
    Dose,
    Schedule,
    administered,
    arm_names,
    budgets,
    check_equal_budget,
    product_cells,
    schedule_of,
)
from fastcart.protocols.controlled import Controlled, Session, mean_activity, without_measurement
from fastcart.protocols.controlled_arms import OpenLoop
from fastcart.protocols.controllers import Controller
from fastcart.protocols.measurement import NOT_DONE
from fastcart.protocols.switch import Switched, first_level, switch_of, switching
from fastcart.solvers.threads import in_threads
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.course import Intervention, by_number, course, trial_options
from fastcart.trial.segments import Patients, Segment, Segments

DOSE = 1e8  # cells, ELIANA
_AT_ONCE = 2  # arms: more would need more memory, and hardly less time


def plan(
    arm: Arm,
    patients: pd.DataFrame,
    *,
    dose: Dose = DOSE,
    noise_seed: int | None = 0,
    assay_sd: float = ASSAY_SD,
    model: str | Model | TrialAdapter = "b_all",
    threads: int | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> Schedule:
    """Return what is infused when: a calendar as it is, a rule followed from visit to visit.

    Parameters
    ----------
    arm : Arm
    patients : DataFrame
        With ``patient`` and columns of the model.
    dose : float or ndarray, shape (patients,)
        Total cells of a product.
    noise_seed : int or None
        Of the noise of the assay, which is a function of the seed, the patient and the visit; None measures
        exactly.
    assay_sd : float
        Standard deviation of the logarithm of the measured burden.
    model : str, Model or TrialAdapter
        As for `fastcart.models.for_trial`.
    threads : int, optional
    options, **keywords
        How to solve, see `fastcart.trial.course.trial_options`; a rule is followed to its last visit,
        whatever the horizon.

    Returns
    -------
    list of (day, effectors, memory)
        Fractions of each patient's budgets.
    """
    chosen = trial_options(options, keywords, plan)
    if isinstance(arm, Calendar):
        schedule = schedule_of(arm)
    elif isinstance(arm, Adaptive):
        adapter = for_trial(model)
        noise = None
        if noise_seed is not None:
            noise = partial(assay, numbers_of(patients), noise_seed)
        schedule = follow_rule(
            arm,
            patients,
            cells=product_cells(arm, patients, dose),
            adapter=adapter,
            advance=Walk(adapter.model, chosen, threads),
            noise=noise,
            assay_sd=assay_sd,
        )
    else:
        raise InputError(f"The arm {arm.name!r} must be a Calendar or an Adaptive, not {type(arm).__name__}.")
    check_equal_budget(arm, schedule, patients)
    return schedule


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


class Walk:
    """Takes patients from visit to visit: each length of a walk is prepared once.

    Parameters
    ----------
    model : Model
    options : SolveOptions
        The horizon in them does not count.
    threads : int, optional
    """

    def __init__(self, model: Model, options: SolveOptions, threads: int | None):
        self.model = model
        self._segments = Segments(model, options, np.empty(0), threads)  # nobody is infused on the way
        self._known = {*model.state_names, *model.parameter_names}

    def __call__(self, patients: pd.DataFrame, states: States, days: float) -> dict[str, np.ndarray]:
        """Return the states of patients so many days later, NaN where the solver fails."""
        names = self.model.state_names
        given = [name for name in patients if name in self._known and name not in states]
        table = {**dict(zip(given, patients[given].to_numpy(dtype=np.float64).T, strict=True)), **states}
        after = self._segments(Patients(table), Segment(days, (), (), ()), None).final
        return dict(zip(names, after.T.copy(), strict=True))


def arm_course(
    arm: Arm,
    patients: pd.DataFrame,
    *,
    dose: Dose = DOSE,
    noise_seed: int | None = 0,
    assay_sd: float = ASSAY_SD,
    model: str | Model | TrialAdapter = "b_all",
    threads: int | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> pd.DataFrame:
    """Return the death-free course of every patient in one arm.

    Parameters are those of `plan`; the option ``t_end`` is the horizon in days. The dose of a calendar may be
    an array with that of each patient.

    Returns
    -------
    DataFrame
        What `fastcart.trial.course.course` returns, and ``effectors_infused``, ``memory_infused``: the cells
        of the schedule up to the horizon, before engraftment; NaN where neither the patients nor the model
        have ``fM``, the share of memory cells in a product.
    """
    chosen = trial_options(options, keywords, arm_course)
    patients = by_number(patients)
    if isinstance(arm, Controlled | OpenLoop):
        closed = fixed(
            arm, patients, dose=dose, noise_seed=noise_seed, model=model, threads=threads, options=chosen
        )
        return controlled_course(
            closed, patients, dose=dose, noise_seed=noise_seed, model=model, threads=threads, options=chosen
        )[0]
    schedule = plan(
        arm, patients, dose=dose, noise_seed=noise_seed, assay_sd=assay_sd, model=model, threads=threads,
        options=chosen,
    )  # fmt: skip
    cells = product_cells(arm, patients, dose)
    solved, adapter = switched_on(arm, patients, cells, for_trial(model))
    horizon = chosen.horizon(adapter.model)
    # infusions after the horizon change nothing that is looked at
    schedule = [entry for entry in schedule if entry[0] <= horizon]
    path = course(
        solved, adapter.infusions(patients, schedule, D=cells),
        interventions=interventions_of(arm, patients, adapter, horizon), model=adapter, threads=threads,
        options=chosen,
    )  # fmt: skip
    if not _has_product(patients, adapter):
        return path.assign(effectors_infused=np.nan, memory_infused=np.nan)
    given = administered(arm, schedule, patients, dose)
    return path.assign(
        effectors_infused=given["effectors"].to_numpy(), memory_infused=given["memory"].to_numpy()
    )


def _has_product(patients: pd.DataFrame, adapter: TrialAdapter) -> bool:
    """Return whether a product has a share of memory cells; a model that knows none need not be given one."""
    return "fM" in patients or "fM" in adapter.model.parameter_names


def fixed(arm: Controlled | OpenLoop, patients: pd.DataFrame, **how: Any) -> Controlled:
    """Return a controlled arm as it is, of an open loop that whose calendar is the mean of these patients.

    The keywords are those of `controlled_course`.
    """
    if isinstance(arm, Controlled):
        return arm
    _, session = controlled_course(arm.of, patients, **how)
    _check_activity_alone(arm, session)
    weights = patients["weight"].to_numpy() if "weight" in patients else None
    return without_measurement(arm.of, mean_activity(session, weights), arm.name)


def _check_activity_alone(arm: OpenLoop, session: Session) -> None:
    """Check that what an open loop leaves out of a rule of the user's is nothing."""
    others = [name for name, values in session.done.items() if (values != NOT_DONE[name]).any()]
    others = [name for name in others if name != "activity"]
    if others and not isinstance(arm.of.rule, Controller):
        raise InputError(
            f"The open loop {arm.name!r} repeats the activity alone, but the rule of {arm.of.name!r} "
            f"commands {', '.join(map(repr, others))}, too; write a rule that does this on fixed days."
        )


def controlled_course(
    arm: Controlled,
    patients: pd.DataFrame,
    *,
    dose: Dose = DOSE,
    noise_seed: int | None = 0,
    numbers: np.ndarray | None = None,
    model: str | Model | TrialAdapter = "b_all",
    threads: int | None = None,
    options: SolveOptions | None = None,
    **keywords: Unpack[SolveKeywords],
) -> tuple[pd.DataFrame, Session]:
    """Return the death-free course of every patient in a controlled arm, and what was done to them.

    Parameters are those of `plan`; how a clinic measures is said by the arm. ``numbers`` are those of the
    patients in the population, which the noise of the assays follows; default from their ids.

    Returns
    -------
    course : DataFrame
        As of `arm_course`; cells that the rule infuses count among those infused.
    session : Session
        With what was done at each visit.
    """
    chosen = trial_options(options, keywords, controlled_course)
    patients = by_number(patients)
    check_equal_budget(arm, schedule_of(arm), patients)
    cells = product_cells(arm, patients, dose)
    session = Session(
        arm, patients, cells, adapter=for_trial(model), seed=noise_seed,
        numbers=numbers_of(patients) if numbers is None else numbers,
    )  # fmt: skip
    adapter = session.adapter
    horizon = chosen.horizon(adapter.model)
    schedule = [entry for entry in schedule_of(arm) if entry[0] <= horizon]
    events = [event for event in session.interventions() if event[0] < horizon]
    path = course(
        session.start(), adapter.infusions(patients, schedule, D=cells),
        interventions=[*interventions_of(arm, patients, adapter, horizon), *events], model=adapter,
        threads=threads, options=chosen,
    )  # fmt: skip
    if not _has_product(patients, adapter):
        return path.assign(effectors_infused=np.nan, memory_infused=np.nan), session
    given = administered(arm, schedule, patients, dose)
    for what, budget in zip(("effectors", "memory"), budgets(arm, patients, dose), strict=True):
        path[f"{what}_infused"] = given[what].to_numpy() + budget * session.infused(what, horizon)
    return path, session


def interventions_of(
    arm: Arm, patients: pd.DataFrame, adapter: TrialAdapter, t_end: float
) -> list[Intervention]:
    """Return what is done to states between infusions before ``t_end``: lymphodepletions, switching.

    Raises
    ------
    InputError
        For an intervention that the model does not know.
    """
    events: list[Intervention] = []
    if isinstance(arm, Calendar) and arm.lymphodepletions:
        if adapter.lymphocytes is None or adapter.lymphodeplete is None:
            raise InputError(
                f"The arm {arm.name!r} lymphodepletes, which the model {adapter.model.name!r} does not know."
            )
        start, ids = adapter.baseline(patients)[adapter.lymphocytes], patients["patient"].to_numpy()
        deplete = partial(_lymphodeplete, adapter.lymphodeplete, start, ids)
        events += [(event.day, partial(deplete, event.phi)) for event in arm.lymphodepletions]
    if isinstance(arm, Switched):
        events += switching(arm, adapter)
    return [event for event in events if event[0] < t_end]


def switched_on(
    arm: Arm, patients: pd.DataFrame, cells: np.ndarray, adapter: TrialAdapter
) -> tuple[pd.DataFrame, TrialAdapter]:
    """Return the patients and the model of an arm with a switch, with the activity of day 0.

    Other arms come back as they are.

    Raises
    ------
    InputError
        When the model has no variant with a switch.
    """
    if not isinstance(arm, Switched):
        return patients, adapter
    switch = switch_of(arm, adapter)
    if switch.state not in adapter.model.state_names:
        adapter = replace(adapter, model=switch.add(adapter.model))
    given = [adapter.engrafted(patients, E, M, D=cells) for day, E, M in schedule_of(arm) if day == 0.0]
    total = sum((E + M for E, M in given), np.zeros(len(patients)))
    level = first_level(arm, adapter.marker.of(adapter.baseline(patients)), total)
    return patients.assign(**{switch.state: level}), adapter


def _lymphodeplete(
    deplete: Callable[..., pd.DataFrame],
    start: np.ndarray,
    ids: np.ndarray,
    phi: float,
    states: pd.DataFrame,
    patients: pd.DataFrame,
) -> pd.DataFrame:
    """Lymphodeplete the patients of a chunk, whose lymphocytes go back to their value of day 0."""
    lymphocytes = start[pd.Index(ids).get_indexer(patients["patient"])]
    with user_code("The lymphodepletion of the adapter", locate=True):
        return deplete(states, lymphocytes, phi=phi)


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
    courses: dict[str, pd.DataFrame] = {}
    threads = check_threads(options.pop("threads", None))
    with progress_bar(len(arms), progress, unit="arms") as bar:

        def solve(group: list[tuple[str, Arm]], threads: int) -> None:
            for name, arm in group:
                courses[name] = arm_course(arm, patients, threads=threads, **options)
                bar.update()

        named = list(zip(names, arms, strict=True))
        groups = _beside_each_other(named) if threads > 1 else [named]
        if len(groups) == 1:
            solve(groups[0], threads)
        else:  # while tables of one arm are made, another is solved
            jobs = [partial(solve, group, -(-threads // _AT_ONCE)) for group in groups[:-1]]
            jobs.append(partial(solve, groups[-1], threads))  # beside it there is nothing left to begin
            in_threads(jobs, _AT_ONCE, np.zeros(1, dtype=np.int64))
    return {name: courses[name] for name in names}


def _beside_each_other(named: list[tuple[str, Arm]]) -> list[list[tuple[str, Arm]]]:
    """Return groups of arms that may be solved at the same time, what takes longest first.

    Rules may be the user's, and remember what they were asked: arms with rules stay in their order.
    """
    ruled = [pair for pair in named if not isinstance(pair[1], Calendar)]
    return [*([ruled] if ruled else []), *([pair] for pair in named if isinstance(pair[1], Calendar))]


def solved_in_all(courses: Iterable[pd.DataFrame]) -> np.ndarray:
    """Return which patients were solved in every arm; only these may enter a trial."""
    return np.logical_and.reduce([(table["status"] == "ok").to_numpy() for table in courses])
