"""Many arms of one kind, solved as one batch: what a search over protocols needs.

Patients are repeated for each arm. A small batch costs mostly what surrounds the solver; a hundred times as
many patients at once cost little more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.models import for_trial
from fastcart.options import SolveOptions
from fastcart.protocols.adaptive import ASSAY_SD, Advance, follow_rule
from fastcart.protocols.arms import Adaptive, Arm, Calendar, Infusion, Schedule, product_cells, schedule_of
from fastcart.protocols.controlled import Controlled
from fastcart.protocols.switch import Switched
from fastcart.protocols.visit import Visit
from fastcart.trial.adapter import TrialAdapter
from fastcart.trial.counterfactual import DOSE, Walk, assay, interventions_of, numbers_of, switched_on
from fastcart.trial.course import OPTIONS, Intervention, course


def courses_together(
    arms: Sequence[Arm],
    patients: pd.DataFrame,
    *,
    dose: float = DOSE,
    noise_seed: int = 0,
    model: str | Model | TrialAdapter = "b_all",
    options: SolveOptions = OPTIONS,
    threads: int | None = None,
) -> list[pd.DataFrame]:
    """Return the course of every patient in each of many arms, as `arm_course` does for one.

    Parameters
    ----------
    arms : sequence of Arm
        All calendars, all with a switch, or all adaptive with the same visits.
    patients, dose, noise_seed, model, options, threads
        As for `fastcart.trial.counterfactual.arm_course`.

    Returns
    -------
    list of DataFrame
        In the order of the arms; rows in the order of the patients. Days on which only other arms stop may
        change a number within the tolerance of the solver.

    Raises
    ------
    InputError
        For arms of different kinds or visits.
    """
    kind = _kind(arms)
    n, k = len(patients), len(arms)
    blocks = [slice(j * n, (j + 1) * n) for j in range(k)]
    adapter = for_trial(model)
    cells = [product_cells(arm, patients, dose) for arm in arms]
    parts = []
    for arm, total in zip(arms, cells, strict=True):
        solved, adapter = switched_on(arm, patients, total, adapter)
        parts.append(solved)
    table = pd.concat(parts, ignore_index=True).assign(patient=np.arange(k * n))
    parts = [table.iloc[block] for block in blocks]
    t_end = options.horizon(adapter.model)
    if kind is Adaptive:
        noise = partial(_repeated, k, numbers_of(patients), noise_seed)
        advancing = Walk(adapter.model, options, threads)
        schedules = _rules_together(arms, table, np.concatenate(cells), blocks, noise, adapter, advancing)
    else:
        schedules = [schedule_of(arm) for arm in arms if isinstance(arm, Calendar)]
    doses = [
        adapter.infusions(part, [item for item in schedule if item[0] <= t_end], D=total)
        for part, schedule, total in zip(parts, schedules, cells, strict=True)
    ]
    events = [interventions_of(arm, part, adapter, t_end) for arm, part in zip(arms, parts, strict=True)]
    path = course(
        table, pd.concat(doses, ignore_index=True), interventions=_merged(events, blocks), model=adapter,
        threads=threads, options=options,
    )  # fmt: skip
    own = patients["patient"].to_numpy()
    return [path.iloc[block].reset_index(drop=True).assign(patient=own) for block in blocks]


def _kind(arms: Sequence[Arm]) -> type[Arm]:
    for arm in arms:
        if isinstance(arm, Controlled):
            raise InputError(f"The arm {arm.name!r} is a controlled one, which is solved by itself.")
    kinds = {Switched if isinstance(a, Switched) else Adaptive if isinstance(a, Adaptive) else Calendar
             for a in arms}  # fmt: skip
    visits = {arm.visits for arm in arms if isinstance(arm, Adaptive)}
    if len(kinds) != 1 or len(visits) > 1:
        raise InputError(
            "Arms that are solved together must be of one kind, adaptive ones with equal visits."
        )
    return kinds.pop()


def _merged(events: list[list[Intervention]], blocks: list[slice]) -> list[Intervention]:
    """Return the interventions of all arms by day, each for its own block of patients."""
    days: dict[float, list[tuple[slice, Callable]]] = {}
    for block, listed in zip(blocks, events, strict=True):
        for day, change in listed:
            days.setdefault(day, []).append((block, change))
    return [(day, partial(_for_blocks, changes)) for day, changes in sorted(days.items())]


def _for_blocks(
    changes: list[tuple[slice, Callable]], states: pd.DataFrame, patients: pd.DataFrame
) -> pd.DataFrame:
    values = states.to_numpy(copy=True)
    for block, change in changes:
        now = pd.DataFrame(values[block], columns=states.columns)
        values[block] = change(now, patients.iloc[block])[states.columns].to_numpy()
    return pd.DataFrame(values, columns=states.columns, index=states.index)


def _repeated(times: int, numbers: np.ndarray, seed: int, visit: int) -> np.ndarray:
    return np.tile(assay(numbers, seed, visit), times)


def _rules_together(
    arms: Sequence[Arm],
    table: pd.DataFrame,
    cells: np.ndarray,
    blocks: list[slice],
    noise: Callable[[int], np.ndarray],
    adapter: TrialAdapter,
    advancing: Advance,
) -> list[Schedule]:
    """Follow the rules of all arms at common visits, and return the schedule of each."""
    adaptive = [arm for arm in arms if isinstance(arm, Adaptive)]
    n = len(table) // len(adaptive)
    start = (
        np.repeat([arm.start.effectors for arm in adaptive], n),
        np.repeat([arm.start.memory for arm in adaptive], n),
    )
    everyone = Adaptive(
        name="all", start=Infusion(0), rule=partial(_each_rule, adaptive, n), visits=adaptive[0].visits,
        complete=False,
    )  # fmt: skip
    schedule = follow_rule(
        everyone,
        table,
        cells=cells,
        adapter=adapter,
        advance=advancing,
        noise=noise,
        assay_sd=ASSAY_SD,
        start=start,
    )
    return [[(day, E[block], M[block]) for day, E, M in schedule] for block in blocks]


def _each_rule(arms: Sequence[Adaptive], n: int, visit: Visit) -> tuple[np.ndarray, np.ndarray]:
    """Ask the rule of each arm about its own patients."""
    answers = np.zeros((2, len(visit.rows)))
    owner = visit.rows // n
    for j, arm in enumerate(arms):
        mine = owner == j
        if not mine.any():
            continue
        seen = Visit(
            visit.index, visit.days, visit.burdens[mine], visit.il6_levels[mine],
            visit.effectors_given[mine], visit.memory_given[mine], visit.rows[mine] % n,
        )  # fmt: skip
        for place, fraction in enumerate(arm.rule(seen)):
            answers[place, mine] = fraction
    return answers[0], answers[1]
