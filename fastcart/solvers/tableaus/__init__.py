"""
Coefficient tables of the one-step methods, one module for each method.

``NAMES`` lists the methods and ``get(name)`` returns one's table: an ``ExplicitTableau`` or a
``RosenbrockTableau``. A table is imported when it is first asked for; only numpy is needed.

The numbers are copied from the publications named in each module; those of ``stab5`` were derived for this
project. All are proved in the tests: order conditions, error estimates and interpolants.
"""

from __future__ import annotations

from importlib import import_module

from fastcart.solvers.tableaus.base import ExplicitTableau, RosenbrockTableau

__all__ = ["EXPLICIT", "NAMES", "ExplicitTableau", "RosenbrockTableau", "get"]

EXPLICIT = ("tsit5", "vern7", "dop853", "stab5")
NAMES = (*EXPLICIT, "rodas5p")


def get(name: str) -> ExplicitTableau | RosenbrockTableau:
    """
    Return the coefficient table of a method.

    Parameters
    ----------
    name
        One of ``NAMES``.

    Returns
    -------
    ExplicitTableau or RosenbrockTableau
        The same read-only object on every call.
    """
    if name not in NAMES:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(NAMES)}")
    module = import_module(f"{__name__}.{name}")
    table: ExplicitTableau | RosenbrockTableau = getattr(module, name.upper())
    return table
