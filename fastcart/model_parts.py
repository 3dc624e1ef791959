"""What a model is made of: states, parameters, observables and constraints, as a paper's tables list them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from fastcart.checks import shown
from fastcart.errors import InputError
from fastcart.solvers.endpoints import endpoint_names

# Names that tables of patients and results use themselves.
RESERVED = frozenset(
    {
        "patient", "t", "time", "status", *endpoint_names(), "engine", "steps", "rejected", "rhs_calls",
        "t_reached",
    }
)  # fmt: skip


def plausible_range(given: Any, what: str) -> tuple[float, float] | None:
    """Return a plausible range as two numbers, checked.

    Raises
    ------
    InputError
        For what is no pair of numbers, the first below the second.
    """
    if given is None:
        return None
    try:
        low, high = (float(limit) for limit in given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise InputError(f"{what}: 'plausible' must be the least and the largest value, not {shown(given)}.")
    return low, high


@dataclass(frozen=True)
class State:
    """One state variable.

    Parameters
    ----------
    name : str
        Identifier, the column of initial values in a table of patients.
    unit : str
    default : float or callable
        Initial value; a callable gets a mapping of all other columns (arrays) and returns an array: so an
        initial value is a function of parameters, also of one that is switched at time 0.
    log : bool
        Integrate the logarithm. For states whose derivative is proportional to the state itself; it
        keeps them positive over hundreds of orders of magnitude, and exact zeros stay zero.
    scale : float
        A small amount that still matters; the absolute tolerance of a state that is not in logarithm
        is ``rtol * scale``. In engine ``lanes`` what grows is followed from a millionth of that on; ``lsoda``
        and ``scipy`` see nothing below it.
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
    plausible : (float, float), optional
        Least and largest value that a patient can have, such as the cells of a human body. No limit of the
        computation: results say how many patients leave it.
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
    plausible: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the plausible range."""
        object.__setattr__(self, "plausible", plausible_range(self.plausible, f"State {self.name!r}"))


@dataclass(frozen=True)
class Algebraic(State):
    """A variable that an equation without derivatives determines, such as one of a binding equilibrium.

    It stands in equations like a state, ``y.C_free``, and in results, too; patients and doses cannot give it.

    Parameters
    ----------
    name, unit, scale, description
        As of a `State`.
    log : bool
        Solve for the logarithm. For positive quantities; their equation is ``left - right`` of sides that are
        sums of positive terms, and is held to `rtol` of these, however small both become.
    start : float or str
        Where the search for a root begins: a number, or the name of a state or parameter. The root that is
        found from there counts where there are several; behind a dose that which is found from the one
        before. Default 1 in logarithm, else 0.
    restoring : float, optional
        Rate per unit of time at which what errors of steps leave of the equation decays; default: 20 over
        the horizon of the model.
    """

    _: KW_ONLY
    start: float | str | None = None
    restoring: float | None = None
    computed: bool = True

    def __post_init__(self) -> None:
        """Begin, where no equation has been solved yet, where the search begins."""
        super().__post_init__()
        begin = 1.0 if self.log else 0.0
        if isinstance(self.start, int | float):
            begin = float(self.start)
        if callable(self.default) or self.default not in (0.0, begin):
            raise InputError(f"Algebraic variable {self.name!r} has a 'start', not a default.")
        object.__setattr__(self, "default", begin)


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Parameters
    ----------
    name : str
        Identifier, the column in a table of patients.
    default : float or callable
        Value; a callable gets a mapping of the other columns (arrays) and returns an array. It follows where
        one of these is switched in time.
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
    """A quantity computed from time, states and parameters, e.g. a cytokine or a killing rate.

    Parameters
    ----------
    name : str
        Identifier, the column in tables of trajectories.
    unit, description : str
    plausible : (float, float), optional
        As of a `State`.
    """

    name: str
    unit: str = ""
    description: str = ""
    plausible: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the plausible range."""
        object.__setattr__(self, "plausible", plausible_range(self.plausible, f"Observable {self.name!r}"))


@dataclass(frozen=True)
class Sum:
    """A constraint: these parameters, e.g. chances of alternatives, add up to a total for every patient.

    Parameters
    ----------
    parameters : tuple of str
    total, tolerance : float
        What they add up to, and by how much a patient may miss it.
    """

    parameters: tuple[str, ...]
    total: float = 1.0
    tolerance: float = 1e-9
