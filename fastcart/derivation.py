"""The functions of a derived model: its right-hand side with integrals added, over longer vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcart.model import Model


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
    rates = [f"f[{i}]" for i in range(len(model.states))]
    rates += [
        f"o[{observed.index(x)}]" if x in observed else f"s[{model.state_names.index(x)}]" for x in quantities
    ]
    lines.append(f"    return ({''.join(f'{rate}, ' for rate in rates)})")
    return _compiled(model, lines, "rhs", base=model.rhs, watched=model.observe)


def shortened(model: Model, function: Any) -> Any:
    """Return ``observe`` for longer vectors of states and parameters."""
    lines = ["def observe(t, y, p):", *_own(model), "    return base(t, s, q)"]
    return _compiled(model, lines, "observe", base=function)


def _compiled(model: Model, lines: list[str], name: str, **functions: Any) -> Any:
    from numba import njit
    from numba.core.dispatcher import Dispatcher

    from fastcart.solvers.compile import from_source
    from fastcart.solvers.named import naming

    # a model may be of plain functions, which compiled code cannot call
    for key, function in functions.items():
        if function is not None and not isinstance(function, Dispatcher):
            functions[key] = njit(function)
    return njit(from_source("\n".join(lines), name, {**functions, **naming(model)}))
