"""How a model is solved: the options that all functions and commands which solve have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict, get_args

from fastcart.breaks import break_columns
from fastcart.checks import check_breaks, count, names, number, shown
from fastcart.errors import InputError, nearest
from fastcart.events import (
    Event,
    check_events,
    check_quantities,
    listed_events,
    threshold_columns,
    watched_observables,
)
from fastcart.model import Model
from fastcart.solvers.system import hidden
from fastcart.typing_names import Engine, Method

ENGINES: tuple[str, ...] = get_args(Engine)
MIN_RTOL, MAX_RTOL = 1e-14, 0.1  # a double holds about 16 digits
# what is looked for in a course, and where it stops; a trial has its own
OF_A_COURSE = ("peaks", "auc", "events", "breaks")


def _option(default: Any, kind: str, text: str, metavar: str | None = None, flag: str | None = None) -> Any:
    """Make a field that also says what kind of value it takes, and what the command line calls it."""
    return field(default=default, metadata={"kind": kind, "help": text, "metavar": metavar, "flag": flag})


@dataclass(frozen=True, kw_only=True)
class SolveOptions:
    """How a model is solved, and what is looked for on the way.

    Each function that solves takes these options whole, as ``options=SolveOptions(...)``, or one by one as
    keywords; a keyword counts over the option given whole.

    Parameters
    ----------
    t_end : float, optional
        Horizon in the model's unit of time; default the model's.
    engine : {'auto', 'lanes', 'lsoda', 'published', 'scipy'}
        ``auto``: SIMD lanes with an explicit method, and a stiff one or LSODA for patients that need it;
        ``lanes``: one method of the lane engine; ``published`` repeats the scheme of the paper's authors;
        ``scipy`` is a slow independent check.
    method : str, optional
        Variant of the engine: ``tsit5``, ``vern7``, ``dop853`` (explicit), ``stab5`` (explicit, for models
        with fast decays) or ``rodas5p`` (stiff) for lanes, e.g. ``Radau`` for ``scipy``. Default for lanes:
        the model's ``method``, else ``tsit5`` or ``vern7`` by ``rtol``.
    rtol : float
        Relative tolerance, in [1e-14, 0.1].
    atol : float, optional
        Absolute tolerance of the states that are not integrated in logarithm, in their units; default
        ``rtol`` times each state's ``scale``.
    extinction : float, optional
        Number of cells below which a state that may die out (the tumor) becomes an exact zero and stays
        zero; default: never.
    peaks : sequence of str
        States and observables whose largest value over the course is looked for, on the interpolant of the
        method: endpoints ``peak_<name>`` and ``t_peak_<name>``. Every engine but ``published`` knows peaks,
        events and extinction. ``lsoda`` looks between its steps by their slopes and four places in each: what
        crosses a level and comes back within less than a quarter of a step is missed.
    auc : sequence of str
        States and observables whose integral over the course is computed: endpoints ``auc_<name>``.
    events : sequence of Event
        Crossings of thresholds to record, count or end at; see `fastcart.Event`.
    max_steps : int
        Budget of steps per patient.
    max_step : float, optional
        No step is longer, in the model's unit of time: for a right-hand side with a pulse or another change
        in time that is shorter than a step and so could be stepped over; default: no limit.
    breaks : sequence of float or str
        Times at which the right-hand side may jump: every engine stops just before and starts anew just
        behind, and none evaluates in between. A name stands for a parameter, or a column of the patients,
        that holds each patient's own time. Breaks from the horizon on are of no effect.

    Raises
    ------
    InputError
        For a value that no model could be solved with.

    Examples
    --------
    >>> import fastcart
    >>> options = fastcart.SolveOptions(rtol=1e-9, peaks=["I6"])
    >>> fastcart.solve("li_lei", options=options, t_end=10).endpoints["peak_I6"].shape
    (1,)
    """

    t_end: float | None = _option(None, "number", "horizon (default: the model's)", "D")
    engine: Engine = _option(  # noqa: RUF009
        "auto", "text", "auto (default), lanes, lsoda, published, scipy", "ENGINE"
    )
    method: Method | None = _option(  # noqa: RUF009
        None, "text", "variant of the engine, e.g. Radau for scipy", "METHOD"
    )
    rtol: float = _option(1e-6, "number", "relative tolerance (default: 1e-6)", "R")
    atol: float | None = _option(
        None, "number", "absolute tolerance (default: rtol times a state's scale)", "A"
    )
    extinction: float | None = _option(
        None, "cells", "below so many cells the tumor is gone (default: off)", "off|CELLS"
    )
    peaks: Sequence[str] = _option((), "names", "states or observables: largest value, and when", "NAME,...")
    auc: Sequence[str] = _option((), "names", "states or observables: integral over the course", "NAME,...")
    events: Sequence[Event] = _option(
        (), "events", "when, and how often, a state or observable crosses a threshold (may be repeated)",
        "NAME:OF:THRESHOLD[:up|down|both[:stop]]", "--event",
    )  # fmt: skip
    max_steps: int = _option(100_000, "whole", "budget of steps per patient (default: 100000)", "N")
    max_step: float | None = _option(None, "number", "no step is longer (default: no limit)", "D")
    breaks: Sequence[float | str] = _option(
        (), "times",
        "times, or parameters or columns of times, at which the right-hand side may jump", "D|NAME,...",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Bring what was given into its one form, and check what can be checked without a model."""

        def optional(name: str, what: str) -> float | None:
            value = getattr(self, name)
            return None if value is None else number(value, what, positive=True)

        if not isinstance(self.engine, str) or self.engine not in ENGINES:
            raise InputError(f"There is no engine {shown(self.engine)}." + nearest(self.engine, ENGINES))
        checked = {
            "peaks": tuple(names(self.peaks, "The peaks to look for")),
            "auc": tuple(names(self.auc, "The quantities to integrate")),
            "events": listed_events(self.events),
            "breaks": check_breaks(self.breaks),
            "t_end": optional("t_end", "The horizon t_end"),
            "rtol": number(self.rtol, "The relative tolerance rtol", positive=True),
            "max_steps": count(self.max_steps, "The budget max_steps"),
            "atol": optional("atol", "The absolute tolerance atol"),
            "extinction": optional("extinction", "The threshold of extinction"),
            "max_step": optional("max_step", "The longest step max_step"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if not MIN_RTOL <= self.rtol <= MAX_RTOL:
            raise InputError(
                f"The relative tolerance rtol must lie in [{MIN_RTOL:g}, {MAX_RTOL:g}], not {self.rtol:g}."
            )

    def keywords(self) -> dict[str, Any]:
        """Return the options by name, as functions take them one by one."""
        return {option.name: getattr(self, option.name) for option in fields(self)}

    def changed(self) -> dict[str, Any]:
        """Return those options that are not at their defaults, by name."""
        return {o.name: getattr(self, o.name) for o in fields(self) if getattr(self, o.name) != o.default}

    def watching(self, peaks: Iterable[str], auc: Iterable[str]) -> SolveOptions:
        """Return the same with further peaks and areas, each once."""
        return replace(
            self, peaks=tuple(dict.fromkeys([*self.peaks, *peaks])),
            auc=tuple(dict.fromkeys([*self.auc, *auc])),
        )  # fmt: skip

    def horizon(self, model: Model) -> float:
        """Return the time at which the integration ends: as given, else the model's."""
        return model.t_end if self.t_end is None else self.t_end

    def all_events(self, model: Model) -> tuple[Event, ...]:
        """Return the events given, and behind them what the model itself must be watched for."""
        return (*self.events, *(model.moments.watch if model.moments is not None else ()))

    def all_breaks(self, model: Model) -> tuple[float | str, ...]:
        """Return the breaks of the model and those given, each once."""
        return tuple(dict.fromkeys([*model.breaks, *self.breaks]))

    def columns(self, model: Model) -> list[str]:
        """Return the columns of the patients that events and breaks name and that are no parameters."""
        return list(dict.fromkeys(
            [*threshold_columns(model, self.events), *break_columns(model, self.breaks)]
        ))  # fmt: skip

    def integrands(self, model: Model) -> tuple[str, ...]:
        """Return the observables that are watched; the steps follow them by integrals, no endpoints."""
        watched = watched_observables(model, self.peaks, self.all_events(model))
        return tuple(x for x in watched if x not in self.auc)

    def derive(self, model: Model) -> Model:
        """Return the model with what these options add to it, having checked that it has what they name.

        Raises
        ------
        InputError
            For a state or observable that it does not have.
        """
        check_quantities(model, self.peaks, "The peaks to look for")
        check_quantities(model, self.auc, "The quantities to integrate")
        check_events(model, self.events)
        integrals = {f"auc_{x}": x for x in self.auc}
        integrals |= {hidden(x): x for x in self.integrands(model)}
        return model.derived(integrals, self.columns(model))


# what TOML must give an option as, by its kind; events have tables of their own
_NUMBER: tuple[tuple[type, ...], str] = ((int, float), "a number")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "a text"), "number": _NUMBER, "cells": _NUMBER, "whole": _NUMBER,
    "names": ((str, list), "a list of names"), "times": ((list,), "a list of times"),
}  # fmt: skip


def options_of_table(table: Mapping[str, Any], where: str, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the table ``[solve]`` of a file as keywords of `SolveOptions`, having checked their types.

    Parameters
    ----------
    table : mapping
    where : str
        What the file is, as the sentence of an error begins.
    without : sequence of str
        Options that this file does not have, or has elsewhere.

    Raises
    ------
    InputError
        For an unknown option, and for a value of another type.
    """
    known = {o.name: _KINDS[o.metadata["kind"]] for o in fields(SolveOptions) if o.metadata["kind"] in _KINDS}
    known = {name: kind for name, kind in known.items() if name not in without}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where}: the table [solve] has no key {key!r}." + nearest(key, known))
        kinds, words = known[key]
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise InputError(f"{where}: {key!r} in [solve] must be {words}, not {shown(value)}.")
    return dict(table)


class SolverKeywords(TypedDict, total=False):
    """The options by name for functions that have a ``method`` of their own; the solver's goes in whole."""

    t_end: float | None
    engine: Engine
    rtol: float
    atol: float | None
    extinction: float | None
    peaks: Sequence[str]
    auc: Sequence[str]
    events: Sequence[Event]
    max_steps: int
    max_step: float | None
    breaks: Sequence[float | str]


class SolveKeywords(SolverKeywords, total=False):
    """The options by name, see `SolveOptions`."""

    method: Method | None


def chosen_options(
    options: SolveOptions | None, keywords: Mapping[str, Any], function: Callable[..., Any], what: str
) -> SolveOptions:
    """Return the options that a function was given, whole or by keywords; the latter count.

    ``what`` the function does begins the sentence about a keyword that it does not have.

    Raises
    ------
    InputError
        For such a keyword, and for a bad value.
    """
    known = [option.name for option in fields(SolveOptions)]
    for name in keywords:
        if name not in known:
            own = [p.name for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
            raise InputError(f"{what} has no option {name!r}." + nearest(name, [*own, *known]))
    if options is None:
        return SolveOptions(**keywords)
    if not isinstance(options, SolveOptions):
        raise InputError(
            f"The options must be a fastcart.SolveOptions, not {shown(options)}; its parts can be given as "
            "keywords, too."
        )
    return replace(options, **keywords) if keywords else options
