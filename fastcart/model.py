"""What a model is: names, units, defaults, one right-hand side, and what can be observed.

The right-hand side ``rhs(t, y, p)`` takes time, states and parameters in natural units and RETURNS the
derivatives as a tuple. That one form serves every engine: LSODA, SciPy and the SIMD lanes. Equations read
states and parameters by name, ``p.growth * y.C``; `fastcart.equations` says what else they may name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from fastcart.checks import check_breaks, number, reason, shown
from fastcart.derivation import integrating, reduced, shortened
from fastcart.errors import InputError, nearest
from fastcart.model_checks import check_model, collected, with_algebraic
from fastcart.model_parts import RESERVED as RESERVED
from fastcart.model_parts import Algebraic as Algebraic
from fastcart.model_parts import Observable as Observable
from fastcart.model_parts import Parameter as Parameter
from fastcart.model_parts import State as State
from fastcart.model_parts import Sum as Sum
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.system import Moments, System, Variable
from fastcart.solvers.system import PublishedScheme as PublishedScheme

_MOST_DERIVED = 64  # models that one model keeps of those derived from it
_ANY = (-math.inf, math.inf)


@dataclass(frozen=True, repr=False)
class Model:
    """A system of ordinary differential equations for virtual patients.

    Parameters
    ----------
    name : str
    states : sequence of State, or mapping of name to default
        What has a derivative, and its initial value where patients give none. Units are those that you write
        equations in, e.g. cells; ``State(..., unit="cells")`` says them in tables and figures, and nothing is
        converted.
    parameters : sequence of Parameter, or mapping of name to default
        Numbers that may differ between patients, with units such as ``"1/day"``. Without a `Parameter` that
        says another ``range`` they are not negative.
    rhs : jitted function
        ``rhs(t, y, p)`` is called for one patient at one time: ``t`` a number in ``time_unit``, ``y`` the
        states and ``p`` the parameters of this patient, all of them numbers. It returns the derivatives, in
        units of the states per ``time_unit``, as a tuple in the order of ``states``, or by name with
        `fastcart.derivatives`; of a single state ``(value,)``. States and parameters are read by name,
        ``y.C`` and ``p.growth``; ``y`` and ``p`` can also be indexed and unpacked, in the order in which they
        are listed.
    t_end : float
        Default horizon, in ``time_unit``.
    observables : sequence of Observable, optional
        What is computed from the states beside them, e.g. a cytokine.
    observe : jitted function, optional
        ``observe(t, y, p)`` returns the observables as a tuple, in their order; called as ``rhs``.
    burden : str, optional
        The state whose growth above its initial value is progression (the tumor).
    time_unit : str
        Of times and rates, in the singular: ``"day"``, ``"hour"``. A name, by which nothing is converted.
    doc : str
        What the model is, with equations.
    references : sequence of str
    published : PublishedScheme, optional
    options : mapping
        The named options that this variant was built with, e.g. ``{"killing": "free"}``.
    constraints : sequence of Sum
        Sums of parameters that every patient must keep.
    method : str, optional
        The explicit method that engine ``lanes`` takes, and ``auto`` weighs against the stiff one, where the
        caller names none:
        ``stab5`` for models with fast decays, whose steps stability limits. Default: chosen by ``rtol``.
    breaks : sequence of str or float
        Parameters that are times, and times, at which the right-hand side jumps: engines stop there, as they
        do at the ``breaks`` of `fastcart.SolveOptions`.
    algebraic : sequence of Algebraic, optional
        Variables that have an equation instead of a derivative. They come behind the states, in ``y`` and in
        ``states``; ``rhs`` returns no derivatives of them.
    residual : jitted function, optional
        ``residual(t, y, p)`` returns a tuple of what must be zero, a number for each algebraic variable. It
        is differentiated, and so must be one that can be traced: no loop whose end depends on the numbers.
        Integration follows the derivative of the equation, ``g_t + g_y y' + g_x x' = 0``, and starts anew
        from a root where a dose, a break, an action or a switch moves it.
    typical : mapping of str to float
        Values of states and parameters, where they are not the defaults, of the patients with whom engine
        ``auto`` tries its methods, such as cells that are infused. They decide on the method alone.
    moments : Moments, optional
        Events that belong to the model, as those of SBML; made by `fastcart.sbml.load`.

    Raises
    ------
    InputError
        For duplicate or invalid names, a wrong number of derivatives, an equation that reads a name that is
        no state or parameter, a default outside its range, an unknown method, a residual that cannot be
        traced or does not determine the algebraic variables.

    Examples
    --------
    Tumor cells C that CAR-T cells E kill, rates per day; two patients differ in ``kill``. Results have a row
    for each patient (``endpoints``), or for each patient and time (``trajectories``), times in days:

    >>> import fastcart
    >>> from numba import njit
    >>> @njit
    ... def rhs(t, y, p):
    ...     C = p.growth * y.C * (1 - y.C / p.capacity) - p.kill * y.E * y.C
    ...     return C, -p.death * y.E
    >>> states = [fastcart.State("C", "cells", 1e6), fastcart.State("E", "cells", 1e7)]
    >>> numbers = {"growth": 0.3, "capacity": 1e9, "kill": 1e-7, "death": 0.1}
    >>> model = fastcart.Model("killing", states, numbers, rhs, t_end=60, burden="C")
    >>> result = fastcart.solve(model, {"kill": [1e-7, 4e-8]}, save_at=[0, 30, 60])
    >>> result.endpoints["pfs"].round(1).tolist()
    [32.0, 6.1]
    >>> result.trajectories.shape, list(result.trajectories.columns)
    ((6, 4), ['patient', 't', 'C', 'E'])
    """

    name: str
    states: Sequence[State]
    parameters: Sequence[Parameter]
    rhs: Callable[..., Any]
    _: KW_ONLY
    t_end: float = 100.0
    observables: Sequence[Observable] = ()
    observe: Callable[..., Any] | None = None
    burden: str | None = None
    time_unit: str = "day"
    doc: str = ""
    references: Sequence[str] = ()
    published: PublishedScheme | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    constraints: Sequence[Sum] = ()
    method: str | None = None
    breaks: Sequence[float | str] = ()
    algebraic: Sequence[Algebraic] = ()
    residual: Callable[..., Any] | None = None
    typical: Mapping[str, float] = field(default_factory=dict)
    moments: Moments | None = None

    def __post_init__(self) -> None:
        """Bring what was given into its one form, and check it."""
        where = f"Model {shown(self.name)}"
        states: Any = self.states
        parameters: Any = self.parameters
        if isinstance(states, Mapping):
            states = [State(key, default=value) for key, value in states.items()]
        if isinstance(parameters, Mapping):
            parameters = [Parameter(key, value) for key, value in parameters.items()]
        algebraic = collected(Algebraic, self.algebraic, f"{where}: the algebraic variables")
        listed = collected(State, states, f"{where}: the states")
        for name, value in (
            ("algebraic", algebraic),
            ("states", with_algebraic(listed, algebraic)),
            ("parameters", collected(Parameter, parameters, f"{where}: the parameters")),
            ("t_end", number(self.t_end, f"{where}: the horizon 't_end'", positive=True)),
            ("observables", collected(Observable, self.observables, f"{where}: the observables")),
            ("constraints", collected(Sum, self.constraints, f"{where}: the constraints")),
            ("references", tuple(self.references)),
            ("options", dict(self.options or {})),
            ("breaks", check_breaks(self.breaks)),
            ("typical", dict(self.typical or {})),
        ):
            object.__setattr__(self, name, value)
        check_model(self)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without what is derived from the parts: it is made anew there."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def __hash__(self) -> int:
        """Of its name and those of its parts, so that a model may be in a set or a key of a mapping."""
        return hash((self.name, *self.state_names, *self.parameter_names, *self.observable_names))

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
    def quantities(self) -> list[State | Observable]:
        """All that has a course: the states, then the observables."""
        return [*self.states, *self.observables]

    @property
    def differential(self) -> list[str]:
        """Names of the states that have derivatives, in the order of those."""
        return [s.name for s in self.states if not isinstance(s, Algebraic)]

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
        known = [part.name for part in fields(self)]
        for name in changes:
            if name not in known:
                raise InputError(f"A model has no part {shown(name)}." + nearest(name, known))
        return replace(self, **changes)

    def derived(self, integrals: Mapping[str, str], columns: Sequence[str] = ()) -> Model:
        """Return the model with integrals as further states, and columns of patients as further parameters.

        The same request gives the same object, so that nothing is compiled or examined twice.

        Parameters
        ----------
        integrals : mapping
            Name of each new state, the last ones, to the state or observable whose integral from time 0 it
            is; nothing depends on it, and patients and doses cannot give it.
        columns : sequence of str
            Parameters, the last ones, that the right-hand side does not look at.

        Returns
        -------
        Model
        """
        if not integrals and not columns:
            return self
        key = (tuple(integrals.items()), tuple(columns))
        if key not in self._derived:
            if len(self._derived) >= _MOST_DERIVED:
                self._derived.clear()
            self._derived[key] = self._derive(integrals, columns)
        return self._derived[key]

    def _derive(self, integrals: Mapping[str, str], columns: Sequence[str]) -> Model:
        units = {state.name: state.unit for state in self.states}
        units |= {observable.name: observable.unit for observable in self.observables}
        added = (
            State(name, f"{units[of]} {self.time_unit}", description=f"∫ {of} dt", computed=True)
            for name, of in integrals.items()
        )
        return self.replace(
            states=(*self.states, *added),
            parameters=(*self.parameters, *(Parameter(name, 0.0, range=_ANY) for name in columns)),
            rhs=integrating(self, list(integrals.values())),
            observe=self.observe and shortened(self, self.observe, "observe"),
            residual=self.residual and shortened(self, self.residual, "residual"),
        )

    @cached_property
    def _derived(self) -> dict[Any, Model]:
        return {}

    @cached_property
    def _systems(self) -> dict[str, System]:
        return {}

    @property
    def system(self) -> System:
        """The plain description of the model that solvers get: what they need, and nothing else.

        The same object as long as nothing is edited of what an algebraic model's residual is made of: of
        that the description holds derivatives.
        """
        code = fingerprint(self.residual) if self.algebraic else ""
        if code not in self._systems:
            self._systems[code] = self._describe()
        return self._systems[code]

    def _describe(self) -> System:
        system = System(
            name=self.name,
            states=tuple(
                Variable(s.name, s.log, s.nonnegative, s.extinction, s.computed) for s in self.states
            ),
            parameters=tuple(self.parameter_names),
            rhs=self.rhs,
            observables=tuple(self.observable_names),
            observe=self.observe,
            burden=self.burden,
            method=self.method,
            published=self.published,
            time_unit=self.time_unit,
            moments=self.moments,
        )
        return reduced(self, system) if self.algebraic else system

    def _repr_html_(self) -> str:
        """Show equations, states and parameters in a notebook."""
        # what writes equations lies above the model, and is asked for by a notebook alone
        return str(import_module("fastcart.describe").as_html(self))

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
