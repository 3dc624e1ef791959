"""Events, peaks and areas under curves: what is asked of a solution besides the standard endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastcart.checks import names, number, shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model

DIRECTIONS = ("up", "down", "both")


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
    direction: str = "both"
    terminal: bool = False
    after: float | str = 0.0


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


def check_events(model: Model, events: Sequence[Event]) -> None:
    """Check that events are about states and observables that the model has.

    Raises
    ------
    InputError
        For a quantity that the model does not have.
    """
    for event in events:
        check_quantities(model, [event.of], f"The quantity of event {event.name!r}")


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
        threshold = event.threshold
        if isinstance(threshold, str) and threshold not in (*model.parameter_names, *given):
            raise InputError(
                f"The threshold {threshold!r} of event {event.name!r} is neither a parameter of model "
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
    columns = dict.fromkeys(event.threshold for event in events if isinstance(event.threshold, str))
    for name in columns:
        if name in model.state_names:
            raise InputError(f"The threshold {name!r} of an event is a state; name a parameter or a column.")
    return [name for name in columns if name not in model.parameter_names]
