"""The optimizers, each in a file of its own; to add one, write its file and name it here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastcart.checks import registered

if TYPE_CHECKING:
    from fastcart.optimization.methods.base import Optimizer

# name to the module that holds it as METHOD; loaded when it is used
METHODS = {
    "pso": "fastcart.optimization.methods.pso",
    "cmaes": "fastcart.optimization.methods.cmaes",
    "de": "fastcart.optimization.methods.de",
}


def find(name: Any) -> Optimizer:
    """Return an optimizer by its name.

    Raises
    ------
    InputError
        Where there is none.
    """
    return registered(name, METHODS, "method {}")
