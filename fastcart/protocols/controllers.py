"""Rules that control the active CAR-T cells of a patient from what is measured.

A `Controller` predicts the cells that there are now from readings that are late and noisy, and switches, or
depletes, to what its `Target` wants. Other actuators follow a start rule, `Start`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from fastcart.checks import number, real, shown
from fastcart.errors import InputError, nearest
from fastcart.protocols.measurement import Command, History

ControlRule = Callable[[History], Command]

FIRST_GROWTH = 2.0  # 1/day, assumed while only the baseline is known
GROWTHS = (-0.2, 2.5)  # 1/day, what measured growth is clipped to
AVERAGED_BELOW = 2.0  # 1/day: faster growth is not averaged with that before
LEAD = 0.5  # days: halfway to the next daily visit
FARTHEST = 3.0  # days that are predicted at most
MOST_KEPT_FROM = 0.05  # share of cells that a depletion leaves at least
INFINITE = float("inf")
STEEPEST = 10.0  # rise (1/day) and power of the burden of a target
MOST_PREDICTED = 2.0  # weight of growth in a prediction


def _positive(value: float, what: str) -> None:
    """Check a number that is positive, maybe infinite."""
    known = real(value)
    if known is None or not known > 0:
        raise InputError(f"{what} must be positive, not {shown(value)}.")


def _within(value: float, what: str, low: float, high: float) -> None:
    """Check a number between two limits."""
    if not low <= number(value, what) <= high:
        raise InputError(f"{what} must lie between {low:g} and {high:g}, not {value:g}.")


@dataclass(frozen=True)
class Target:
    """Active CAR-T cells that are wanted: ``cells exp(rise t) (m0/m)^burden_power``.

    Here ``m`` is the last known burden and ``m0`` its baseline; the power counts where ``m < m0``.

    Parameters
    ----------
    cells : float
        Positive; infinity never holds back.
    rise : float
        1/day.
    burden_power : float
        Positive: more cells as the burden falls; negative: fewer.
    """

    cells: float
    rise: float = 0.0
    burden_power: float = 0.0

    def __post_init__(self) -> None:
        _positive(self.cells, "The cells of a target")
        for name in ("rise", "burden_power"):
            _within(getattr(self, name), f"The {name} of a target", -STEEPEST, STEEPEST)

    def __call__(self, history: History) -> np.ndarray:
        """Return the wanted cells, shape (patients,)."""
        baseline, last = history.burden[:, 0], np.maximum(history.burden[:, -1], 1.0)
        if self.cells == INFINITE:
            return np.full(len(last), INFINITE)
        fallen = np.where(last < baseline, np.minimum(baseline / last, 1e6), 1.0)
        with np.errstate(over="ignore"):  # more cells than there can be never hold back
            return self.cells * np.exp(self.rise * history.day) * fallen**self.burden_power


# rise (1/day) and power of the burden of the targets that have a name
TARGETS = {
    "FLAT": (0.0, 0.0),
    "RISE_T": (0.1, 0.0),
    "RISE_B": (0.0, 0.5),
    "RISE_TB": (0.1, 0.5),
    "REV": (0.0, -0.5),
}
TARGET_WORDS = {
    "FLAT": "the same number of active cells throughout",
    "RISE_T": "active cells that rise with time",
    "RISE_B": "active cells that rise as the measured burden falls",
    "RISE_TB": "active cells that rise with time and as the burden falls",
    "REV": "active cells that fall with the burden, the opposite order",
}


def target(name: str, cells: float) -> Target:
    """Return a target by its name in `TARGETS`.

    Parameters
    ----------
    name : str
    cells : float
        Active cells on day 0.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if name not in TARGETS:
        raise InputError(f"There is no target {name!r}." + nearest(name, TARGETS))
    return Target(cells, *TARGETS[name])


@dataclass(frozen=True, kw_only=True)
class Start:
    """When something begins: at a measured burden, or on a day.

    Parameters
    ----------
    day : float
        The latest day.
    burden : float
        It begins earlier where the last known burden is at most this number of cells; 0: by the day alone.
    earliest : float
        The burden counts from this day on.
    """

    day: float = 28.0
    burden: float = 1e8
    earliest: float = 7.0

    def __post_init__(self) -> None:
        for name in ("day", "burden", "earliest"):
            if getattr(self, name) != 0:  # a burden of 0: by the day alone
                _positive(getattr(self, name), f"The {name} of a start")

    def due(self, history: History) -> np.ndarray:
        """Return for whom it begins now at the latest, shape (patients,) of bool."""
        low = (history.burden[:, -1] <= self.burden) & (history.day >= self.earliest) & (self.burden > 0)
        return low | (history.day >= self.day)

    def begun(self, history: History, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return who has begun by now, and the day, infinite where not.

        ``past``, shape (patients, visits), says at which visits before it was on.
        """
        first = np.where(past, history.visits, INFINITE).min(axis=1, initial=INFINITE)
        day = np.where(np.isfinite(first), first, np.where(self.due(history), history.day, INFINITE))
        return np.isfinite(day), day


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """Effectors are made to become memory: a factor of the conversion, from a start on, for some days.

    Parameters
    ----------
    factor : float
        By which effectors become memory cells faster.
    start : Start
    duration : float
        Days.
    """

    factor: float = 10.0
    start: Start = field(default_factory=Start)
    duration: float = INFINITE

    def __post_init__(self) -> None:
        number(self.factor, "The factor of a promotion", positive=True)
        _positive(self.duration, "The duration of a promotion")

    def now(self, history: History) -> np.ndarray:
        """Return the factor until the next visit, shape (patients,)."""
        on, day = self.start.begun(history, history.done["promotion"] != 1.0)
        return np.where(on & (history.day - day <= self.duration), self.factor, 1.0)


@dataclass(frozen=True, kw_only=True)
class LateMemory:
    """Memory cells of the product that are infused at a start: a fraction of its memory budget, once.

    Parameters
    ----------
    fraction : float
        Of the memory cells of the product.
    start : Start
    """

    fraction: float = 1.0
    start: Start = field(default_factory=Start)

    def __post_init__(self) -> None:
        number(self.fraction, "The fraction of late memory cells", positive=True)

    def now(self, history: History) -> np.ndarray:
        """Return the fraction that is infused now, shape (patients,)."""
        given = (history.done["memory"] > 0).any(axis=1)
        return np.where(self.start.due(history) & ~given, self.fraction, 0.0)


@dataclass(frozen=True, kw_only=True)
class Blockade:
    """A blocker of the IL-6 receptor, given above a level of IL-6, again after some days.

    Parameters
    ----------
    above : float
        pg/mL.
    efficacy : float
        Share of the effect of IL-6 that it takes away, from 0 to 1.
    again_after : float
        Days.
    """

    above: float = 400.0
    efficacy: float = 0.8
    again_after: float = 8.0

    def __post_init__(self) -> None:
        _positive(self.above, "The level of IL-6 of a blockade")
        _within(self.efficacy, "The efficacy of a blockade", 0.0, 1.0)
        if self.again_after != 0:
            _positive(self.again_after, "The days between two blockades")

    def now(self, history: History) -> np.ndarray:
        """Return the efficacy of what is given now, 0 for none, shape (patients,)."""
        given = np.where(history.done["blockade"] > 0, history.visits, -INFINITE)
        free = history.day - given.max(axis=1, initial=-INFINITE) > self.again_after
        return np.where((history.il6[:, -1] > self.above) & free, self.efficacy, 0.0)


def predicted_cells(history: History, weight: float) -> np.ndarray:
    """Return the CAR-T cells predicted for now from the last readings that are known, shape (patients,).

    The last known number times ``exp(weight g ahead)``: g is the slope of the logarithm of the last two known
    readings, averaged with the slope before it where visits are daily and growth is below 2 a day, clipped to
    `GROWTHS`; ahead are the days since the last known reading and half a day, at most 3. While only the
    baseline is known g is 2, once a result could have come.
    """
    days, cells = history.days, history.cells
    if len(days) == 1:
        growth = np.full(len(cells), FIRST_GROWTH if history.day >= history.delay else 0.0)
    else:
        gap = days[-1] - days[-2]
        growth = np.log(cells[:, -1] / cells[:, -2]) / gap
        if len(days) > 2 and gap < 1.5:
            before = np.log(cells[:, -2] / cells[:, -3]) / (days[-2] - days[-3])
            growth = np.where(growth < AVERAGED_BELOW, 0.5 * (growth + before), growth)
        growth = np.clip(growth, *GROWTHS)
    ahead = min(history.day - days[-1] + LEAD, FARTHEST)
    return cells[:, -1] * np.exp(weight * growth * ahead)


@dataclass(frozen=True, kw_only=True)
class Controller:
    """Hold the active CAR-T cells near a target, keep IL-6 down, and act on memory.

    Parameters
    ----------
    target : Target, optional
        Without one the CAR is on.
    deplete : "", "effectors" or "all"
        Instead of the switch: kill cells above the target, effectors and exhausted ones, or memory, too.
    predictor : float
        Weight of the measured growth in the prediction; 0 takes the last reading as it is.
    il6_hold : float
        pg/mL above which the CAR is off.
    il6_guard : float
        pg/mL above which the activity that there is is lowered in proportion: times the guard over IL-6.
    release_burden : float
        Once the last known burden is below this number of cells the CAR stays on; negative: never.
    promotion, memory, blockade : optional
        See `Promotion`, `LateMemory`, `Blockade`.
    """

    target: Target | None = None
    deplete: str = ""
    predictor: float = 0.7
    il6_hold: float = INFINITE
    il6_guard: float = INFINITE
    release_burden: float = -1.0
    promotion: Promotion | None = None
    memory: LateMemory | None = None
    blockade: Blockade | None = None

    def __post_init__(self) -> None:
        if self.deplete not in ("", "effectors", "all"):
            raise InputError(f"A depletion is of 'effectors' or of 'all', not {self.deplete!r}.")
        _within(self.predictor, "The predictor of a controller", 0.0, MOST_PREDICTED)
        _positive(self.il6_hold, "The il6_hold of a controller")
        _positive(self.il6_guard, "The il6_guard of a controller")

    @property
    def activity_alone(self) -> bool:
        """Whether neither conversion to memory is promoted nor IL-6 blocked."""
        known = type(self).__call__ is Controller.__call__
        return known and self.promotion is None and self.blockade is None

    def __call__(self, history: History) -> Command:
        """Return what is done at a visit."""
        command = Command(
            activity=self._allowed(history),
            promotion=1.0 if self.promotion is None else self.promotion.now(history),
            memory=0.0 if self.memory is None else self.memory.now(history),
            blockade=0.0 if self.blockade is None else self.blockade.now(history),
        )
        if self.target is None:
            return command
        share = np.minimum(self.target(history) / predicted_cells(history, self.predictor), 1.0)
        released = history.burden[:, -1] < self.release_burden
        share = np.where(released, 1.0, share)
        if not self.deplete:
            return replace(command, activity=np.minimum(share, command.activity))
        kept = np.maximum(share, MOST_KEPT_FROM) if history.day > 0 else 1.0
        return replace(command, keep_effectors=kept, keep_memory=kept if self.deplete == "all" else 1.0)

    def _allowed(self, history: History) -> np.ndarray:
        """Return the activity that IL-6 allows, shape (patients,)."""
        il6 = np.maximum(history.il6[:, -1], 1.0)
        guarded = 1.0
        if np.isfinite(self.il6_guard):
            guarded = np.minimum(1.0, history.active * (self.il6_guard / il6))
        return np.where(il6 > self.il6_hold, 0.0, guarded)


@dataclass(frozen=True)
class Replay:
    """Open loop: an activity for each day, the same for everybody; nothing is measured.

    Parameters
    ----------
    days : tuple of float
        Ascending, from 0 on.
    activity : tuple of float
        From each of these days to the next; the last one stays.
    with_it : Controller, optional
        Whose actuators other than the switch go with it.
    """

    days: tuple[float, ...]
    activity: tuple[float, ...]
    with_it: Controller | None = None

    def __post_init__(self) -> None:
        if len(self.days) != len(self.activity) or not self.days or self.days[0] != 0:
            raise InputError("An open loop needs an activity for each of its days, the first of which is 0.")

    @property
    def activity_alone(self) -> bool:
        """Whether neither conversion to memory is promoted nor IL-6 blocked."""
        return self.with_it is None or self.with_it.activity_alone

    def __call__(self, history: History) -> Command:
        """Return what is done at a visit."""
        place = int(np.searchsorted(self.days, history.day + 1e-9, side="right")) - 1
        others = Command() if self.with_it is None else replace(self.with_it, target=None)(history)
        return replace(others, activity=self.activity[place])
