"""What solvers are told of a model: its functions, sizes and names, and how each state is integrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

STATES, PARAMETERS = "States", "Parameters"  # what errors call the arguments y and p


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

    rhs: Callable[..., Any]
    step: float


class Manifold(NamedTuple):
    """Where states may be that are algebraic variables; see `fastcart.solvers.trace.algebraic`.

    Parameters
    ----------
    places : tuple of int
        The algebraic variables among the states.
    log : tuple of bool
        Which of them are solved for in logarithm.
    starts : tuple of str
        Where the search for each begins, as text: ``"y[2]"``, ``"p[0]"`` or a number.
    equations : function
        ``equations(t, y, p)`` of arrays, made from a graph.
    fed : callable, optional
        Returns the same system where rates of infusion are further parameters, one for each state.
    following : tuple of int
        Further states that are known where the algebraic variables are: their sensitivities,
    followers : function, optional
        and ``followers(t, y, p)`` of arrays, which returns these.
    """

    places: tuple[int, ...]
    log: tuple[bool, ...]
    starts: tuple[str, ...]
    equations: Callable[..., Any]
    fed: Callable[[], System] | None = None
    following: tuple[int, ...] = ()
    followers: Callable[..., Any] | None = None


class Moments(NamedTuple):
    """What a model itself does at moments; see `fastcart.solvers.moments`.

    Parameters
    ----------
    say : compiled function
        ``say(t, y, p, f, now)`` writes all numbers that are needed, and of each event whether its condition
        holds, 1 or -1, by the sides of the relations.
    needed : int
        How many numbers these are.
    table : fastcart.solvers.moments.MomentTable
    watch : tuple of Event
        The crossings at which something may happen.
    hidden : tuple of str
        States and observables that are there for this alone, and in no table.
    """

    say: Callable[..., Any]
    needed: int
    table: Any
    watch: tuple[Any, ...]
    hidden: tuple[str, ...]


class Variable(NamedTuple):
    """How one state is integrated; see `fastcart.State`."""

    name: str
    log: bool = False
    nonnegative: bool = False
    extinction: bool | str = False
    computed: bool = False


@dataclass(frozen=True)
class System:
    """A system of ordinary differential equations, as `fastcart.Model.system` describes it.

    Parameters
    ----------
    name : str
    states : tuple of Variable
    parameters : tuple of str
        Their names, in order.
    rhs : jitted function
        ``rhs(t, y, p)`` returns the derivatives as a tuple, in natural units.
    observables : tuple of str
    observe : jitted function, optional
        ``observe(t, y, p)`` returns the observables as a tuple.
    burden : str, optional
        The state whose growth above its initial value is progression.
    method : str, optional
        The explicit method that engine ``lanes`` takes, and ``auto`` weighs against the stiff one.
    published : PublishedScheme, optional
    time_unit : str
    stiff_rhs : jitted function, optional
        The same right-hand side as the text of a graph, for methods that need its Jacobian; then ``rhs`` is
        such a text, too, and can always be traced.
    manifold : Manifold, optional
        Where some of the states are algebraic variables; ``rhs`` has derivatives of these, too.
    moments : Moments, optional
        What the model itself does to states at moments.
    """

    name: str
    states: tuple[Variable, ...]
    parameters: tuple[str, ...]
    rhs: Callable[..., Any]
    observables: tuple[str, ...] = ()
    observe: Callable[..., Any] | None = None
    burden: str | None = None
    method: str | None = None
    published: PublishedScheme | None = None
    time_unit: str = "day"
    stiff_rhs: Callable[..., Any] | None = None
    manifold: Manifold | None = None
    moments: Moments | None = None

    @property
    def state_names(self) -> list[str]:
        """Names of the states, in order."""
        return [state.name for state in self.states]

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters, in order."""
        return list(self.parameters)

    @property
    def observable_names(self) -> list[str]:
        """Names of the observables, in order."""
        return list(self.observables)

    @property
    def burden_index(self) -> int:
        """Index of the burden among the states, -1 where the system has none."""
        return -1 if self.burden is None else self.state_names.index(self.burden)


def shown(system: System, names: Sequence[str]) -> list[str]:
    """Return those of some names that stand in tables."""
    return [name for name in names if system.moments is None or name not in system.moments.hidden]


def hidden(name: str) -> str:
    """Return the name of the state that is the integral of an observable that is watched, but no endpoint."""
    return f"_integral_of_{name}"
