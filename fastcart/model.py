"""What a model is: names, units, defaults, one right-hand side, and what can be observed.

The right-hand side ``rhs(t, y, p)`` takes time, states and parameters in natural units and RETURNS the
derivatives as a tuple. That one form serves every engine: LSODA, SciPy and the SIMD lanes. Equations read
states and parameters by name, ``p.growth * y.C``; `fastcart.equations` says what else they may name.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fastcart.checks import number, real, reason, shown
from fastcart.equations import in_order, unknown_name
from fastcart.errors import InputError, nearest

# Names that tables of patients and results use themselves.
RESERVED = frozenset(
    {
        "patient", "t", "time", "status", "pfs", "progression", "censored", "nadir", "t_nadir", "final",
        "engine", "steps", "rejected", "rhs_calls", "t_reached", "cured",
    }
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """One state variable.

    Parameters
    ----------
    name : str
        Identifier, the column of initial values in a table of patients.
    unit : str
    default : float or callable
        Initial value; a callable gets a mapping of all other columns (arrays) and returns an array.
    log : bool
        Integrate the logarithm. For states whose derivative is proportional to the state itself; it
        keeps them positive over hundreds of orders of magnitude, and exact zeros stay zero.
    scale : float
        A small amount that still matters; the absolute tolerance of a state that is not in logarithm
        is ``rtol * scale``.
    description : str
    extinction : bool or str
        Whether the state may die out: where an extinction threshold is asked for, it becomes an exact
        zero when it falls below, and stays zero until a dose. States with the same text, the name of a
        group, die out together when their sum falls below.
    nonnegative : bool
        Whether the state counts something and is not in logarithm: a step that takes it below minus its
        tolerance is tried again, shorter, and a patient whose solution does go there ends as ``negative``.
    computed : bool
        Whether it is an integral that `fastcart.solve` adds: tables of patients and doses cannot give it.
    """

    name: str
    unit: str = ""
    default: float | Callable[[Mapping[str, Any]], Any] = 0.0
    log: bool = False
    scale: float = 1.0
    description: str = ""
    extinction: bool | str = False
    nonnegative: bool = False
    computed: bool = False


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Parameters
    ----------
    name : str
        Identifier, the column in a table of patients.
    default : float or callable
        Value; a callable gets a mapping of the other columns (arrays) and returns an array.
    unit : str
    symbol : str
        How the paper writes it.
    range : (float, float)
        Allowed values, both ends included; what lies outside is an input error.
    source : str
        Where the default comes from.
    description : str
    """

    name: str
    default: float | Callable[[Mapping[str, Any]], Any]
    unit: str = ""
    symbol: str = ""
    range: tuple[float, float] = (0.0, math.inf)
    source: str = ""
    description: str = ""


@dataclass(frozen=True)
class Observable:
    """A quantity computed from time, states and parameters, e.g. a cytokine or a killing rate."""

    name: str
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Sum:
    """A constraint: these parameters, e.g. chances of alternatives, add up to a total for every patient."""

    parameters: tuple[str, ...]
    total: float = 1.0
    tolerance: float = 1e-9


@dataclass(frozen=True)
class PublishedScheme:
    """The numerical scheme that a paper's own results were made with, to reproduce them exactly.

    Parameters
    ----------
    rhs : jitted function
        Right-hand side with the authors' own inner iterations.
    step : float
        Fixed step of the classical Runge-Kutta method, in the model's unit of time.
    """

    rhs: Callable
    step: float


@dataclass(frozen=True, init=False, repr=False)
class Model:
    """A system of ordinary differential equations for virtual patients.

    Parameters
    ----------
    name : str
    states : sequence of State, or mapping of name to default
    parameters : sequence of Parameter, or mapping of name to default
    rhs : jitted function
        ``rhs(t, y, p)`` returns the derivatives as a tuple in the order of ``states``, or by name with
        `fastcart.derivatives`, in natural units. States and parameters are read by name, ``y.C`` and
        ``p.growth``; ``y`` and ``p`` can also be indexed and unpacked, in the order in which they are listed.
    t_end : float
        Default horizon, in ``time_unit``.
    observables : sequence of Observable, optional
    observe : jitted function, optional
        ``observe(t, y, p)`` returns the observables as a tuple.
    burden : str, optional
        The state whose growth above its initial value is progression (the tumor).
    time_unit : str
    doc : str
        What the model is, with equations.
    references : sequence of str
    published : PublishedScheme, optional
    options : mapping
        The named options that this variant was built with, e.g. ``{"killing": "free"}``.
    constraints : sequence of Sum
        Sums of parameters that every patient must keep.
    method : str, optional
        The explicit method that engines ``auto`` and ``lanes`` begin with where the caller names none:
        ``stab5`` for models with fast decays, whose steps stability limits. Default: chosen by ``rtol``.

    Raises
    ------
    InputError
        For duplicate or invalid names, a wrong number of derivatives, an equation that reads a name that is
        no state or parameter, a default outside its range, an unknown method.

    Examples
    --------
    >>> from numba import njit
    >>> from fastcart import Model
    >>> @njit
    ... def rhs(t, y, p):
    ...     return (p.growth * y.C * (1 - y.C / p.capacity),)
    >>> model = Model("logistic", {"C": 1e6}, {"growth": 0.3, "capacity": 1e9}, rhs, t_end=60)
    """

    name: str
    states: tuple[State, ...]
    parameters: tuple[Parameter, ...]
    rhs: Callable
    t_end: float
    observables: tuple[Observable, ...]
    observe: Callable | None
    burden: str | None
    time_unit: str
    doc: str
    references: tuple[str, ...]
    published: PublishedScheme | None
    options: Mapping[str, Any]
    constraints: tuple[Sum, ...]
    method: str | None

    def __init__(
        self,
        name: str,
        states: Sequence[State] | Mapping[str, Any],
        parameters: Sequence[Parameter] | Mapping[str, Any],
        rhs: Callable,
        *,
        t_end: float = 100.0,
        observables: Sequence[Observable] = (),
        observe: Callable | None = None,
        burden: str | None = None,
        time_unit: str = "day",
        doc: str = "",
        references: Sequence[str] = (),
        published: PublishedScheme | None = None,
        options: Mapping[str, Any] | None = None,
        constraints: Sequence[Sum] = (),
        method: str | None = None,
    ):
        if isinstance(states, Mapping):
            states = [State(key, default=value) for key, value in states.items()]
        if isinstance(parameters, Mapping):
            parameters = [Parameter(key, value) for key, value in parameters.items()]
        where = f"Model {shown(name)}"
        values = dict(
            name=name, states=_collected(State, states, f"{where}: the states"),
            parameters=_collected(Parameter, parameters, f"{where}: the parameters"), rhs=rhs,
            t_end=number(t_end, f"{where}: the horizon 't_end'", positive=True),
            observables=_collected(Observable, observables, f"{where}: the observables"), observe=observe,
            burden=burden, time_unit=time_unit, doc=doc, references=tuple(references),
            published=published, options=dict(options or {}),
            constraints=_collected(Sum, constraints, f"{where}: the constraints"),
            method=method,
        )  # fmt: skip
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        _check(self)

    @property
    def state_names(self) -> list[str]:
        """Names of the states, in order."""
        return [s.name for s in self.states]

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters, in order."""
        return [p.name for p in self.parameters]

    @property
    def observable_names(self) -> list[str]:
        """Names of the observables, in order."""
        return [o.name for o in self.observables]

    @property
    def burden_index(self) -> int:
        """Index of the burden among the states, -1 where the model has none."""
        return -1 if self.burden is None else self.state_names.index(self.burden)

    @property
    def items(self) -> list[Parameter | State]:
        """All that a table of patients can give: parameters, then states."""
        return [*self.parameters, *self.states]

    def default_parameters(self) -> dict[str, float]:
        """Return the default value of every parameter."""
        values = self.defaults()
        return {name: values[name] for name in self.parameter_names}

    def default_states(self) -> dict[str, float]:
        """Return the default initial value of every state."""
        values = self.defaults()
        return {name: values[name] for name in self.state_names}

    def defaults(self) -> dict[str, float]:
        """Return the defaults of parameters and states; computed ones follow the others."""
        items = self.items
        values = {i.name: float(i.default) for i in items if not callable(i.default)}
        for item in items:
            if callable(item.default):
                values[item.name] = float(computed_default(self, item, values, ()))
        return {item.name: values[item.name] for item in items}

    def replace(self, **changes: Any) -> Model:
        """Return a copy of the model with some of its parts changed, checked as a new one is.

        What is not named stays, also what is added to models later: a derived model forgets nothing.

        Parameters
        ----------
        **changes
            Parts by the names that `Model` takes them by, e.g. ``t_end=365.0`` or ``states=...``; those of a
            list, such as the parameters, are replaced all together.

        Returns
        -------
        Model

        Raises
        ------
        InputError
            For a part that models do not have, and for a model that `Model` would refuse.

        Examples
        --------
        >>> import fastcart
        >>> year = fastcart.models.get("li_lei").replace(t_end=365.0)
        >>> year.t_end, year.burden
        (365.0, 'C')
        """
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        for name in changes:
            if name not in values:
                raise InputError(f"A model has no part {shown(name)}." + nearest(name, values))
        return type(self)(**{**values, **changes})

    def __repr__(self) -> str:
        """Short form: name, numbers of states and parameters, options."""
        options = "".join(f", {k}={v!r}" for k, v in self.options.items())
        return f"Model({self.name!r}, {len(self.states)} states, {len(self.parameters)} parameters{options})"


def computed_default(
    model: Model, item: Parameter | State, values: Mapping[str, Any], shape: tuple[int, ...]
) -> np.ndarray:
    """Return a default that follows from other columns: numbers of the shape of those, or one number.

    Raises
    ------
    InputError
        When its function fails or returns something else.
    """
    assert callable(item.default)
    where = f"Model {model.name!r}: the default of {item.name!r}"
    try:
        with np.errstate(all="ignore"):  # what cannot be computed is found by its NaN
            result = np.asarray(item.default(values))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also where it asks to end the program
        raise InputError(
            f"{where} cannot be computed from the other columns, {type(error).__name__}: {reason(error)}."
        ) from error
    if result.dtype.kind not in "iuf" or result.shape not in ((), shape):
        kind = f"one number for each of {shape[0]} patients" if shape else "a number"
        raise InputError(f"{where} must be computed as {kind}, not {shown(result.tolist())}.")
    return result


def _collected(kind: type, values: Any, what: str) -> tuple:
    """Return states, parameters or observables as a tuple, having checked that they are such."""
    items = tuple(values) if isinstance(values, Iterable) else (None,)
    for item in items:
        if not isinstance(item, kind):
            given = values if item is None else item
            raise InputError(f"{what} must be a list of fastcart.{kind.__name__}, not {shown(given)}.")
    return items


def _check(model: Model) -> None:
    """Check names, ranges and the number of derivatives, before anything is computed."""
    if not model.states:
        raise InputError(f"Model {model.name!r} has no states; give at least one.")
    _check_names(model)
    _check_numbers(model)
    _check_method(model)
    _put_in_order(model)
    _check_function(model, model.rhs, "rhs", len(model.states), "derivatives (one for each state)")
    if (model.observe is None) != (not model.observables):
        raise InputError(
            f"Model {model.name!r} must give both 'observables' (names) and 'observe' (function), or neither."
        )
    if model.observe is not None:
        _check_function(
            model, model.observe, "observe", len(model.observables), "values (one per observable)"
        )
        _check_no_raise(model)


def _put_in_order(model: Model) -> None:
    """Give right-hand sides that name their derivatives the order of the states."""
    names, scheme = model.state_names, model.published
    object.__setattr__(model, "rhs", in_order(model.rhs, names))
    if scheme is not None:
        object.__setattr__(model, "published", replace(scheme, rhs=in_order(scheme.rhs, names)))


def _check_names(model: Model) -> None:
    seen: dict[str, str] = {}
    for kind, items in (
        ("state", model.states),
        ("parameter", model.parameters),
        ("observable", model.observables),
    ):
        for item in items:
            name = item.name
            if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
                raise InputError(
                    f"Model {model.name!r}: {name!r} cannot be the name of a {kind}; use letters, "
                    "digits and underscores, not starting with a digit."
                )
            if name in RESERVED:
                raise InputError(
                    f"Model {model.name!r}: the name {name!r} of a {kind} is used by the tables of "
                    "results; choose another."
                )
            if name in seen:
                raise InputError(
                    f"Model {model.name!r}: the name {name!r} is given twice, as {seen[name]} and as "
                    f"{kind}; each name must be unique."
                )
            seen[name] = kind
    if model.burden is not None and model.burden not in model.state_names:
        raise InputError(
            f"Model {model.name!r}: the burden {model.burden!r} is not a state."
            + nearest(model.burden, model.state_names)
        )


def _check_numbers(model: Model) -> None:
    where = f"Model {model.name!r}"
    for item in model.items:
        if not callable(item.default):
            number(item.default, f"{where}: the default of {item.name!r}")
    values = model.defaults()
    for name, value in values.items():  # computed ones now
        number(value, f"{where}: the default of {name!r}")
    for parameter in model.parameters:
        low, high = _limits(parameter, where)
        value = values[parameter.name]
        if not low <= value <= high:
            raise InputError(
                f"{where}: the default {value:g} of parameter {parameter.name!r} is outside its "
                f"range [{low:g}, {high:g}]; change one of them."
            )
    for state in model.states:
        if state.log and values[state.name] < 0:
            raise InputError(
                f"{where}: state {state.name!r} is integrated in logarithm, so its default must not "
                f"be negative; it is {values[state.name]:g}."
            )
        if state.nonnegative and values[state.name] < 0:
            raise InputError(
                f"{where}: state {state.name!r} is marked nonnegative, but its default is "
                f"{values[state.name]:g}; change one of them."
            )
        number(state.scale, f"{where}: the scale of state {state.name!r}", positive=True)
    if model.published is not None:
        number(model.published.step, f"{where}: the step of the published scheme", positive=True)


def _limits(parameter: Parameter, where: str) -> tuple[float, float]:
    ends = parameter.range if isinstance(parameter.range, Sequence) else ()
    limits = [real(end) for end in ends]
    if len(limits) == 2 and limits[0] is not None and limits[1] is not None and limits[0] <= limits[1]:
        return limits[0], limits[1]
    raise InputError(
        f"{where}: the range of parameter {parameter.name!r} must be two numbers (low, high), not "
        f"{shown(parameter.range)}."
    )


def _check_method(model: Model) -> None:
    from fastcart.solvers.tableaus import EXPLICIT

    if model.method is not None and model.method not in EXPLICIT:
        raise InputError(
            f"Model {model.name!r}: {shown(model.method)} is no explicit method of the lane engine."
            + nearest(model.method, EXPLICIT)
        )


def _check_no_raise(model: Model) -> None:
    """Refuse observables that raise errors: in a kernel nobody would see them."""
    from fastcart.solvers.reading import raising_lines

    for line in raising_lines(model.observe):
        raise InputError(
            f"Model {model.name!r}: observe(t, y, p) raises an error in line {line}, which a kernel cannot "
            "pass on; let it return nan where an observable has no value."
        )


def _check_function(model: Model, function: Any, role: str, length: int, what: str) -> None:
    from fastcart.solvers.compile import plain
    from fastcart.solvers.named import arguments

    y, p = arguments(model, model.default_states().values(), model.default_parameters().values())
    try:
        result = plain(function)(0.0, y, p)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also where it asks to end the program
        if isinstance(error, ArithmeticError) or "math domain error" in str(error):
            return  # division by zero and the like: the engines report it per patient
        if isinstance(error, InputError):
            raise InputError(f"Model {model.name!r}: {error}") from None
        if isinstance(error, AttributeError) and type(error.obj) in (type(y), type(p)):
            raise InputError(unknown_name(model, type(error.obj).__name__, str(error.name))) from None
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p) fails at the default values with "
            f"{type(error).__name__}: {reason(error)}."
        ) from error
    if not isinstance(result, tuple):
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p) must return a tuple of {length} {what}, not "
            f"{type(result).__name__}; end it with 'return (a, b, ...)'."
        )
    if len(result) != length:
        raise InputError(
            f"Model {model.name!r}: {role}(t, y, p) returns {len(result)} values, but it must return "
            f"{length} {what}."
        )
    for value in result:
        if real(value) is None and not isinstance(value, bool | np.bool_):  # an indicator counts as 0 or 1
            raise InputError(
                f"Model {model.name!r}: {role}(t, y, p) must return {length} real numbers; at the default "
                f"values it returns {shown(value)}."
            )
