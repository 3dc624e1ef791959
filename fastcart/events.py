"""Events, peaks and areas under curves: what is asked of a solution besides the standard endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastcart.checks import names, number, shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.solvers.actions import KINDS
from fastcart.typing_names import ActionKind, Direction

DIRECTIONS = ("up", "down", "both")
ACTIONS = tuple(KINDS)


@dataclass(frozen=True)
class Action:
    """What an event does to a state.

    Parameters
    ----------
    state : str
    kind : {'set', 'add', 'scale'}
        Give it a value, add an amount to it (negative to remove), or multiply it.
    value : float or str
        A number in the unit of the state, or the name of a parameter or of a column of the patients; that
        which holds when the event acts.
    """

    state: str
    kind: ActionKind
    value: float | str


@dataclass(frozen=True)
class Event:
    """A crossing of a threshold by a state or an observable.

    Parameters
    ----------
    name : str
        The endpoints get ``event_<name>``, the first time at which it happens (NaN where it does not), and
        ``count_<name>``, how often.
    of : str
        A state or an observable of the model.
    threshold : float or str
        A number in the unit of ``of``, or the name of a parameter or of a column of the table of patients,
        for a threshold of each patient's own.
    direction : {'both', 'up', 'down'}
        Which crossings count. A jump by a dose over the threshold is a crossing; to begin above or below,
        or to touch the threshold, is none; to begin exactly at it and leave is one. What comes to rest at
        its threshold is there within the tolerance, now above and now below: such crossings mean nothing.
    terminal : bool
        Whether the integration ends at the first crossing. The endpoints are then those at that time,
        ``t_reached``, and the patient's status is ``ok``.
    after : float or str
        Count only crossings from this time on, or behind the first time of another event, which must come
        earlier in the list: a relapse is a crossing after a remission.
    actions : Action or sequence of Action
        What happens to states at each crossing that counts, one after the other. Such an event has the
        direction ``up`` or ``down``, is not terminal, and comes after a time only. Where a dose or another
        action makes it cross, it acts at once. An event that no longer crosses after what another does at the
        same time does nothing (SBML: not persistent).
    delay : float or str
        How much later it acts, a number or a name, as the threshold; it does so whatever happens meanwhile.
    priority : float
        Of events that act at the same time the one with the highest is first, then in the order of the list.

    Notes
    -----
    Times nearer to each other than 1e-11 of the horizon are one moment. At one moment comes first what the
    clock says: breaks, parameters that switch, resets, then doses and rates of infusions; then actions that
    waited for this time; then an event that ends the integration; then events that cross and act, one by one,
    each judged by the states as they are then. What is saved at that time is the state behind all of it.

    Examples
    --------
    >>> import fastcart
    >>> low = fastcart.Event("remission", "C", 1e3, direction="down")
    >>> fastcart.solve("li_lei", events=[low]).endpoints[["event_remission", "count_remission"]].shape
    (1, 2)
    """

    name: str
    of: str
    threshold: float | str
    direction: Direction = "both"
    terminal: bool = False
    after: float | str = 0.0
    actions: Sequence[Action] = ()
    delay: float | str = 0.0
    priority: float = 0.0

    def __post_init__(self) -> None:
        """Take one action for a list of it."""
        given = (self.actions,) if isinstance(self.actions, Action) else self.actions
        object.__setattr__(self, "actions", tuple(given) if isinstance(given, Iterable) else (given,))

    @property
    def named(self) -> list[str]:
        """Parameters and columns of patients that hold its threshold, delay and values."""
        values = (self.threshold, self.delay, *(action.value for action in self.actions))
        return [value for value in values if isinstance(value, str)]


def check_quantities(model: Model, given: Sequence[str], what: str) -> tuple[str, ...]:
    """Return names of states and observables as a tuple, having checked that the model has them."""
    listed = names(given, what)
    known = [*model.state_names, *model.observable_names]
    for name in listed:
        if name not in known:
            raise InputError(
                f"Model {model.name!r} has no state or observable {shown(name)}." + nearest(name, known)
            )
    return tuple(listed)


def listed_events(events: Event | Iterable[Event] | None) -> tuple[Event, ...]:
    """Return events as a tuple, having checked that each is one and says something; None is none.

    Raises
    ------
    InputError
        For anything that is no event, two of the same name, a threshold that is neither a number nor a name,
        an unknown direction, or an order that cannot be.
    """
    events = () if events is None else events
    if not isinstance(events, Event | Iterable):
        raise InputError(f"The events must be a list of fastcart.Event, not {shown(events)}.")
    listed = (events,) if isinstance(events, Event) else tuple(events)
    for event in listed:
        if not isinstance(event, Event):
            raise InputError(f"The events must be a list of fastcart.Event, not {shown(event)}.")
        _check_event(event)
    names([event.name for event in listed], "The names of events")
    for j, event in enumerate(listed):
        _check_after(event, [earlier.name for earlier in listed[:j]])
    return listed


def _check_event(event: Event) -> None:
    if not isinstance(event.name, str) or not event.name.isidentifier():
        raise InputError(f"An event is named with letters, digits and underscores, not {shown(event.name)}.")
    if event.direction not in DIRECTIONS:
        raise InputError(
            f"The direction of event {event.name!r} must be 'up', 'down' or 'both', not "
            f"{shown(event.direction)}." + nearest(event.direction, DIRECTIONS)
        )
    if not isinstance(event.threshold, str):
        number(event.threshold, f"The threshold of event {event.name!r}")
    elif not event.threshold.isidentifier():
        raise InputError(
            f"The threshold of event {event.name!r} must be a number or the name of a column, not "
            f"{shown(event.threshold)}."
        )
    _check_actions(event)


def _check_actions(event: Event) -> None:
    where = f"event {event.name!r}"
    for action in event.actions:
        if not isinstance(action, Action):
            raise InputError(f"The actions of {where} must be fastcart.Action, not {shown(action)}.")
        if action.kind not in ACTIONS:
            *others, last = map(repr, ACTIONS)
            allowed = f"{', '.join(others)} or {last}"
            raise InputError(
                f"An action of {where} must be {allowed}, not {shown(action.kind)}."
                + nearest(action.kind, ACTIONS)
            )
        if not isinstance(action.value, str):
            number(action.value, f"The value of an action of {where}")
    number(event.priority, f"The priority of {where}")
    if not isinstance(event.delay, str) and number(event.delay, f"The delay of {where}") < 0:
        raise InputError(f"The delay of {where} must not be negative, not {shown(event.delay)}.")
    if event.actions:
        if event.direction == "both" or event.terminal or isinstance(event.after, str):
            raise InputError(
                f"The {where} acts, so its direction must be 'up' or 'down', and it can neither end the "
                "integration nor come after another event."
            )
    elif event.delay != 0:
        raise InputError(f"The {where} has a delay but does nothing; give actions.")


def check_events(model: Model, events: Sequence[Event]) -> None:
    """Check that events are about states and observables that the model has.

    Raises
    ------
    InputError
        For a quantity that the model does not have, and an action on what is no state.
    """
    for event in events:
        check_quantities(model, [event.of], f"The quantity of event {event.name!r}")
        states = [state.name for state in model.states if not state.computed]
        for action in event.actions:
            if action.state not in states:
                raise InputError(
                    f"The event {event.name!r} acts on {shown(action.state)}, which is no state of model "
                    f"{model.name!r}." + nearest(action.state, states)
                )


def _check_after(event: Event, earlier: Sequence[str]) -> None:
    if not isinstance(event.after, str):
        number(event.after, f"The time after which event {event.name!r} counts")
    elif event.after not in earlier:
        raise InputError(
            f"Event {event.name!r} is to come after {event.after!r}, which is no event before it in the list."
        )
    elif event.terminal:
        raise InputError(
            f"Event {event.name!r} ends the integration, so it can come after a time, but not after another "
            "event."
        )


def result_columns(peaks: Sequence[str], auc: Sequence[str], events: Sequence[Event]) -> list[str]:
    """Return the columns that these add to the endpoints."""
    columns = [column for name in peaks for column in (f"peak_{name}", f"t_peak_{name}")]
    columns += [f"auc_{name}" for name in auc]
    columns += [c for event in events for c in (f"event_{event.name}", f"count_{event.name}")]
    return columns


def require_columns(model: Model, events: Sequence[Event], given: Iterable[str]) -> None:
    """Check that the patients have a column for each threshold that is no parameter of the model."""
    for event in events:
        for name in event.named:
            if name not in (*model.parameter_names, *given):
                what = "threshold" if name == event.threshold else "value"
                raise InputError(
                    f"The {what} {name!r} of event {event.name!r} is neither a parameter of model "
                    f"{model.name!r} nor a column of the patients; give each patient a value."
                )


def watched_observables(model: Model, peaks: Sequence[str], events: Sequence[Event]) -> tuple[str, ...]:
    """Return the observables that peaks and events are about, each once."""
    of = dict.fromkeys([*peaks, *(event.of for event in events)])
    return tuple(name for name in of if name in model.observable_names)


def threshold_columns(model: Model, events: Sequence[Event]) -> list[str]:
    """Return the columns of the patients that are thresholds of events and no parameters of the model.

    Raises
    ------
    InputError
        For the name of a state.
    """
    columns = dict.fromkeys(name for event in events for name in event.named)
    for name in columns:
        if name in model.state_names:
            raise InputError(f"The threshold {name!r} of an event is a state; name a parameter or a column.")
    return [name for name in columns if name not in model.parameter_names]
