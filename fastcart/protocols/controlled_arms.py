"""Controlled arms by a few words: which target, which actuator, what becomes of memory cells; open loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastcart.checks import number
from fastcart.errors import InputError, nearest
from fastcart.protocols.arms import Calendar, Infusion
from fastcart.protocols.controlled import Controlled
from fastcart.protocols.controllers import (
    TARGET_WORDS,
    TARGETS,
    Controller,
    LateMemory,
    Promotion,
    Start,
    Target,
)

ACTUATORS = {
    "fraction": "a switch by which a share of the cells acts",
    "graded": "a switch by which every cell acts in part",
    "depletion": "cells above the target are killed at visits",
    "none": "nothing holds the cells back",
}
MEMORY = {
    "first": "memory cells infused with the others on day 0",
    "last": "memory cells infused once the burden is low, or on day 28",
    "extra": "further memory cells infused once the burden is low, or on day 28",
    "promote": "effectors made memory cells from then on",
}
CELLS = 3e9  # active cells on day 0
FACTOR = 10.0


@dataclass(frozen=True, kw_only=True)
class Design:
    """A controlled arm by words.

    Parameters
    ----------
    target : str
        One of `TARGETS`.
    cells : float
        Active cells that are wanted on day 0; infinity never holds back.
    rise, burden_power : float, optional
        Instead of those of the target, see `fastcart.protocols.Target`.
    actuator : str
        One of `ACTUATORS`.
    memory : str
        One of `MEMORY`.
    factor : float
        Of promotion, or the extra memory cells in products.
    start : Start
        When memory is infused or promoted.
    il6_hold, il6_guard, predictor : float
        See `fastcart.protocols.Controller`.

    Raises
    ------
    InputError
        For an unknown word.
    """

    target: str = "RISE_T"
    cells: float = CELLS
    rise: float | None = None
    burden_power: float | None = None
    actuator: str = "fraction"
    memory: str = "first"
    factor: float = FACTOR
    start: Start = field(default_factory=Start)
    il6_hold: float = float("inf")
    il6_guard: float = float("inf")
    predictor: float = 0.7

    def __post_init__(self) -> None:
        for what, known in (("target", TARGETS), ("actuator", ACTUATORS), ("memory", MEMORY)):
            word = getattr(self, what)
            if word not in known:
                raise InputError(f"There is no {what} {word!r} of controlled arms." + nearest(word, known))
        number(self.factor, "The factor of a controlled arm", positive=True)

    @property
    def words(self) -> str:
        """What the arm does, for readers."""
        held = "no target" if self.actuator == "none" else f"{TARGET_WORDS[self.target]} ({self.cells:.3g})"
        text = f"{held}; {ACTUATORS[self.actuator]}; {MEMORY[self.memory]}"
        return text + (f" ({self.factor:g} times)" if self.memory in ("extra", "promote") else "")

    def rule(self) -> Controller:
        """Return the controller of the design."""
        usual = TARGETS[self.target]
        rise, power = (
            given if given is not None else value
            for given, value in zip((self.rise, self.burden_power), usual, strict=True)
        )
        fraction = {"last": 1.0, "extra": self.factor}.get(self.memory)
        return Controller(
            target=None if self.actuator == "none" else Target(self.cells, rise, power),
            deplete="all" if self.actuator == "depletion" else "",
            predictor=self.predictor,
            il6_hold=self.il6_hold,
            il6_guard=self.il6_guard,
            promotion=Promotion(factor=self.factor, start=self.start) if self.memory == "promote" else None,
            memory=None if fraction is None else LateMemory(fraction=fraction, start=self.start),
        )

    def arm(self, name: str, *, title: str = "", **options: Any) -> Controlled:
        """Return the arm; the options are others of `Controlled`, such as ``visits`` and ``assays``."""
        given: Mapping[str, Any] = {
            "infusions": (Infusion(0, 1, 0.0 if self.memory == "last" else 1.0),),
            "equal_budget": self.memory not in ("last", "extra"),
            "switch": "graded" if self.actuator == "graded" else "fraction",
        }
        return Controlled(name=name, title=title or self.words, rule=self.rule(), **{**given, **options})


@dataclass(frozen=True, kw_only=True)
class OpenLoop(Calendar):
    """An arm that repeats the mean activity of a controlled one, the same for everybody.

    Its calendar is the geometric mean of the activity that the other arm commands in the patients who are
    treated, weighted by their column ``weight`` where there is one. It is the only kind of arm in which the
    course of a patient depends on who else is treated; fix it with `fastcart.protocols.without_measurement`.

    Parameters
    ----------
    of : Controlled
        The arm whose mean activity is repeated, with its infusions. The other actuators of a
        `fastcart.protocols.Controller` go with it, and begin as there; a rule of one's own may command the
        activity alone.

    Raises
    ------
    InputError
        For an arm that depletes: its cells are fully active throughout.
    """

    of: Controlled

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.of.rule, Controller) and self.of.rule.deplete:
            raise InputError(
                f"The open loop {self.name!r} repeats the activity of the switch, which the arm "
                f"{self.of.name!r} never lowers, since it depletes; choose an arm with a switch."
            )

    @classmethod
    def after(cls, of: Controlled, name: str, title: str = "") -> OpenLoop:
        """Return the open loop of an arm."""
        return cls(
            name=name, title=title or f"Mean activity of {of.name} for everybody", of=of,
            infusions=of.infusions, lymphodepletions=of.lymphodepletions, equal_budget=of.equal_budget,
            dose_of=of.dose_of,
        )  # fmt: skip
