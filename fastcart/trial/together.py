"""Arms of one kind, solved as one batch: a family over its intensities.

Patients are repeated for each arm. A visit of a small group costs mostly what surrounds the solver; many
intensities at once cost little more than one. No number of a patient depends on who else is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastcart.protocols.arms import Arm, Calendar
from fastcart.protocols.controlled import Controlled, answered
from fastcart.protocols.measurement import Command, History
from fastcart.protocols.switch import Switched
from fastcart.trial.counterfactual import arm_course, controlled_course, numbers_of

MOST = 32768  # patients of all arms that are solved at once
_OWN = ("name", "title", "rule")  # in which arms of one batch may differ


class Followed(NamedTuple):
    """An arm in its patients: the course; of a controlled one what was commanded, and what there was.

    ``activity``, shape (patients, visits), and ``there``, see `fastcart.protocols.Session`.
    """

    course: pd.DataFrame
    activity: np.ndarray | None = None
    there: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class EachRule:
    """The rules of several arms, each for its own block of as many patients."""

    arms: tuple[Controlled, ...]

    @property
    def activity_alone(self) -> bool:
        """Whether none of the rules promotes or blocks."""
        return all(getattr(arm.rule, "activity_alone", False) for arm in self.arms)

    def __call__(self, history: History) -> Command:
        """Ask each rule about its own patients."""
        size = len(history.cells) // len(self.arms)
        answers = [
            answered(arm, _rows(history, slice(k * size, (k + 1) * size))) for k, arm in enumerate(self.arms)
        ]
        return Command(**{name: np.concatenate([one[name] for one in answers]) for name in answers[0]})


def _rows(history: History, rows: slice) -> History:
    return replace(
        history, burden=history.burden[rows], cells=history.cells[rows], il6=history.il6[rows],
        done={name: values[rows] for name, values in history.done.items()}, active=history.active[rows],
    )  # fmt: skip


def arms_together(
    arms: Sequence[tuple[Arm, float]], patients: pd.DataFrame, **options: Any
) -> Iterator[Followed]:
    """Yield the course of every patient in each of several arms, as `arm_course` does for one.

    Parameters
    ----------
    arms : sequence of (Arm, float)
        With the cells of a product. Neighbours that differ in rule and product alone are solved as one batch.
    patients : DataFrame
    **options
        As for `fastcart.trial.counterfactual.arm_course`, without ``dose``.
    """
    first = 0
    while first < len(arms):
        most = max(MOST // max(len(patients), 1), 1)
        last = first + 1
        while last < len(arms) and last - first < most and _alike(arms[first][0], arms[last][0]):
            last += 1
        yield from _batch(arms[first:last], patients, options)
        first = last


def _alike(one: Arm, other: Arm) -> bool:
    """Whether two arms can be solved as one batch."""
    if not isinstance(one, Calendar) or isinstance(one, Switched) or type(one) is not type(other):
        return False
    if one.dose_of is not None or type(one) not in (Calendar, Controlled):
        return False
    kept = [field.name for field in fields(one) if field.name not in _OWN]
    if any(getattr(one, name) != getattr(other, name) for name in kept):
        return False
    alone = [getattr(getattr(arm, "rule", None), "activity_alone", False) for arm in (one, other)]
    return alone[0] == alone[1]  # else they need other variants of the model


def _batch(
    arms: Sequence[tuple[Arm, float]], patients: pd.DataFrame, options: Mapping[str, Any]
) -> Iterator[Followed]:
    first, size, count = arms[0][0], len(patients), len(arms)
    solve: Callable[..., Any] = controlled_course if isinstance(first, Controlled) else arm_course
    if count == 1:
        found = solve(first, patients, dose=arms[0][1], **options)
        if isinstance(found, tuple):
            yield Followed(found[0], found[1].done["activity"], found[1].there)
        else:
            yield Followed(found)
        return
    table = pd.concat([patients] * count, ignore_index=True).assign(patient=np.arange(count * size))
    doses = np.repeat([dose for _, dose in arms], size)
    if isinstance(first, Controlled):
        rule = EachRule(tuple(arm for arm, _ in arms if isinstance(arm, Controlled)))
        numbers = np.tile(numbers_of(patients), count)
        course, session = solve(replace(first, rule=rule), table, dose=doses, numbers=numbers, **options)
        told = {"activity": session.done["activity"], **session.there}
    else:
        course, told = solve(first, table, dose=doses, **options), {}
    own = patients["patient"].to_numpy()
    for k in range(count):
        block = slice(k * size, (k + 1) * size)
        mine = {name: values[block] for name, values in told.items()}
        path = course.iloc[block].reset_index(drop=True).assign(patient=own)
        yield Followed(path, mine.pop("activity"), mine) if mine else Followed(path)
