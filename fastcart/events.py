"""Events, peaks and areas under curves: what is asked of a solution besides the standard endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastcart.checks import names, number, shown
from fastcart.errors import InputError, nearest
from fastcart.model import Model, Observable, Parameter, State

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
        Which crossings count. A jump by a dose over the threshold is a crossing; to begin above or below
        is none.
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


def check_events(model: Model, events: Event | Iterable[Event] | None) -> tuple[Event, ...]:
    """Return events as a tuple, having checked them against the model; None is none.

    Raises
    ------
    InputError
        For anything that is no event, two of the same name, a quantity that the model does not have, a
        threshold that is neither a number nor a name, or an unknown direction.
    """
    events = () if events is None else events
    if not isinstance(events, Event | Iterable):
        raise InputError(f"The events must be a list of fastcart.Event, not {shown(events)}.")
    listed = (events,) if isinstance(events, Event) else tuple(events)
    for event in listed:
        if not isinstance(event, Event):
            raise InputError(f"The events must be a list of fastcart.Event, not {shown(event)}.")
        if not isinstance(event.name, str) or not event.name.isidentifier():
            raise InputError(
                f"An event is named with letters, digits and underscores, not {shown(event.name)}."
            )
        check_quantities(model, [event.of], f"The quantity of event {event.name!r}")
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
    names([event.name for event in listed], "The names of events")
    for j, event in enumerate(listed):
        _check_after(event, [earlier.name for earlier in listed[:j]])
    return listed


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


def hidden(name: str) -> str:
    """Return the name of the state that is the integral of an observable that is watched, but no endpoint."""
    return f"_integral_of_{name}"


def watched_observables(model: Model, peaks: Sequence[str], events: Sequence[Event]) -> tuple[str, ...]:
    """Return the observables that peaks and events are about, each once."""
    of = dict.fromkeys([*peaks, *(event.of for event in events)])
    return tuple(name for name in of if name in model.observable_names)


def extended(
    model: Model, auc: Sequence[str], events: Sequence[Event], integrands: Sequence[str] = (),
    further: Sequence[str] = (),
) -> Model:  # fmt: skip
    """Add an integral for each area under a curve, and a parameter for each threshold that has a column.

    Parameters
    ----------
    model : Model
    auc : sequence of str
        States and observables; a new state ``auc_<name>`` is the integral of each from time 0.
    events : sequence of Event
    integrands : sequence of str
        Further observables whose integrals take part in the control of the error; see `hidden`.
    further : sequence of str
        Further columns of the patients that become parameters.
    """
    columns = [event.threshold for event in events if isinstance(event.threshold, str)]
    columns = [name for name in dict.fromkeys(columns) if name not in model.parameter_names]
    for name in columns:
        if name in model.state_names:
            raise InputError(f"The threshold {name!r} of an event is a state; name a parameter or a column.")
    columns += [name for name in further if name not in columns]
    if not auc and not columns and not integrands:
        return model
    watched: list[State | Observable] = [*model.states, *model.observables]
    units = {item.name: item.unit for item in watched}
    integrals = [
        State(name, f"{units[x]} {model.time_unit}", description=f"∫ {x} dt", computed=True)
        for x, name in [*((x, f"auc_{x}") for x in auc), *((x, hidden(x)) for x in integrands)]
    ]
    everything = (-float("inf"), float("inf"))
    return model.replace(
        states=(*model.states, *integrals),
        parameters=(*model.parameters, *(Parameter(name, 0.0, range=everything) for name in columns)),
        rhs=_extended_rhs(model, [*auc, *integrands]),
        observe=model.observe and _shortened(model, "observe", model.observe),
    )


def _own(model: Model) -> list[str]:
    """Lines that take the model's own states and parameters, by name, out of the longer vectors."""
    from fastcart.solvers.named import named

    return [
        f"    s = {named('states', [f'y[{i}]' for i in range(len(model.states))])}",
        f"    q = {named('parameters', [f'p[{k}]' for k in range(len(model.parameters))])}",
    ]


def _extended_rhs(model: Model, auc: Sequence[str]) -> Any:
    observed = model.observable_names
    lines = ["def rhs(t, y, p):", *_own(model), "    f = base(t, s, q)"]
    if any(name in observed for name in auc):
        lines.append("    o = watched(t, s, q)")
    rates = [f"f[{i}]" for i in range(len(model.states))]
    rates += [f"o[{observed.index(x)}]" if x in observed else f"s[{model.state_names.index(x)}]" for x in auc]
    lines.append(f"    return ({''.join(f'{rate}, ' for rate in rates)})")
    return _compiled(model, lines, "rhs", base=model.rhs, watched=model.observe)


def _shortened(model: Model, name: str, function: Any) -> Any:
    lines = [f"def {name}(t, y, p):", *_own(model), "    return base(t, s, q)"]
    return _compiled(model, lines, name, base=function)


def _compiled(model: Model, lines: list[str], name: str, **functions: Any) -> Any:
    from numba import njit

    from fastcart.solvers.compile import from_source
    from fastcart.solvers.named import naming

    scope = {**functions, **naming(model)}
    return njit(from_source("\n".join(lines), name, scope))
