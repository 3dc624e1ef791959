"""What a trial needs to know of a model: who is sick, what is infused, what a clinic measures, who dies.

A trial, its protocols and its outcomes speak of a burden, of effector and memory cells, of a marker of
toxicity; a model has states. An adapter says which state is what. A shipped model has its own beside it (see
`fastcart.models.for_trial`); that of another model is given wherever a trial takes a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number, shown, user_code
from fastcart.errors import InputError, nearest
from fastcart.model import Model

GRADES = (150.0, 400.0, 1000.0, 3000.0)
"""Serum IL-6 (pg/ml) above which cytokine release syndrome has grade 1, 2, 3, 4; calibrated, not measured."""

POSITIVE, NEGATIVE = "CD19+", "CD19-"
"""Kinds of relapse in tables of outcomes, of cells with the target and without, whatever the target is."""

Table = Mapping[str, Any] | pd.DataFrame  # columns by name, e.g. a DataFrame
Engraft = Callable[..., tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Measure:
    """Something that a clinic measures.

    Parameters
    ----------
    name : str
        The state or observable of the model that it is.
    states : tuple of str
        States whose sum it is; default the state of that name.
    label : str
        With the unit, for figures.
    limits : (float, float)
        Of the axis in figures.
    blocked : str, optional
        A state from 0 to 1, the part of it that is not felt.
    """

    name: str
    states: tuple[str, ...] = ()
    label: str = ""
    limits: tuple[float, float] = (1.0, 1e13)
    blocked: str = ""

    @property
    def plain_label(self) -> str:
        """The label without its unit."""
        return (self.label or self.name).partition(" (")[0]

    def of(self, states: Table) -> np.ndarray:
        """Return its values in a table of states."""
        first, *others = self.states or (self.name,)
        total = np.asarray(states[first], dtype=np.float64)
        for name in others:
            total = total + np.asarray(states[name], dtype=np.float64)
        return total * (1.0 - np.asarray(states[self.blocked])) if self.blocked else total

    def unblocked(self, states: Table) -> np.ndarray:
        """Return what an assay finds of it in a table of states, felt or not."""
        return replace(self, blocked="").of(states)


@dataclass(frozen=True)
class Hazard:
    """A risk of death that the model accumulates.

    Parameters
    ----------
    state : str
        The cumulative hazard; nothing in the model depends on it.
    rate : str
        The parameter that it is in proportion to, which a calibration scales.
    """

    state: str
    rate: str


@dataclass(frozen=True)
class Recovery:
    """Normal cells whose return tells that the product has gone.

    Parameters
    ----------
    state : str
    level : callable
        ``level(parameters)`` gets the parameters of the patients by name, arrays, and returns the number of
        cells above which they are back.
    """

    state: str
    level: Callable[[Mapping[str, np.ndarray]], Any]


@dataclass(frozen=True)
class CarSwitch:
    """A CAR whose activity a clinic sets.

    Parameters
    ----------
    state : str
        The activity, from 0 (off) to 1 (on), constant between visits.
    add : callable
        ``add(model)`` returns the variant of the model with that state.
    """

    state: str
    add: Callable[[Model], Model]


@dataclass(frozen=True, kw_only=True)
class Actuators:
    """States through which a clinic acts on cells that are infused.

    Parameters
    ----------
    activity, wanted : str
        The activity of the CAR, from 0 to 1, and what its drug is dosed for, which it follows.
    rate : str
        The parameter that says how fast it follows, 1/day; 0: it is set at once.
    promotion : str
        The factor of the conversion of effectors to memory, 1 without; empty where there is no such state.
    blockade : str
        The share of the marker of toxicity whose signal is blocked, which fades; empty where there is none.
    effectors, memory : tuple of str
        What a depletion of effectors and of memory cells takes cells from.
    add : callable
        ``add(model, switch)`` returns the adapter of the variant of the model with these states, of a switch
        of the kind ``"fraction"`` or ``"graded"``.
    add_activity : callable, optional
        The same without the states of promotion and blockade, for arms that use neither.
    """

    activity: str
    wanted: str
    rate: str
    promotion: str
    blockade: str
    effectors: tuple[str, ...]
    memory: tuple[str, ...]
    add: Callable[[Model, str], TrialAdapter]
    add_activity: Callable[[Model, str], TrialAdapter] | None = None

    @property
    def alone(self) -> Actuators:
        """The same without promotion and blockade; itself where the model has no such variant."""
        if self.add_activity is None:
            return self
        return replace(self, promotion="", blockade="", add=self.add_activity)


@dataclass(frozen=True, kw_only=True)
class TrialAdapter:
    """A model as a trial sees it.

    Parameters
    ----------
    model : Model
        With a ``burden``, whose nadir is reported.
    disease : str
        What the patients have, for reports.
    burden : Measure
        Tumor cells; remission and relapse are levels of it.
    cells : Measure
        CAR-T cells of all kinds, as the transgene in blood counts them.
    marker : Measure
        The marker of toxicity, e.g. serum IL-6.
    grades : tuple of four floats
        Levels of the marker above which cytokine release syndrome has grade 1, 2, 3, 4; default `GRADES`.
    entry : (str, str)
        States that infused effector and memory cells enter.
    engraft : callable
        ``engraft(patients, effectors, memory, D=cells)`` returns the effector and the memory cells that
        engraft when these fractions of a product of so many cells are infused. The table of patients has
        what it reads; by convention ``fM`` is the share of memory cells in the product.
    escaped : Measure, optional
        The share of the burden that has lost the target; ``states`` are those of the lost cells.
    recovery : Recovery, optional
    toxic, disease_death : Hazard, optional
        Of death by toxicity, and by the disease; without one nobody dies of it.
    lymphocytes : str, optional
        The state that lymphodepletion sets back to its value of day 0.
    lymphodeplete : callable, optional
        ``lymphodeplete(states, lymphocytes, phi=share)`` returns states after lymphodepletion.
    switch : CarSwitch, optional
    actuators : Actuators, optional
    limits : tuple of str
        What the model cannot tell, sentences for the report.
    antigen : str
        What the product recognizes, for reports, e.g. ``"CD19"``.
    organ : str
        Where 1e12 cells have room, for reports that tell remission and relapse as parts of it, e.g.
        ``"marrow"``; default none.

    Raises
    ------
    InputError
        For a name that the model does not have, and grades that do not rise.
    """

    model: Model
    burden: Measure
    cells: Measure
    marker: Measure
    entry: tuple[str, str]
    engraft: Engraft
    grades: tuple[float, float, float, float] = GRADES
    disease: str = "cancer"
    escaped: Measure | None = None
    recovery: Recovery | None = None
    toxic: Hazard | None = None
    disease_death: Hazard | None = None
    lymphocytes: str | None = None
    lymphodeplete: Callable[..., pd.DataFrame] | None = None
    switch: CarSwitch | None = None
    actuators: Actuators | None = None
    limits: tuple[str, ...] = ()
    antigen: str = "target"
    organ: str = ""

    def __post_init__(self) -> None:
        if self.model.burden is None:
            raise InputError(f"The model {self.model.name!r} has no burden; a trial needs one.")
        measures = [m for m in (self.burden, self.cells, self.marker, self.escaped) if m is not None]
        seen = [*self.model.state_names, *self.model.observable_names]
        for measure in measures:
            self._check(measure.name, seen, "state or observable")
        parts = (self.toxic, self.disease_death, self.recovery)
        states = [*self.entry, *(name for measure in measures for name in measure.states or (measure.name,))]
        states += [part.state for part in parts if part is not None]
        for name in states if self.lymphocytes is None else [*states, self.lymphocytes]:
            self._check(name, self.model.state_names, "state")
        if len(self.grades) != 4 or not (np.diff(self.grades) > 0).all():
            raise InputError(f"The grades must be four levels that rise, not {shown(self.grades)}.")

    def _check(self, name: str, known: list[str], kind: str) -> None:
        if name not in known:
            raise InputError(f"The model {self.model.name!r} has no {kind} {name!r}." + nearest(name, known))

    @property
    def kinds_of_relapse(self) -> dict[str, str]:
        """What reports call kinds of relapse in tables of outcomes; none where no cell loses the target."""
        if self.escaped is None:
            return {}
        return {POSITIVE: f"{self.antigen}+", NEGATIVE: f"{self.antigen}-"}

    @property
    def causes_of_death(self) -> dict[str, str]:
        """What reports call the causes of death in tables of outcomes."""
        return {"toxic": "toxic", "leukemia": "leukemia" if "leukemia" in self.disease else "disease"}

    @property
    def target(self) -> tuple[str, ...]:
        """States of the burden that the product still recognizes."""
        lost = () if self.escaped is None else self.escaped.states
        return tuple(name for name in self.burden.states or (self.burden.name,) if name not in lost)

    def escaped_share(self, states: Table) -> np.ndarray:
        """Return the share of the burden that has lost the target."""
        burden = self.burden.of(states)
        if self.escaped is None:
            return np.zeros(len(burden))
        return self.escaped.of(states) / np.maximum(burden, 1e-300)

    def baseline(self, patients: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return the states of patients on day 0, before any infusion."""
        size = len(patients)
        return {
            name: patients[name].to_numpy(dtype=np.float64) if name in patients else np.full(size, value)
            for name, value in self.model.default_states().items()
        }

    def engrafted(
        self, patients: pd.DataFrame, effectors: Any, memory: Any, *, D: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells that engraft, see `engrafted`."""
        return engrafted(self.engraft, patients, effectors, memory, D=D)

    def infusions(
        self, patients: pd.DataFrame, schedule: Iterable[tuple[float, Any, Any]], *, D: Any = None
    ) -> pd.DataFrame:
        """Return the doses of a schedule of fractions, with engraftment; see `infusions`."""
        return infusions(self.engraft, self.entry, patients, schedule, D=D)


def engrafted(
    engraft: Engraft, patients: pd.DataFrame, effectors: Any, memory: Any, *, D: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the effector and memory cells that engraft of these fractions of a product, one per patient.

    Raises
    ------
    InputError
        Where the function fails, or gives anything but two such arrays.
    """
    what = f"The function {getattr(engraft, '__name__', 'engraft')!r} of the adapter"
    with user_code(what, locate=True):
        answer = engraft(patients, effectors, memory, D=D)
    try:
        first, second = (
            np.broadcast_to(np.asarray(cells, dtype=np.float64), len(patients)) for cells in answer
        )
    except (TypeError, ValueError):
        raise InputError(
            f"{what} must return the effector and the memory cells that engraft, a number for each patient, "
            f"not {shown(answer)}."
        ) from None
    return first, second


def infusions(
    engraft: Engraft,
    into: tuple[str, str],
    patients: pd.DataFrame,
    schedule: Iterable[tuple[float, Any, Any]],
    *,
    D: Any = None,
) -> pd.DataFrame:
    """Return the doses of a schedule of infusions, for `fastcart.solve`.

    Parameters
    ----------
    engraft : callable
        As in `TrialAdapter`.
    into : (str, str)
        The states that effector and memory cells enter.
    patients : DataFrame
        The id is the column ``patient``, or the row number where there is none.
    schedule : iterable of (day, effectors, memory)
        Fractions of each patient's effector and memory cells; a number, or one for each patient.
    D : float or array, optional
        Cells of the product.

    Returns
    -------
    DataFrame
        ``patient, time, state, amount``; amounts of zero are left out.

    Raises
    ------
    InputError
        For a fraction that is negative or not a number.
    """
    ids = patients["patient"].to_numpy() if "patient" in patients else np.arange(len(patients))
    given_to, times, states, amounts = [], [], [], []
    for day, effectors, memory in schedule:
        time = number(day, "The day of an infusion")
        for state, cells in zip(into, engrafted(engraft, patients, effectors, memory, D=D), strict=True):
            if not (cells >= 0).all():
                raise InputError(f"The infusion of {state} on day {time:g} must be a fraction from 0 on.")
            given = cells > 0
            if given.any():
                given_to.append(ids[given])
                amounts.append(cells[given])
                times.append(time)
                states.append(state)
    if not amounts:
        return pd.DataFrame({"patient": ids[:0], "time": [], "state": [], "amount": []})
    sizes = [len(cells) for cells in amounts]
    return pd.DataFrame(
        {
            "patient": np.concatenate(given_to),
            "time": np.repeat(times, sizes),
            "state": np.repeat(np.array(states, dtype=object), sizes),
            "amount": np.concatenate(amounts),
        }
    )
