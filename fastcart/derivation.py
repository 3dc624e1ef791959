"""The functions of a derived model: its right-hand side with integrals added, over longer vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numba import njit

from fastcart.solvers.system import Manifold, System

_RESTORED = 20.0  # times over the horizon that a deviation from an algebraic equation decays, by default

if TYPE_CHECKING:
    from fastcart.model import Model
    from fastcart.model_parts import Algebraic


def _own(model: Model) -> list[str]:
    """Lines that take the model's own states and parameters, by name, out of the longer vectors."""
    from fastcart.solvers.named import named

    return [
        f"    s = {named('states', [f'y[{i}]' for i in range(len(model.states))])}",
        f"    q = {named('parameters', [f'p[{k}]' for k in range(len(model.parameters))])}",
    ]


def integrating(model: Model, quantities: Sequence[str]) -> Any:
    """Return a right-hand side that integrates quantities too, by further states, of longer vectors."""
    observed = model.observable_names
    lines = ["def rhs(t, y, p):", *_own(model), "    f = base(t, s, q)"]
    if any(name in observed for name in quantities):
        lines.append("    o = watched(t, s, q)")
    rates = [f"f[{i}]" for i in range(len(model.differential))]
    rates += [
        f"o[{observed.index(x)}]" if x in observed else f"s[{model.state_names.index(x)}]" for x in quantities
    ]
    lines.append(f"    return ({''.join(f'{rate}, ' for rate in rates)})")
    function = _compiled(model, lines, "rhs", base=model.rhs, watched=model.observe)
    function.py_func.by_place = tuple(model.state_names), tuple(model.parameter_names)
    return function


def shortened(model: Model, function: Any, name: str) -> Any:
    """Return ``observe`` or ``residual`` for longer vectors of states and parameters."""
    lines = [f"def {name}(t, y, p):", *_own(model), "    return base(t, s, q)"]
    return _compiled(model, lines, name, base=function)


def reduced(model: Model, system: System) -> System:
    """Return the system of a model with derivatives for its algebraic variables, too.

    Parameters
    ----------
    model : Model
    system : System
        Of the model, with the right-hand side that the model has.

    Raises
    ------
    TraceError
        Where the residual cannot be followed, or does not determine the variables.
    """
    from fastcart.solvers.algebraic import names_of_rates
    from fastcart.solvers.trace.algebraic import Reduction, Unknown

    assert model.residual is not None
    names, others = model.state_names, model.differential
    restoring = [
        _RESTORED / model.t_end if x.restoring is None else float(x.restoring) for x in model.algebraic
    ]
    unknowns = [
        Unknown(names.index(x.name), x.log, rate) for x, rate in zip(model.algebraic, restoring, strict=True)
    ]
    reduction = Reduction(system, model.residual, unknowns)
    manifold = Manifold(
        tuple(x.place for x in unknowns), tuple(x.log for x in unknowns),
        tuple(_start(model, x) for x in model.algebraic), reduction.equations(),
    )  # fmt: skip
    found = {x.name: f"x[{j}]" for j, x in enumerate(model.algebraic)}
    rates = [found.get(name) or f"f[{others.index(name)}]" for name in names]
    returned = f"    return ({''.join(f'{rate}, ' for rate in rates)})"

    def fed() -> System:
        first = len(model.parameters)
        moved = ", ".join(f"f[{k}] + p[{first + names.index(name)}]" for k, name in enumerate(others))
        slopes = njit(reduction.slopes(divided=True))
        lines = ["def rhs(t, y, p):", *_own(model), "    f = base(t, s, q)"]
        lines += [f"    x = slopes(t, s, q, ({moved},))", returned]
        return replace(
            system, parameters=(*system.parameters, *names_of_rates(names)),
            rhs=_compiled(model, lines, "rhs", base=model.rhs, slopes=slopes),
            observe=model.observe and shortened(model, model.observe, "observe"), manifold=manifold,
        )  # fmt: skip

    lines = ["def rhs(t, y, p):", "    f = base(t, y, p)", "    x = slopes(t, y, p, f)", returned]
    slopes = njit(reduction.slopes(divided=False))
    rhs = _compiled(model, lines, "rhs", base=model.rhs, slopes=slopes)
    return replace(system, rhs=rhs, manifold=manifold._replace(fed=fed))


def _start(model: Model, variable: Algebraic) -> str:
    """Return where the search for a variable begins, as text."""
    start = variable.start
    if start is None:
        return "1.0" if variable.log else "0.0"
    if not isinstance(start, str):
        return repr(float(start))
    if start in model.state_names:
        return f"y[{model.state_names.index(start)}]"
    return f"p[{model.parameter_names.index(start)}]"


def _compiled(model: Model, lines: list[str], name: str, **functions: Any) -> Any:
    from numba.core.dispatcher import Dispatcher

    from fastcart.solvers.compile import from_source
    from fastcart.solvers.named import naming

    # a model may be of plain functions, which compiled code cannot call
    for key, function in functions.items():
        if function is not None and not isinstance(function, Dispatcher):
            functions[key] = njit(function)
    return njit(from_source("\n".join(lines), name, {**functions, **naming(model)}))
